"""Parsers of one's own: a regular expression, a function; and one that finds out by itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from tfnz_notebook.errors import Misuse
from tfnz_notebook.plots.parsers.base import Parser, Row
from tfnz_notebook.plots.parsers.iostat import Iostat
from tfnz_notebook.plots.parsers.records import Csv, Jsonl, Keyvalue, Record, surely
from tfnz_notebook.plots.parsers.table import Table
from tfnz_notebook.plots.parsers.top import Top
from tfnz_notebook.plots.parsers.values import plain, stamp
from tfnz_notebook.plots.parsers.vmstat import Vmstat

#: What a user's function may return for a line.
Answer = Mapping[str, float] | float | Sequence[float] | None


class Regex(Record):
    r"""A regular expression: its named groups are the columns, ``r'time=(?P<ms>[\d.]+) ms'``.

    Unnamed groups, if none has a name, are ``g1``, ``g2`` ...; without groups the whole match is
    ``value``. It is searched for anywhere in the line. ``time``: the group that holds the time;
    ``units``: units by group, as ``{'ms': 's'}``.
    """

    name = "regex"

    def __init__(
        self,
        pattern: str | re.Pattern[str],
        time: str | None = None,
        units: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(time)
        try:
            self._pattern = re.compile(pattern)
        except (re.error, TypeError) as error:
            raise Misuse(
                f"Cannot read lines with {pattern!r}: {error}. Give a regular expression."
            ) from None
        names = {number: name for name, number in self._pattern.groupindex.items()}
        if not names:
            names = {number: f"g{number}" for number in range(1, self._pattern.groups + 1)}
        self._groups = names or {0: "value"}
        self.closed = frozenset(self._groups.values()) - {time}
        self._units.update(units or {})

    def feed(self, line: str) -> Sequence[Row]:
        """A row for each line where it is found."""
        found = self._pattern.search(line)
        if found is None:
            raise ValueError("the regular expression is not found in it")
        return self.row({name: found[number] for number, name in self._groups.items()})


class Function(Parser):
    """A function of a line (str) that returns numbers by column, one number, or None to skip it.

    It is called on the I/O thread: it must not block, nor call back into this package. What it
    raises is counted as a line that was not understood.
    """

    name = "function"

    def __init__(self, function: Callable[[str], Answer]) -> None:
        self._function = function

    def feed(self, line: str) -> Sequence[Row]:
        """What the function makes of it."""
        answer: object = self._function(line)
        if answer is None:
            return ()
        if isinstance(answer, Mapping):
            return (Row({str(key): float(value) for key, value in answer.items()}),)
        if isinstance(answer, str | bytes) or not isinstance(answer, Iterable):
            return (Row({"value": float(answer)}),)  # type: ignore[arg-type]  # or it raises
        return (Row({f"c{i}": float(value) for i, value in enumerate(answer, 1)}),)


class Auto(Parser):
    """Finds out from the first lines which of the parsers reads them.

    Words before the first row may be a heading or a banner, and count as nothing.
    """

    name = "auto"

    def __init__(self) -> None:
        self._of: Parser | None = None
        self._proved = False  # it has made a row
        self._table = Table()  # sees every line: its heading comes first
        self._table.strict = True

    def _for(self, line: str) -> tuple[Parser, Sequence[Row]] | None:
        """The parser that reads it, and what it makes of it."""
        words = line.split()
        if words[0] == "procs" or words[:2] == ["r", "b"]:
            kinds: list[Parser] = [Vmstat()]
        elif words[0] in ("avg-cpu:", "Device", "Device:") or words[-1] == "Device":
            kinds = [Iostat()]
        elif line.startswith("top - ") or (line.startswith("Mem: ") and "," in line):
            kinds = [Top()]
        else:  # a row of a table may look like a pair with a colon
            pairs = [Keyvalue(), self._table] if surely(line) else [self._table, Keyvalue()]
            kinds = [Jsonl(), *pairs]
            if len(words) == 1 or any(mark in line for mark in "\t;,|"):
                kinds.append(Csv())
        for parser in kinds:
            try:
                rows = parser.feed(line)
            except ValueError:
                continue
            if rows or parser is not self._table:
                return parser, rows
        return None

    def feed(self, line: str) -> Sequence[Row]:
        """As the parser does that was found."""
        if not line.strip() or line.startswith("Linux "):  # sysstat's banner
            return ()
        if self._of is not None:
            try:
                rows = self._of.feed(line)
            except ValueError:
                if self._proved:
                    raise
            else:
                self._proved = self._proved or bool(rows)
                return rows
        found = self._for(line)
        if found is None:
            self._of = None
            if any(map(plain, stamp(line)[2].split())):
                raise ValueError("no parser is known for it")
            return ()
        self._of, rows = found
        self._proved = bool(rows)
        return rows

    @property
    def pending(self) -> bool:
        """As the parser that was found."""
        return self._of is not None and self._of.pending

    def settle(self) -> Sequence[Row]:
        """As the parser that was found."""
        return () if self._of is None else self._of.settle()

    def unit(self, column: str) -> str:
        """As the parser that was found."""
        return "" if self._of is None else self._of.unit(column)

    def preferred(self, columns: Sequence[str]) -> Iterable[str]:
        """As the parser that was found."""
        return columns[:5] if self._of is None else self._of.preferred(columns)
