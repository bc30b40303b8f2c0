"""The byte stream of an exec: Kubernetes' remote command protocol v5 in a websocket.

Each binary message is a channel's number and bytes: 0 stdin, 1 stdout, 2 stderr, 3 the end (a
Status), 255 a channel that closes. The server's messages have 32 KiB + 1 at most; ours may have
32 MiB. v4 cannot half-close, so v5 it must be: a server that does not speak it is refused.

How the stream's end is told proves nothing (a killed containerd and a deleted pod both say
Success): it is a connection's end, and whoever wants to know whether the pod lives asks for it.

Is anybody there? A kubelet answers a ping, in a millisecond, but only after what we wrote before
is read, which a busy process may put off for ever. So what is missing counts only when an earlier
pong proved that all we wrote had been read. For the rest the kernel is asked whether the next
machine still acknowledges what we send. A round in which anything at all was heard starts anew.
Rounds are counted, not seconds: who was asleep for an hour asks first.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any, Final

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
)
from wsproto.utilities import ProtocolError

from tfnz_notebook.engines.base import Closed, Received
from tfnz_notebook.engines.http.client import Client
from tfnz_notebook.engines.http.connection import Wire
from tfnz_notebook.engines.http.frames import Frames, binary
from tfnz_notebook.engines.http.response import Response
from tfnz_notebook.engines.launch.stream import BridgeStream
from tfnz_notebook.errors import EngineError, EngineGone, TfnzError

PROTOCOL: Final = "v5.channel.k8s.io"
#: Bytes in one message of ours.
_MESSAGE: Final = 4 << 20
#: Bytes that are decrypted at once.
_BUFFER: Final = 256 << 10
#: Of an error's text, and of an answer that is no upgrade.
_WORDS: Final = 64 << 10
#: Seconds between two pings, and how many may go unanswered.
_ROUND: Final = 15.0
_MISSED: Final = 2
#: Milliseconds for which the next machine may acknowledge nothing of what waits for it.
_DEAF: Final = 30_000
#: Rounds after which silence is the end even if what we wrote may be why.
_LIMIT: Final = 20


class _Shared(threading.local):
    """A loop's one buffer: what comes is taken out of it before another stream reads.

    One a stream would be most of what a stream costs, of which there may be a thousand.
    """

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(_BUFFER))


_shared = _Shared()


class ChannelStream(BridgeStream, asyncio.BufferedProtocol):
    """Channels 0, 1 and 2 of an exec as a stream. Made by :func:`open_exec`.

    Bytes are decrypted into one buffer, taken apart there, and copied once, to who receives them.
    """

    def __init__(self, received: Received, closed: Closed, websocket: WSConnection) -> None:
        super().__init__(received, closed)
        self._socket = websocket
        self._frames = Frames()
        self._channel: int | None = None  # of a message in several frames, that is not whole yet
        self._status = b""
        self._written = 0  # messages so far, and of them what is known to have been read
        self._read = 0
        self._heard = False
        self._missed = 0
        self._timer: asyncio.TimerHandle | None = None

    def take(self, transport: asyncio.Transport, early: bytes) -> None:
        """Go on from the handshake."""
        transport.set_protocol(self)
        self.connection_made(transport)
        if early:  # frames that came with the answer
            self.data_received(early)
        self.listen()
        self._timer = asyncio.get_running_loop().call_later(_ROUND, self._ask)

    # -- asyncio's side -----------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return _shared.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._came(_shared.buffer[:nbytes])

    def data_received(self, data: bytes) -> None:
        self._came(memoryview(data))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if exc is None and self._failure is None and (said := _sentence(self._status)):
            self._fail(said)
        super().connection_lost(exc)

    def _came(self, data: memoryview) -> None:
        self._heard = True
        said: list[memoryview] = []
        try:
            for channel, piece in self._frames.feed(data):
                if channel is None:
                    self._socket.receive_data(bytes(piece))
                    said += self._other()
                elif channel == 1:
                    said.append(piece)
                else:
                    self._aside(channel, bytes(piece))
        except ProtocolError as error:
            self._fail(f"the server sent what is no websocket ({error})")
        self._said(said)

    def _other(self) -> Iterator[memoryview]:
        """What stdout says in frames that are no whole binary message; the rest is done here."""
        for event in self._socket.events():
            if isinstance(event, BytesMessage):
                data = memoryview(event.data)
                if self._channel is None and data:
                    self._channel, data = data[0], data[1:]
                if self._channel == 1:
                    yield data
                elif self._channel is not None:
                    self._aside(self._channel, bytes(data))
                if event.message_finished:
                    self._channel = None
            elif isinstance(event, Ping):
                self._send(event.response())
            elif isinstance(event, Pong):
                if event.payload == b"%d" % self._written:
                    self._read = self._written
            elif isinstance(event, CloseConnection):
                self._finish(event)

    def _finish(self, event: CloseConnection) -> None:
        if event.code not in (1000, 1001):
            self._fail(f"{event.reason or 'it was closed'} ({int(event.code)})")
        else:
            self._send(event.response())
            if self._transport is not None:
                self._transport.abort()

    def _aside(self, channel: int, data: bytes) -> None:
        """What is not stdout's."""
        if channel == 2:
            self._complained(data)
        elif channel == 3:
            self._status = (self._status + data)[:_WORDS]

    def _fail(self, cause: str) -> None:
        self._failure = EngineGone(
            f"Cannot go on with the guest's stream: {cause}. It is connected again by itself."
        )
        if self._transport is not None:
            self._transport.abort()

    # -- is anybody there? --------------------------------------------------------------------

    def _ask(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._timer = asyncio.get_running_loop().call_later(_ROUND, self._ask)
        if self._heard or self._paused or not self._begun:
            self._heard, self._missed = False, 0
        else:
            self._missed += 1
        proven = self._read == self._written
        if self._missed > (_MISSED if proven else _LIMIT) or _unacknowledged(transport):
            self._fail("the server does not answer any more")
        elif not self._full:
            self._send(Ping(payload=b"%d" % self._written))

    # -- our side -----------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._written += 1
        for at in range(0, len(data), _MESSAGE):
            piece = data if len(data) <= _MESSAGE else data[at : at + _MESSAGE]
            self._transport.write(binary(0, piece))

    def close(self) -> None:
        self._send(CloseConnection(code=1000))
        super().close()

    def _send(self, event: Any) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        try:
            self._transport.write(self._socket.send(event))
        except ProtocolError:
            pass  # it is closing: what is said now cannot matter


def _sentence(status: bytes) -> str:
    """What a Status says, unless it says Success."""
    if not status:
        return ""
    try:
        said = json.loads(status)
        return "" if said.get("status") == "Success" else str(said.get("message") or said)[:1000]
    except (ValueError, AttributeError, RecursionError):
        return status[:1000].decode("utf-8", "replace")


def _unacknowledged(transport: asyncio.Transport) -> bool:
    """The kernel has sent what the next machine did not acknowledge, for too long (Linux)."""
    sock, option = transport.get_extra_info("socket"), getattr(socket, "TCP_INFO", None)
    if sock is None or option is None or sock.family == socket.AF_UNIX:
        return False
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, option, 104)
    except OSError:
        return False
    if len(raw) < 60:
        return False
    # struct tcp_info: unacked is its fifth word after eight bytes, last_ack_recv (ms) the 13th;
    # probes, the fourth byte, are unanswered questions to a window that was closed.
    words = struct.unpack_from("13I", raw, 8)
    return bool(words[4] and words[12] > _DEAF) or raw[3] > 8


async def open_exec(
    client: Client, target: str, received: Received, closed: Closed, timeout: float
) -> ChannelStream | Response:
    """Ask for an exec: its stream, which listens and does not deliver yet, or the refusal."""
    renewed = False
    while True:
        try:
            async with asyncio.timeout(timeout):
                answer = await _attempt(client, target, received, closed)
        except TimeoutError:
            raise client.lost(f"no answer to an exec within {timeout:g} s") from None
        refused = isinstance(answer, Response) and answer.status == 401
        if not refused or renewed or not await client.renew():
            return answer
        renewed = True


async def _attempt(
    client: Client, target: str, received: Received, closed: Closed
) -> ChannelStream | Response:
    wire = await client.dial()
    kept = False
    try:
        websocket = WSConnection(ConnectionType.CLIENT)
        headers = [("User-Agent", "tfnz-notebook"), *await client.identify()]
        asked = Request(
            host=client.host,
            target=client.prefix + target,
            subprotocols=[PROTOCOL],
            extra_headers=[(k.encode(), v.encode()) for k, v in headers],
        )
        await wire.write(websocket.send(asked))
        answer = await _handshake(wire, websocket)
        client.proven = True
        if isinstance(answer, Response):
            return answer
        assert wire.transport is not None
        stream = ChannelStream(received, closed, websocket)
        stream.take(wire.transport, answer)
        kept = True
        return stream
    except OSError as error:
        raise client.lost(str(error) or type(error).__name__) from error
    except ProtocolError as error:
        raise _no_websocket(client, str(error)) from error
    finally:
        if not kept:
            wire.close()


async def _handshake(wire: Wire, websocket: WSConnection) -> Response | bytes:
    """What came behind the answer when it is a websocket now; the answer when it is not."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = await wire.read()
        if not data or len(head) > _WORDS:
            raise ConnectionResetError("it closed the connection before answering")
        head += data
    head, end, early = head.partition(b"\r\n\r\n")
    websocket.receive_data(head + end)
    status, headers, body = 0, dict[str, str](), b""
    while True:
        for event in websocket.events():
            if isinstance(event, AcceptConnection):
                if event.subprotocol != PROTOCOL:
                    raise ProtocolError(f"it chose {event.subprotocol or 'no protocol'}")
                return early
            if isinstance(event, RejectConnection):
                status, headers = event.status_code, _headers(event.headers)
                if not event.has_body:
                    return Response(status, headers, body)
            elif isinstance(event, RejectData):
                body = (body + event.data)[:_WORDS]
                if event.body_finished:
                    return Response(status, headers, body)
        data = early or await wire.read()
        if not data:
            return Response(status, headers, body)
        websocket.receive_data(data)
        early = b""


def _headers(given: Any) -> dict[str, str]:
    return {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in given}


def _no_websocket(client: Client, why: str) -> TfnzError:
    return EngineError(
        f"Cannot open an exec through {client.name}: it does not speak {PROTOCOL} ({why}). "
        "It takes Kubernetes 1.30 or newer, and no proxy on the way that ends websockets."
    )
