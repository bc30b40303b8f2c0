"""A container's card: what it is and does, its processes, what can be done to it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tfnz_notebook.widgets.explorer import facts
from tfnz_notebook.widgets.explorer.control import Control
from tfnz_notebook.widgets.explorer.ledger import Interest
from tfnz_notebook.widgets.explorer.watched import Action, Info, Watched

if TYPE_CHECKING:
    from tfnz_notebook._link.views.desk import View
    from tfnz_notebook.container import Container


class ContainerCard(Watched):
    """Of one container. ``raises``: why it does not become ready, its cell says right below."""

    shows = "container"

    def __init__(self, container: Container, *, raises: bool = False) -> None:
        super().__init__(container.location, f"container/{container.id}", repr(container))
        self.container = container
        self._control = Control(self.ledger, container.id)
        self._raises = raises
        self._before: Info | None = None
        self._opening = asyncio.Lock()

    def interest(self) -> Interest:
        """Itself, and what it uses."""
        return Interest(frozenset({self.container.id}), usage=True)

    def facts(self) -> Info:
        """See ``facts.container``."""
        each = self.container
        meter = self.ledger.meters.get(each.id)
        usage = meter.latest if meter else None
        ran = facts.ran_in(each, self.ledger)
        told, ended = facts.told_of(each), self.ledger.ended(each.id)
        drawn = facts.container(told, ran, usage, each.all_tunnels(), ended)
        before, over = self._before, each.state in facts.OVER
        if before is not None and over:
            drawn = facts.left(drawn, before)
        elif before is not None and each.state == "exited":
            drawn = {**drawn, "usage": before["usage"]}
        if each.state in facts.MEASURED:
            self._raises = False  # what befalls it later it says itself
        if self._raises:
            log = drawn["log"] if drawn["log"] not in drawn["error"] else ""
            drawn = {**drawn, "error": "", "log": log}
        if not over:
            self._before = drawn
        return {**drawn, "engine": self.location.engine}

    def known(self) -> Info:
        """It hears of itself even while nobody looks."""
        self._last = self._info()
        return self._last

    def done(self) -> bool:
        """Whether it will not change any more."""
        return super().done() or self.container.state in facts.OVER

    def actions(self) -> Mapping[str, Action]:
        """Those of ``Control``, and ``open {port}``."""
        return {**self._control.actions(), "open": self._open_port}

    async def _open_port(self, view: View, given: Mapping[str, Any]) -> None:  # noqa: ARG002
        port = given.get("port")
        async with self._opening:
            if all(each.dest_port != port for each in self.container.all_tunnels()):
                await self.container.aio.attach_tunnel(port)  # type: ignore[arg-type]  # it looks
