"""The rows of a plot: numbers in one array, bounded, from the newest backwards.

Row-major, x first, so that a stretch of rows is one slice of bytes, as views take them. Rows are
numbered from the first that ever was; the oldest are dropped when there are too many. A column
that appears later is NaN (no value) before.

One thread appends; others read. A lock makes each call one step.
"""

from __future__ import annotations

import math
import sys
from array import array
from bisect import bisect_left
from collections.abc import Mapping
from threading import RLock
from typing import Final

#: Rows kept, if their numbers are not too many.
MOST_ROWS: Final = 100_000
#: Numbers kept: 16 MiB.
MOST_CELLS: Final = 2 << 20
#: Columns beside x. What has more names than that is text, not a table.
MOST_COLUMNS: Final = 128

_NAN: Final = math.nan


class Rows:
    """Rows of x and named numbers."""

    def __init__(self, most: int = MOST_ROWS) -> None:
        #: Names, without x. Only ever grows.
        self.columns: list[str] = []
        #: Number of the oldest row kept, and of the next to come.
        self.first = self.end = 0
        self._most = most
        self._cells = array("d")
        self._index: dict[str, int] = {}
        self._lock = RLock()  # a signal handler may read in the middle of a read

    def __len__(self) -> int:
        return self.end - self.first

    @property
    def width(self) -> int:
        """Numbers in a row, x included."""
        return len(self.columns) + 1

    def append(self, x: float, values: Mapping[str, float]) -> bool:
        """Add a row; False if some of its values found no column any more."""
        with self._lock:
            fits = True
            for name in values:
                if name not in self._index:
                    if len(self.columns) < MOST_COLUMNS:
                        self._widen(name)
                    else:
                        fits = False
            row = [_NAN] * self.width
            row[0] = x
            for name, value in values.items():
                at = self._index.get(name)
                if at is not None:
                    row[at] = value if math.isfinite(value) else _NAN
            self._cells.extend(row)
            self.end += 1
            self._trim()
            return fits

    def _widen(self, name: str) -> None:
        before, rows = self.width, len(self)
        self.columns.append(name)
        self._index[name] = before
        cells = array("d", [_NAN]) * (rows * (before + 1))
        for at in range(before):
            cells[at :: before + 1] = self._cells[at::before]
        self._cells = cells

    def rename(self, names: Mapping[str, str]) -> None:
        """Call columns otherwise."""
        with self._lock:
            self.columns[:] = [names.get(name, name) for name in self.columns]
            self._index = {name: at for at, name in enumerate(self.columns, 1)}

    def _trim(self) -> None:
        most = min(self._most, MOST_CELLS // self.width)
        if len(self) > most + most // 8:  # not for every row: it moves all that is left
            gone = len(self) - most
            del self._cells[: gone * self.width]
            self.first += gone

    def spread(self, start: int, since: float, until: float) -> None:
        """Give the rows from ``start`` on evenly spaced x: nobody knows when they were written."""
        with self._lock:
            rows = self.end - start
            low = max(start, self.first)
            for number in range(low, self.end):
                x = since + (until - since) * (number - start + 1) / rows
                self._cells[(number - self.first) * self.width] = x

    # -- reading

    def stretch(self, start: int, end: int) -> tuple[int, int, bytes]:
        """Rows as ``<f8``: (number of the first, numbers in a row, bytes).

        Older ones may be gone.
        """
        with self._lock:
            start = max(start, self.first)
            end = max(start, min(end, self.end))
            width = self.width
            low = start - self.first
            cells = self._cells[low * width : (end - self.first) * width]
        if sys.byteorder == "big":
            cells.byteswap()
        return start, width, cells.tobytes()

    def since(self, x: float) -> int:
        """Number of the first row at ``x`` or later."""
        with self._lock:
            xs = self._cells[:: self.width]
            return self.first + bisect_left(xs, x)

    def column(self, name: str | None, start: int = 0) -> array[float]:
        """The numbers of a column, or of x for None, from row ``start`` on."""
        with self._lock:
            at = 0 if name is None else self._index[name]
            low = max(0, start - self.first)
            return self._cells[low * self.width + at :: self.width]

    def last(self, name: str | None) -> float:
        """The newest number of a column that is one; NaN without."""
        with self._lock:
            at = 0 if name is None else self._index.get(name, -1)
            if at < 0:
                return _NAN
            width, size = self.width, len(self._cells)
            for low in range(size - width + at, max(-1, size - 50 * width), -width):
                if not math.isnan(self._cells[low]):
                    return self._cells[low]
            return _NAN
