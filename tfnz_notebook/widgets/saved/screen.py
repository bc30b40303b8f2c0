"""A terminal's last screen, and some of what scrolled off it, as styled lines.

A megabyte takes about a second, so the last of the output is drawn, in a worker thread, never on
the I/O loop. Pages have the same in ``_frontend/src/shell/screen/still.ts``.
"""

from __future__ import annotations

from itertools import groupby
from typing import Final, NamedTuple

from tfnz_notebook.widgets.saved.ansi import Span, Style, visible
from tfnz_notebook.widgets.saved.terminal import Cell, Line, Terminal

#: Bytes at the end of the output that are drawn; a view's replay (``KEEP`` in shell.ts) is as long.
MOST: Final = 256 << 10
#: As in ``replay.ts``: text without a line break is skipped up to so many bytes.
PATIENCE: Final = 16 << 10


class Screen(NamedTuple):
    """What is on it, and how many of its rows were ever in use."""

    lines: list[list[Span]]
    used: int


def draw(data: bytes, rows: int, columns: int, *, middle: bool = False) -> Screen:
    """The screen after that output, with its history; for a worker thread.

    ``middle``: it begins in the middle of the output.
    """
    terminal = Terminal(min(max(rows, 1), 500), min(max(columns, 2), 1000))
    terminal.feed(beginning(data) if middle else data)
    found = [_spans(line) for line in [*terminal.history, *terminal.lines]]
    while found and not found[-1]:
        found.pop()
    return Screen(found, terminal.used)


def beginning(data: bytes) -> bytes:
    """Of a log that begins in the middle, from where it can be shown; as ``replay.ts`` does."""
    line, escape = data.find(b"\n"), data.find(b"\x1b")
    if escape >= 0 and (line < 0 or line - escape >= PATIENCE):
        return data[escape:]
    if line >= 0:
        return data[line + 1 :]
    return next((data[at:] for at in range(PATIENCE, len(data)) if data[at] < 0x80), b"")


def _spans(line: Line) -> list[Span]:
    cells = [cell for cell in line.cells if cell[0] or cell[1]]
    while cells and _unseen(cells[-1]):
        cells.pop()
    return [
        Span(visible("".join(text or " " for text, _, _ in group)), style)
        for style, group in groupby(cells, key=lambda cell: _look(cell[2]))
    ]


def _unseen(cell: Cell) -> bool:
    text, _, style = cell
    seen = style.bg is not None or style.inverse or style.underline or style.strike
    return text in ("", " ") and not seen


def _look(style: Style) -> Style:
    """As xterm.js shows it: the eight colours are bright where they are bold."""
    which = "bg" if style.inverse else "fg"
    colour = getattr(style, which)
    bright = style.bold and isinstance(colour, int) and colour < 8
    return style._replace(**{which: colour + 8}) if bright else style
