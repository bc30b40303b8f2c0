r"""Removing a terminal's echo of what was typed, and nothing else.

The line discipline echoes ``ls\n`` as ``ls\r\n`` and control characters as ``^C``. readline echoes
by itself: it may begin with escape sequences (bracketed paste), wraps long lines with a space and a
carriage return at the last column, and says ``ESC [?2004l \r`` once a line is accepted. So the
input is matched character for character, and between characters what only a terminal's echo
has is skipped. Whatever does not match is the answer, and stays whole.
"""

from __future__ import annotations

import re
from typing import Final

#: CSI and OSC sequences, and the short ones with one final byte.
_ESCAPE: Final = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])"
)
#: readline's way over the last column; ``\r`` alone where the terminal has no automatic margin.
_WRAP: Final = re.compile(rb" ?\r(?!\n)")
_NEWLINE: Final = re.compile(rb"\r*\n")
#: What readline says once it took a line goes with the echo.
_ACCEPTED: Final = re.compile(rb"(?:\x1b\[\?2004l\r?)*")


def drop(reply: bytes, typed: bytes) -> bytes:
    """``reply`` without the echo of ``typed`` at its beginning, if it is there.

    Of several lines, as many are removed as were echoed one after the other.
    """
    at = 0
    for line in typed.splitlines(keepends=True):
        end = _line(reply, at, line)
        if end is None:
            break
        at = end
    if at:
        accepted = _ACCEPTED.match(reply, at)
        at = accepted.end() if accepted else at
    return reply[at:]


def _line(reply: bytes, at: int, line: bytes) -> int | None:
    """Where the echo of one line, beginning at ``at``, ends."""
    for byte in line.rstrip(b"\r\n"):
        found = _char(reply, at, byte)
        if found is None:
            return None
        at = found
    if not line.endswith((b"\n", b"\r")):
        return at
    while True:
        match = _NEWLINE.match(reply, at)
        if match:
            return match.end()
        match = _ESCAPE.match(reply, at) or _WRAP.match(reply, at)
        if match is None:
            return None
        at = match.end()


def _char(reply: bytes, at: int, byte: int) -> int | None:
    """Where the echo of one byte ends."""
    plain = bytes([byte])
    caret = bytes([0x5E, byte ^ 0x40]) if byte < 0x20 or byte == 0x7F else b""
    while True:
        if caret and reply.startswith(caret, at):
            return at + 2
        wrap = _WRAP.match(reply, at)
        # A blank may be readline's wrap instead; then the typed blank comes after it.
        wrapped = byte == 0x20 and wrap is not None and reply.startswith(plain, wrap.end())
        if byte != 0x1B and not wrapped and reply.startswith(plain, at):
            return at + 1
        match = _ESCAPE.match(reply, at) or wrap
        if match is None:
            return None
        at = match.end()
