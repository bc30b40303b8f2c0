r"""Output with colours as styled text: what a line-oriented view of it looks like.

Pages do the same as output comes (``_frontend/src/output/ansi.ts`` and ``pen.ts``): what follows is
the specification of both, and ``tests/vectors/text.json`` has its examples.

- Bytes are UTF-8; what cannot be decoded is U+FFFD.
- A line has columns as a terminal has (:func:`tfnz_notebook._base.text.columns`). A character of no
  width joins the one before it and looks like it; where a line begins there is none, and it has a
  column of its own. Of a wide one that is half written over, a blank is left.
- ``\r`` goes to the first column and ``\b`` one back. A tab goes to the next multiple of eight; at
  the line's end it stays in the text as a tab, which is as wide as that. ``ESC [ n G`` goes to
  column n, counted from 1. Where nothing was written before what is written then, there are blanks.
- ``ESC [ n A`` goes n lines up, ``B`` down, in the same column, ``F`` and ``E`` to the first one:
  among the last lines of the stream (:data:`REACH`), as progress bars do that take several. A
  line's end goes to the line below, or begins one.
- ``ESC [ n K`` erases: to the line's end, with 1 up to the cursor, with 2 all; the cursor stays.
- ``ESC [ ... m`` (SGR) styles: 16 colours, 256 (``38;5;n``), true ones (``38;2;r;g;b``), also with
  colons and a colour space between; bold, dim, italic, underline, inverse, hidden, strike and
  their ends. What is unknown changes nothing, nor does one of more than 128 characters. A style
  goes on over the line's end.
- Every other sequence (``_base/escapes.py``) and control is taken out, unseen and inert: cursor
  movement, titles, links, the clipboard. One that is broken off hides its line's rest at most.
- What could turn text around (Unicode's bidirectional controls) or hide in it is shown by its
  number, ``<U+202E>``. Joiners are left: emoji and scripts are made with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from tfnz_notebook._base import escapes
from tfnz_notebook._base.text import columns

#: A colour: an index of the palette (0 to 255), or (red, green, blue); None: as the text around.
Colour = int | tuple[int, int, int] | None


class Style(NamedTuple):
    """How characters look."""

    fg: Colour = None
    bg: Colour = None
    bold: bool = False
    dim: bool = False
    italic: bool = False
    underline: bool = False
    strike: bool = False
    inverse: bool = False
    hidden: bool = False


class Span(NamedTuple):
    """Characters that look alike."""

    text: str
    style: Style


PLAIN: Final = Style()
TAB: Final = 8
#: Where the cursor can go beyond what is there.
WIDEST: Final = 4096
#: Columns of one line; what follows is cut.
LONGEST: Final = 16_384
#: Lines above the one that is written that can still be written over.
REACH: Final = 64

_TOKEN: Final = re.compile(
    rf"(?P<csi>{escapes.CSI})|{escapes.STRING}|{escapes.SHORT}"
    rf"|(?P<control>[\r\b\t])|{escapes.CONTROL}"
)
#: Controls, those of direction too, and characters without a shape that text could hide behind.
_HIDDEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e0fff]"
)
_FLAGS: Final = {
    1: {"bold": True},
    2: {"dim": True},
    3: {"italic": True},
    4: {"underline": True},
    7: {"inverse": True},
    8: {"hidden": True},
    9: {"strike": True},
    21: {"underline": True},
    22: {"bold": False, "dim": False},
    23: {"italic": False},
    24: {"underline": False},
    27: {"inverse": False},
    28: {"hidden": False},
    29: {"strike": False},
}


def visible(text: str) -> str:
    """Text in which nothing turns others around or hides."""
    return _HIDDEN.sub(lambda found: f"<U+{ord(found[0]):04X}>", text)


def sgr(style: Style, parameters: str) -> Style:
    """The style after ``ESC [ parameters m``; what is unknown changes nothing."""
    codes: Iterator[list[int]] = iter(
        [[int(part or 0) for part in each.split(":")] for each in parameters.split(";")]
        if re.fullmatch(r"[\d;:]{0,128}", parameters, re.ASCII)
        else []
    )
    for code in codes:
        match code:
            case [0, *_]:
                style = PLAIN
            case [4, 0, *_]:
                style = style._replace(underline=False)
            case [number, *_] if number in _FLAGS:
                style = style._replace(**_FLAGS[number])
            case [number, *_] if 30 <= number <= 37 or 90 <= number <= 97:
                style = style._replace(fg=number - 30 if number < 40 else number - 82)
            case [number, *_] if 40 <= number <= 47 or 100 <= number <= 107:
                style = style._replace(bg=number - 40 if number < 50 else number - 92)
            case [38, *own]:
                style = style._replace(fg=_extended(own, codes, style.fg))
            case [48, *own]:
                style = style._replace(bg=_extended(own, codes, style.bg))
            case [39, *_]:
                style = style._replace(fg=None)
            case [49, *_]:
                style = style._replace(bg=None)
            case [58, *own]:  # of the line under it, which has the colour of its text here
                _extended(own, codes, None)
    return style


def _extended(own: list[int], codes: Iterator[list[int]], before: Colour) -> Colour:
    """``5;N``, ``2;R;G;B``, and with colons, where a colour space may stand in between."""
    if own:
        kind, *values = own
        values = values[1:4] if kind == 2 and len(values) > 3 else values
    else:
        kind = next(codes, [-1])[0]
        values = [next(codes, [-1])[0] for _ in range({5: 1, 2: 3}.get(kind, 0))]
    match kind, values:
        case 5, [index, *_] if 0 <= index <= 255:
            return index
        case 2, [red, green, blue] if all(0 <= part <= 255 for part in (red, green, blue)):
            return red, green, blue
        case _:
            return before


class Line:
    """A line that is being written, by columns, and where the next character goes.

    Of a character that takes several columns, the first has it and the others are empty.
    """

    __slots__ = ("_whole", "at", "cells", "styles")

    def __init__(self) -> None:
        self.cells: list[str] = []
        self.styles: list[Style] = []
        self.at = 0
        self._whole: Span | None = None

    @property
    def empty(self) -> bool:
        """Nothing was written in it."""
        return not self.cells and self._whole is None

    def begin(self, text: str, style: Style) -> None:
        """All of it, most often: printable, with nothing before and, as a rule, after it."""
        self._whole = Span(text, style)

    def open(self) -> None:
        """More comes: have it by columns."""
        whole, self._whole = self._whole, None
        if whole is not None:
            at, self.at = self.at, 0
            self.write(*whole)
            self.at = at

    def write(self, text: str, style: Style) -> None:
        if text.isascii():
            self._put(list(text[: max(0, LONGEST - self.at)]), style)
            return
        for character in text:
            taken = columns(character)
            if taken == 0 and self.at > 0:
                self._join(character)
            elif self.at < LONGEST:
                self._put([character, *[""] * (taken - 1)], style)

    def _put(self, cells: list[str], style: Style) -> None:
        self._reach()
        end = self.at + len(cells)
        self._part(self.at)
        self._part(end)
        self.cells[self.at : end] = cells
        self.styles[self.at : end] = [style] * len(cells)
        self.at = end

    def _reach(self) -> None:
        missing = self.at - len(self.cells)
        if missing > 0:  # what was there is erased, or was never written
            self.cells += " " * missing
            self.styles += [PLAIN] * missing

    def _part(self, at: int) -> None:
        """Let no character reach over the border before a column."""
        start = end = at
        while 0 < start < len(self.cells) and self.cells[start] == "":
            start -= 1
        while start < at and end < len(self.cells) and self.cells[end] == "":
            end += 1
        if start < at:
            self.cells[start:end] = " " * (end - start)

    def _join(self, character: str) -> None:
        self._reach()
        owner = self.at - 1
        while self.cells[owner] == "":
            owner -= 1
        self.cells[owner] += character

    def control(self, character: str, style: Style) -> None:
        match character:
            case "\r":
                self.at = 0
            case "\b":
                self.at = max(0, self.at - 1)
            case _:
                steps = TAB - self.at % TAB
                if self.at < len(self.cells):
                    self.at += steps
                elif self.at < LONGEST:
                    self._put(["\t", *[""] * (steps - 1)], style)

    def column(self, number: int) -> None:
        self.at = min(max(0, number - 1), WIDEST)

    def erase(self, how: int) -> None:
        if how == 0:
            self._part(self.at)
            del self.cells[self.at :], self.styles[self.at :]
        elif how == 1:
            count = min(self.at + 1, len(self.cells))
            self._part(count)
            self.cells[:count] = " " * count
            self.styles[:count] = [PLAIN] * count
        elif how == 2:
            self.cells, self.styles = [], []

    def spans(self) -> list[Span]:
        """What it looks like."""
        if self._whole is not None:
            return [Span(visible(self._whole.text), self._whole.style)] if self._whole.text else []
        found: list[Span] = []
        start = 0
        for index in range(1, len(self.cells) + 1):
            if index == len(self.cells) or self.styles[index] != self.styles[start]:
                text = "".join(self.cells[start:index])
                found.append(Span(visible(text), self.styles[start]))
                start = index
        return found


class Parser:
    """One stream, in pieces: lines, once they have ended.

    One that was given may still be written over, by what comes up to it again.
    """

    def __init__(self) -> None:
        self._style = PLAIN
        self._part = b""
        self._lines = [Line()]
        self._row = 0

    def feed(self, data: bytes) -> list[Line]:
        """The lines that end in what has come by now."""
        whole, newline, self._part = (self._part + data).rpartition(b"\n")
        if not newline:
            return []
        found: list[Line] = []
        for piece in whole.decode("utf-8", "replace").split("\n"):
            self._write(piece)
            found += self._down()
        return found

    def close(self) -> list[Line]:
        """The last line, if it has no end."""
        part, self._part = self._part, b""
        self._write(part.decode("utf-8", "replace"))
        last = self._lines[-1]
        return [] if last.empty and not part else [last]

    def _down(self) -> list[Line]:
        """Below this line, which is told if it was the last."""
        self._row += 1
        if self._row < len(self._lines):
            self._lines[self._row].at = 0
            return []
        self._lines.append(Line())
        if len(self._lines) > REACH + 1:
            del self._lines[0]
            self._row -= 1
        return self._lines[-2:-1]

    def _go(self, lines: int, *, home: bool) -> None:
        at = self._lines[self._row].at
        self._row = min(max(self._row + lines, 0), len(self._lines) - 1)
        self._lines[self._row].open()
        self._lines[self._row].at = 0 if home else at

    def _write(self, piece: str) -> None:
        line = self._lines[self._row]
        # Most have no sequence and no control.
        if piece.isprintable() and 2 * len(piece) <= LONGEST and line.empty and line.at == 0:
            if piece:
                line.begin(piece, self._style)
            return
        line.open()
        at = 0
        for token in _TOKEN.finditer(piece):
            if token.start() > at:
                self._lines[self._row].write(piece[at : token.start()], self._style)
            at = token.end()
            if token["control"]:
                self._lines[self._row].control(token["control"], self._style)
            elif token["csi"]:
                self._sequence(token["csi"])
        if at < len(piece):
            self._lines[self._row].write(piece[at:], self._style)

    def _sequence(self, csi: str) -> None:
        parameters, final = csi[2 if csi[0] == "\x1b" else 1 : -1], csi[-1]
        if final == "m":
            self._style = sgr(self._style, parameters)
        if not (final in "KGABEF" and re.fullmatch(r"\d{0,9}", parameters, re.ASCII)):
            return
        line, number = self._lines[self._row], int(parameters or 0)
        match final:
            case "K":
                line.erase(number)
            case "G":
                line.column(number or 1)
            case _:
                count = max(1, number)
                self._go(-count if final in "AF" else count, home=final in "EF")


def lines(data: bytes) -> list[list[Span]]:
    """The lines of some output; a last one without an end included."""
    parser = Parser()
    return [line.spans() for line in parser.feed(data) + parser.close()]
