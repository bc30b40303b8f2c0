"""A small HTTP/1.1 client over h11, for engines on Unix sockets and TCP.

Rules of the file:

- On a Unix socket each request has a connection of its own: that costs about 0.1 ms, less than the
  bookkeeping (and the races with the engine's idle timeout) of keeping some. Behind TLS it costs
  milliseconds, so up to ``keep`` of them are kept. That the server closed one meanwhile may show
  only when a request was sent over it. What may be repeated then is, on a new one; what may not
  goes only over a connection used in the last seconds, which no server calls idle.
- Who we are is asked of an :class:`Access` before each request, and once more after a 401.
- A response is read whole (:meth:`Client.request`), as it comes (:meth:`Client.stream`), or
  abandoned after the head for the raw bytes behind it (:meth:`Client.hijack`, Docker's exec
  streams). The last is the one place where bytes leave HTTP: h11 hands out what it had read
  beyond the head, and nothing of a library's private parts is touched.
- Back-pressure is the transport's: reading pauses while much is unread (:mod:`connection`).
- Failures are errors of our tree: ``NoEngine`` while nothing answered yet (:attr:`Client.proven`),
  ``EngineGone`` from then on. ``details['sent']`` is False where the request never left.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import quote, urlencode

import h11

from tfnz_notebook._base.endpoints import Endpoint, forbidden
from tfnz_notebook.engines.http.connection import Wire
from tfnz_notebook.engines.http.dial import Proxy, dial, peer
from tfnz_notebook.engines.http.response import Response, Streamed
from tfnz_notebook.errors import EngineGone, LocationError, NoEngine

__all__ = ["Access", "Advice", "Client", "Response", "Streamed"]

_CONNECT_TIMEOUT: Final = 10.0
#: Seconds for which an unused connection is kept, and for which nobody calls it idle.
_KEPT: Final = 30.0
_FRESH: Final = 5.0
#: Seconds after which a request over a kept connection is asked over a new one as well.
_UNSURE: Final = 5.0
Body = bytes | AsyncIterator[bytes]
#: Some names come several times.
Headers = list[tuple[str, str]]
Query = Mapping[str, str] | list[tuple[str, str]]


class Access(Protocol):
    """Who we are to a server. What each says counts for the next connection or request."""

    async def tls(self) -> ssl.SSLContext | None:
        """For a new connection: whom we trust, and our own certificate."""

    async def headers(self) -> Headers:
        """For each request."""

    async def renew(self) -> bool:
        """After a 401: something else is said from now on, so that asking again has a point."""


@dataclass(frozen=True, slots=True)
class Advice:
    """How sentences about a server that cannot be reached end."""

    start: str = "Start it, or correct the address."
    again: str = "Start it again; its containers are found again."
    tls: str = "Check DOCKER_CERT_PATH and DOCKER_TLS_VERIFY."


@dataclass(slots=True)
class _Line:
    """A connection that HTTP is spoken on, one exchange after the other."""

    wire: Wire
    tls: ssl.SSLContext | None
    parser: h11.Connection = field(default_factory=lambda: h11.Connection(h11.CLIENT))
    #: When the last exchange on it ended; 0 for one that had none.
    used: float = 0.0


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    target: str
    headers: Mapping[str, str]
    body: Body | None
    repeatable: bool


class Client:
    """Requests to one endpoint. ``name`` ('docker', 'podman') is for messages."""

    def __init__(
        self,
        endpoint: Endpoint,
        name: str = "the engine",
        *,
        host: str = "localhost",
        access: Access | None = None,
        server_name: str = "",
        proxy: Proxy | None = None,
        keep: int = 0,
        advice: Advice | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.name = name
        #: Put before every path: the negotiated API version, the path the server is below.
        self.prefix = ""
        #: It answered before, so silence now is ``EngineGone``.
        self.proven = False
        #: Pid of the process that listens (Unix sockets), 0 while unknown.
        self.peer = 0
        #: What HTTP calls it.
        self.host = host
        self._access = access
        self._server_name = server_name
        self._proxy = proxy
        self._keep = keep
        self._kept: list[_Line] = []
        self._advice = advice or Advice()

    def close(self) -> None:
        """Let go of the connections that are kept; a later request makes new ones."""
        while self._kept:
            self._kept.pop().wire.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        payload: Any = None,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        repeatable: bool | None = None,
    ) -> Response:
        """Send, and read the whole answer. ``timeout`` covers all of it, in seconds."""
        asked = self.stream(
            method,
            path,
            query=query,
            payload=payload,
            body=body,
            headers=headers,
            repeatable=repeatable,
        )
        try:
            async with asyncio.timeout(timeout), asked as answer:
                return await answer.whole()
        except TimeoutError:
            raise self.lost(f"no answer to {method} {path} within {timeout:g} s") from None

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        payload: Any = None,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        idle: float | None = None,
        repeatable: bool | None = None,
    ) -> AsyncIterator[Streamed]:
        """Send, and give the answer as it comes; ``idle`` is the longest silence, in seconds.

        ``repeatable``: it does no harm if the server gets it twice; by default what GET asks.
        """
        again = method in ("GET", "HEAD") if repeatable is None else repeatable
        request = self._request(method, path, query, payload, body, headers or {}, again)
        line, head = await self._answered(request, idle)
        try:
            self.proven = True
            yield Streamed(head.status_code, _headers(head), self._chunks(line, idle))
        finally:
            self._put_back(line)

    async def hijack(
        self, path: str, *, payload: Any = None, timeout: float = 60.0
    ) -> tuple[Response, asyncio.Transport | None, bytes]:
        """POST and take the connection over: the transport and the bytes that came with the head.

        The transport is ``None`` for an answer that is no upgrade: the response says why. It comes
        paused: give it a protocol (``set_protocol``), then ``resume_reading``.
        """
        upgrade = {"Connection": "Upgrade", "Upgrade": "tcp"}
        request = self._request("POST", path, None, payload, None, upgrade, again=False)
        line = await self._line(fresh=True)
        wire, parser = line.wire, line.parser
        kept = False

        async def exchange() -> tuple[Response, asyncio.Transport | None, bytes]:
            await self._send(line, request)
            head = await self._head(line, None)
            # Docker answers 101; engines behind old proxies, and old Podmans, 200 and raw bytes.
            raw = head.status_code == 101 or (
                head.status_code == 200 and "raw-stream" in _headers(head).get("content-type", "")
            )
            if not raw:
                chunks = self._chunks(line, None)
                return await Streamed(head.status_code, _headers(head), chunks).whole(), None, b""
            assert wire.transport is not None
            wire.transport.pause_reading()
            return (
                Response(head.status_code, _headers(head)),
                wire.transport,
                _unparsed(parser, head) + _drain(wire),
            )

        try:
            async with asyncio.timeout(timeout):
                result = await exchange()
            kept = result[1] is not None
            return result
        except TimeoutError:
            raise self.lost(f"no answer to POST {path} within {timeout:g} s") from None
        except (OSError, h11.RemoteProtocolError) as error:
            raise self.lost(str(error) or type(error).__name__) from error
        finally:
            if not kept:
                wire.close()

    # -- connecting ---------------------------------------------------------------------------

    async def dial(self) -> Wire:
        """A connection of its own, for what is no request; whoever asked for it closes it.

        One that a request has just used will do: that saves the handshake of another.
        """
        return (await self._line(fresh=False, repeatable=False)).wire

    async def identify(self) -> Headers:
        """The headers that say who we are, for what is no request."""
        return await self._access.headers() if self._access is not None else []

    async def renew(self) -> bool:
        """After a 401: whether asking again has a point."""
        return self._access is not None and await self._access.renew()

    def _open(self, where: Endpoint, tls: ssl.SSLContext | None) -> Awaitable[Wire]:
        """A new connection, by this machine's network; another's is a subclass's to know."""
        return dial(where, tls, self._server_name, self._proxy)

    async def _line(self, *, fresh: bool, repeatable: bool = True) -> _Line:
        """A connection that was kept, or a new one."""
        where = self.endpoint
        tls = where.tls if self._access is None else await self._access.tls()
        now = asyncio.get_running_loop().time()
        while self._kept and not fresh:
            line = self._kept.pop()  # the one used last
            age = now - line.used
            usable = line.tls is tls and line.wire.idle and age < (_KEPT if repeatable else _FRESH)
            if usable:
                return line
            line.wire.close()
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                wire = await self._open(where, tls)
        except PermissionError as error:
            if where.path is None:  # a firewall's answer
                raise self.lost(str(error), sent=False) from error
            raise NoEngine(forbidden(where.path, self.name)) from error
        except ssl.SSLError as error:
            why = getattr(error, "verify_message", "") or error
            raise self.lost(f"TLS failed ({why})", self._advice.tls, sent=False) from error
        except (FileNotFoundError, ConnectionRefusedError) as error:
            missing = isinstance(error, FileNotFoundError)
            cause = "there is no such socket" if missing else "nothing listens there"
            raise self.lost(cause, sent=False) from error
        except (TimeoutError, OSError) as error:
            cause = str(error) or f"no connection in {_CONNECT_TIMEOUT:g} s"
            raise self.lost(cause, sent=False) from error
        if not self.peer and where.path is not None and wire.transport is not None:
            self.peer = peer(wire.transport)
        return _Line(wire, tls)

    def _put_back(self, line: _Line) -> None:
        """Keep a connection for the next request, if its exchange is over and it is still good."""
        parser = line.parser
        over = parser.our_state is h11.DONE and parser.their_state is h11.DONE
        if not over or not line.wire.idle or len(self._kept) >= self._keep:
            line.wire.close()
            return
        parser.start_next_cycle()
        line.used = asyncio.get_running_loop().time()
        self._kept.append(line)

    def lost(self, cause: str, remedy: str = "", *, sent: bool = True) -> LocationError:
        """The error that says that the server is out of reach."""
        where = f"{self.name} at {self.endpoint.address}"
        if self.proven:
            text = f"Cannot go on with {where}: {cause}. {remedy or self._advice.again}"
            return EngineGone(text, sent=sent)
        text = f"Cannot reach {where}: {cause}. {remedy or self._advice.start}"
        return NoEngine(text, sent=sent)

    # -- one exchange -------------------------------------------------------------------------

    def _request(
        self,
        method: str,
        path: str,
        query: Query | None,
        payload: Any,
        body: Body | None,
        extra: Mapping[str, str],
        again: bool,
    ) -> _Request:
        if payload is not None:
            body = json.dumps(payload).encode()
        head = {"Host": self.host, "User-Agent": "tfnz-notebook"}
        if "Connection" not in extra and not self._keep:
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
        return _Request(method, target, head, body, again)

    async def _answered(
        self, request: _Request, idle: float | None
    ) -> tuple[_Line, h11.Response | h11.InformationalResponse]:
        """Send it, and read the head of the answer."""
        fresh = renewed = False
        again = request.repeatable and _whole(request.body)
        while True:
            line = await self._line(fresh=fresh, repeatable=again)
            try:
                await self._send(line, request)
                head = await self._head(line, _UNSURE if line.used and again else idle)
                refused = head.status_code == 401 and _whole(request.body) and not renewed
                if not refused or not await self.renew():
                    return line, head
                renewed = True
                line.wire.close()
            except (OSError, h11.RemoteProtocolError) as error:
                line.wire.close()
                if line.used and again:
                    fresh = True  # it was closed while nobody used it, or is half open
                    continue
                raise self.lost(str(error) or type(error).__name__) from error
            except BaseException:
                line.wire.close()
                raise

    async def _send(self, line: _Line, request: _Request) -> None:
        wire, parser, body = line.wire, line.parser, request.body
        headers = [*request.headers.items(), *await self.identify()]
        asked = h11.Request(method=request.method, target=request.target, headers=headers)
        first = parser.send(asked) or b""
        if body is None or isinstance(body, bytes):
            if body:
                first += parser.send(h11.Data(data=body)) or b""
            await wire.write(first + (parser.send(h11.EndOfMessage()) or b""))
            return
        await wire.write(first)
        try:
            async for chunk in body:
                if chunk:
                    await wire.write(parser.send(h11.Data(data=chunk)) or b"")
            await wire.write(parser.send(h11.EndOfMessage()) or b"")
        except ConnectionError:
            pass  # it wants no more of it: what it has answered already says why

    async def _event(self, line: _Line, idle: float | None) -> Any:
        while True:
            event = line.parser.next_event()
            if event is not h11.NEED_DATA:
                return event
            line.parser.receive_data(await _within(line.wire.read(), idle))

    async def _head(
        self, line: _Line, idle: float | None
    ) -> h11.Response | h11.InformationalResponse:
        while True:
            event = await self._event(line, idle)
            if isinstance(event, h11.Response):
                return event
            if isinstance(event, h11.InformationalResponse):
                if event.status_code == 101:
                    return event
                continue  # 100 Continue and its kind
            raise h11.RemoteProtocolError("it closed the connection before answering")

    async def _chunks(self, line: _Line, idle: float | None) -> AsyncIterator[bytes]:
        try:
            while True:
                event = await self._event(line, idle)
                if isinstance(event, h11.Data):
                    yield bytes(event.data)
                else:
                    return
        except (OSError, h11.RemoteProtocolError) as error:
            raise self.lost(str(error) or type(error).__name__) from error


async def _within(reading: Any, idle: float | None) -> bytes:
    try:
        async with asyncio.timeout(idle):
            data: bytes = await reading
    except TimeoutError:
        if idle is None:
            raise  # the connection's own end: the kernel gave up
        raise TimeoutError(f"it was silent for {idle:g} s") from None
    return data


def _whole(body: Body | None) -> bool:
    """It can be sent again."""
    return body is None or isinstance(body, bytes)


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
