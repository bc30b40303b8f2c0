"""A record a line: CSV, JSON or Python's dicts, ``key=value``.

The time may stand in a field of its own, or in front of the line; without ``time`` it is found in
fields with names as ``timestamp``. A field as ``gpu`` or ``host`` names what the record is about:
:mod:`tfnz_notebook.plots.parsers.things`.
"""

from __future__ import annotations

import ast
import csv as _csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from tfnz_notebook.errors import Misuse
from tfnz_notebook.plots.parsers.base import Parser, Row
from tfnz_notebook.plots.parsers.headings import Heading, heading, telling
from tfnz_notebook.plots.parsers.things import Naming
from tfnz_notebook.plots.parsers.values import measure, moment, plain, stamp

_DELIMITERS: Final = ("\t", ";", ",", "|")
_DEEPEST, _LONGEST = 8, 16  # levels of nested JSON, items of a list in it
_NOT_JSON: Final = "is not a JSON object"
_PAIR: Final = re.compile(
    r"""([\w.%/\-\[\]]+)\s*{}\s*("[^"]*"|'[^']*'|[^\s,;]+)""".replace("{}", "=")
)
_COLON_PAIR: Final = re.compile(r"""([A-Za-z_][\w.%/\-]*)\s*:\s*("[^"]*"|'[^']*'|[^\s,;]+)""")
_WORD: Final = re.compile(r"[A-Za-z_][\w.%/\-]*\Z")
#: Fields that hold the time, if what is in them is one.
_TIMES: Final = frozenset(("timestamp", "@timestamp", "time", "ts", "datetime", "date", "asctime"))
_EPOCH: Final = 1e9  # from here on a number may be one: the year 2001
#: What Python's dicts print that is no literal: ``nan``, ``tensor(2.3)``, ``np.float64(2.3)``.
_NO_LITERAL: Final = re.compile(r"(?<![\w.'\"])-?(?:nan|inf)\b")
_WRAPPED: Final = re.compile(r"\b[a-zA-Z][\w.]*\(([-+\d.eE]+)(?:,[^()]*)?\)")


class Record(Parser):
    """Base of those whose fields have names. ``time``: the field that holds the row's time."""

    def __init__(
        self, time: str | None = None, by: str | Sequence[str] | bool | None = None
    ) -> None:
        if not isinstance(time, str | None):
            raise Misuse(
                f"Cannot take the time from {time!r}: that is a {type(time).__name__}. "
                "Give the name of a field."
            )
        self._time = time
        self._by = by
        self._units: dict[str, str] = {}
        self._names: tuple[str, ...] = ()
        self._headings: Mapping[str, Heading] = {}
        self._naming = Naming(())

    def row(self, fields: Mapping[str, object], time: float | None = None) -> Sequence[Row]:
        """Of the fields those that are numbers. ValueError if none is."""
        if self._names != (names := tuple(fields)):
            self._names, self._naming = names, Naming.of_record(fields, self._by)
            self._headings = {name: heading(name) for name in names if name.endswith("]")}
        values: dict[str, float] = {}
        for name, cell in fields.items():
            if name == self._time:
                if not isinstance(cell, str | int | float):
                    raise ValueError(f"{name} is not a time")
                time = moment(cell)
            elif self._time is None and name.lower() in _TIMES and _is_time(cell):
                time = moment(cell)  # type: ignore[arg-type]  # as it is one
            elif name not in self._naming.columns:
                self._put(values, name, cell)
        if self._time is not None and time is None:
            raise ValueError(f"there is no {self._time!r} in it")
        if not values:
            raise ValueError("there is no number in it")
        return (Row(values, time, self._naming.of(fields)),)

    def _put(self, values: dict[str, float], name: str, cell: object) -> None:
        known = self._headings.get(name)
        name = name if known is None else known.name
        if isinstance(cell, bool | int | float):
            values[name] = float(cell) * (1.0 if known is None else known.factor)
            unit = ""
        else:
            try:
                values[name], unit = measure(cell)  # type: ignore[arg-type]  # or it raises
            except (TypeError, ValueError):
                return  # text beside the numbers
            if known is not None and not unit:
                values[name] *= known.factor
        if unit or known is not None:
            self._units.setdefault(name, unit if known is None else known.unit)

    def unit(self, column: str) -> str:
        """What its heading says, or what was behind its first number that had a unit."""
        return self._units.get(column, "")

    def preferred(self, columns: Sequence[str]) -> Iterable[str]:
        """Those that people look at first."""
        return telling(columns)


def _is_time(cell: object) -> bool:
    try:
        return (not plain(str(cell)) and moment(str(cell)) > 0) or float(str(cell)) >= _EPOCH
    except ValueError:
        return False


class Csv(Record):
    """Comma-separated values, or separated otherwise; quotes as usual.

    ``header``: True, False, a list of names, or None: the first line names the columns if nothing
    in it is a number. Without names they are ``c1``, ``c2`` ... ``delimiter``: None finds out
    between tab, ``;``, ``,``, ``|`` and blanks; ``' '`` is any number of blanks.
    ``time``: the column that holds the time; None finds out. ``by``: the columns that name the
    thing a row is about, as ``index`` of ``nvidia-smi --query-gpu=index,... --format=csv``; None
    finds out, False: there is none. Lines that begin with ``#`` are left out, but the first may be
    the header.
    """

    name = "csv"

    def __init__(
        self,
        header: bool | Sequence[str] | None = None,
        delimiter: str | None = None,
        time: str | None = None,
        by: str | Sequence[str] | bool | None = None,
    ) -> None:
        super().__init__(time, by)
        if delimiter is not None and len(str(delimiter)) != 1:
            raise Misuse(f"Cannot read CSV: delimiter {delimiter!r} is not one character.")
        if isinstance(header, str) or not isinstance(header, bool | Sequence | None):
            raise Misuse(f"Cannot read CSV: header is {header!r}. Give True, False or names.")
        self._delimiter = delimiter
        self._header = header if isinstance(header, bool) else None
        self._columns: list[str] | None = None
        if header is not None and not isinstance(header, bool):
            self._columns = [str(name) for name in header]

    def _cells(self, line: str) -> list[str]:
        if self._delimiter is None:
            found = {mark: line.count(mark) for mark in _DELIMITERS}
            best = max(_DELIMITERS, key=lambda mark: found[mark])
            self._delimiter = best if found[best] else " "
        if self._delimiter == " ":
            return line.split()
        try:
            return [cell.strip() for cell in next(_csv.reader([line], delimiter=self._delimiter))]
        except _csv.Error as error:
            raise ValueError(str(error)) from None

    def feed(self, line: str) -> Sequence[Row]:
        """A row for each line but the header, which may come again."""
        comment = line.lstrip().startswith("#")
        if comment and (self._columns is not None or self._header is False):
            return ()
        if not line.strip():
            return ()
        cells = self._cells(line.lstrip().lstrip("# ") if comment else line)
        if self._columns is None:
            named = not any(plain(cell) for cell in cells) if self._header is None else self._header
            if named or comment:
                self._columns = [cell or f"c{i}" for i, cell in enumerate(cells, 1)]
                return ()
            self._columns = [f"c{i}" for i in range(1, len(cells) + 1)]
        if cells == self._columns:
            return ()
        if len(cells) != len(self._columns):
            raise ValueError(f"{len(self._columns)} fields expected, {len(cells)} came")
        return self.row(dict(zip(self._columns, cells, strict=True)))


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


def _nothing(_name: str) -> None:
    """NaN and Infinity are no numbers to draw."""


def _read(text: str) -> object:
    """JSON, or a dict as Python prints it, which may stand behind other words."""
    try:
        return json.loads(text, parse_constant=_nothing)
    except json.JSONDecodeError:
        begin, end = text.find("{"), text.rfind("}")
        if begin < 0 or end < begin:
            raise
        text = text[begin : end + 1]
    try:
        return json.loads(text, parse_constant=_nothing)
    except json.JSONDecodeError:
        text = _NO_LITERAL.sub("None", _WRAPPED.sub(r"\1", text))
    try:
        return ast.literal_eval(text)
    except (SyntaxError, TypeError, MemoryError):
        raise ValueError(f"it {_NOT_JSON}") from None


class Jsonl(Record):
    """A JSON object a line, or a dict as Python prints it: ``{'loss': 2.3, 'lr': 1e-4}``.

    Other words and a time may stand before it. Nested keys are joined: ``{"a": {"b": 1}}`` is the
    column ``a.b``. Numbers, booleans (0 and 1), and texts that read as numbers are columns.
    ``time``: the key that holds the time; None finds out. ``by``: the keys that name the thing that
    a line is about (``gpu``, ``host``, ``rank`` ...); None finds out, False: there is none.
    """

    name = "jsonl"

    def feed(self, line: str) -> Sequence[Row]:
        """A row for each line that is not empty."""
        text = line.strip()
        if not text:
            return ()
        try:
            value = _read(text)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        if not isinstance(value, dict | list | int | float) or isinstance(value, bool):
            raise ValueError(f"it {_NOT_JSON}")  # noqa: TRY004  # as of any line that is not read
        return self.row(dict(_flat(value, "", 0)), stamp(line)[1])


def _in_turns(words: Sequence[str]) -> bool:
    """Whether they are names and numbers in turns, as of ``free -L``."""
    return (
        len(words) % 2 == 0 and all(map(_WORD.match, words[::2])) and all(map(plain, words[1::2]))
    )


def surely(line: str) -> bool:
    """Whether it can hardly be anything but ``key=value`` pairs."""
    return "=" in line or _in_turns(stamp(line)[2].split())


class Keyvalue(Record):
    """``key=value`` pairs in any text.

    Or ``key: value`` where a line has no ``=``, or only names and numbers in turns (``free -L``). A
    time may stand before them.
    ``time``: the key that holds the time; ``by``: the keys that name the thing that a line is
    about. None finds out.
    """

    name = "keyvalue"

    def feed(self, line: str) -> Sequence[Row]:
        """A row for each line that is not empty."""
        _, time, rest = stamp(line)
        words = rest.split()
        if not words:
            return ()
        pairs: Sequence[tuple[str, str]] = _PAIR.findall(rest)
        if not pairs and _in_turns(words):
            pairs = list(zip(words[::2], words[1::2], strict=True))
        pairs = pairs or _COLON_PAIR.findall(rest)
        if not pairs:
            raise ValueError("there is no key=value in it")
        return self.row({key: value.strip("\"'()[]{}") for key, value in pairs}, time)
