"""Tab in a magic's line: flags, names, signals, paths here and in the container.

And in ``Location('…``: what a location may be called. In cells in containers, what those know.

A matcher of IPython's second kind. It never raises, starts nothing that stays (no location: nothing
to offer but variables), and waits for an answer a quarter of a second at most; an answer that comes
later is there for the next Tab.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from tfnz_notebook._base.text import quoted
from tfnz_notebook.magics.completion.inside import Inside
from tfnz_notebook.magics.completion.sources import Offer, Sources
from tfnz_notebook.magics.here import Here
from tfnz_notebook.magics.parse import Parser, Refused, Word, uncommented, words
from tfnz_notebook.magics.table import Magic

_LINE: Final = re.compile(r"\s*(?:[\w.\[\]'\", ]+=\s*)?(?:%{1,2})?(tf_\w+)\s(.*)", re.DOTALL)
#: A string that says where, in Python.
_CALL: Final = re.compile(r".*\bLocation\(\s*(?:where\s*=\s*)?['\"]([^'\"]*)", re.DOTALL)
#: Above IPython's own, so that ours are asked first and may silence them.
_PRIORITY: Final = 200.0


class Place(NamedTuple):
    """Where in a line the cursor is: in this word, and what belongs there."""

    word: Word
    kind: str
    #: The names of options that may stand here.
    options: Sequence[str] = ()
    #: The container of this line, for paths in it.
    container: str = ""


def place(parser: Parser, line: str) -> Place:
    """What belongs at the end of a line."""
    if uncommented(line) != line:
        return Place(Word("", len(line), len(line)), "", (), "")
    word = _last(line)
    if word.end < len(line) or (word.whole and line[word.start :] != line[word.start :].rstrip()):
        word = Word("", len(line), len(line))
    before = line[: word.start]
    parts = parser.split(before)
    container = parts.positionals[0] if parts.positionals else ""
    if parts.expects is not None:
        return Place(word, parser.kinds.get(parts.expects.dest, ""), (), container)
    known = parser._option_string_actions.items()
    names = [n for n, a in known if n.startswith("--") and not isinstance(a, Refused)]
    if parser.takes_command and len(parts.positionals) >= len(parser.fields):
        return _in_command(parser, Place(word, "", names, container), before)
    if word.text.startswith("-"):
        return Place(word, "", [*names, "--help"], container)
    if not parser.fields:
        return Place(word, "", names, container)
    field = parser.fields[min(len(parts.positionals), len(parser.fields) - 1)]
    if len(parts.positionals) >= len(parser.fields) and field.nargs != "*":
        return Place(word, "", names, container)
    return Place(word, parser.kinds.get(field.dest, ""), names, container)


def _in_command(parser: Parser, here: Place, before: str) -> Place:
    last = _last(before)
    if parser.trailing:
        action = parser._option_string_actions.get(last.text)  # as above
        if action is not None and action.nargs != 0:
            return here._replace(kind=parser.kinds.get(action.dest, ""), options=())
        if here.word.text.startswith("--"):
            return here
    return here._replace(kind="inside" if here.word.text.startswith("/") else "", options=())


def _last(line: str) -> Word:
    return next(iter(deque(words(line), maxlen=1)), Word("", len(line), len(line)))


class Alone(list[Any]):
    """What is offered instead of all else, also where that is nothing.

    IPython heeds ``suppress`` of a matcher only if its completions have a length.
    """

    def __len__(self) -> int:
        return max(1, super().__len__())


class Completer:
    """Completes the lines of one shell."""

    def __init__(self, here: Here, magics: Iterable[Magic]) -> None:
        self._parsers = {magic.name: magic.parser for magic in magics}
        self._sources = Sources(here)
        self._inside = Inside(self._sources, self._parsers)
        self._matcher: Callable[..., Any] | None = None

    def install(self, ip: Any) -> None:
        """Have the shell's completer ask us."""
        from IPython.core import completer

        def tfnz_matcher(context: Any) -> Any:
            cell = context.full_text, context.cursor_line, context.cursor_position
            word, found, alone = self.complete(context.text_until_cursor, cell)
            made = [completer.SimpleCompletion(text=o.text, type=o.about or "tfnz") for o in found]
            offered = Alone(made) if alone else made
            told = {"completions": offered, "matched_fragment": word, "suppress": alone}
            return {**told, "ordered": True}

        decorate = completer.completion_matcher(priority=_PRIORITY, api_version=2)
        self._matcher = decorate(tfnz_matcher)
        ip.Completer.custom_matchers.append(self._matcher)
        self._inside.install(getattr(ip, "kernel", None))

    def remove(self, ip: Any) -> None:
        """What :meth:`install` did."""
        self._inside.remove()
        if self._matcher in ip.Completer.custom_matchers:
            ip.Completer.custom_matchers.remove(self._matcher)

    def complete(
        self, text: str, cell: tuple[str, int, int] | None = None
    ) -> tuple[str, list[Offer], bool]:
        """What is completed, by what, and whether by that alone; never raises.

        Of a line up to the cursor, and of the cell that it is in: (its text, row, column). In a
        magic's line nothing of Python's belongs, but where IPython fills something in:
        ``{expression}``, ``$name``.
        """
        try:
            inside = self._inside.complete(*cell) if cell else None
            return self._complete(text) if inside is None else (*inside, True)
        except Exception:  # noqa: BLE001  # Tab must not print a traceback into what is typed
            return "", [], False

    def _complete(self, text: str) -> tuple[str, list[Offer], bool]:
        if call := _CALL.fullmatch(text):
            typed = call[1]
            named = dict.fromkeys(self._sources.places(typed))
            offered = [Offer(each, "location") for each in named if each.startswith(typed)]
            return typed, [each for each in offered if _fit(each.text)], bool(offered)
        found = _LINE.fullmatch(text)
        parser = self._parsers.get(found[1]) if found else None
        if found is None or parser is None:
            return "", [], False
        if text.rfind("{") > text.rfind("}") or re.search(r"\$\w*$", text):
            return "", [], False
        at = place(parser, found[2])
        typed = at.word.text
        offered = [] if typed.startswith("-") else self._sources.of(at.kind, at)
        if not typed or typed.startswith("-"):
            offered = [*offered, *(Offer(name, "option") for name in at.options)]
        raw = found[2][at.word.start :]
        fitting: dict[str, Offer] = {}
        for each in offered:
            begins = each.text.startswith(typed) or (typed and each.also.startswith(typed))
            if begins and _fit(each.text):
                fitting.setdefault(each.text, each._replace(text=_quoted(each.text)))
        return raw, list(fitting.values()), True


def _fit(text: str) -> bool:
    """Whether it may be typed for the user.

    IPython fills in ``$name`` and runs ``{expression}``, quoted or not, and a container names its
    files as it likes; a newline would end the magic and begin a line of Python.
    """
    return text.isprintable() and not re.search(r"[{}$]", text)


def _quoted(text: str) -> str:
    return quoted(text) if re.search(r"[\s'\"\\$`]", text) else text
