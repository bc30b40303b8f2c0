"""From lines to rows of numbers: the parsers, and how one is found by name or by command."""

from __future__ import annotations

import copy
import inspect
import posixpath
import re
import shlex
from collections.abc import Callable
from typing import Any, Final

from tfnz_notebook.errors import Misuse
from tfnz_notebook.plots.parsers.base import Parser, Row
from tfnz_notebook.plots.parsers.iostat import Iostat
from tfnz_notebook.plots.parsers.own import Auto, Function, Regex
from tfnz_notebook.plots.parsers.records import Csv, Jsonl, Keyvalue
from tfnz_notebook.plots.parsers.table import Table
from tfnz_notebook.plots.parsers.things import Things
from tfnz_notebook.plots.parsers.top import Top
from tfnz_notebook.plots.parsers.vmstat import Vmstat

__all__ = [
    "PARSERS",
    "Csv",
    "Given",
    "Iostat",
    "Jsonl",
    "Keyvalue",
    "Parser",
    "Regex",
    "Row",
    "Table",
    "Things",
    "Top",
    "Vmstat",
    "guess",
    "make",
]

#: Those that can be named, as in ``%tf_plot --parser csv``.
PARSERS: Final[dict[str, Callable[[], Parser]]] = {
    "auto": Auto,
    "csv": Csv,
    "iostat": Iostat,
    "jsonl": Jsonl,
    "keyvalue": Keyvalue,
    "table": Table,
    "top": Top,
    "vmstat": Vmstat,
}

#: What ``plot`` takes as a parser: an object, a class or a name of those here, a regular
#: expression, a function of a line; None is found out by the command.
Given = Parser | type[Parser] | str | re.Pattern[str] | Callable[[str], Any] | None

#: Words before the command that are not it, and options of theirs that take a word.
_BEFORE: Final = frozenset(
    ("sudo", "env", "exec", "nice", "nohup", "stdbuf", "timeout", "unbuffer")
)
_ENDINGS: Final[dict[str, Callable[[], Parser]]] = {
    ".csv": Csv,
    ".tsv": Csv,
    ".jsonl": Jsonl,
    ".ndjson": Jsonl,
    ".json": Jsonl,
}


#: Tools that print tables.
_TABLES: Final = frozenset(("mpstat", "pidstat", "ps", "sar"))
#: Bytes of ``free``'s units.
_FREE: Final = {
    "-b": 1,
    "--bytes": 1,
    "--kilo": 1e3,
    "--mega": 1e6,
    "--giga": 1e9,
    "-m": 2**20,
    "--mebi": 2**20,
    "-g": 2**30,
    "--gibi": 2**30,
}


def _free(options: list[str]) -> float:
    return next((float(_FREE[option]) for option in options if option in _FREE), 1024.0)


def guess(command: str) -> Parser:
    """The parser for what a command prints: by its name, by a file's ending, else by its lines."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    rest = iter(words)
    for word in rest:
        if word in _BEFORE or "=" in word or word.startswith("-") or word[:1].isdigit():
            continue
        name = posixpath.basename(word)
        options = list(rest)
        if name == "vmstat":
            scale = re.search(r"(?:\s|^)(?:-\w*S|--unit)[ =]?([kKmM])\b", command)
            return Vmstat(scale=scale[1] if scale else "K")
        if name == "iostat":
            # iostat -y leaves the report since boot out by itself.
            return Iostat(boot=any(re.match(r"-[a-zA-Z]*y", option) for option in options))
        if name == "top":
            return Top()
        if name == "free":
            return Table(scale=_free(options))
        if name in _TABLES:
            return Table()
        for option in options:
            for ending, kind in _ENDINGS.items():
                if option.endswith(ending):
                    return kind()
        break
    return Auto()


def _named(name: str) -> Parser:
    kind = PARSERS.get(name)
    if kind is None:
        known = ", ".join(PARSERS)
        raise Misuse(
            f"Cannot plot: there is no parser {name!r}. There are {known}; or give regex(...), "
            "or a function that makes numbers of a line."
        )
    return kind()


def make(given: Any, command: str = "") -> Parser:
    """The parser meant by what was given; without anything, one for the command. Raises Misuse."""
    match given:
        case None:
            return guess(command)
        case str():
            return _named(given)
        case re.Pattern():
            return Regex(given)
        case Parser():
            try:
                return copy.deepcopy(given)  # each plot its own: they remember what they read
            except TypeError:  # one of the user's that holds a file, a lock
                return given
    if isinstance(given, type) and issubclass(given, Parser):
        try:
            made: Parser = given()
            return made
        except TypeError:
            raise Misuse(
                f"Cannot plot with {given.name}: it needs something to go by. "
                f"Write {given.name}(...)."
            ) from None
    if not callable(given) or inspect.iscoroutinefunction(given):
        raise Misuse(
            f"Cannot plot: the parser is {given!r}. Give one of tfnz_notebook.plots, its name, or "
            "a function that makes numbers of a line."
        )
    return Function(given)
