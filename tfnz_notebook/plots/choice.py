"""Which columns a plot shows, and in which colours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final

from tfnz_notebook.errors import Misuse
from tfnz_notebook.plots.parsers.base import Parser

#: Told apart by people who see few colours too, on white and on dark ground.
PALETTE: Final = (
    *("#4c86d9", "#e07b26", "#2f9e68", "#d2475a", "#8d6fd6"),
    *("#a8862a", "#1f9fb3", "#cf62ac", "#78889b", "#6a9a38"),
)
#: Lines in one picture; more cannot be told apart.
MOST_SHOWN: Final = 20


def names(given: str | Iterable[str] | None) -> list[str] | None:
    """``'us,sy'`` or several names as a list; None for None. Raises Misuse."""
    if given is None:
        return None
    if isinstance(given, str):
        given = given.split(",")
    found = list(given)
    if not all(isinstance(name, str) for name in found):
        raise Misuse(f"Cannot show the columns {given!r}: names are texts. Give 'us,sy'.")
    found = [name.strip() for name in found if name.strip()]
    if not found:
        raise Misuse("Cannot show no columns at all: the plot would be empty. Give 'us,sy'.")
    return found


class Choice:
    """The columns shown.

    ``wanted``: names, patterns (``'sda.*'``), what several things have (``'util'``); None for the
    parser's own.
    """

    def __init__(
        self,
        wanted: list[str] | None,
        closed: frozenset[str] | None = None,
        preferred: Callable[[Sequence[str]], Iterable[str]] | None = None,
    ) -> None:
        self.shown: list[str] = []
        #: Names that were asked for and are not there.
        self.missing: list[str] = []
        self._preferred = preferred or Parser().preferred
        self._closed = closed
        self._colors: dict[str, str] = {}
        self.wanted: list[str] | None = None
        self.choose(wanted)

    def choose(self, wanted: list[str] | None) -> None:
        """Raises Misuse for a name that can never be there; the columns follow with resolve."""
        if wanted is not None and self._closed is not None:
            known = sorted(self._closed)
            for name in wanted:
                if not any(fnmatchcase(each, name) for each in known):
                    raise Misuse(complaint([name], known))
        self.wanted = wanted

    def resolve(self, columns: Sequence[str]) -> bool:
        """Find the columns among those there are; whether that changed what is shown."""
        missing = []
        if self.wanted is None:
            shown = list(self._preferred(columns))
        else:
            shown = []
            for name in self.wanted:
                found = [name] if name in columns else [c for c in columns if fnmatchcase(c, name)]
                # Of each thing: sm is gpu0.sm and gpu1.sm.
                found = found or [c for c in columns if c.endswith(f".{name}")]
                shown += found
                if not found:
                    missing.append(name)
        shown = list(dict.fromkeys(name for name in shown if name in columns))[:MOST_SHOWN]
        changed = (shown, missing) != (self.shown, self.missing)
        self.shown, self.missing = shown, missing
        for name in shown:
            if name not in self._colors:
                self._colors[name] = PALETTE[len(self._colors) % len(PALETTE)]
        return changed

    def rename(self, names: Mapping[str, str]) -> None:
        """Columns have other names from now on, and the colours they had."""
        self._colors = {names.get(name, name): color for name, color in self._colors.items()}

    def color(self, name: str) -> str:
        """Of a column that is or was shown; else grey."""
        return self._colors.get(name, "#888888")


def complaint(missing: Sequence[str], there: Sequence[str]) -> str:
    """That columns are not there, and which are."""
    which = ", ".join(repr(name) for name in missing[:5])
    known = ", ".join(there[:40]) + (" ..." if len(there) > 40 else "")
    return f"Cannot show {which}: there is no such column. There are {known}."
