"""A container's card: what it is and does, its processes, what can be done to it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from tfnz_notebook._base.text import last_words
from tfnz_notebook.errors import ProcessGone, TfnzError
from tfnz_notebook.widgets.explorer import facts
from tfnz_notebook.widgets.explorer.control import Control
from tfnz_notebook.widgets.explorer.ledger import Interest
from tfnz_notebook.widgets.explorer.watched import Action, Info, Watched

if TYPE_CHECKING:
    from tfnz_notebook._link.views.desk import View
    from tfnz_notebook.container import Container

#: Bytes at the end of the main process's output that a card shows, and seconds between two looks.
TAIL: Final = 16 << 10
LOOK: Final = 1.0


class ContainerCard(Watched):
    """Of one container."""

    shows = "container"

    def __init__(self, container: Container) -> None:
        super().__init__(container.location, f"container/{container.id}", repr(container))
        self.container = container
        self._control = Control(self.ledger, container.id)
        self._reading: set[str] = set()  # the views that show the log
        self._reader: asyncio.Task[None] | None = None
        self._log: Info | None = None

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
        return {"tail": self._log} if view.id in self._reading else {}

    def closed(self, view: View) -> None:
        """It looks no more, at the log neither."""
        self._show_log(view, False)
        super().closed(view)

    async def _logs(self, view: View, given: Mapping[str, Any]) -> None:
        self._show_log(view, given.get("on") is True and view.open)

    def _show_log(self, view: View, on: bool) -> None:
        (self._reading.add if on else self._reading.discard)(view.id)
        if self._reading and self._reader is None:
            self._reader = asyncio.get_running_loop().create_task(self._read_on())
        elif not self._reading and self._reader is not None:
            self._reader.cancel()
            self._reader = self._log = None

    async def _read_on(self) -> None:
        while True:
            try:
                log = {"out": await self._read(1), "err": await self._read(2)}
            except ProcessGone:  # it sleeps: there is none yet
                log = {"out": "", "err": ""}
            except TfnzError:
                log = self._log or {"out": "", "err": ""}
            if log != self._log:
                self._log = log
                self.changed()
            await asyncio.sleep(LOOK)

    async def _read(self, stream: int) -> str:
        """The last lines of a stream."""
        link, ident = self.ledger.link, self.container.id
        body = {"process": ident, "stream": stream, "offset": 0, "limit": 0}
        head = int((await link.request("log.read", body)).body["head"])
        body |= {"offset": max(0, head - TAIL), "limit": TAIL}
        said = (await link.request("log.read", body)).payload or b""
        if head > TAIL:  # it begins within a line, perhaps within a character
            said = said.partition(b"\n")[2] or said
        return last_words(said, lines=200, most=TAIL)
