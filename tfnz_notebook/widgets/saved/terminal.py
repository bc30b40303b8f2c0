r"""A terminal without a page: what is on its screen after some output, as xterm.js has it.

It is what a saved notebook shows of a terminal that no page showed, and what one shows at its end;
so it does what xterm.js 6 does (``common/InputHandler.ts``), its peculiarities included:
``tests/vectors/screens.json`` holds both to the same cells. What has no effect on the screen
(titles, questions, mice, the cursor's shape) is not here.

A cell is (characters, width, style). Empty characters are a blank that was never written; the
second cell of a wide character has a width of 0.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Final

from tfnz_notebook._base import widths
from tfnz_notebook.widgets.saved.ansi import PLAIN, Style, sgr

Cell = tuple[str, int, Style]

#: Lines that are kept of what scrolled off.
HISTORY: Final = 1000

_RUN: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f]+")
_CSI: Final = re.compile(r"([<-?]?)([0-9;:]*)([ -/]*)([@-~])")
_SHORT: Final = re.compile(r"([ -/]*)([0-~])")
#: What is in a title, a link, a picture; in an OSC a bell ends it, in the others it is nothing.
_OSC: Final = re.compile(r"[^\x07\x18\x1a\x1b\x80-\x9f]*[\x07\x18\x1a\x9c]?")
_STRING: Final = re.compile(r"[^\x18\x1a\x1b\x80-\x9f]*[\x18\x1a\x9c]?")
_TABS: Final = 8

_LINES: Final = dict(
    zip("`abcdefghijklmnopqrstuvwxyz{|}~", "◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·", strict=True)
)
_CHARSETS: Final[dict[str, dict[str, str]]] = {"0": _LINES, "A": {"#": "£"}}
_GROUPS: Final = {"(": 0, ")": 1, "*": 2, "+": 3, "-": 1, ".": 2}


class Line:
    """A row of cells."""

    __slots__ = ("cells",)

    def __init__(self, columns: int, style: Style = PLAIN) -> None:
        self.cells: list[Cell] = [_blank(style)] * columns

    def width(self, x: int) -> int:
        return self.cells[x][1]

    def clear(self, x: int, style: Style) -> None:
        self.cells[x] = _blank(style)

    def part(self, x: int, style: Style) -> None:
        """A wide character that ends before a column is none any more."""
        if x and self.width(x - 1) == 2:
            self.clear(x - 1, style)

    def replace(self, start: int, end: int, style: Style) -> None:
        columns = len(self.cells)
        self.part(start, style)
        if end < columns and self.width(end - 1) == 2:
            self.clear(end, style)
        end = min(end, columns)
        if end > start:
            self.cells[start:end] = [_blank(style)] * (end - start)

    def insert(self, x: int, count: int, style: Style) -> None:
        columns = len(self.cells)
        x %= columns
        self.part(x, style)
        count = min(count, columns - x)
        self.cells[x:] = [*[_blank(style)] * count, *self.cells[x : columns - count]]
        if self.width(columns - 1) == 2:
            self.clear(columns - 1, style)

    def delete(self, x: int, count: int, style: Style) -> None:
        columns = len(self.cells)
        x %= columns
        count = min(count, columns - x)
        self.cells[x:] = [*self.cells[x + count :], *[_blank(style)] * count]
        self.part(x, style)
        if self.cells[x][:2] == ("", 0):
            self.clear(x, style)


@cache
def _blank(style: Style) -> Cell:
    return "", 1, style


class Buffer:
    """One of the two screens: its lines, cursor and margins."""

    def __init__(self, rows: int, columns: int, *, keeps: bool) -> None:
        self.size = rows, columns
        self.keeps = keeps
        self.saved: tuple[int, int, Style, dict[str, str]] = (0, 0, PLAIN, {})
        self.history: deque[Line] = deque(maxlen=HISTORY if keeps else 0)
        self.above = 0  # lines that scrolled off
        self.renew(PLAIN)

    def renew(self, style: Style) -> None:
        rows, columns = self.size
        self.lines = [Line(columns, style) for _ in range(rows)]
        self.x = self.y = self.top = 0
        self.bottom = rows - 1

    def scroll(self, style: Style) -> None:
        """The lines within the margins go up by one."""
        line = self.lines.pop(self.top)
        if self.top == 0 and self.keeps:
            self.history.append(line)
            self.above += 1
        self.lines.insert(self.bottom, Line(self.size[1], style))


class Terminal:
    """``feed`` it all of some output, once; then look at ``lines`` and ``history``."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        #: Rows that were ever in use, as a view grows with them.
        self.used = 0
        self._reset()
        self._joins = ""  # the last character, while one that follows may join it
        self._keys: dict[str, Callable[[list[int]], None]] = {
            "@": lambda n: self._line.insert(self._within().x, n[0] or 1, self._erased),
            "A": lambda n: self._up(n[0] or 1),
            "B": lambda n: self._down(n[0] or 1),
            "C": lambda n: self._move(n[0] or 1, 0),
            "D": lambda n: self._move(-(n[0] or 1), 0),
            "E": lambda n: self._down(n[0] or 1, home=True),
            "F": lambda n: self._up(n[0] or 1, home=True),
            "G": lambda n: self._set((n[0] or 1) - 1, self._at.y),
            "H": self._position,
            "I": lambda n: self._tab(n[0] or 1),
            "J": lambda n: self._erase_display(n[0]),
            "K": lambda n: self._erase_line(n[0]),
            "L": lambda n: self._insert_lines(n[0] or 1),
            "M": lambda n: self._delete_lines(n[0] or 1),
            "P": lambda n: self._line.delete(self._within().x, n[0] or 1, self._erased),
            "S": lambda n: self._roll(n[0] or 1),
            "T": lambda n: self._roll(-(n[0] or 1)),
            "X": self._erase_characters,
            "Z": lambda n: self._tab(-(n[0] or 1)),
            "`": lambda n: self._set((n[0] or 1) - 1, self._at.y),
            "a": lambda n: self._move(n[0] or 1, 0),
            "b": lambda n: self._repeat(n[0] or 1),
            "d": lambda n: self._set(self._at.x, (n[0] or 1) - 1),
            "e": lambda n: self._move(0, n[0] or 1),
            "f": self._position,
            "g": self._clear_tab,
            "h": lambda n: self._modes(n, on=True),
            "l": lambda n: self._modes(n, on=False),
            "r": self._margins,
            "s": lambda _: self._save(),
            "u": lambda _: self._restore(),
            "?h": lambda n: self._private(n, on=True),
            "?l": lambda n: self._private(n, on=False),
            "?J": lambda n: self._erase_display(n[0]),
            "?K": lambda n: self._erase_line(n[0]),
            "!p": lambda _: self._soft_reset(),
            " @": lambda n: self._sideways(lambda line: line.delete(0, n[0] or 1, self._erased)),
            " A": lambda n: self._sideways(lambda line: line.insert(0, n[0] or 1, self._erased)),
            "'}": lambda n: self._sideways(
                lambda line: line.insert(self._at.x, n[0] or 1, self._erased)
            ),
            "'~": lambda n: self._sideways(
                lambda line: line.delete(self._at.x, n[0] or 1, self._erased)
            ),
        }

    def _reset(self) -> None:
        self._main = Buffer(self.rows, self.columns, keeps=True)
        self._other = Buffer(self.rows, self.columns, keeps=False)
        self._at = self._main
        self._tabs = set(range(0, self.columns, _TABS))
        self._newline = False
        self._calm()

    def _calm(self) -> None:
        """The modes and styles that a program begins with."""
        self._style = PLAIN
        self._wraps, self._inserts, self._origin, self._backs = True, False, False, False
        self._groups: list[dict[str, str]] = [{}, {}, {}, {}]
        self._choose(0)

    @property
    def alternate(self) -> bool:
        """A program such as vim has the second screen."""
        return self._at is self._other

    @property
    def lines(self) -> list[Line]:
        """The rows of the screen."""
        return self._at.lines

    @property
    def history(self) -> list[Line]:
        """What scrolled off it, as far as that is kept."""
        return [] if self.alternate else list(self._main.history)

    @property
    def _line(self) -> Line:
        return self._at.lines[self._at.y]

    @property
    def _erased(self) -> Style:
        return PLAIN if self._style.bg is None else PLAIN._replace(bg=self._style.bg)

    # -- what comes

    def feed(self, data: bytes) -> None:
        """All output there is; a sequence that is broken off does nothing."""
        # As xterm.js decodes it: what is no UTF-8 is not there, nor is a byte order mark.
        text = data.decode("utf-8", "ignore").replace("\ufeff", "")
        at = 0
        while at < len(text):
            run = _RUN.match(text, at)
            if run is not None:
                self._print(run[0])
                at = run.end()
                continue
            at = self._control(text, at)

    def _control(self, text: str, at: int) -> int:
        character, at = text[at], at + 1
        if character == "\x1b":
            return self._escape(text, at)
        if character == "\x9b":
            return self._csi(text, at)
        if character in "\x90\x98\x9d\x9e\x9f":
            return _skip(_OSC if character == "\x9d" else _STRING, text, at)
        self._execute(character)
        return at

    def _escape(self, text: str, at: int) -> int:
        while at < len(text) and (text[at] < " " or text[at] == "\x7f"):
            if text[at] in "\x18\x1a":
                return at + 1
            if text[at] != "\x1b":
                self._execute(text[at])
            at += 1
        if text.startswith("[", at):
            return self._csi(text, at + 1)
        if text.startswith(("]", "P", "X", "^", "_"), at):
            self._joins = ""
            return _skip(_OSC if text[at] == "]" else _STRING, text, at + 1)
        found = _SHORT.match(text, at)
        if found is None:
            return at if at < len(text) and text[at] < "\xa0" else at + 1
        self._short(found[1], found[2])
        self._joins = ""
        return found.end()

    def _csi(self, text: str, at: int) -> int:
        found = _CSI.match(text, at)
        if found is not None:
            self._do(found)
            return found.end()
        said = ""
        for here in range(at, len(text)):  # controls are done in between
            character = text[here]
            if character == "\x1b" or "\x80" <= character <= "\x9f":
                return here
            if character in "\x18\x1a" or character > "\x9f":
                return here + 1
            if character < " ":
                self._execute(character)
            elif character != "\x7f":
                said += character
                if "@" <= character <= "~":
                    found = _CSI.fullmatch(said)
                    if found is not None:
                        self._do(found)
                    return here + 1
        return len(text)

    def _do(self, found: re.Match[str]) -> None:
        prefix, parameters, between, final = found.groups()
        key = prefix + between + final
        if key == "m":
            self._style = sgr(self._style, parameters)
        elif key in self._keys:
            numbers = [int(each.partition(":")[0] or 0) for each in parameters.split(";")][:32]
            self._keys[key](numbers)
        self._joins = ""

    def _execute(self, character: str) -> None:
        self._joins = ""
        match character:
            case "\n" | "\v" | "\f":
                self._feed()
            case "\r":
                self._at.x = 0
            case "\b":
                self._back()
            case "\t":
                self._tab(1)
            case "\x0e":
                self._choose(1)
            case "\x0f":
                self._choose(0)
            case "\x84":
                self._index()
            case "\x85":
                self._at.x = 0
                self._index()
            case "\x88":
                self._tabs.add(self._at.x)

    def _short(self, between: str, final: str) -> None:
        match between, final:
            case "", "7":
                self._save()
            case "", "8":
                self._restore()
            case "", "D":
                self._index()
            case "", "E":
                self._at.x = 0
                self._index()
            case "", "H":
                self._tabs.add(self._at.x)
            case "", "M":
                self._reverse_index()
            case "", "c":
                self._reset()
            case "", "n" | "}":
                self._choose(2)
            case "", "o" | "|":
                self._choose(3)
            case "", "~":
                self._choose(1)
            case "%", "@" | "G":
                self._groups[0] = {}
                self._choose(0)
            case "#", "8":
                self._align()
            case _ if len(between) == 1 and between in _GROUPS:
                self._groups[_GROUPS[between]] = _CHARSETS.get(final, {})
                if _GROUPS[between] == self._group:
                    self._choose(self._group)

    def _choose(self, group: int) -> None:
        """Which of its character sets is in use."""
        self._group, self._charset = group, self._groups[group]

    # -- text

    def _print(self, text: str) -> None:
        at, columns, style = self._at, self.columns, self._style
        if self._charset:
            text = "".join(self._charset.get(each, each) for each in text)
        at.lines[at.y].part(at.x, style)
        if text.isascii() and not self._inserts:
            self._plain(text, style)
        else:
            for character in text:
                self._put(character, widths.table()[ord(character)], style)
        self._joins = text[-1]
        line = at.lines[at.y]
        if at.x < columns and line.cells[at.x][:2] == ("", 0):
            line.clear(at.x, style)
        self.used = max(self.used, at.y + 1)

    def _plain(self, text: str, style: Style) -> None:
        at, done = self._at, 0
        while done < len(text):
            if at.x >= self.columns:
                if self._wraps:
                    self._wrap()
                else:
                    at.x = self.columns - 1
                    done = max(done, len(text) - 1)  # each is written over by the next
            piece = text[done : done + self.columns - at.x]
            at.lines[at.y].cells[at.x : at.x + len(piece)] = [(each, 1, style) for each in piece]
            at.x += len(piece)
            done += len(piece)

    def _put(self, character: str, width: int, style: Style) -> None:
        at, columns = self._at, self.columns
        joins = width == 0 and self._joins != "" and at.x > 0
        self._joins = self._joins if joins else character * (width > 0)
        if joins:
            line = at.lines[at.y]
            owner = at.x - (1 if line.width(at.x - 1) else 2)
            text, taken, had = line.cells[owner]
            line.cells[owner] = (text + character if text else character, taken, had)
            return
        if at.x + width > columns:
            if self._wraps:
                line = at.lines[at.y]
                rest = range(at.x, columns)
                self._wrap()
                for x in rest:
                    line.clear(x, style)
            else:
                at.x = columns - 1
                if width == 2:
                    return
        line = at.lines[at.y]
        if self._inserts:
            line.insert(at.x, width, PLAIN._replace(bg=style.bg) if style.bg else style)
        if at.x >= columns:
            return  # nothing is wide enough for what has no width
        line.cells[at.x] = (character, width, style)
        at.x += 1
        if width == 2:
            line.cells[at.x] = ("", 0, style)
            at.x += 1

    def _wrap(self) -> None:
        at = self._at
        at.x = 0
        self._next()

    def _next(self) -> None:
        at = self._at
        at.y += 1
        if at.y == at.bottom + 1:
            at.y -= 1
            at.scroll(self._erased)
            self.used = self.rows
        elif at.y >= self.rows:
            at.y = self.rows - 1

    def _repeat(self, count: int) -> None:
        if not self._joins:
            return
        at = self._at
        x = at.x - max(1, widths.table()[ord(self._joins)])
        text = at.lines[at.y].cells[x][0] if x >= 0 else ""
        if text:
            self._print(text * min(count, (self.rows + HISTORY) * self.columns))

    # -- the cursor

    def _within(self, most: int | None = None) -> Buffer:
        """The buffer, with the cursor where it can be."""
        at = self._at
        at.x = min(max(at.x, 0), self.columns - 1 if most is None else most)
        low, high = (at.top, at.bottom) if self._origin else (0, self.rows - 1)
        at.y = min(max(at.y, low), high)
        return at

    def _set(self, x: int, y: int) -> None:
        self._at.x = x
        self._at.y = self._at.top + y if self._origin else y
        self._within()

    def _move(self, x: int, y: int) -> None:
        at = self._within()
        self._set(at.x + x, at.y + y)

    def _position(self, numbers: list[int]) -> None:
        column = (numbers[1] or 1) - 1 if len(numbers) > 1 else 0
        self._set(column, (numbers[0] or 1) - 1)

    def _up(self, count: int, *, home: bool = False) -> None:
        room = self._at.y - self._at.top
        self._move(0, -min(room, count) if room >= 0 else -count)
        self._at.x *= not home

    def _down(self, count: int, *, home: bool = False) -> None:
        room = self._at.bottom - self._at.y
        self._move(0, min(room, count) if room >= 0 else count)
        self._at.x *= not home

    def _back(self) -> None:
        if self._within(self.columns if self._backs else None).x > 0:
            self._at.x -= 1
        self._within()

    def _feed(self) -> None:
        if self._newline:
            self._at.x = 0
        self._next()
        if self._at.x >= self.columns:
            self._at.x -= 1

    def _index(self) -> None:
        self._within()
        self._next()
        self._within()

    def _reverse_index(self) -> None:
        at = self._within()
        if at.y == at.top:
            del at.lines[at.bottom]
            at.lines.insert(at.top, Line(self.columns, self._erased))
        else:
            at.y -= 1
            self._within()

    def _tab(self, count: int) -> None:
        at, step = self._at, 1 if count > 0 else -1
        if at.x >= self.columns:
            return
        for _ in range(min(abs(count), self.columns)):
            at.x += step
            while at.x not in self._tabs and 0 < at.x < self.columns:
                at.x += step
            at.x = min(max(at.x, 0), self.columns - 1)

    def _clear_tab(self, numbers: list[int]) -> None:
        if numbers[0] == 0:
            self._tabs.discard(self._at.x)
        elif numbers[0] == 3:
            self._tabs.clear()

    def _save(self) -> None:
        at = self._at
        at.saved = at.x, len(at.history) + at.y, self._style, self._charset

    def _restore(self) -> None:
        at = self._at
        at.x, y, self._style, self._charset = at.saved
        at.y = max(y - len(at.history), 0)
        self._within()

    def _margins(self, numbers: list[int]) -> None:
        top, bottom = numbers[0] or 1, numbers[1] if len(numbers) > 1 else 0
        bottom = self.rows if not 0 < bottom <= self.rows else bottom
        if bottom > top:
            self._at.top, self._at.bottom = top - 1, bottom - 1
            self._set(0, 0)

    # -- lines

    def _erase_line(self, how: int) -> None:
        at = self._within(self.columns)
        start, end = {0: (at.x, self.columns), 1: (0, at.x + 1), 2: (0, self.columns)}.get(
            how, (0, 0)
        )
        if how in (0, 1, 2):
            self._line.replace(start, end, self._erased)

    def _erase_display(self, how: int) -> None:
        at = self._within(self.columns)
        end = at.x + 1 >= self.columns and at.y + 1 >= self.rows + len(at.history)
        if how == 1 and end:  # not done in pages either: guard.ts
            return
        if how in (0, 1):
            self._erase_line(how)
        rows = {0: range(at.y + 1, self.rows), 1: range(at.y), 2: range(self.rows)}
        for y in rows.get(how, ()):
            at.lines[y] = Line(self.columns, self._erased)
        if how == 3:
            at.history.clear()

    def _erase_characters(self, numbers: list[int]) -> None:
        at = self._within()
        self._line.replace(at.x, at.x + (numbers[0] or 1), self._erased)

    def _insert_lines(self, count: int) -> None:
        at = self._within()
        if at.top <= at.y <= at.bottom:
            for _ in range(min(count, self.rows)):
                del at.lines[at.bottom]
                at.lines.insert(at.y, Line(self.columns, self._erased))
            at.x = 0

    def _delete_lines(self, count: int) -> None:
        at = self._within()
        if at.top <= at.y <= at.bottom:
            for _ in range(min(count, self.rows)):
                del at.lines[at.y]
                at.lines.insert(at.bottom, Line(self.columns, self._erased))
            at.x = 0

    def _roll(self, count: int) -> None:
        """Within the margins, up; down if it is less than nothing."""
        at = self._at
        for _ in range(min(abs(count), self.rows)):
            if count > 0:
                del at.lines[at.top]
                at.lines.insert(at.bottom, Line(self.columns, self._erased))
            else:
                del at.lines[at.bottom]
                at.lines.insert(at.top, Line(self.columns))

    def _sideways(self, change: Callable[[Line], None]) -> None:
        at = self._at
        if at.top <= at.y <= at.bottom:
            for line in at.lines[at.top : at.bottom + 1]:
                change(line)

    def _align(self) -> None:
        for line in self._at.lines:
            line.cells = [("E", 1, self._style)] * self.columns
        self._set(0, 0)
        self.used = self.rows

    # -- modes

    def _modes(self, numbers: list[int], *, on: bool) -> None:
        if 4 in numbers:
            self._inserts = on
        if 20 in numbers:
            self._newline = on

    def _private(self, numbers: list[int], *, on: bool) -> None:
        for number in numbers:
            match number:
                case 2 if on:
                    self._groups = [{}, {}, {}, {}]
                    self._choose(self._group)
                case 6:
                    self._origin = on
                    self._set(0, 0)
                case 7:
                    self._wraps = on
                case 45:
                    self._backs = on
                case 47 | 1047 | 1048 | 1049:
                    self._switch(number, on=on)

    def _switch(self, number: int, *, on: bool) -> None:
        if on and number in (1048, 1049):
            self._save()
        if number != 1048:
            there = self._other if on else self._main
            if there is not self._at:
                here, self._at = self._at, there
                if on:
                    there.renew(self._erased)
                there.x, there.y = here.x, here.y
                self.used = self.rows
        if not on and number in (1048, 1049):
            self._restore()

    def _soft_reset(self) -> None:
        self._calm()
        self._at.top, self._at.bottom = 0, self.rows - 1
        self._at.saved = 0, len(self._at.history), PLAIN, {}


def _skip(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found is not None else at
