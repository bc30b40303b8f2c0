"""Output as text for a terminal or a cell: what a container says, made harmless.

A terminal does what it is told by escape sequences: write the clipboard (OSC 52), make links (OSC
8), change its title, report it back as if typed. Of a container's output only colours and the like
(``CSI ... m``) go through to a terminal that shows text (:data:`TEXT`); where a program has the
terminal to itself (:data:`SCREEN`) also what moves its cursor, but never a string sequence.
"""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TextIO

from tfnz_notebook._base import escapes

if TYPE_CHECKING:
    from tfnz_notebook.process import Process

_SEQUENCE: Final = re.compile(f"{escapes.STRING}|{escapes.CSI}|{escapes.SHORT}|{escapes.CONTROL}")
#: Longest beginning of a sequence that is kept until more comes.
_LONGEST: Final = 4096
_COLOUR: Final = re.compile(r"(?:\x1b\[|\x9b)[0-9;:]*m")
#: In full-screen programs: all but window operations and title reports (t), and media copy (i).
_MOVES: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-hj-su-~]|\x1b(?:[ -/][0-~]|[0-OQ-WYZ`-~=>])"
)


def _text(found: re.Match[str]) -> str:
    said = found[0]
    return said if said == "\r" or _COLOUR.fullmatch(said) else ""


def _screen(found: re.Match[str]) -> str:
    said = found[0]
    return said if said in "\r\b\a\x0e\x0f" or _MOVES.fullmatch(said) else ""


class Clean:
    """Bytes of one stream, in any pieces, to harmless text."""

    def __init__(self, keep: Callable[[re.Match[str]], str] = _text) -> None:
        self._keep = keep
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._held = ""

    def feed(self, data: bytes, *, last: bool = False) -> str:
        """The text that is certain by now."""
        text = self._held + self._decode(data, last)
        self._held = ""
        found = None if last else escapes.BEGUN.search(text, max(0, len(text) - _LONGEST))
        if found is not None:
            text, self._held = text[: found.start()], found[0]
        return _SEQUENCE.sub(self._keep, text)


#: What may go through: to lines of text, and to a terminal that a program has to itself.
TEXT: Final = _text
SCREEN: Final = _screen


def clean(data: bytes | str) -> str:
    """A whole text, made harmless."""
    return Clean().feed(data if isinstance(data, bytes) else data.encode(), last=True)


class Printer:
    """Data callbacks that print a process's output as it comes."""

    def __init__(self, keep: Callable[[re.Match[str]], str] = _text) -> None:
        self._out, self._err = Clean(keep), Clean(keep)
        self._ended = True
        self._stopped = False

    def out(self, process: Process, data: bytes) -> None:
        """Its stdout."""
        del process
        self._write(sys.stdout, self._out.feed(data))

    def err(self, process: Process, data: bytes) -> None:
        """Its stderr."""
        del process
        self._write(sys.stderr, self._err.feed(data))

    def _write(self, to: TextIO, text: str) -> None:
        if text and not self._stopped:
            self._ended = text.endswith("\n")
            to.write(text)
            to.flush()

    def finish(self) -> None:
        """Begin a new line if its last one has no end."""
        if not self._ended:
            self._write(sys.stdout, "\n")

    def stop(self) -> None:
        """Print no more."""
        self._stopped = True
