"""A terminal's last screen, and some of what scrolled off it, as styled lines.

pyte draws it. That takes about a second for a megabyte, so it is fed the last of the output, and
runs in a worker thread, never on the I/O loop.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import Any, Final

from tfnz_notebook._base import escapes
from tfnz_notebook.widgets.saved.ansi import Colour, Span, Style, visible
from tfnz_notebook.widgets.saved.ansi import lines as plain_lines

#: Bytes at the end of the output that are drawn, and lines kept of what scrolled off.
MOST: Final = 256 << 10
HISTORY: Final = 1000

#: Programs such as vim and less draw on a second screen and leave the first as it was.
_ALTERNATE: Final = re.compile(r"\x1b\[\?(?:1049|1047|47)([hl])")
#: What pyte does not know and would print or stumble over: strings, and private modes of keyboards.
_STRINGS: Final = re.compile(
    rf"{escapes.STRING}|\x1b\[[<=>][0-?]*[ -/]*[@-~]|\x1b\[[0-?]+[ -/]+[@-~]"
)
_NAMES: Final = ("black", "red", "green", "brown", "blue", "magenta", "cyan", "white")


def lines(data: bytes, rows: int, columns: int) -> list[list[Span]]:
    """The screen after that output, with its history; for a worker thread."""
    import pyte

    text = _STRINGS.sub("", data[-MOST:].decode("utf-8", "replace"))
    rows, columns = min(max(rows, 1), 500), min(max(columns, 2), 1000)
    text, alternate = _screens(text)
    screen = pyte.HistoryScreen(columns, rows, history=1 if alternate else HISTORY)
    try:
        pyte.Stream(screen).feed(text)
    except Exception:  # noqa: BLE001  # output is hostile, and pyte was not written for that
        return plain_lines(text.encode())
    above = [] if alternate else list(screen.history.top)
    found = [_spans(line, columns) for line in [*above, *(screen.buffer[y] for y in range(rows))]]
    while found and not found[-1]:
        found.pop()
    return found


def _screens(text: str) -> tuple[str, bool]:
    """What was drawn on the screen that shows now, and whether that is the alternate one."""
    parts = _ALTERNATE.split(text)
    on_main, alternate = [parts[0]], ""
    inside = False
    for which, piece in zip(parts[1::2], parts[2::2], strict=True):
        inside = which == "h"
        if inside:
            alternate = piece
        else:
            on_main.append(piece)
    return (alternate, True) if inside else ("".join(on_main), False)


def _spans(line: Any, columns: int) -> list[Span]:
    last = max(
        (x for x, char in line.items() if char.data != " " or char.bg != "default"), default=-1
    )
    styled = [(_style(line[x]), line[x].data) for x in range(min(last + 1, columns))]
    return [
        Span(visible("".join(data for _, data in group)), style)
        for style, group in groupby(styled, key=lambda each: each[0])
    ]


def _style(char: Any) -> Style:
    return Style(
        fg=_colour(char.fg),
        bg=_colour(char.bg),
        bold=char.bold,
        italic=char.italics,
        underline=char.underscore,
        strike=char.strikethrough,
        inverse=char.reverse,
    )


def _colour(name: str) -> Colour:
    if name == "default":
        return None
    plain = name.removeprefix("bright")
    if plain in _NAMES:
        return _NAMES.index(plain) + (8 if plain != name else 0)
    if plain == "yellow":
        return 11
    try:
        return int(name[0:2], 16), int(name[2:4], 16), int(name[4:6], 16)
    except ValueError:
        return None
