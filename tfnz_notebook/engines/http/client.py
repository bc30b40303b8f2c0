"""A small HTTP/1.1 client over h11, for engines on Unix sockets and TCP.

Rules of the file:

- One connection for each request. On a Unix socket a connection costs about 0.1 ms, less than the
  bookkeeping (and the races with the engine's idle timeout) of keeping some.
- A response is read whole (:meth:`Client.request`), as it comes (:meth:`Client.stream`), or
  abandoned after the head for the raw bytes behind it (:meth:`Client.hijack`, Docker's exec
  streams). The last is the one place where bytes leave HTTP: h11 hands out what it had read
  beyond the head, and nothing of a library's private parts is touched.
- Back-pressure is the transport's: reading pauses while much is unread (:mod:`wire`).
- Failures are errors of our tree: ``NoEngine`` while nothing answered yet (:attr:`Client.proven`),
  ``EngineGone`` from then on.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

import h11

from tfnz_notebook._base import numbers
from tfnz_notebook._base.endpoints import Endpoint, forbidden
from tfnz_notebook.engines.http.connection import Wire
from tfnz_notebook.errors import EngineGone, LocationError, NoEngine

#: Answers of an engine are small (an inspect is some 10 KiB); more than this is not an engine's.
_MAX_BODY: Final = 64 << 20
_CONNECT_TIMEOUT: Final = 10.0
Body = bytes | AsyncIterator[bytes]


@dataclass(slots=True)
class Response:
    """A whole answer."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """The body as JSON; an engine that sends anything else is not one (EngineGone)."""
        try:
            return json.loads(self.body or b"null")
        except ValueError as error:
            raise EngineGone(
                f"Cannot understand the engine: it answered {self.body[:80]!r}, which is not JSON. "
                "Check that the address is a container engine's."
            ) from error

    @property
    def message(self) -> str:
        """What an error answer says: Docker's and Podman's ``message``, else the body."""
        try:
            said = json.loads(self.body)
        except ValueError:
            return self.body.decode("utf-8", "replace").strip()[:500]
        if isinstance(said, dict):
            return str(said.get("message") or said.get("cause") or said.get("error") or said)
        return str(said)


@dataclass(slots=True)
class Streamed:
    """The head of an answer whose body is still coming."""

    status: int
    headers: Mapping[str, str]
    _chunks: AsyncIterator[bytes]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks

    async def whole(self) -> Response:
        """Read the rest (an error's text)."""
        body = bytearray()
        async for chunk in self._chunks:
            body += chunk
            if len(body) > _MAX_BODY:
                raise EngineGone(
                    f"Cannot read the engine's answer: it has more than {numbers.size(_MAX_BODY)}. "
                    "Check that the address is a container engine's."
                )
        return Response(self.status, self.headers, bytes(body))


class Client:
    """Requests to one endpoint. ``name`` ('docker', 'podman') is for messages."""

    def __init__(self, endpoint: Endpoint, name: str = "the engine") -> None:
        self.endpoint = endpoint
        self.name = name
        #: Put before every path: the negotiated API version.
        self.prefix = ""
        #: It answered before, so silence now is ``EngineGone``.
        self.proven = False
        #: Pid of the process that listens (Unix sockets), 0 while unknown.
        self.peer = 0

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        payload: Any = None,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
    ) -> Response:
        """Send, and read the whole answer. ``timeout`` covers all of it, in seconds."""

        async def exchange() -> Response:
            async with self.stream(
                method, path, query=query, payload=payload, body=body, headers=headers
            ) as answer:
                return await answer.whole()

        try:
            return await asyncio.wait_for(exchange(), timeout)
        except TimeoutError:
            raise self._lost(f"no answer to {method} {path} within {timeout:g} s") from None

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        payload: Any = None,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        idle: float | None = None,
    ) -> AsyncIterator[Streamed]:
        """Send, and give the answer as it comes; ``idle`` is the longest silence, in seconds."""
        wire = await self._connect()
        try:
            parser = h11.Connection(h11.CLIENT)
            try:
                await self._send(wire, parser, method, path, query, payload, body, headers or {})
                head = await self._head(wire, parser, idle)
            except (OSError, h11.RemoteProtocolError) as error:
                raise self._lost(str(error) or type(error).__name__) from error
            self.proven = True
            yield Streamed(head.status_code, _headers(head), self._chunks(wire, parser, idle))
        finally:
            wire.close()

    async def hijack(
        self, path: str, *, payload: Any = None, timeout: float = 60.0
    ) -> tuple[Response, asyncio.Transport | None, bytes]:
        """POST and take the connection over: the transport and the bytes that came with the head.

        The transport is ``None`` for an answer that is no upgrade: the response says why. It comes
        paused: give it a protocol (``set_protocol``), then ``resume_reading``.
        """
        wire = await self._connect()
        kept = False

        async def exchange() -> tuple[Response, asyncio.Transport | None, bytes]:
            parser = h11.Connection(h11.CLIENT)
            upgrade = {"Connection": "Upgrade", "Upgrade": "tcp"}
            await self._send(wire, parser, "POST", path, None, payload, None, upgrade)
            head = await self._head(wire, parser, None)
            # Docker answers 101; engines behind old proxies, and old Podmans, 200 and raw bytes.
            raw = head.status_code == 101 or (
                head.status_code == 200 and "raw-stream" in _headers(head).get("content-type", "")
            )
            if not raw:
                streamed = Streamed(
                    head.status_code, _headers(head), self._chunks(wire, parser, None)
                )
                return await streamed.whole(), None, b""
            assert wire.transport is not None
            wire.transport.pause_reading()
            return (
                Response(head.status_code, _headers(head)),
                wire.transport,
                _unparsed(parser, head) + _drain(wire),
            )

        try:
            result = await asyncio.wait_for(exchange(), timeout)
            kept = result[1] is not None
            return result
        except TimeoutError:
            raise self._lost(f"no answer to POST {path} within {timeout:g} s") from None
        except (OSError, h11.RemoteProtocolError) as error:
            raise self._lost(str(error) or type(error).__name__) from error
        finally:
            if not kept:
                wire.close()

    # -- connecting ---------------------------------------------------------------------------

    async def _connect(self) -> Wire:
        loop = asyncio.get_running_loop()
        where = self.endpoint
        try:
            if where.path is not None:
                opening = loop.create_unix_connection(Wire, where.path)
            else:
                opening = loop.create_connection(Wire, where.host, where.port, ssl=where.tls)
            _, wire = await asyncio.wait_for(opening, _CONNECT_TIMEOUT)
        except PermissionError as error:
            raise NoEngine(forbidden(where.path or "", self.name)) from error
        except ssl.SSLError as error:
            raise NoEngine(
                f"Cannot reach {self.name} at {where.address}: TLS failed ({error}). "
                "Check DOCKER_CERT_PATH and DOCKER_TLS_VERIFY."
            ) from error
        except (FileNotFoundError, ConnectionRefusedError) as error:
            why = (
                "there is no such socket"
                if isinstance(error, FileNotFoundError)
                else ("nothing listens there")
            )
            raise self._lost(why) from error
        except (TimeoutError, OSError) as error:
            raise self._lost(str(error) or f"no connection in {_CONNECT_TIMEOUT:g} s") from error
        if not self.peer and where.path is not None and wire.transport is not None:
            self.peer = _peer(wire.transport)
        return wire

    def _lost(self, cause: str) -> LocationError:
        where = f"{self.name} at {self.endpoint.address}"
        if self.proven:
            return EngineGone(
                f"Cannot go on with {where}: {cause}. "
                "Start it again; its containers are found again."
            )
        return NoEngine(f"Cannot reach {where}: {cause}. Start it, or correct the address.")

    # -- one exchange -------------------------------------------------------------------------

    async def _send(
        self,
        wire: Wire,
        parser: h11.Connection,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        payload: Any,
        body: Body | None,
        extra: Mapping[str, str],
    ) -> None:
        if payload is not None:
            body = json.dumps(payload).encode()
        head = {"Host": "localhost", "User-Agent": "tfnz-notebook"}
        if "Connection" not in extra:
            head["Connection"] = "close"
        if payload is not None:
            head["Content-Type"] = "application/json"
        if isinstance(body, bytes):
            head["Content-Length"] = str(len(body))
        elif body is not None:
            head["Transfer-Encoding"] = "chunked"
        elif method != "GET":
            head["Content-Length"] = "0"
        head.update(extra)
        target = self.prefix + quote(path, safe="/:@") + (f"?{urlencode(query)}" if query else "")
        request = h11.Request(method=method, target=target, headers=list(head.items()))
        first = parser.send(request) or b""
        if body is None or isinstance(body, bytes):
            if body:
                first += parser.send(h11.Data(data=body)) or b""
            await wire.write(first + (parser.send(h11.EndOfMessage()) or b""))
            return
        await wire.write(first)
        async for chunk in body:
            if chunk:
                await wire.write(parser.send(h11.Data(data=chunk)) or b"")
        await wire.write(parser.send(h11.EndOfMessage()) or b"")

    async def _event(self, wire: Wire, parser: h11.Connection, idle: float | None) -> Any:
        while True:
            event = parser.next_event()
            if event is not h11.NEED_DATA:
                return event
            parser.receive_data(await _within(wire.read(), idle))

    async def _head(
        self, wire: Wire, parser: h11.Connection, idle: float | None
    ) -> h11.Response | h11.InformationalResponse:
        while True:
            event = await self._event(wire, parser, idle)
            if isinstance(event, h11.Response):
                return event
            if isinstance(event, h11.InformationalResponse):
                if event.status_code == 101:
                    return event
                continue  # 100 Continue and its kind
            raise h11.RemoteProtocolError("it closed the connection before answering")

    async def _chunks(
        self, wire: Wire, parser: h11.Connection, idle: float | None
    ) -> AsyncIterator[bytes]:
        try:
            while True:
                event = await self._event(wire, parser, idle)
                if isinstance(event, h11.Data):
                    yield bytes(event.data)
                else:
                    return
        except (OSError, h11.RemoteProtocolError) as error:
            raise self._lost(str(error) or type(error).__name__) from error


async def _within(reading: Any, idle: float | None) -> bytes:
    try:
        data: bytes = await (reading if idle is None else asyncio.wait_for(reading, idle))
    except TimeoutError:
        raise TimeoutError(f"it was silent for {idle:g} s") from None
    return data


def _headers(head: h11.Response | h11.InformationalResponse) -> dict[str, str]:
    return {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in head.headers}


def _unparsed(parser: h11.Connection, head: h11.Response | h11.InformationalResponse) -> bytes:
    """What h11 has read beyond the head and not interpreted."""
    if head.status_code == 101:
        # Switching: h11 pauses by itself, and everything further is trailing data.
        parser.next_event()
        return bytes(parser.trailing_data[0])
    # A plain 200 without a length: the body is all that follows, so let h11 say what it has.
    data = b""
    while isinstance(event := parser.next_event(), h11.Data):
        data += bytes(event.data)
    return data


def _drain(wire: Wire) -> bytes:
    """Bytes that came after the last read; the transport stays paused."""
    data = wire.take()
    assert wire.transport is not None
    wire.transport.pause_reading()
    return data


def _peer(transport: asyncio.Transport) -> int:
    """The pid that listens on the socket's other end (Linux), or 0."""
    sock = transport.get_extra_info("socket")
    option = getattr(socket, "SO_PEERCRED", None)
    if sock is None or option is None:
        return 0
    raw: bytes = sock.getsockopt(socket.SOL_SOCKET, option, 12)
    return int(struct.unpack("3i", raw)[0])
