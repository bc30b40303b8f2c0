"""``%tf_why``, and how errors are shown: what went wrong, in the user's own words and place.

In a shell that has the magics an error of ours is its sentence and the line of the user's that it
came from, whoever raised it, a magic or an object. How we came to raise it is asked for with
``%tf_why``, which also says what the container concerned said last.
"""

from __future__ import annotations

import argparse
import ast
import linecache
import re
import traceback
from types import FrameType
from typing import Any, Final

from tfnz_notebook._base.text import clip, last_words, one_line
from tfnz_notebook.container import Container
from tfnz_notebook.errors import CellFailed, TfnzError
from tfnz_notebook.magics.here import Here, called
from tfnz_notebook.magics.parse import Parser
from tfnz_notebook.magics.shown.text import clean
from tfnz_notebook.magics.table import Magic
from tfnz_notebook.process import Process

#: How IPython reads a magic; ours gets what was typed, as a literal.
_MAGIC: Final = re.compile(r"get_ipython\(\)\.run_(line|cell)_magic(\(.*\))\s*$", re.DOTALL)
#: Names under which frames of ours hold what they are about.
_HOLDERS: Final = ("self", "of", "process", "container")
#: Most of a container's last words: lines, characters; and seconds that they are waited for.
_TAIL: Final = (20, 4000)
_PATIENCE: Final = 3.0
_HOOK: Final = "_render_traceback_"

_last: list[BaseException] = []


def show(there: bool) -> None:
    """Have IPython show our errors so, or no more."""
    if there:
        setattr(TfnzError, _HOOK, rendered)
    elif _HOOK in vars(TfnzError):
        delattr(TfnzError, _HOOK)
        _last.clear()


def rendered(error: BaseException) -> list[str]:
    """An error's lines: what it is and says, what was noted on it, the user's line.

    Of what a cell in a container raised: its traceback there, as if it had been raised here.
    """
    trace = error.details.get("trace") if isinstance(error, CellFailed) else None
    if trace:
        _last[:] = [error]
        return [clean(str(trace)).rstrip("\n")]
    name = f"\x1b[31m{type(error).__name__}\x1b[39m"
    said = clean(str(error))
    lines = [f"{name}: {said}" if said else name]
    lines += [clean(note) for note in getattr(error, "__notes__", ())]
    if isinstance(error, TfnzError):
        _last[:] = [error]
        lines += [f"\x1b[2m{where}\x1b[22m" for where in _place(error)]
    return lines


def _place(error: BaseException) -> list[str]:
    """The user's line that it came from, as it was typed: the innermost of their cells."""
    for frame, number in reversed(list(traceback.walk_tb(error.__traceback__))):
        if frame.f_globals.get("__name__") == "__main__":
            line = typed(linecache.getline(frame.f_code.co_filename, number))
            if line:
                return [f"  line {number}: {clip(line, 200)}   (%tf_why tells more)"]
    return []


def typed(line: str) -> str:
    """A line of a cell before IPython turned its magic into a call."""
    if found := _MAGIC.search(line):
        try:
            name, text = ast.literal_eval(found[2])[:2]
        except (ValueError, SyntaxError):
            pass
        else:
            sign = "%" if found[1] == "line" else "%%"
            line = f"{line[: found.start()]}{sign}{name} {text}"
    return one_line(line.strip())


def _parser() -> Parser:
    return Parser(
        "tf_why",
        "What the last error was about: the last words of its container, and the whole traceback.",
    )


def why(here: Here, asked: argparse.Namespace) -> None:
    """``%tf_why``."""
    del asked
    if not _last:
        print("nothing has gone wrong")  # noqa: T201  # for the user
        return
    (error,) = _last
    lines = here.shell.InteractiveTB.structured_traceback(
        type(error), error, error.__traceback__, tb_offset=0
    )
    print("\n".join((*_said(error), *map(clean, lines))))  # noqa: T201  # for the user


def _said(error: BaseException) -> list[str]:
    """What the container concerned said last; nothing where there is none, or it said nothing."""
    container = _concerned(error)
    details = getattr(error, "details", {})
    said = details.get("stderr") or details.get("log") or b""
    state = ""
    if container is not None:
        state = f" ({container.state})"
        try:
            said = said or container.logs(tail=_TAIL[0], timeout=_PATIENCE)
        except TfnzError:
            pass  # gone, with all that it said
    words = last_words(bytes(said), lines=_TAIL[0], most=_TAIL[1])
    if not words and container is None:
        return []
    who = f"{called(container)}{state}" if container is not None else "It"
    return [f"{who} said last:\n{words}\n" if words else f"{who} said nothing.\n"]


def _concerned(error: BaseException) -> Container | None:
    """The container that the innermost call was about."""
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        if (found := _held(frame)) is not None:
            return found
    return None


def _held(frame: FrameType) -> Container | None:
    for name in _HOLDERS:
        found: Any = frame.f_locals.get(name)
        if isinstance(found, Process):
            return found.container
        if isinstance(found, Container):
            return found
    return None


MAGICS: Final = (Magic(_parser(), why),)
