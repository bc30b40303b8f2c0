"""``vmstat``: the machine's memory, swap, blocks, interrupts and CPU, a line a period."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from tfnz_notebook.errors import Misuse
from tfnz_notebook.plots.parsers.base import Parser, Row
from tfnz_notebook.plots.parsers.values import number

#: Columns in multiples of vmstat's unit (KiB, or what ``-S`` says); blocks are of 1024 bytes.
_SIZES: Final = frozenset(("swpd", "free", "buff", "cache", "inact", "active"))
_SWAPS: Final = frozenset(("si", "so"))
_BLOCKS: Final = frozenset(("bi", "bo"))
_CPU: Final = ("us", "sy", "id", "wa", "st", "gu", "ni")
_UNITS: Final = {
    **dict.fromkeys(_SIZES, "B"),
    **dict.fromkeys(_SWAPS | _BLOCKS, "B/s"),
    **dict.fromkeys(("in", "cs"), "1/s"),
    **dict.fromkeys(_CPU, "%"),
}
#: Bytes of the letters of ``vmstat -S``.
_SCALES: Final = {"k": 1000, "K": 1024, "m": 1000**2, "M": 1 << 20}


class Vmstat(Parser):
    """``vmstat 1``; also with ``-a``, ``-w``, ``-t`` (whose times are then the plot's) and ``-S``.

    Its first line tells averages since boot and is left out; ``boot=True`` keeps it.
    ``scale``: the letter given to ``vmstat -S``. Memory is in bytes, swap and blocks in bytes/s.
    """

    name = "vmstat"
    closed = frozenset(("r", "b", *_UNITS))

    def __init__(self, *, boot: bool = False, scale: str = "K") -> None:
        if scale not in _SCALES:
            known = ", ".join(_SCALES)
            raise Misuse(f"Cannot read vmstat: no scale {scale!r}. There are {known}.")
        self._skip = not boot
        self._scale = float(_SCALES[scale])
        self._columns: list[str] = []

    def feed(self, line: str) -> Sequence[Row]:
        """A row for each line but the headings, which come again on every screen."""
        words = line.split()
        if not words or words[0] == "procs" or line.lstrip().startswith("--procs"):
            return ()
        if words[:2] == ["r", "b"]:
            # With -t a time zone follows the names, below "-----timestamp-----".
            self._columns = [word for word in words if word in self.closed] if self.closed else []
            return ()
        columns = self._columns
        if not columns:
            raise ValueError("no heading of vmstat (r b swpd ...) came before")
        if len(words) not in (len(columns), len(columns) + 2):
            raise ValueError(f"{len(columns)} numbers expected, {len(words)} came")
        values = {
            name: number(word) * self._factor(name)
            for name, word in zip(columns, words, strict=False)
        }
        time = None
        if len(words) > len(columns):
            # Containers keep UTC unless somebody set TZ, and a name as CET says no offset.
            text = " ".join(words[len(columns) :])
            time = datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
        if self._skip:
            self._skip = False
            return ()
        return (Row(values, time),)

    def _factor(self, column: str) -> float:
        if column in _SIZES or column in _SWAPS:
            return self._scale
        return 1024.0 if column in _BLOCKS else 1.0

    def unit(self, column: str) -> str:
        """As the manual says, in bytes."""
        return _UNITS.get(column, "")

    def preferred(self, columns: Sequence[str]) -> Iterable[str]:
        """What the CPU does."""
        return [name for name in ("us", "sy", "id", "wa") if name in columns]
