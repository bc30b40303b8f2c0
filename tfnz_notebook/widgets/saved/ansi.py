r"""Output with colours as styled text: what a line-oriented view of it looks like.

SGR sequences style, ``\r`` goes back to the line's beginning and ``\b`` one character, ``ESC [K``
erases; a tab moves on. Every other control sequence (cursor movement, titles, links, the clipboard)
is taken out, unseen and inert. What cannot be decoded is U+FFFD, and what could turn text around
(Unicode's bidirectional controls) or hide in it is shown by its number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

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


class Span(NamedTuple):
    """Characters that look alike."""

    text: str
    style: Style


PLAIN: Final = Style()
TAB: Final = 8
#: Characters of one line; what follows is cut.
LONGEST: Final = 16_384

#: CSI; then strings up to their terminator (OSC, DCS, SOS, PM, APC), unfinished ones included;
#: then ESC and its final byte, C1's own CSI, and the controls that are done here.
_TOKEN: Final = re.compile(
    r"\x1b\[(?P<csi>[0-?]*[ -/]*[@-~])"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|(?=\x1b)|\Z)"
    r"|\x1b\[[0-?]*[ -/]*|\x9b[0-?]*[ -/]*[@-~]?|\x1b[ -/]*[0-~]?"
    r"|(?P<control>[\r\b\t])|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
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
    9: {"strike": True},
    21: {"underline": True},
    22: {"bold": False, "dim": False},
    23: {"italic": False},
    24: {"underline": False},
    27: {"inverse": False},
    29: {"strike": False},
}


def visible(text: str) -> str:
    """Text in which nothing turns others around or hides."""
    return _HIDDEN.sub(lambda found: f"<U+{ord(found[0]):04X}>", text)


def sgr(style: Style, parameters: str) -> Style:
    """The style after ``ESC [ parameters m``; what is unknown changes nothing."""
    codes: Iterator[list[int]] = iter(
        [[int(part or 0) for part in each.split(":")] for each in parameters.split(";")]
        if re.fullmatch(r"[\d;:]{0,128}", parameters)
        else []
    )
    for code in codes:
        match code[0]:
            case 0:
                style = PLAIN
            case 4 if code[1:] == [0]:
                style = style._replace(underline=False)
            case number if number in _FLAGS:
                style = style._replace(**_FLAGS[number])
            case number if 30 <= number <= 37 or 90 <= number <= 97:
                style = style._replace(fg=number - 30 if number < 40 else number - 82)
            case number if 40 <= number <= 47 or 100 <= number <= 107:
                style = style._replace(bg=number - 40 if number < 50 else number - 92)
            case 38:
                style = style._replace(fg=_extended(code, codes, style.fg))
            case 48:
                style = style._replace(bg=_extended(code, codes, style.bg))
            case 39:
                style = style._replace(fg=None)
            case 49:
                style = style._replace(bg=None)
    return style


def _extended(code: list[int], codes: Iterator[list[int]], before: Colour) -> Colour:
    """``38;5;N``, ``38;2;R;G;B``, and with colons, where a colour space may stand in between."""
    if len(code) > 1:
        numbers = code[1:]
        if numbers[0] == 2 and len(numbers) > 4:
            numbers = [2, *numbers[-3:]]
    else:
        numbers = [next(codes, [-1])[0]]
        wanted = {5: 1, 2: 3}.get(numbers[0], 0)
        numbers += [next(codes, [-1])[0] for _ in range(wanted)]
    match numbers:
        case [5, index] if 0 <= index <= 255:
            return index
        case [2, red, green, blue] if all(0 <= part <= 255 for part in (red, green, blue)):
            return red, green, blue
        case _:
            return before


class _Line:
    """A line that is being written: characters and their styles, and where the next one goes."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.styles: list[Style] = []
        self.at = 0

    def write(self, text: str, style: Style) -> None:
        text = text[: max(0, LONGEST - self.at)]
        end = self.at + len(text)
        if self.at > len(self.text):  # what was there is erased
            missing = self.at - len(self.text)
            self.text += " " * missing
            self.styles += [PLAIN] * missing
        self.text[self.at : end] = text
        self.styles[self.at : end] = [style] * len(text)
        self.at = end

    def control(self, character: str, style: Style) -> None:
        match character:
            case "\r":
                self.at = 0
            case "\b":
                self.at = max(0, self.at - 1)
            case _:
                steps = TAB - self.at % TAB
                over = min(steps, len(self.text) - self.at)
                self.at += over  # a tab moves over what is there
                self.write(" " * (steps - over), style)

    def erase(self, how: str) -> None:
        if how == "2":
            self.text, self.styles = [], []
        elif how == "1":
            count = min(self.at + 1, len(self.text))
            self.text[:count] = " " * count
            self.styles[:count] = [PLAIN] * count
        else:
            del self.text[self.at :], self.styles[self.at :]

    def spans(self) -> list[Span]:
        found: list[Span] = []
        start = 0
        for index in range(1, len(self.text) + 1):
            if index == len(self.text) or self.styles[index] != self.styles[start]:
                text = "".join(self.text[start:index])
                found.append(Span(visible(text), self.styles[start]))
                start = index
        return found


class Parser:
    """One stream, in pieces: lines without their ends, once they have ended."""

    def __init__(self) -> None:
        self._style = PLAIN
        self._part = b""

    def feed(self, data: bytes) -> list[list[Span]]:
        """The lines that end in what has come by now."""
        whole, newline, self._part = (self._part + data).rpartition(b"\n")
        return self._parse(whole) if newline else []

    def close(self) -> list[list[Span]]:
        """The last line, if it has no end."""
        part, self._part = self._part, b""
        return self._parse(part) if part else []

    def _parse(self, data: bytes) -> list[list[Span]]:
        found: list[list[Span]] = []
        for piece in data.decode("utf-8", "replace").split("\n"):
            spans, self._style = _line(piece, self._style)
            found.append(spans)
        return found


def lines(data: bytes) -> list[list[Span]]:
    """The lines of some output; a last one without an end included."""
    parser = Parser()
    return parser.feed(data) + parser.close()


def _line(piece: str, style: Style) -> tuple[list[Span], Style]:
    if piece.isprintable():  # most lines are: no sequence, no control
        text = visible(piece[:LONGEST])
        return ([Span(text, style)] if text else []), style
    line = _Line()
    at = 0
    for token in _TOKEN.finditer(piece):
        if token.start() > at:
            line.write(piece[at : token.start()], style)
        at = token.end()
        csi, control = token["csi"], token["control"]
        if control:
            line.control(control, style)
        elif csi and csi[-1] == "m":
            style = sgr(style, csi[:-1])
        elif csi and csi[-1] == "K":
            line.erase(csi[:-1])
    line.write(piece[at:], style)
    return line.spans(), style
