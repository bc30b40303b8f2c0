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

if TYPE_CHECKING:
    from tfnz_notebook.process import Process

_CSI: Final = r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
# OSC, DCS, SOS, PM, APC: to BEL or ST; one that does not end stops at the next line.
_STRING: Final = r"(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
_ESCAPE: Final = r"\x1b[ -/]*[0-~]"
_SEQUENCE: Final = re.compile(f"{_STRING}|{_CSI}|{_ESCAPE}|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
#: A sequence of which the end is still to come.
_OPEN: Final = re.compile(
    r"(?:\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x07\x1b\x9c\n]*\x1b?|[ -/]*)?"
    r"|\x9b[0-?]*[ -/]*|[\x9d\x90\x98\x9e\x9f][^\x07\x1b\x9c\n]*)\Z"
)
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
        found = None if last else _OPEN.search(text, max(0, len(text) - _LONGEST))
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


def size(number: int) -> str:
    """Bytes for people: 12 B, 3.4 KB, 5.6 MB."""
    value, unit = float(number), "B"
    for unit in ("B", "KB", "MB", "GB", "TB"):  # the one that fits, after the loop
        if value < 999.5 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if value >= 99.5 or unit == "B" else f"{value:.1f} {unit}"


def plural(number: int, thing: str) -> str:
    """1 file, 2 files."""
    ending = "" if number == 1 else "es" if thing.endswith("s") else "s"
    return f"{number} {thing}{ending}"
