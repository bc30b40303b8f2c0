"""Any table: a heading, and rows of cells below it, as most tools print that repeat themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final

from tfnz_notebook.errors import Misuse
from tfnz_notebook.plots.parsers.base import Parser, Row
from tfnz_notebook.plots.parsers.headings import UNITS, Heading, heading, pair, telling
from tfnz_notebook.plots.parsers.things import Naming
from tfnz_notebook.plots.parsers.values import measure, moment, plain, stamp

#: Cells that say that there is no number.
_NONE: Final = frozenset(("-", "--", "n/a", "N/A", "[N/A]", "<unknown>"))
_GAP: Final = re.compile(r"\s{2,}|\t")
_STAMPS: Final = frozenset(("time", "date", "timestamp"))
_OPEN: Final = frozenset(("command", "cmd", "args"))  # the last column, if there are blanks in it


class _Head:
    """A heading: its columns, and how cells stand below them.

    ``gaps``: cells are two blanks apart and may hold one, as ``CPU %`` and ``11MiB / 23GiB`` do.
    """

    def __init__(
        self, line: str, by: str | Sequence[str] | bool | None, scale: float, *, gaps: bool
    ) -> None:
        told, _, rest = stamp(line)
        self.gaps = gaps
        self.comment = line.lstrip().startswith("#")
        cells = self._split(rest.lstrip("# \t"))
        #: How many of its words stand above the rows' times.
        self.before = next((n for n, word in enumerate(cells) if word.lower() not in _STAMPS), 0)
        self.stamped = bool(told or self.before)
        self.summary = not self.stamped and cells[0].endswith(":")
        self.indented = line[:1].isspace() and not told
        self.words = cells[self.before :]
        self.columns = [heading(word, self.words, scale) for word in self.words]
        self.naming = Naming(self.words, by)
        self.pairs: dict[str, tuple[str, str]] = {}

    def _split(self, text: str) -> list[str]:
        return _GAP.split(text.strip()) if self.gaps else text.split()

    def measure_in(self, line: str) -> None:
        """Take the line of units below it: ``# Idx     W     C     %``."""
        for at, word in enumerate(line.lstrip("# \t").split()[self.before :]):
            if word in UNITS and at < len(self.columns):
                self.columns[at] = Heading(self.columns[at].name, *UNITS[word])

    def cells(self, text: str) -> tuple[str, list[str]] | None:
        """The label before a row and its cells; None if the row is not below this heading."""
        found, wide = self._split(text), len(self.words)
        if self.indented and found[0].endswith(":") and 2 <= len(found) <= wide + 1:
            return found[0][:-1], found[1:]  # free, whose Swap has less to tell
        if len(found) == wide + 1 and self.indented:
            return "" if plain(found[0]) else found[0], found[1:]
        if len(found) > wide and self.words[-1].lower() in _OPEN:
            found = [*found[: wide - 1], " ".join(found[wide - 1 :])]
        return ("", found) if len(found) == wide else None


class Table(Parser):
    """Rows of cells below a heading.

    As ``mpstat``, ``sar``, ``pidstat``, ``free -s``, ``nvidia-smi dmon``, ``docker stats``, ``ps``
    print, and others.
    The heading may come again, or another one; what is below ``Average:`` is left out. Units are
    those of heading and cells (``rxkB/s``, ``%usr``, ``[MiB]``, ``11.3MiB / 23.5GiB``), times those
    in front of rows. Rows about several things, as of each CPU, disk, GPU, process or container,
    are columns of their own: ``cpu0.%usr``, ``eth0.rxkB/s``, ``python3:41.%CPU``; 16 are the most.

    ``by``: the columns that name the thing (``'PID'``); None finds out, False: there is none.
    ``only``: the things wanted, as names or patterns (``'eth*'``). ``scale``: bytes of numbers that
    ``free`` prints.
    """

    name = "table"

    def __init__(
        self,
        by: str | Sequence[str] | bool | None = None,
        only: str | Sequence[str] | None = None,
        scale: float = 1024,
    ) -> None:
        if isinstance(only, str):
            only = re.split(r"[,\s]+", only.strip())
        for given, what in ((only, "only"), (None if isinstance(by, str | bool) else by, "by")):
            if given is not None and not all(isinstance(each, str) and each for each in given):
                raise Misuse(f"Cannot read a table: {what} is {given!r}. Give names.")
        self._by = by
        self._only = None if only is None else tuple(only)
        self._scale = float(scale)
        self._head: _Head | None = None
        self._next: list[_Head] = []  # readings of a line that may be the heading of those to come
        self._heads = 0
        self._units: dict[str, str] = {}
        self.strict = False
        """Most cells must be numbers: nobody said that it is a table."""

    def feed(self, line: str) -> Sequence[Row]:
        """A row for each line below a heading."""
        told, time, rest = stamp(line)
        words = rest.split()
        if not words:
            return ()
        if words[0].startswith("#") or not any(plain(word) for word in words):
            self._heading(line, words)
            return ()
        found = None
        for each in self._next:
            if found is None and (found := each.cells(rest)) is not None:
                self._head, self._heads = each, self._heads + 1
        self._next = []
        head = self._head
        if head is None:
            raise ValueError("no heading came before")
        if head.summary or (head.stamped and not told and words[0].endswith(":")):
            return ()
        if head.stamped and not told and re.match(r"\d{9,}\Z", words[0]):  # pidstat -h, once
            told, time, rest = words[0], moment(words[0]), rest.split(None, 1)[-1]
            found = None
        found = found or head.cells(rest)
        if found is None:
            raise ValueError(f"{len(head.words)} cells expected, {len(words)} came")
        return self._row(head, *found, told, time)

    def _heading(self, line: str, words: Sequence[str]) -> None:
        last = [*self._next, *([self._head] if self._head else ())]
        if words[0].startswith("#") and any(word in UNITS for word in words):
            for each in last[: max(1, len(self._next))]:
                each.measure_in(line)
            if last:
                return
        if len(words) < 2 or not _NONE.isdisjoint(words):
            return
        loose = "%" in words or "/" in words
        made = [
            _Head(line, self._by, self._scale, gaps=gaps)
            for gaps in ((True,) if loose else (False, True))
        ]
        head = self._head
        if made[0].summary and head is not None and (head.stamped or head.summary):
            self._head, self._next = made[0], []  # of the averages
        else:
            self._next = [each for each in made if each.words]
            for each in made:
                each.summary = False

    def _row(
        self, head: _Head, label: str, cells: Sequence[str], told: str, time: float | None
    ) -> Sequence[Row]:
        of = label or head.naming.of(dict(zip(head.words, cells, strict=False)))
        if self._only is not None and not any(fnmatchcase(of, each) for each in self._only):
            return ()
        values: dict[str, float] = {}
        texts = 0
        for column, word, cell in zip(head.columns, head.words, cells, strict=False):
            if word in head.naming.columns or word in head.naming.about or cell in _NONE:
                continue
            try:
                values.update(self._cell(head, column, cell))
            except ValueError:
                texts += 1
        if (texts and not values) or (self.strict and texts > len(values)):
            raise ValueError("there are hardly any numbers in it")
        if not values:
            return ()
        return (Row(values, time, of, told or (str(self._heads) if of else "")),)

    def _cell(self, head: _Head, column: Heading, cell: str) -> Mapping[str, float]:
        if " / " in cell:
            names = head.pairs.setdefault(column.name, pair(column.name))
            parts = [part.strip() for part in cell.split(" / ", 1)]
            told = [(n, *measure(p)) for n, p in zip(names, parts, strict=True) if p not in _NONE]
            for name, _, unit in told:
                self._units.setdefault(name, unit)
            return {name: value for name, value, _ in told}
        if column.name.endswith("(cores)") and cell.endswith("m"):  # kubectl top: thousandths
            return {column.name: measure(cell[:-1])[0] / 1000}
        value, said = measure(cell)
        own = said.startswith("B") or said in ("s", "%")
        self._units.setdefault(column.name, column.unit or (said if own else ""))
        return {column.name: value if own else value * column.factor}

    def unit(self, column: str) -> str:
        """As heading and cells say."""
        return self._units.get(column, "")

    def preferred(self, columns: Sequence[str]) -> Iterable[str]:
        """Those that people look at first."""
        return telling(columns)
