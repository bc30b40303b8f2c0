"""What a container serves to pages, behind the Jupyter server's own login.

``<base>/tfnz/port/AGENT/CONTAINER/PORT/TICKET?to=/path`` is asked for with the server's cookies, by
a link in a notebook, and leads on to ``<base>/tfnz/page/NAME/path``, which is the page, in a
sandbox without the server's origin; see ``passages`` for the name, ``rewriting`` for what passes.

A connection a request, and no end of a body that is not the container's: what is cut there is cut
here. A websocket, once the container has taken it, is bytes both ways.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

import h11
from jupyter_server.auth.decorator import allow_unauthenticated, authorized
from jupyter_server.base.handlers import JupyterHandler
from tornado.iostream import IOStream, StreamClosedError
from tornado.web import RequestHandler, authenticated, stream_request_body

from tfnz_notebook.direct.passages import Connection, Passage, Passages, ticket_for
from tfnz_notebook.direct.rewriting import OURS, Headers, allowed, shared
from tfnz_notebook.errors import (
    AgentError,
    ContainerGone,
    Misuse,
    ProcessGone,
    TfnzError,
    TunnelError,
)

#: Bytes of an answer's head, of one read of a browser's socket, and of a request's body.
HEAD: Final = 64 << 10
PIECE: Final = 64 << 10
LARGEST: Final = 1 << 40
#: What a path in a query may hold as it is.
_SAFE: Final = "/?&=%:;@!$'()*+,~-._[]"


class PortHandler(JupyterHandler):
    """From a ticket to its page, for who may execute code in kernels."""

    auth_resource = "kernels"

    def initialize(self, passages: Passages) -> None:
        """``passages``: the server's."""
        self._passages = passages

    def _log(self) -> None:
        """Log nothing: the address is a password."""

    @authenticated
    @authorized(action="execute")  # type: ignore[untyped-decorator]
    async def get(self, agent: str, container: str, port: str, ticket: str) -> None:
        """Lead on to the page."""
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cache-Control", "no-store")
        try:
            passage = await self._enter(agent, container, int(port), ticket)
        except TfnzError as error:
            self.set_status(_status(error))
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.finish(f"{error}\n")
            return
        path = quote(self.get_query_argument("to", ""), safe=_SAFE).lstrip("/")
        self.redirect(f"{passage.prefix}/{path}")

    async def _enter(self, agent: str, container: str, port: int, ticket: str) -> Passage:
        return await self._passages.enter(agent, container, port, ticket)


class WrittenHandler(PortHandler):
    """The same by the ticket of a process, for an address that it wrote."""

    async def _enter(self, agent: str, process: str, port: int, ticket: str) -> Passage:
        container, found = await ticket_for(agent, process, port, ticket)
        return await self._passages.enter(agent, container, port, found)


@stream_request_body
class PageHandler(RequestHandler):
    """One request of a page. It is answered by the container, or with a sentence."""

    _passage: Passage | None = None
    _connection: Connection | None = None
    _http: h11.Connection

    def initialize(self, passages: Passages) -> None:
        """``passages``: the server's."""
        self._passages = passages

    def _log(self) -> None:
        """Log nothing: the address is a password."""

    def set_default_headers(self) -> None:
        """What every answer has, the server's own refusals included."""
        self._say([])

    def compute_etag(self) -> None:
        """Leave that to the container."""

    def check_xsrf_cookie(self) -> None:
        """Need none: who asks has no cookie of the server's, and needs the address."""

    def _say(self, headers: Headers) -> None:
        said = self._passage.rewriting.outward(headers) if self._passage is not None else list(OURS)
        said += shared(self.request.headers.get("Origin"))
        for name in ("Server", "Content-Type", "Date", *dict(said)):
            self.clear_header(name)
        for name, value in said:
            self.add_header(name, value)

    def _refuse(self, status: int, text: str) -> None:
        self.clear()
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{text}\n")

    async def prepare(self) -> None:
        """Before the body: who asks, and for what; then pass on the head."""
        asked = self.request
        self.request.connection.set_max_body_size(LARGEST)  # type: ignore[union-attr]
        self.settings.setdefault("last_activity_times", {})["tfnz_pages"] = datetime.now(UTC)
        self._passage = self._passages.named(self.path_kwargs["name"])
        origin = asked.headers.get("Origin")
        if self._passage is None:
            self._refuse(
                404,
                "Cannot open this page: its address is not good any more. Open it "
                "again from its notebook.",
            )
        elif not allowed(origin, asked.host) or (self._upgrades and origin is None):
            self._refuse(403, "Cannot open this page from another one.")
        elif asked.headers.get("Service-Worker"):
            self._refuse(403, "Cannot have a service worker here: it would be of the whole server.")
        elif asked.method == "OPTIONS" and "Access-Control-Request-Method" in asked.headers:
            self._preflight()
        else:
            await self._begin(self._passage)

    @property
    def _upgrades(self) -> bool:
        return self.request.headers.get("Upgrade", "").lower() == "websocket"

    def _preflight(self) -> None:
        asked = self.request.headers
        self.set_status(204)
        self.set_header("Access-Control-Allow-Methods", asked["Access-Control-Request-Method"])
        if "Access-Control-Request-Headers" in asked:
            self.set_header("Access-Control-Allow-Headers", asked["Access-Control-Request-Headers"])
        self.finish()

    async def _begin(self, passage: Passage) -> None:
        asked = self.request
        try:
            self._connection = await passage.connect()
        except TfnzError as error:
            self._refuse(_status(error), str(error))
            return
        said = passage.rewriting.inward(asked.headers.get_all())
        if self._upgrades:
            said += [("Connection", "Upgrade"), ("Upgrade", "websocket")]
        else:
            said.append(("Connection", "close"))
        if "chunked" in asked.headers.get("Transfer-Encoding", "").lower():
            said.append(("Transfer-Encoding", "chunked"))
        # As it came, but for where it is here: what is quoted in it stays so.
        target = "/" + (asked.uri or "").removeprefix(passage.prefix).removeprefix("/")
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD)
        try:
            await self._send(h11.Request(method=asked.method or "", target=target, headers=said))
        except h11.LocalProtocolError:
            self._refuse(400, "Cannot ask that: it is not HTTP.")

    async def _send(self, event: Any) -> None:
        data = self._http.send(event)
        assert self._connection is not None
        try:
            await self._connection.write(data or b"")
        except TunnelError:
            pass  # it may have answered all the same, and that is read

    async def data_received(self, chunk: bytes) -> None:
        """A piece of the body; the next is read once the container has taken it."""
        if not self._finished:
            await self._send(h11.Data(data=chunk))

    def on_connection_close(self) -> None:
        """The browser has gone."""
        self._let_go()

    def on_finish(self) -> None:
        """It is answered."""
        self._let_go()

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()

    @allow_unauthenticated
    async def get(self, **_named: str) -> None:
        """The body has been sent: pass on what comes back."""
        assert self._connection is not None
        try:
            await self._send(h11.EndOfMessage())
            await self._answer(self._connection)
        except (h11.RemoteProtocolError, TunnelError) as error:
            if self._headers_written:
                self.request.connection.stream.close()  # type: ignore[union-attr]  # a cut is no end
            else:
                self._refuse(502, f"Cannot show this page: what answers there broke off ({error}).")
        except StreamClosedError:
            pass  # the browser went

    head = post = put = patch = delete = options = get

    async def _answer(self, connection: Connection) -> None:
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await connection.read())
            elif isinstance(event, h11.InformationalResponse):
                if event.status_code == 101:
                    await self._join(connection, event)
                    return
            elif isinstance(event, h11.Response):
                self.set_status(event.status_code, event.reason.decode("latin-1") or None)
                self._say([(n.decode("latin-1"), v.decode("latin-1")) for n, v in event.headers])
            elif isinstance(event, h11.Data):
                self.write(bytes(event.data))
                await self.flush()
            else:
                self.finish()
                return

    async def _join(self, connection: Connection, event: h11.InformationalResponse) -> None:
        """From here on it is bytes, both ways."""
        assert self._passage is not None
        said = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in event.headers]
        lines = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket"]
        lines += [f"{name}: {value}" for name, value in self._passage.rewriting.outward(said)]
        early = self._http.trailing_data[0]
        browser = self.detach()
        try:
            await browser.write("\r\n".join([*lines, "", ""]).encode("latin-1") + early)
            down = asyncio.create_task(_down(connection, browser))
            up = asyncio.create_task(_up(browser, connection))
            await asyncio.wait({down, up}, return_when=asyncio.FIRST_COMPLETED)
            for each in (down, up):
                each.cancel()
            await asyncio.gather(down, up, return_exceptions=True)
        except StreamClosedError:
            pass
        finally:
            connection.close()
            browser.close()


async def _down(connection: Connection, browser: IOStream) -> None:
    while piece := await connection.read():
        await browser.write(piece)


async def _up(browser: IOStream, connection: Connection) -> None:
    while True:
        await connection.write(await browser.read_bytes(PIECE, partial=True))


def _status(error: TfnzError) -> int:
    """As which an HTTP answer says it."""
    if isinstance(error, AgentError | Misuse):
        return 403
    return 404 if isinstance(error, ContainerGone | ProcessGone) else 502
