"""A line to an agent: over a stream socket on this machine, over ZeroMQ to another.

ZeroMQ's own threads pass on each message once more at either end; between two processes of one
machine they are a third of the way, and there is nothing that they would protect.
"""

from __future__ import annotations

import asyncio
import errno
import select
import socket
from collections.abc import Callable
from typing import Final

from tfnz_notebook._link.ends import Address, Line, Place
from tfnz_notebook._wire.stream import BUFFER, Messages, framed
from tfnz_notebook.errors import AgentError, LinkClosed, ProtocolError

#: Seconds for an agent to accept, which it does before anything else.
ACCEPT: Final = 10.0
LOCAL: Final = "ipc://"


async def connect(
    place: Place, received: Callable[[list[bytes]], None], ended: Callable[[str], None]
) -> Line:
    """A line to the agent of a place, which is looked for, and started, beside the loop."""
    loop = asyncio.get_running_loop()
    found = loop.run_in_executor(None, _find, place)
    try:
        address, connected = await asyncio.shield(found)
    except asyncio.CancelledError:
        found.add_done_callback(_found_in_vain)
        raise
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        raise _no_more(place, error) from None
    if connected is None:
        # It takes as long to import as everything else here: who stays on this machine needs none.
        import zmq

        from tfnz_notebook._link.dealer import Dealer

        try:
            return Dealer(address, received, ended)
        except zmq.ZMQError as error:
            raise _no_more(place, error) from None
    line = LocalLine(connected, received, ended)
    await loop.create_unix_connection(lambda: line, sock=connected)
    return line


def _find(place: Place) -> tuple[Address, socket.socket | None]:
    address = place.find()
    if not address.url.startswith(LOCAL):
        return address, None
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        sock.settimeout(ACCEPT)
        sock.connect(address.url.removeprefix(LOCAL))
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise LinkClosed(
            f"Cannot reach the agent of {place.where!r}: nothing listens there "
            f"({error.strerror or error}). Make another Location()."
        ) from None
    return address, sock


def _found_in_vain(found: asyncio.Future[tuple[Address, socket.socket | None]]) -> None:
    """Who wanted a line has gone meanwhile."""
    if not found.cancelled() and found.exception() is None and (sock := found.result()[1]):
        sock.close()


def _no_more(place: Place, error: Exception) -> AgentError:
    return AgentError(
        f"Cannot reach the agent of {place.where!r}: this process cannot open any more files "
        f"({error}). Disconnect locations that are not needed, or raise the limit of open files "
        "(ulimit -n)."
    )


class LocalLine(asyncio.BufferedProtocol):
    """One connection to an agent. ``ended`` is called once, with the reason, unless closed."""

    def __init__(
        self,
        sock: socket.socket,
        received: Callable[[list[bytes]], None],
        ended: Callable[[str], None],
    ) -> None:
        self._socket = sock
        self._received = received
        self._ended: Callable[[str], None] | None = ended
        self._messages = Messages()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # it takes what there is
        return self._messages.room

    def buffer_updated(self, nbytes: int) -> None:
        try:
            for parts in self._messages.filled(nbytes):
                if self._ended is None:
                    return
                self._received(parts)
        except ProtocolError as error:
            self._end(f"it said something unexpected: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("the connection ended" if exc is None else f"the connection broke: {exc}")

    def send(self, parts: list[bytes]) -> None:
        """Queue a message; never blocks. A connection that is gone is told of by ``ended``."""
        if self._transport is not None and not self._transport.is_closing():
            for piece in framed(parts):
                self._transport.write(piece)

    def look(self) -> None:
        """Notice now if it has ended; what came before the end is read before it."""
        if self._transport is None or self._transport.is_closing():
            return
        poll = select.poll()
        poll.register(self._socket, select.POLLHUP)
        if not poll.poll(0):
            return
        try:
            while size := self._socket.recv_into(self._messages.room):
                self.buffer_updated(size)
        except OSError:
            pass
        self._end("the connection ended")

    def _end(self, reason: str) -> None:
        ended, self._ended = self._ended, None
        if self._transport is not None:
            self._transport.abort()
        if ended is not None:
            ended(reason)

    def close(self, linger: float = 0.0) -> None:
        """Let go; what was sent may still leave for ``linger`` seconds. Idempotent."""
        self._ended = None
        if self._transport is None or self._transport.is_closing():
            return
        if linger and self._transport.get_write_buffer_size():
            self._transport.close()
            asyncio.get_running_loop().call_later(linger, self._transport.abort)
        else:
            self._transport.abort()
