"""The rows of a plot: numbers in one array, bounded, from the newest backwards.

Row-major, x first, so that a stretch of rows is one slice of bytes, as views take them. Rows are
numbered from the first that ever was; the oldest are dropped when there are too many. A column
that appears later is NaN (no value) before.

One thread writes. Others read without a lock, so that no reader holds up the loop that writes, nor
waits in a forked child for a thread that is not there: what they see is one tuple. Rows are only
ever added to its array; whatever else changes makes another tuple.
"""

from __future__ import annotations

import math
import sys
from array import array
from bisect import bisect_left
from collections.abc import Mapping
from typing import Final, NamedTuple

#: Rows kept, if their numbers are not too many.
MOST_ROWS: Final = 100_000
#: Numbers kept: 16 MiB.
MOST_CELLS: Final = 2 << 20
#: Columns beside x. What has more names than that is text, not a table.
MOST_COLUMNS: Final = 128

_NAN: Final = math.nan


class _State(NamedTuple):
    """What there is: the number of the oldest row, the columns with their places, the numbers."""

    first: int
    places: dict[str, int]
    cells: array[float]

    @property
    def width(self) -> int:
        return len(self.places) + 1

    @property
    def end(self) -> int:
        return self.first + len(self.cells) // self.width


class Rows:
    """Rows of x and named numbers."""

    def __init__(self, most: int = MOST_ROWS) -> None:
        self._most = most
        self._state = _State(0, {}, array("d"))

    @property
    def columns(self) -> list[str]:
        """Names, without x, in their order. There are only ever more of them."""
        return [*self._state.places]

    @property
    def first(self) -> int:
        """Number of the oldest row kept."""
        return self._state.first

    @property
    def end(self) -> int:
        """Number of the next row to come."""
        return self._state.end

    def __len__(self) -> int:
        state = self._state
        return state.end - state.first

    @property
    def width(self) -> int:
        """Numbers in a row, x included."""
        return self._state.width

    # -- writing

    def append(self, x: float, values: Mapping[str, float]) -> bool:
        """Add a row; False if some of its values found no column any more."""
        if not values.keys() <= self._state.places.keys():
            self._widen([name for name in values if name not in self._state.places])
        _, places, cells = state = self._state
        row = [_NAN] * state.width
        row[0] = x
        fits = True
        for name, value in values.items():
            at = places.get(name)
            if at is None:
                fits = False
            else:
                row[at] = value if math.isfinite(value) else _NAN
        cells.extend(row)
        self._trim()
        return fits

    def _widen(self, names: list[str]) -> None:
        first, places, cells = state = self._state
        before, rows = state.width, len(cells) // state.width
        names = names[: MOST_COLUMNS + 1 - before]
        places = {**places, **{name: at for at, name in enumerate(names, before)}}
        wide = array("d", [_NAN]) * (rows * (len(places) + 1))
        for at in range(before):
            wide[at :: len(places) + 1] = cells[at::before]
        self._state = _State(first, places, wide)

    def rename(self, names: Mapping[str, str]) -> None:
        """Call columns otherwise."""
        first, places, cells = self._state
        renamed = {names.get(name, name): at for name, at in places.items()}
        self._state = _State(first, renamed, cells)

    def _trim(self) -> None:
        first, places, cells = state = self._state
        most = min(self._most, MOST_CELLS // state.width)
        gone = state.end - first - most
        if gone > most // 8:  # not for every row: it copies all that is left
            self._state = _State(first + gone, places, cells[gone * state.width :])

    def spread(self, start: int, since: float, until: float) -> None:
        """Give the rows from ``start`` on evenly spaced x: nobody knows when they were written."""
        first, places, cells = state = self._state
        rows = state.end - start
        low = max(start, first)
        xs = (since + (until - since) * (at - start + 1) / rows for at in range(low, state.end))
        moved = cells[:]
        moved[(low - first) * state.width :: state.width] = array("d", xs)
        self._state = _State(first, places, moved)

    # -- reading

    def stretch(self, start: int, end: int) -> tuple[int, int, bytes]:
        """Rows as ``<f8``: (number of the first, numbers in a row, bytes).

        Older ones may be gone.
        """
        first, _, cells = state = self._state
        width = state.width
        start = max(start, first)
        end = max(start, min(end, state.end))
        found = cells[(start - first) * width : (end - first) * width]
        if sys.byteorder == "big":
            found.byteswap()
        return start, width, found.tobytes()

    def since(self, x: float) -> int:
        """Number of the first row at ``x`` or later."""
        first, _, cells = state = self._state
        width = state.width
        return first + bisect_left(range(state.end - first), x, key=lambda row: cells[row * width])

    def column(self, name: str | None, start: int = 0) -> array[float]:
        """The numbers of a column, or of x for None, from row ``start`` on."""
        first, places, cells = state = self._state
        at = 0 if name is None else places[name]
        return cells[max(0, start - first) * state.width + at :: state.width]

    def last(self, name: str | None) -> float:
        """The newest number of a column that is one; NaN without."""
        _, places, cells = state = self._state
        at = 0 if name is None else places.get(name, -1)
        if at < 0:
            return _NAN
        width, size = state.width, len(cells)
        for low in range(size - width + at, max(-1, size - 50 * width), -width):
            if not math.isnan(cells[low]):
                return cells[low]
        return _NAN
