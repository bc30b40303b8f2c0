"""The websocket of the direct path: who may open it, and what may be said on it.

Whoever may talk to kernels may open it (the server's own cookies and tokens, its authorizer, its
rules for origins): what it carries would otherwise go through a kernel's websocket. What it is good
for, the ticket in the first message says.

Nothing waits here without a bound: a page is sent what it gave credit for, and one that gives
credit but does not read is closed. Neither tickets nor what is typed are ever logged.
"""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from jupyter_server.auth.decorator import authorized, ws_authenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from tfnz_notebook._wire import view as wire
from tfnz_notebook.direct.bridge import Bridge
from tfnz_notebook.errors import AgentError, LinkClosed, Misuse, ProtocolError, TfnzError

#: Seconds for the first message.
HELLO: Final = 5.0
#: Bytes that may wait for a page to read them.
WAITING: Final = 8 << 20

#: Why the socket was closed, as RFC 6455 lets applications number it. Refused is for good, after
#: the others another carrier, or a later attempt, may work.
REFUSED, ABSENT, SLOW, MALFORMED = 4403, 4404, 4408, 4400
FAILED: Final = 1011
_MOST_REASON: Final = 123  # bytes, RFC 6455, 5.5

_PROCESS: Final = re.compile(r"[0-9a-f]{32}")
_TICKET: Final = re.compile(r"[0-9a-f]{64}")


class ViewsSocket(WebSocketMixin, WebSocketHandler, JupyterHandler):
    """One view's websocket; VIEWS.md says what is spoken on it."""

    auth_resource = "kernels"

    _bridge: Bridge | None = None
    _late: asyncio.TimerHandle | None = None
    _waiting = 0
    _over = False

    @ws_authenticated
    @authorized(action="execute")  # type: ignore[untyped-decorator]
    async def get(self, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
        """Become a websocket, for a user who may execute code in kernels; 403 for others."""
        await super().get(*args, **kwargs)

    @property
    def max_message_size(self) -> int:
        """Bytes; the connection of a page that sends more is closed."""
        return wire.MAX_MESSAGE

    def get_compression_options(self) -> None:
        """Do not compress: it would cost a millisecond a keystroke."""

    # -- from the page

    def open(self, *args: Any, **kwargs: Any) -> None:
        """The websocket is there; now it has to say hello."""
        super().open(*args, **kwargs)  # begins to ping
        # A keystroke's echo must not wait for the acknowledgement of the one before.
        self.set_nodelay(True)
        self._late = asyncio.get_running_loop().call_later(
            HELLO, self._close, REFUSED, f"no hello within {HELLO:.0f} s"
        )

    async def on_message(self, message: str | bytes) -> None:
        """One message. Tornado reads the next when this is done."""
        # Whoever types is not idle, and who watches gives credit: nobody may cull their server.
        self.settings.setdefault("last_activity_times", {})["tfnz_views"] = datetime.now(UTC)
        if self._over:
            return
        try:
            if self._bridge is None:
                await self._hello(_binary(message))
            else:
                self._bridge.received(_binary(message))
        except ProtocolError as error:
            self._close(REFUSED if self._bridge is None else MALFORMED, str(error))

    async def _hello(self, message: bytes) -> None:
        self._on_time()
        head = wire.check(wire.unpack(message)[0])
        if head["t"] != "hello" or head["version"] != wire.VERSION:
            raise ProtocolError(f"Not the hello of version {wire.VERSION}.")
        process, ticket = head["process"], head["ticket"]
        if not (_PROCESS.fullmatch(process) and _TICKET.fullmatch(ticket)):
            raise ProtocolError("A ticket that is none.")
        try:
            self._bridge = Bridge(head["agent"], process, ticket, self._deliver, self._lost)
            await self._bridge.open()
        except (AgentError, Misuse) as error:
            self._close(REFUSED, str(error))
        except LinkClosed as error:
            self._close(ABSENT, str(error))
        except TfnzError as error:
            self._close(FAILED, str(error))

    def _on_time(self) -> None:
        if self._late is not None:
            self._late.cancel()

    def on_close(self) -> None:
        """The page went, or was closed."""
        self._on_time()
        if self._bridge is not None:
            self._bridge.close()
        super().on_close()

    # -- to the page

    def _deliver(self, message: bytes) -> None:
        if self._waiting > WAITING:
            self._close(SLOW, "the page does not read what it asks for")
        if self._over:
            return
        try:
            written = asyncio.ensure_future(self.write_message(message, binary=True))
        except WebSocketClosedError:
            return
        self._waiting += len(message)
        written.add_done_callback(partial(self._written, len(message)))

    def _written(self, size: int, done: asyncio.Future[None]) -> None:
        self._waiting -= size
        if not done.cancelled():
            done.exception()  # a page that went: on_close hears of it

    def _lost(self) -> None:
        self._close(ABSENT, "the agent is gone")

    def _close(self, code: int, reason: str) -> None:
        self._over = True
        # Cut between characters; a reason over the limit would be an error of ours.
        short = reason.encode("utf-8", "replace")[:_MOST_REASON].decode("utf-8", "ignore")
        self.close(code, short)


def _binary(message: str | bytes) -> bytes:
    if isinstance(message, str):
        raise ProtocolError("Text, where all messages are binary.")
    return message
