"""A tunnel's card, and ``%tf_open``: the same with a preview of what answers there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tfnz_notebook._base.text import one_line
from tfnz_notebook._link.ports.dial import accepts
from tfnz_notebook.errors import PortClosed, TfnzError, TunnelGone
from tfnz_notebook.widgets.explorer import facts
from tfnz_notebook.widgets.explorer.ledger import Interest
from tfnz_notebook.widgets.explorer.watched import Action, Info, Watched

if TYPE_CHECKING:
    from tfnz_notebook._link.views.desk import View
    from tfnz_notebook.tunnel import Tunnel


class TunnelCard(Watched):
    """Of one tunnel; ``path`` is what the link and the preview ask for."""

    shows = "tunnel"
    period = 2.0

    def __init__(self, tunnel: Tunnel, *, preview: bool = False, path: str = "") -> None:
        container = tunnel.container
        name = f"tunnel/{container.id}/{tunnel.dest_port}/{id(tunnel):x}"
        subject = f"{name}/preview" if preview else name
        super().__init__(container.location, subject, repr(tunnel))
        self.tunnel = tunnel
        self._preview = preview
        self._path = path.removeprefix("/")
        # The port and the address stay known when the tunnel is not open any more.
        self._was = {"local": tunnel.port, "url": tunnel.url(self._path)}
        self._listening: bool | None = None

    def interest(self) -> Interest:
        """Its container as such."""
        return Interest(frozenset({self.tunnel.container.id}))

    def facts(self) -> Info:
        """Its two ends."""
        container = facts.container(facts.told_of(self.tunnel.container))
        return {
            "port": self.tunnel.dest_port,
            **self._was,
            "through": self.tunnel._through,
            "path": one_line(self._path, 1000),
            "container": container["title"],
            "image": container["image"],
            "state": container["state"],
            "open": self._open_still(),
            "connections": self.tunnel.connections,
            "listening": self._listening,
            "preview": self._preview,
        }

    def known(self) -> Info:
        """All of it is known here."""
        self._last = self._info()
        return self._last

    def done(self) -> bool:
        """Whether it was closed."""
        return super().done() or not self._open_still()

    async def over(self) -> None:
        """Return once it was closed, of which nobody tells."""
        ended = asyncio.ensure_future(super().over())
        try:
            while not self.done():
                await asyncio.wait({ended}, timeout=self.period)
        finally:
            ended.cancel()

    def actions(self) -> Mapping[str, Action]:
        """``close``."""
        return {"close": self._close}

    async def gather(self) -> None:
        """Knock until somebody listens there; after that, servers are left in peace."""
        container = self.tunnel.container
        if self._listening or not self._open_still() or container.state != "running":
            return
        try:
            await accepts(self.ledger.link, container.id, self.tunnel.dest_port)
            self._listening = True
        except PortClosed:
            self._listening = False
        except TfnzError:
            pass  # it is not there to be asked; the card says so

    async def _close(self, view: View, given: Mapping[str, Any]) -> None:  # noqa: ARG002
        await self.tunnel.aio.destroy()

    def _open_still(self) -> bool:
        try:
            return self.tunnel.port > 0
        except TunnelGone:
            return False
