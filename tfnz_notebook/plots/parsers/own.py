"""Parsers of one's own: a regular expression, a function; and one that finds out by itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from tfnz_notebook.errors import Misuse
from tfnz_notebook.plots.parsers.base import Parser, Row
from tfnz_notebook.plots.parsers.iostat import Iostat
from tfnz_notebook.plots.parsers.records import Csv, Jsonl, Keyvalue, Record
from tfnz_notebook.plots.parsers.top import Top
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
    """Finds out from the first lines which of the parsers reads them."""

    name = "auto"

    def __init__(self) -> None:
        self._of: Parser | None = None

    @staticmethod
    def _for(line: str) -> Parser | None:
        words = line.split()
        if words[0] == "procs" or words[:2] == ["r", "b"]:
            return Vmstat()
        if words[0] in ("avg-cpu:", "Device", "Device:") or line.startswith("Linux "):
            return Iostat()
        if line.startswith(("top - ", "Mem: ")):
            return Top()
        for parser in (Jsonl(), Keyvalue()):
            try:
                parser.feed(line)
            except ValueError:
                continue
            return type(parser)()
        return Csv() if len(words) == 1 or any(mark in line for mark in "\t;,|") else None

    def feed(self, line: str) -> Sequence[Row]:
        """As the parser does that was found."""
        if not line.strip():
            return ()
        if self._of is None:
            self._of = self._for(line)
        if self._of is None:
            raise ValueError("no parser is known for it")
        return self._of.feed(line)

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
