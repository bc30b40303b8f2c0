"""A container's card: what it is and does, its processes, what can be done to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tfnz_notebook.widgets.explorer import facts
from tfnz_notebook.widgets.explorer.control import Control
from tfnz_notebook.widgets.explorer.ledger import Interest
from tfnz_notebook.widgets.explorer.tail import Tail
from tfnz_notebook.widgets.explorer.watched import Action, Info, Watched

if TYPE_CHECKING:
    from tfnz_notebook._link.views.desk import View
    from tfnz_notebook.container import Container


class ContainerCard(Watched):
    """Of one container."""

    shows = "container"

    def __init__(self, container: Container) -> None:
        super().__init__(container.location, f"container/{container.id}", repr(container))
        self.container = container
        self._control = Control(self.ledger, container.id)
        self._reading: set[str] = set()  # the views that show the log
        self._tail: Tail | None = None

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
        return {
            **facts.container(told, ran, usage, each.all_tunnels(), ended),
            "engine": self.location.engine,
        }

    def known(self) -> Info:
        """It hears of itself even while nobody looks."""
        self._last = self._info()
        return self._last

    def done(self) -> bool:
        """Whether it will not change any more."""
        return super().done() or self.container.state in facts.OVER

    def actions(self) -> Mapping[str, Action]:
        """Those of ``Control``, and ``logs {on}``."""
        return {**self._control.actions(), "logs": self._logs}

    # -- the log in the card

    def extras(self, view: View) -> Info:
        """The end of the log for views that show it."""
        tail = self._tail
        return {"tail": tail.said} if tail is not None and view.id in self._reading else {}

    def closed(self, view: View) -> None:
        """It looks no more, at the log neither."""
        self._show_log(view, False)
        super().closed(view)

    async def _logs(self, view: View, given: Mapping[str, Any]) -> None:
        self._show_log(view, given.get("on") is True and view.open)

    def _show_log(self, view: View, on: bool) -> None:
        (self._reading.add if on else self._reading.discard)(view.id)
        if self._reading and self._tail is None:
            self._tail = Tail(self.ledger.link, self.container.id, self.changed)
        elif not self._reading and self._tail is not None:
            self._tail.close()
            self._tail = None
