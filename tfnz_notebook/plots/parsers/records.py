"""A record a line: CSV, JSON, ``key=value``."""

from __future__ import annotations

import csv as _csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tfnz_notebook.errors import Misuse
from tfnz_notebook.plots.parsers.base import Parser, Row
from tfnz_notebook.plots.parsers.values import measure, moment, plain

_DELIMITERS: Final = ("\t", ";", ",", "|")
_DEEPEST, _LONGEST = 8, 16  # levels of nested JSON, items of a list in it
_NOT_JSON: Final = "is not a JSON object"
_PAIR: Final = re.compile(
    r"""([\w.%/\-\[\]]+)\s*{}\s*("[^"]*"|'[^']*'|[^\s,;]+)""".replace("{}", "=")
)
_COLON_PAIR: Final = re.compile(r"""([A-Za-z_][\w.%/\-]*)\s*:\s*("[^"]*"|'[^']*'|[^\s,;]+)""")


class Record(Parser):
    """Base of those whose fields have names. ``time``: the field that holds the row's time."""

    def __init__(self, time: str | None = None) -> None:
        if not isinstance(time, str | None):
            raise Misuse(
                f"Cannot take the time from {time!r}: that is a {type(time).__name__}. "
                "Give the name of a field."
            )
        self._time = time
        self._units: dict[str, str] = {}

    def row(self, fields: Mapping[str, object]) -> Sequence[Row]:
        """Of the fields those that are numbers. ValueError if none is."""
        time = None
        values: dict[str, float] = {}
        for name, cell in fields.items():
            if name == self._time:
                if not isinstance(cell, str | int | float):
                    raise ValueError(f"{name} is not a time")
                time = moment(cell)
            elif isinstance(cell, bool | int | float):
                values[name] = float(cell)
            elif isinstance(cell, str):
                try:
                    values[name], unit = measure(cell)
                except ValueError:
                    continue  # text beside the numbers
                if unit:
                    self._units.setdefault(name, unit)
        if self._time is not None and time is None:
            raise ValueError(f"there is no {self._time!r} in it")
        if not values:
            raise ValueError("there is no number in it")
        return (Row(values, time),)

    def unit(self, column: str) -> str:
        """What was written behind its first number that had a unit."""
        return self._units.get(column, "")


class Csv(Record):
    """Comma-separated values, or separated otherwise; quotes as usual.

    ``header``: True, False, a list of names, or None: the first line names the columns if nothing
    in it is a number. Without names they are ``c1``, ``c2`` ... ``delimiter``: None finds out
    between tab, ``;``, ``,``, ``|`` and blanks; ``' '`` is any number of blanks.
    ``time``: the column that holds the time (ISO 8601, or an epoch number). Lines that begin with
    ``#`` are left out, but the first may be the header.
    """

    name = "csv"

    def __init__(
        self,
        header: bool | Sequence[str] | None = None,
        delimiter: str | None = None,
        time: str | None = None,
    ) -> None:
        super().__init__(time)
        if delimiter is not None and len(str(delimiter)) != 1:
            raise Misuse(f"Cannot read CSV: delimiter {delimiter!r} is not one character.")
        if isinstance(header, str) or not isinstance(header, bool | Sequence | None):
            raise Misuse(f"Cannot read CSV: header is {header!r}. Give True, False or names.")
        self._delimiter = delimiter
        self._header = header if isinstance(header, bool) else None
        self._names: list[str] | None = None
        if header is not None and not isinstance(header, bool):
            self._names = [str(name) for name in header]

    def _cells(self, line: str) -> list[str]:
        if self._delimiter is None:
            found = {mark: line.count(mark) for mark in _DELIMITERS}
            best = max(_DELIMITERS, key=lambda mark: found[mark])
            self._delimiter = best if found[best] else " "
        if self._delimiter == " ":
            return line.split()
        return [cell.strip() for cell in next(_csv.reader([line], delimiter=self._delimiter))]

    def feed(self, line: str) -> Sequence[Row]:
        """A row for each line but the header, which may come again."""
        comment = line.lstrip().startswith("#")
        if comment and (self._names is not None or self._header is False):
            return ()
        if not line.strip():
            return ()
        cells = self._cells(line.lstrip().lstrip("# ") if comment else line)
        if self._names is None:
            named = not any(plain(cell) for cell in cells) if self._header is None else self._header
            if named or comment:
                self._names = [cell or f"c{i}" for i, cell in enumerate(cells, 1)]
                return ()
            self._names = [f"c{i}" for i in range(1, len(cells) + 1)]
        if cells == self._names:
            return ()
        if len(cells) != len(self._names):
            raise ValueError(f"{len(self._names)} fields expected, {len(cells)} came")
        return self.row(dict(zip(self._names, cells, strict=True)))


def _flat(value: object, path: str, depth: int) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict | list) and depth == _DEEPEST:
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(value, list):
        for index, inner in enumerate(value[:_LONGEST]):
            yield from _flat(inner, f"{path}.{index}" if path else str(index), depth + 1)
    else:
        yield path or "value", value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


class Jsonl(Record):
    """A JSON object a line. Nested keys are joined: ``{"a": {"b": 1}}`` is the column ``a.b``.

    Numbers, booleans (0 and 1), and texts that read as numbers are columns. ``time``: the key that
    holds the time (ISO 8601, or an epoch number).
    """

    name = "jsonl"

    def feed(self, line: str) -> Sequence[Row]:
        """A row for each line that is not empty."""
        text = line.strip()
        if not text:
            return ()
        try:
            value = json.loads(text, parse_constant=_no_constant)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        if isinstance(value, str | bool) or value is None:
            raise ValueError(f"it {_NOT_JSON}")
        return self.row(dict(_flat(value, "", 0)))


class Keyvalue(Record):
    """``key=value`` pairs in any text, or ``key: value`` where a line has no ``=``.

    ``time``: the key that holds the time (ISO 8601, or an epoch number).
    """

    name = "keyvalue"

    def feed(self, line: str) -> Sequence[Row]:
        """A row for each line that is not empty."""
        if not line.strip():
            return ()
        pairs = _PAIR.findall(line) or _COLON_PAIR.findall(line)
        if not pairs:
            raise ValueError("there is no key=value in it")
        return self.row({key: value.strip("\"'") for key, value in pairs})
