"""Plots in a page: what serves their views, and what stays in the notebook.

A view gets its window's rows, then new ones at most twenty times a second. It says ``look`` while
somebody can see it, which lasts for two minutes and is renewed; a tab in the background, a view
scrolled away, a page that was closed get nothing, and cost nothing. When one looks again it goes on
where it was, or, if that is too far back, anew from the window's first row.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any, Final

from tfnz_notebook._link.views.desk import View
from tfnz_notebook._wire.view import Head
from tfnz_notebook.errors import Misuse
from tfnz_notebook.plots.model import Plot
from tfnz_notebook.widgets import display
from tfnz_notebook.widgets.display import Shown, Still
from tfnz_notebook.widgets.saved import frozen
from tfnz_notebook.widgets.saved.ansi import Span, Style
from tfnz_notebook.widgets.saved.frozen import Row
from tfnz_notebook.widgets.status import Status

#: Seconds between messages of rows, and between those of the state.
PAUSE, STATE_PAUSE = 0.05, 0.25
#: Seconds that rows are sent after the last ``look``.
LOOK: Final = 120.0
#: Bytes of one message of rows, and of all that a view is sent at a time.
MESSAGE, SNAPSHOT = 128 << 10, 2 << 20


class _Watch:
    """One view: the rows it has, and until when it looks."""

    __slots__ = ("begin", "sent", "stale", "until", "width")

    def __init__(self, begin: int, until: float) -> None:
        self.begin = self.sent = begin
        self.until = until
        self.stale = False
        self.width = 0


class PlotSource:
    """Serves the views of a plot; on the I/O loop."""

    def __init__(self, plot: Plot) -> None:
        self._plot = plot
        self._watches: dict[View, _Watch] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._flushed = self._stated = 0.0
        self._skipped = plot.skipped
        plot.listen(self._changed)

    # -- what views say

    def opened(self, view: View, head: Head) -> None:
        """Its state, and then the rows of its window."""
        del head
        plot = self._plot
        watch = self._watches[view] = _Watch(self._begin(), self._now() + LOOK)
        watch.width = plot.table.width
        view.send("opened", streams=[], info=plot.info())
        self._rows(view, watch)

    def message(self, view: View, head: Head, payload: bytes) -> None:
        """``do``: ``look``, ``window``, ``columns``. Anything else is for others."""
        del payload
        if head["t"] != "do" or view not in self._watches:
            return
        try:
            self._do(self._watches[view], str(head["action"]), head.get("args") or {})
        except Misuse as error:
            view.send("error", text=str(error), doing=str(head["action"])[:32])
        self._schedule()

    def closed(self, view: View) -> None:
        """It wants no more."""
        self._watches.pop(view, None)

    def _do(self, watch: _Watch, action: str, args: Head) -> None:
        match action:
            case "look":
                self._look(watch, args.get("seconds"))
            case "window":
                self._plot.window = args.get("seconds")
            case "columns":
                names = args.get("names")
                if names is not None and not isinstance(names, list):
                    raise Misuse("Cannot show these columns: that is no list of names.")
                self._plot.select(names)
            case _:
                raise Misuse(f"Cannot do {action[:32]!r}: a plot has look, window and columns.")

    def _look(self, watch: _Watch, seconds: object) -> None:
        if not isinstance(seconds, int | float) or not math.isfinite(seconds):
            raise Misuse("Cannot look: seconds is no number.")
        watch.until = self._now() + min(float(seconds), LOOK)

    def _widen(self) -> None:
        """A longer window: views that have less begin anew."""
        begin = self._begin()
        for watch in self._watches.values():
            if begin < watch.begin:
                watch.begin = watch.sent = begin

    def _begin(self) -> int:
        table = self._plot.table
        return max(self._plot.begin(), table.end - SNAPSHOT // (8 * table.width))

    # -- what they are sent

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _changed(self, state: bool) -> None:
        if state or self._skipped != self._plot.skipped or not self._plot.table.end:
            self._skipped = self._plot.skipped
            for watch in self._watches.values():
                watch.stale = True
        if state:
            self._widen()
        if not self._plot.replaying:
            self._schedule()

    def _schedule(self) -> None:
        if self._timer is None and any(self._due(watch) for watch in self._watches.values()):
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._flushed + PAUSE), self._flush)

    def _due(self, watch: _Watch) -> bool:
        return watch.until > self._now() and (watch.stale or watch.sent < self._plot.table.end)

    def _flush(self) -> None:
        self._timer = None
        now = self._flushed = self._now()
        said = now - self._stated >= STATE_PAUSE
        info = None
        for view, watch in list(self._watches.items()):
            if not self._due(watch):
                continue
            # A row of more numbers than before cannot be read without the names of the new ones.
            if (watch.stale and said) or watch.width != self._plot.table.width:
                info = info or self._plot.info()
                watch.stale, watch.width, self._stated = False, self._plot.table.width, now
                view.send("state", info=info)
            self._rows(view, watch)
        self._schedule()

    def _rows(self, view: View, watch: _Watch) -> None:
        plot = self._plot
        end = plot.table.end
        if plot.replaying or watch.sent >= end:
            return
        lag = end - watch.sent
        if lag > SNAPSHOT // (8 * plot.table.width) or watch.sent < plot.table.first:
            watch.begin = watch.sent = max(self._begin(), plot.table.first)
        while watch.sent < end and view.open:
            first, width, cells = plot.table.stretch(
                watch.sent, min(end, watch.sent + MESSAGE // (8 * plot.table.width))
            )
            if not cells:
                break
            view.send("rows", cells, **{"from": first, "columns": width})
            watch.sent = first + len(cells) // (8 * width)


class PlotPicture:
    """A plot, for ``display.show``."""

    kind = "plot"

    def __init__(self, plot: Plot) -> None:
        self.plot = plot
        self.subject = f"plot:{plot.id}"
        self.options: dict[str, Any] = {}
        self.text = plot.text
        if plot.source is None:
            plot.source = PlotSource(plot)
        self.source = plot.source

    async def direct(self) -> None:
        """It lives in the kernel: there is no other way to it."""
        return

    async def still(self, *, final: bool) -> Still:
        """Its picture: of its window, at the end of all, unless somebody chose a window.

        Without rows there is none, but words.
        """
        if empty := self.plot.empty:
            return Still(f"{self.plot.title}: {empty}", self._words(*empty.split("\n", 1)))
        whole = final and not self.plot.chosen
        draw = asyncio.get_running_loop().run_in_executor
        png = await draw(None, lambda: self.plot.picture(whole=whole))
        return Still(self.plot.text, png=png)

    def _words(self, said: str, wrote: str = "") -> str:
        """A sentence, and below it what came instead of rows, as output is kept."""
        lines = [Row([Span(said, Style(dim=True))]), *frozen.rows([(1, wrote.encode())])]
        ended = Status("bad", "ended", "0 rows")
        status = ended if self.plot.ended else Status("starting", "waiting when last seen", "")
        return frozen.markup(lines, status=status, title=self.plot.title)

    async def over(self) -> None:
        """Until nothing more comes."""
        await self.plot.over()


def show(plot: Plot) -> Shown:
    """Show it in the present cell."""
    return display.show(PlotPicture(plot))
