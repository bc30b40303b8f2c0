"""A plot: rows of numbers that something feeds, and how they are to be seen.

It lives on the I/O loop, where a feed adds rows whatever the kernel is doing; what users read of it
is a copy, from any thread. Views are served elsewhere (``widgets.plot``): they ask to be told of
changes with :meth:`Plot.listen`.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import get_ident
from typing import Any, Final

from tfnz_notebook._base.names import fresh
from tfnz_notebook._base.numbers import plural
from tfnz_notebook._base.text import clip, last_words, one_line
from tfnz_notebook._calls import arguments
from tfnz_notebook._calls.changes import Changes
from tfnz_notebook._calls.faces import Closed, Owned, face
from tfnz_notebook._link.thread import io
from tfnz_notebook._link.views.desk import Source
from tfnz_notebook.errors import Misuse, WaitTimeout
from tfnz_notebook.plots.choice import Choice, complaint, names
from tfnz_notebook.plots.parsers.base import Row
from tfnz_notebook.plots.rows import MOST_COLUMNS, Rows
from tfnz_notebook.plots.units import human

#: Seconds that are shown unless one asks for more.
WINDOW: Final = 60.0
#: Characters of a line that was not understood.
_QUOTE: Final = 160
#: Lines quoted of what came instead of rows.
_QUOTED: Final = 5
Listener = Callable[[bool], None]


class Plot(Owned, metaclass=Closed):
    """Made by ``process.plot(...)`` or ``container.plot(...)``.

    As a cell's last expression, or with :meth:`show`, it shows itself; anywhere it fills, whether
    it is shown or not, and keeps the last 100,000 rows. In a script, :meth:`picture` is a PNG.
    """

    _comes_from = "Use process.plot() or container.plot()."

    def __init__(
        self,
        title: str,
        choice: Choice,
        unit: Callable[[str], str],
        *,
        window: float | str | None = None,
        x: str = "time",
    ) -> None:
        self.id = fresh()
        """Names it for views."""
        self.title = title
        """What stands above it."""
        self.x = x
        """``time``, ``row`` (a running number), or the name of a column."""
        self.table = Rows()
        """The rows, as views read them; :attr:`rows` and :attr:`data` are for users."""
        self.choice = choice
        """Which columns are shown, in what colours; :meth:`select` changes it."""
        self.skipped = 0
        """How many lines could not be read."""
        self.complaint = ""
        """The last of them, with the reason."""
        self.awaits = "row"
        """What it is made of, in a word: ``row`` or ``sample``."""
        self.lines = 0
        """How many lines came, rows or not."""
        self.heard = ""
        """The last words that came while there was no row, on either stream."""
        self.outcome = ""
        """How what feeds it ended, if it did without a row."""
        self.remark = ""
        """What its parser has to say of the whole."""
        self.ended = False
        """Whether nothing more comes."""
        self.replaying = False
        """Whether rows that were written before anybody looked are being read."""
        self.chosen = window is not None
        """Whether somebody chose a window."""
        self._window = self._seconds(window)
        self._unit = unit
        self._error = ""
        self._x_last = -math.inf
        self._changes = Changes()
        self._listeners: list[Listener] = []
        self._stop: Callable[[], object] = _nothing
        self.source: Source | None = None
        """What serves its views, once it was shown."""

    # -- what users read

    @property
    def columns(self) -> list[str]:
        """Names of the columns there are so far."""
        return list(self.table.columns)

    @property
    def plottable(self) -> list[str]:
        """The columns, but for the one that is x."""
        return [name for name in self.table.columns if name != self.x]

    @property
    def shown(self) -> list[str]:
        """Names of the columns that are shown."""
        return list(self.choice.shown)

    @property
    def window(self) -> float | str:
        """Seconds (or what x counts) that are shown, up to the newest, or ``'all'``. Settable."""
        return self._window or "all"

    @window.setter
    def window(self, seconds: float | str | None) -> None:
        self._window, self.chosen = self._seconds(seconds), seconds is not None
        self._told(state=True)

    def _seconds(self, window: float | str | None) -> float | None:
        if window is None:
            return WINDOW if self.x == "time" else None
        if window in ("all", 0):
            return None
        return arguments.number("plot", "window", window, 0.001, 1e12, whole=False)

    def select(self, columns: str | Iterable[str] | None) -> Plot:
        """Show these columns: ``'us,sy'``, names, patterns as ``'sda.*'``; None for the usual.

        Returns the plot. Misuse for one that is not there.
        """
        wanted = names(columns)
        before = self.choice.wanted
        self.choice.choose(wanted)
        self.choice.resolve(self.plottable)
        if self.choice.missing and self.table.columns:
            text = complaint(self.choice.missing, self.plottable)
            self.choice.choose(before)
            self.choice.resolve(self.plottable)
            raise Misuse(text)
        self._told(state=True)
        return self

    @property
    def error(self) -> str:
        """What is wrong, for people; empty if nothing is."""
        if self._error:
            return self._error
        if self.choice.missing and self.table.columns:
            return complaint(self.choice.missing, self.plottable)
        return self.remark

    @property
    def rows(self) -> list[dict[str, float]]:
        """All rows kept: ``{'time': seconds since the epoch, 'us': 3.0}``; NaN for no value."""
        _, width, cells = self.table.stretch(0, sys.maxsize)
        keys = [self.x, *self.table.columns[: width - 1]]
        numbers = memoryview(cells).cast("d") if sys.byteorder == "little" else _swapped(cells)
        return [
            dict(zip(keys, numbers[low : low + width], strict=True))
            for low in range(0, len(numbers), width)
        ]

    @property
    def data(self) -> Any:
        """The rows as a ``pandas.DataFrame`` by time (UTC); without pandas, :attr:`rows`."""
        try:
            import numpy as np
            import pandas as pd
        except ImportError:
            return self.rows
        _, width, cells = self.table.stretch(0, sys.maxsize)
        numbers = np.frombuffer(cells, "<f8").reshape(-1, width)
        index: Any = pd.Index(numbers[:, 0], name=self.x)
        if self.x == "time":
            index = pd.to_datetime(numbers[:, 0], unit="s", utc=True).rename("time")
        return pd.DataFrame(numbers[:, 1:], index=index, columns=self.table.columns[: width - 1])

    def __len__(self) -> int:
        return len(self.table)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        shown = f" of {', '.join(self.choice.shown)}" if self.choice.shown else ""
        return f"<Plot {self.title!r}: {self._counted()}{shown}>"

    def _counted(self) -> str:
        rows = plural(self.table.end, "row")
        return f"{rows}, {plural(self.skipped, 'line')} not understood" if self.skipped else rows

    @property
    def text(self) -> str:
        """It in a line, also for who cannot see it.

        Its title, how many rows, and of each column shown the newest number, the least, the most.
        """
        said = "; ".join([f"{self.title}: {self._counted()}", *map(self._told_of, self.shown)])
        if empty := self.empty:
            said = f"{self.title}: {empty}".replace("\n", " ")
        return one_line(f"{said}. {self.error}" if self.error else said, 1000)

    @property
    def empty(self) -> str:
        """Why there is nothing to see: what it waits for, and what came instead; else empty."""
        if self.table.end:
            return ""
        if self.lines:
            them = "It is no row" if self.lines == 1 else "None of them is a row"
            said = f"{plural(self.lines, 'line')} came. {them} of numbers."
        else:
            said = f"No {self.awaits} came." if self.ended else f"No {self.awaits} came yet."
        said = f"{self.outcome} {said}" if self.outcome else said
        return f"{said} It wrote:\n{self.heard}" if self.heard else said

    def _told_of(self, column: str) -> str:
        unit, start = self.unit(column), self.begin(whole=not self.chosen)
        known = [each for each in self.table.column(column, start) if not math.isnan(each)]
        said = f"{column} {human(self.table.last(column), unit)}"
        if len(known) < 2 or min(known) == max(known):
            return said
        return f"{said} ({human(min(known), unit)} to {human(max(known), unit)})"

    def unit(self, column: str) -> str:
        """The unit of a column: ``%``, ``B``, ``B/s``, ``1/s``, ``s`` or empty."""
        return self._unit(column)

    def picture(self, *, whole: bool | None = None) -> bytes:
        """It as a PNG, with axes and legend, at most 40 KB.

        ``whole``: all rows, or those of the window. None: all, unless somebody chose a window.
        """
        from tfnz_notebook.plots.picture import draw

        return draw(self, not self.chosen if whole is None else whole)

    def show(self) -> None:
        """Show it here: live where the notebook can, a picture where not, a line in a script."""
        if "IPython" in sys.modules:
            from IPython import get_ipython
            from IPython.display import display

            if get_ipython() is not None:  # type: ignore[no-untyped-call,unused-ignore]
                display(self)  # type: ignore[no-untyped-call,unused-ignore]
                return
        print(self.text)  # noqa: T201  # what show is for, where nothing else can

    def _repr_mimebundle_(self, **_options: Any) -> dict[str, Any]:
        return {"text/plain": self.text, "image/png": self.picture()}

    @face
    async def wait(self, timeout: float | None = None) -> Plot:
        """Wait until nothing more comes; returns itself. WaitTimeout after ``timeout`` seconds."""
        seconds = arguments.seconds("wait", "timeout", timeout)

        def late() -> WaitTimeout:
            return WaitTimeout(
                f"Cannot wait longer for {self!r}: {timeout} s are over. Wait again."
            )

        await self._changes.until(lambda: self.ended, seconds, late)
        return self

    async def over(self) -> None:
        """As :meth:`wait`, on the I/O loop."""
        await self._changes.until(lambda: self.ended, None, WaitTimeout)

    @face
    async def stop(self) -> None:
        """Read no further; what feeds it goes on. Idempotent."""
        self._stop()
        self.end()

    # -- what the feed and the views do, on the I/O loop

    def fed_by(self, stop: Callable[[], object]) -> None:
        """How to end what feeds it."""
        self._stop = stop

    def add(self, row: Row, now: float | None = None) -> None:
        """One more row; its x is its own time, else ``now``. ValueError if that goes backwards."""
        if self.x == "row":
            x = float(self.table.end)
        elif self.x != "time":
            x = row.values.get(self.x, math.nan)
            if not x >= self._x_last:
                raise ValueError(f"{self.x} does not grow")
        else:
            x = row.time if row.time is not None else now or time.time()
            if row.time is not None and x < self._x_last:
                raise ValueError("its time is before that of the line above")
            x = max(x, self._x_last)
        self._x_last = x
        known = self.table.width
        if not self.table.append(x, row.values):
            self._error = f"Cannot show every column: {MOST_COLUMNS} are the most."
        if self.table.width != known:
            self.choice.resolve(self.plottable)
            self._told(state=True)

    def rename(self, names: Mapping[str, str]) -> None:
        """Columns have other names from now on."""
        self.table.rename(names)
        self.choice.rename(names)
        self.choice.resolve(self.plottable)
        self._told(state=True)

    def hear(self, text: bytes | str) -> None:
        """Words that are no row, while there is none."""
        log = text.encode() if isinstance(text, str) else text
        if not self.table.end and log.strip():
            self.heard = last_words(log, lines=_QUOTED, most=1000)

    def skip(self, line: str, reason: str) -> None:
        """A line that could not be read."""
        self.skipped += 1
        self.complaint = one_line(f"{clip(line, _QUOTE)!r}: {reason}", 400)

    def came(self) -> None:
        """Rows or skipped lines were added."""
        self._told(state=False)

    def end(self, error: str = "") -> None:
        """Nothing more comes. Idempotent."""
        if self.ended:
            return
        self.ended, self.replaying = True, False
        self._error = error or self._error
        self._changes.tell()
        self._told(state=True)

    def listen(self, listener: Listener) -> None:
        """Have it called on the I/O loop after rows came, and with True when the state changed."""
        self._listeners.append(listener)

    def _told(self, *, state: bool) -> None:
        if get_ident() != io().ident:  # a user changed something
            io().soon(self._tell, state)
        else:
            self._tell(state)

    def _tell(self, state: bool) -> None:
        for listener in self._listeners:
            listener(state)

    def info(self) -> Mapping[str, Any]:
        """Its state as views are told it."""
        shown = set(self.choice.shown)
        index = {name: at for at, name in enumerate(self.table.columns)}
        return {
            "columns": [
                {
                    "name": name,
                    "unit": self.unit(name),
                    "shown": name in shown,
                    "color": self.choice.color(name),
                }
                for name in self.table.columns
            ],
            "order": [index[name] for name in self.choice.shown],
            "window": self._window or 0,
            "x": "time" if self.x == "time" else "row",
            "x_name": "" if self.x == "time" else self.x,
            "skipped": self.skipped,
            "complaint": self.complaint,
            "rows": self.table.end,
            "ended": self.ended,
            "title": self.title,
            "error": self.error,
            "empty": self.empty,
        }

    def begin(self, *, whole: bool = False) -> int:
        """Number of the first row of the window; of all for ``whole``."""
        if whole or self._window is None or not len(self.table):
            return self.table.first
        newest = self.table.last(None)
        return max(self.table.first, self.table.since(newest - self._window) - 1)


def _swapped(cells: bytes) -> Sequence[float]:
    from array import array

    numbers = array("d", cells)
    numbers.byteswap()
    return numbers


def _nothing() -> None:
    pass
