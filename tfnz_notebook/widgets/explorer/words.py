"""Numbers and names as people read them; what comes out of a container made harmless.

A name, a command or a log's line may hold anything: terminal escapes, line ends, characters that
turn the text around. Here it becomes text that can only be text.
"""

from __future__ import annotations

import re
import signal
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

from tfnz_notebook.errors import ESCAPES, HIDDEN

#: Control characters, and those that change the direction of the text around them or cannot be
#: seen: each is shown as its escape.
_HIDDEN: Final = re.compile(f"{HIDDEN.pattern}|[\t\n]")
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


def _escape(found: re.Match[str]) -> str:
    number = ord(found.group())
    if number < 0x100:
        return {10: r"\n", 13: r"\r", 9: r"\t"}.get(number, f"\\x{number:02x}")
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def plain(text: object, most: int = 200) -> str:
    """One line of at most ``most`` characters, whatever it was."""
    whole = str(text or "")
    line = _HIDDEN.sub(_escape, whole[: most + 1])
    return line if len(line) <= most else line[: most - 1] + "…"


def last_lines(log: bytes, lines: int = 20, most: int = 4000) -> str:
    """The end of a log as text: no escapes, of a line that was written over its last state."""
    text = ESCAPES.sub("", log[-4 * most :].decode("utf-8", "replace"))
    kept = []
    for line in text.replace("\r\n", "\n").rstrip("\n").split("\n")[-lines:]:
        written = line.rstrip("\r").rpartition("\r")[2].expandtabs()
        kept.append(_HIDDEN.sub(_escape, written))
    return "\n".join(kept)[-most:]


def wide(text: str) -> int:
    """Columns that it takes in a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def clip(text: str, columns: int) -> str:
    """It, or its beginning and an ellipsis."""
    if wide(text) <= columns:
        return text
    kept = ""
    for character in text:
        if wide(kept + character) > columns - 1:
            break
        kept += character
    return kept + "…"


def size(number: float | None) -> str:
    """Bytes: ``12.3 MiB``."""
    if number is None:
        return ""
    value = float(number)
    for unit in _UNITS:
        if value < 999.5 or unit == _UNITS[-1]:
            break
        value /= 1024
    if unit == "B":
        return f"{value:.0f} B"
    return f"{value:.1f} {unit}" if value < 99.95 else f"{value:.0f} {unit}"


def rate(number: float | None) -> str:
    """Bytes a second."""
    return "" if number is None else f"{size(number)}/s"


def percent(number: float | None) -> str:
    """Of one core."""
    return "" if number is None else f"{number:.1f} %"


def duration(seconds: float) -> str:
    """``42 s``, ``3 min``, ``2 h 05 min``, ``4 d 3 h``."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 86400:
        return f"{whole // 3600} h {whole // 60 % 60:02} min"
    return f"{whole // 86400} d {whole // 3600 % 24} h"


def ending(returncode: int | None) -> str:
    """``exit 0``, or the signal: ``SIGTERM``."""
    if returncode is None:
        return "running"
    if returncode >= 0:
        return f"exit {returncode}"
    try:
        return signal.Signals(-returncode).name
    except ValueError:
        return f"signal {-returncode}"


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Sequence[int] = (),
    width: int = 100,
) -> str:
    """Aligned columns, two blanks apart; those numbered in ``right`` to the right.

    Over ``width`` the widest columns give way, none below eight.
    """
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(wide(line[i]) for line in lines) for i in range(len(head))]
    while sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > 8:
        widths[widths.index(max(widths))] -= 1
    drawn = []
    for line in lines:
        cells = []
        for i, cell in enumerate(line):
            shown = clip(cell, widths[i])
            blank = " " * (widths[i] - wide(shown))
            cells.append(blank + shown if i in right else shown + blank)
        drawn.append("  ".join(cells).rstrip())
    return "\n".join(drawn)
