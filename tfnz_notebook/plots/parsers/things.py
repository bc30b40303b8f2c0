"""Lines about several things of a kind, in turns: each thing gets lines of its own.

A table of two GPUs, or a log of four workers, tells of one after the other; drawn as they come,
that is one zigzag. So a parser says with each row what it is about (``Row.of``), :class:`Things`
joins those of one moment into one row, and calls the columns ``gpu0.sm``, ``gpu1.sm``. While there
is only one thing, they are ``sm``; when a second one comes, they are renamed.
"""

from __future__ import annotations

import math
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tfnz_notebook._base.text import one_line
from tfnz_notebook.plots.parsers.base import Parser, Row
from tfnz_notebook.plots.parsers.values import plain
from tfnz_notebook.plots.rows import MOST_COLUMNS

#: Things that get columns; those that come later are left out, and counted.
MOST: Final = 16
#: Things remembered that have none.
_LEFT: Final = 1000
#: Lines shown when nobody chose.
_SHOWN: Final = 8
#: Names of columns that name what a line is about, the most telling first; and what a number in
#: them is called.
_NAMING: Final = {
    **dict.fromkeys(("iface", "interface", "dev", "device", "disk", "filesystem"), ""),
    "gpu": "gpu",
    "index": "gpu",
    "gpu_uuid": "",
    "uuid": "",
    "pci.bus_id": "",
    "cpu": "cpu",
    "intr": "irq",
    "name": "",
    "container": "",
    "container id": "",
    "pod": "",
    "node": "node",
    "host": "",
    "hostname": "",
    "rank": "rank",
    "worker": "worker",
    "sensor": "sensor",
}
_PROCESS: Final = ("pid", "tgid", "tid")
#: Those that name things by number in records, too. An index is pandas' number of the row, unless
#: there are numbers of a GPU beside it.
_NUMBERED: Final = frozenset(("rank", "worker", *_PROCESS))
_OF_A_GPU: Final = ("util", "temp", "power", "pstate", "gpu_", "uuid")
_COMMAND: Final = ("command", "cmd", "comm", "process_name", "args")
#: What only says whose it is, or where: no measure of a table.
_ABOUT: Final = frozenset(
    ("uid", "ppid", "tty", "id", "container id", "uuid", *_PROCESS, *_COMMAND)
)


class Naming:
    """Which of a table's columns name what its lines are about. ``by``: None finds out."""

    def __init__(
        self, columns: Sequence[str], by: str | Sequence[str] | bool | None = None
    ) -> None:
        low = {name.lower(): name for name in reversed(columns)}
        self.columns: list[str] = []
        self.about: frozenset[str] = frozenset()
        if by is False:
            return
        if by is not None and by is not True:
            given = [by] if isinstance(by, str) else list(by)
            self.columns = [low[name.lower()] for name in given if name.lower() in low]
        else:
            self.columns = self._found(low)
        self.about = frozenset(name for key, name in low.items() if key in _ABOUT)
        if any(key in low for key in _PROCESS):  # which one it ran on
            self.about |= {low[key] for key in ("cpu", "gpu") if key in low}

    @classmethod
    def of_record(
        cls, fields: Mapping[str, object], by: str | Sequence[str] | bool | None
    ) -> Naming:
        """For ``key=value`` and the like, where ``cpu`` is rather a number than a name."""
        if by is not None and by is not True:
            return cls([*fields], by)
        graphics = any(key.lower().startswith(_OF_A_GPU) for key in fields)
        return cls(
            [
                name
                for name, cell in fields.items()
                if not plain(str(cell))
                or name.lower() in _NUMBERED
                or (graphics and name.lower() in ("gpu", "index"))
            ]
        )

    @staticmethod
    def _found(low: Mapping[str, str]) -> list[str]:
        command = next((low[key] for key in _COMMAND if key in low), None)
        process = [low[key] for key in _PROCESS if key in low]
        if process:
            return [*([command] if command else []), *process]
        return next(([low[key]] for key in _NAMING if key in low), [])

    def of(self, cells: Mapping[str, object]) -> str:
        """The thing that a line is about: ``eth0``, ``gpu1``, ``python3:41``; ``''`` for all."""
        said = []
        for name in self.columns:
            cell = str(cells.get(name, "")).strip()
            if name.lower() in _COMMAND and cell:  # of a whole command line its program
                cell = cell.split()[0]
                cell = posixpath.basename(cell) if cell[0] == "/" else cell
            if cell and cell != "-":
                said.append(_NAMING.get(name.lower(), "") + cell if cell.isdigit() else cell)
        if len(said) > 2:  # a thread is told by its own number
            said = [said[0], said[-1]]
        found = one_line(":".join(said).rstrip(":"), 40)
        return "" if found == "all" else found


class Things(Parser):
    """A parser whose rows are joined by moment, with a column for each thing's numbers.

    ``apart``: a column that is never one thing's: the one that is x.
    """

    def __init__(self, parser: Parser, apart: str = "") -> None:
        self._parser = parser
        self.closed = parser.closed
        self._apart = apart
        self._of: list[str] = []  # the things that have columns; '' is all of them together
        self._left: dict[str, None] = {}  # those that have none
        self._keys: dict[str, str] = {}  # the parser's names of the columns
        self._block: dict[tuple[str, str], float] = {}
        self._time: float | None = None
        self._at = ""
        self.renamed: dict[str, str] = {}
        """Columns that have another name from now on. Whoever reads it empties it."""

    @property
    def pending(self) -> bool:
        """Whether a row is begun."""
        return bool(self._block) or self._parser.pending

    def feed(self, line: str) -> Sequence[Row]:
        """The rows that this line completed."""
        return self._joined(self._parser.feed(line))

    def settle(self) -> Sequence[Row]:
        """What was begun, as it is."""
        return [*self._joined(self._parser.settle()), *self._finish()]

    def _joined(self, rows: Sequence[Row]) -> Sequence[Row]:
        done: list[Row] = []
        for row in rows:
            if not row.of and not row.at and self._of in ([], [""]) and not self._block:
                self._of = [""]  # nothing to join
                done.append(row)
                continue
            if self._at != row.at or any((row.of, key) in self._block for key in row.values):
                done += self._finish()
            self._at = row.at
            if not self._block:
                self._time = row.time
            self._block.update({(row.of, key): value for key, value in row.values.items()})
        return done

    def _finish(self) -> Sequence[Row]:
        block, self._block = self._block, {}
        self._admit(block)
        values = {
            self._column(of, key): value for (of, key), value in block.items() if of in self._of
        }
        return (Row(values, self._time),) if values else ()

    def _admit(self, block: Mapping[tuple[str, str], float]) -> None:
        """Give the new things columns; of more than there is room for, those that do most."""
        new = list(dict.fromkeys(of for of, _ in block if of not in self._of))
        new = [of for of in new if of not in self._left]
        if not new:
            return
        keys = list(dict.fromkeys(key for _, key in block))
        most = next(iter(self._parser.preferred(keys)), keys[0])
        room = min(MOST, max(1, MOST_COLUMNS // len(keys))) - len(self._of)
        largest = sorted(new, key=lambda of: (bool(of), -block.get((of, most), -math.inf)))
        kept = largest[: max(0, room)]
        if len(self._left) < _LEFT:
            self._left.update(dict.fromkeys(of for of in largest if of not in kept))
        if len(self._of) == 1 and self._of[0] and kept:
            for key in [column for column, key in self._keys.items() if column == key]:
                if key != self._apart:
                    self.renamed[key] = f"{self._of[0]}.{key}"
                    self._keys[self.renamed[key]] = self._keys.pop(key)
        self._of += [of for of in new if of in kept]  # in the tool's order

    def _column(self, of: str, key: str) -> str:
        column = f"{of}.{key}" if of and len(self._of) > 1 and key != self._apart else key
        self._keys[column] = key
        return column

    @property
    def remark(self) -> str:
        """What was left out, as a sentence; empty if nothing was."""
        if not self._left:
            return ""
        some = ", ".join([*self._left][:3]) + (", ..." if len(self._left) > 3 else "")
        return f"Cannot plot all: {len(self._of)} are the most, {some} left out. Name some: only=."

    def unit(self, column: str) -> str:
        """As the parser says."""
        return self._parser.unit(self._keys.get(column, column))

    def preferred(self, columns: Sequence[str]) -> Iterable[str]:
        """What the parser prefers, of each thing."""
        keys = [self._keys.get(column, column) for column in columns]
        wanted = list(self._parser.preferred(list(dict.fromkeys(keys))))
        if len(self._of) < 2:
            return wanted
        return [c for key in wanted for c, k in zip(columns, keys, strict=True) if k == key][
            :_SHOWN
        ]
