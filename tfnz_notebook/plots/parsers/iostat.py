"""``iostat``: CPU and devices, a block a period."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Final

from tfnz_notebook.errors import Misuse
from tfnz_notebook.plots.parsers.base import Parser, Row
from tfnz_notebook.plots.parsers.values import measure, stamp

#: Devices without hardware behind them, which only fill the legend.
_DULL: Final = ("loop*", "ram*")
#: Devices that are kept when none was named.
_MOST: Final = 8
_PREFIXES: Final = {"kB": 1024.0, "MB": 1048576.0, "Blk": 512.0, "k": 1024.0, "M": 1048576.0}
_WORDS: Final = {"read": "read", "r": "read", "wrtn": "written", "w": "written"}
_WORDS.update({"dscd": "discarded", "d": "discarded"})
_RATE: Final = re.compile(r"(?:(kB|MB|Blk)_(read|wrtn|dscd)|([rwd])(kB|MB|k|M))(/s)?\Z")


def _column(word: str) -> tuple[str, float, str]:
    """A heading of iostat as (our name, factor, unit)."""
    if found := _RATE.match(word):
        prefix, what = found[1] or found[4], found[2] or found[3]
        total = "" if found[5] else "_total"
        return _WORDS[what] + total, _PREFIXES[prefix], "B/s" if found[5] else "B"
    if word == "tps" or word.endswith("/s"):
        return word, 1.0, "1/s"
    if word.endswith("await") or word == "svctm":
        return word, 1e-3, "s"
    if word.endswith("req-sz"):
        return word, 1024.0, "B"
    if word.startswith("%"):
        return word[1:], 1.0, "%"
    return word, 1.0, ""


class Iostat(Parser):
    """``iostat 1``, with or without ``-x``, ``-d``, ``-k``, ``-m``, ``-t``, ``-y``, ``-h``.

    Columns are ``cpu.user`` ... and, for each device, ``sda.tps``, ``sda.read`` (kB_read/s or
    rkB/s, as bytes/s), ``sda.written``, ``sda.util``, ``sda.r_await`` (seconds) ... ``device``:
    those wanted, as names or patterns (``'nvme*'``); by default the first eight that are no loop
    devices.
    The first block tells averages since boot and is left out; ``boot=True`` (or ``iostat -y``)
    keeps it.
    """

    name = "iostat"

    def __init__(self, device: str | Sequence[str] | None = None, *, boot: bool = False) -> None:
        if isinstance(device, str):
            device = re.split(r"[,\s]+", device.strip())
        if device is not None and not all(isinstance(name, str) and name for name in device):
            raise Misuse("Cannot read iostat: device is no name. Give 'sda', or several names.")
        self._wanted = None if device is None else tuple(device)
        self._devices: list[str] = []
        self._skip = not boot
        self._heading: list[str] = []
        self._cpu: list[str] | None = None
        self._values: dict[str, float] = {}
        self._units: dict[str, str] = {}
        self._time: float | None = None
        self._seen: set[str] = set()

    @property
    def pending(self) -> bool:
        """Whether a block is begun."""
        return bool(self._values)

    def feed(self, line: str) -> Sequence[Row]:
        """The row of the block before, with the first line of the next."""
        words = line.split()
        if not words or words[0] == "Linux":
            return ()
        if words[0] == "avg-cpu:":
            rows = self._finish()
            self._cpu, self._heading = words[1:], []
            return rows
        if self._cpu is not None:
            self._put("cpu", zip(self._cpu, words, strict=True))
            self._cpu = None
            return ()
        if words[0].rstrip(":") == "Device" or words[-1].rstrip(":") == "Device":
            # A second heading without a CPU block between (iostat -d) begins the next block.
            rows = self._finish() if self._heading else ()
            self._heading = words
            return rows
        told, time, rest = stamp(line)
        if told and not rest:  # of iostat -t
            rows = self._finish()
            self._time, self._heading = time, []
            return rows
        if not self._heading:
            raise ValueError("no heading of iostat (avg-cpu or Device) came before")
        return self._device(words)

    def _device(self, words: list[str]) -> Sequence[Row]:
        if len(words) != len(self._heading):
            raise ValueError(f"{len(self._heading)} fields expected, {len(words)} came")
        last = self._heading[-1].rstrip(":") == "Device"  # iostat -h
        name = words[-1] if last else words[0]
        rows: Sequence[Row] = ()
        if name in self._seen:  # one heading for all blocks: sysstat does not, others do
            rows = self._finish()
        self._seen.add(name)
        if self._wants(name):
            fields = slice(0, -1) if last else slice(1, None)
            self._put(name, zip(self._heading[fields], words[fields], strict=True))
        return rows

    def _wants(self, name: str) -> bool:
        if self._wanted is not None:
            return any(fnmatchcase(name, pattern) for pattern in self._wanted)
        if name not in self._devices:
            if len(self._devices) == _MOST or any(fnmatchcase(name, dull) for dull in _DULL):
                return False
            self._devices.append(name)
        return True

    def _put(self, group: str, cells: Iterable[tuple[str, str]]) -> None:
        values = {}
        for heading, cell in cells:
            name, factor, unit = _column(heading)
            value, said = measure(cell)
            # iostat -h says the unit with the number.
            values[f"{group}.{name}"] = value if said.startswith("B") else value * factor
            self._units[f"{group}.{name}"] = unit
        self._values.update(values)

    def _finish(self) -> Sequence[Row]:
        values, self._values = self._values, {}
        self._seen = set()
        if not values:
            return ()
        if self._skip:
            self._skip = False
            return ()
        return (Row(values, self._time),)

    def settle(self) -> Sequence[Row]:
        """The block that was begun."""
        return self._finish()

    def unit(self, column: str) -> str:
        """Of the column's heading."""
        return self._units.get(column, "")

    def preferred(self, columns: Sequence[str]) -> Iterable[str]:
        """What is read and written; of a report without devices, what the CPU does."""
        moved = [name for name in columns if name.endswith((".read", ".written"))]
        return moved[:6] or [f"cpu.{name}" for name in ("user", "system", "iowait", "idle")]
