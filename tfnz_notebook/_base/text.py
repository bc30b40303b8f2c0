"""Text that people read: safe, in columns, as the shell would take it.

What is shown of a name, a command or a log may hold anything: terminal escapes, line ends,
characters that turn the text around. Here it becomes text that can only be text.
``tests/vectors/text.json`` has examples of all of it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final

from tfnz_notebook._base import escapes, widths
from tfnz_notebook.errors import harmless

# -- harmless -------------------------------------------------------------------------------------


def one_line(text: object, most: int = 200) -> str:
    """One line of at most ``most`` characters, whatever it was: what is hidden is written out."""
    line = harmless(str(text or "")[: most + 1]).replace("\n", r"\n").replace("\t", r"\t")
    return line if len(line) <= most else line[: most - 1] + "…"


def last_words(log: bytes, *, lines: int | None = None, most: int = 4000) -> str:
    """The end of an output as text to quote: at most so many lines, and characters.

    Without escapes; of a line that was written over and over its last state; what is hidden is
    written out.
    """
    text = escapes.without(log[-4 * most :].decode("utf-8", "replace")).replace("\r\n", "\n")
    found = text.strip("\n").split("\n")
    kept = [line.rstrip("\r").rpartition("\r")[2].expandtabs() for line in found]
    said = harmless("\n".join(kept if lines is None else kept[-lines:]))
    return said if len(said) <= most else "…" + said[1 - most :]


# -- columns --------------------------------------------------------------------------------------


def columns(character: str) -> int:
    """Columns that a character takes in a terminal.

    None for what joins the one before it (accents, joiners, variation selectors) and for controls,
    two for CJK and emoji.
    """
    return 1 if " " <= character < "\x7f" else widths.table()[ord(character)]


def width(text: str) -> int:
    """Columns that a text takes in a terminal."""
    return len(text) if text.isascii() else sum(map(columns, text))


def clip(text: str, most: int) -> str:
    """It, or of what fits in ``most`` columns its beginning and an ellipsis.

    Of characters that take no column there may be three a column, and no more.
    """
    text = text[: 4 * most + 1]
    if width(text) <= most and len(text) <= 4 * most:
        return text
    ends = enumerate(accumulate(map(columns, text)))
    return text[: next((at for at, end in ends if end >= most), 4 * most)] + "…"


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[int] = (),
    most: int = 100,
) -> str:
    """Aligned columns, two blanks apart; those numbered in ``right`` to the right.

    Over ``most`` columns of the terminal the widest give way, none below eight.
    """
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(width(line[i]) for line in lines) for i in range(len(head))]
    while sum(widths) + 2 * (len(widths) - 1) > most and max(widths) > 8:
        widths[widths.index(max(widths))] -= 1
    drawn = []
    for line in lines:
        cells = []
        for i, cell in enumerate(line):
            shown = clip(cell, widths[i])
            blank = " " * (widths[i] - width(shown))
            cells.append(blank + shown if i in right else shown + blank)
        drawn.append("  ".join(cells).rstrip())
    return "\n".join(drawn)


# -- the shell ------------------------------------------------------------------------------------

#: Words that the shell takes as they are, letters of all scripts included.
_BARE: Final = re.compile(r"[\w@%+=:,./-]+")


def quoted(word: str) -> str:
    """A word as one would type it: bare where it may be, else in whichever quotes read better."""
    if _BARE.fullmatch(word):
        return word
    if "'" in word and not re.search(r'["$`\\!]', word):
        return f'"{word}"'
    return shlex.quote(word)


def command_line(words: Iterable[str]) -> str:
    """A command's words as one would type them in a shell."""
    return " ".join(map(quoted, words))
