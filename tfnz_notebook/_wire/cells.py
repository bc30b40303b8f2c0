r"""What an interpreter in a container says of its cells, as pure code.

A process's two streams carry it (``_inside`` has who speaks): stdout is text, in which marks stand,
stderr is answers. Both are application program commands (``ESC _ … ESC \``), which show nothing::

    stdout    ESC _ tfnz:CELL:NUMBER ESC \    here answer NUMBER of that cell belongs; 0: it begins,
                                              or will, being the next
              ESC _ tfnz:e ESC \              what follows went to stderr; tfnz:o, to stdout again
    stderr    ESC _ tfnz+PIECE ESC \          a piece of an answer, a JSON object in ASCII
              ESC _ tfnz.PIECE ESC \          its last piece

It comes from a container, so it may be anything. :class:`Text` takes what is no mark for text;
:class:`Answers` raises ProtocolError for what is no answer, and is bounded; what stands between
answers is kept as :attr:`Answers.stray`, the last words of an interpreter that could not begin.
:class:`Order` puts both together again.
"""

from __future__ import annotations

import base64
import json
import re
from collections import deque
from typing import Any, Final, NamedTuple

from tfnz_notebook.errors import ProtocolError

#: Characters of one answer, and of what is no answer that is kept.
MOST: Final = 8 << 20
MOST_STRAY: Final = 4096
#: Answers of a cell that wait for their marks, beyond which no more should be read: they come on a
#: stream of their own, and may be far ahead.
MOST_WAITING: Final = 64

#: Words that are offered to who types.
MOST_OFFERS: Final = 500

#: Characters of what is told of an exception.
MOST_ERROR: Final = {"name": 200, "text": 4096, "trace": 128 << 10}

_MARK: Final = re.compile(rb"\x1b_tfnz:(?:([eo])|([0-9a-f]{1,32}):([0-9]{1,9}))\x1b\\")
#: A mark may have begun at the end; none is longer.
_BEGUN: Final = re.compile(rb"\x1b(?:_[a-z0-9:]{0,50}\x1b?)?\Z")
_PIECE: Final = re.compile(rb"\x1b_tfnz([+.])([^\x1b]{0,4096})\x1b\\")
_PIECE_BEGUN: Final = re.compile(rb"\x1b(?:_[a-z]{0,4}|_tfnz[+.][^\x1b]{0,4096}\x1b?)?\Z")
_LONGEST: Final = 4096 + 16

#: Answers by name: each field and its type; those with ``None`` may be left out.
_OPTIONAL: Final = (type(None),)
ANSWERS: Final[dict[str, dict[str, tuple[type, ...]]]] = {
    "ready": {"nonce": (str,), "version": (str,)},
    "found": {"nonce": (str,), "typed": (str,), "offers": (list,), "text": (str,)},
    "show": {
        "cell": (str,),
        "number": (int,),
        "value": (dict,),
        "place": (str, *_OPTIONAL),
        "again": (bool, *_OPTIONAL),
    },
    "clear": {"cell": (str,), "number": (int,), "wait": (bool,)},
    "ask": {"cell": (str,), "number": (int,), "prompt": (str,), "hidden": (bool,)},
    "done": {
        "cell": (str,),
        "number": (int,),
        "value": (dict, *_OPTIONAL),
        "error": (dict, *_OPTIONAL),
        "code": (int, *_OPTIONAL),
        "taken": (dict, *_OPTIONAL),
    },
}


class Said(NamedTuple):
    """Text of a stream, 1 or 2; or with ``cell`` a mark, and no text."""

    stream: int
    data: bytes
    cell: str = ""
    number: int = 0


class Table(NamedTuple):
    """A table's bytes in Arrow's stream format, and whose it was there: pandas, pyarrow."""

    whose: str
    data: bytes


class Text:
    """The stream of text, in any pieces."""

    def __init__(self) -> None:
        self._rest = b""
        self._stream = 1

    def feed(self, data: bytes, *, last: bool = False) -> list[Said]:
        """What is certain by now."""
        data = self._rest + data
        begun = None if last else _BEGUN.search(data, max(0, len(data) - 64))
        end = begun.start() if begun else len(data)
        self._rest = data[end:]
        said, place = [], 0
        for found in _MARK.finditer(data, 0, end):
            if found.start() > place:
                said.append(Said(self._stream, data[place : found.start()]))
            place = found.end()
            if found[1]:
                self._stream = 2 if found[1] == b"e" else 1
            else:
                said.append(Said(0, b"", found[2].decode(), int(found[3])))
        if end > place:
            said.append(Said(self._stream, data[place:end]))
        return said


class Answers:
    """The stream of answers, in any pieces."""

    def __init__(self) -> None:
        self._rest = b""
        self._pieces: list[bytes] = []
        self._size = 0
        self.stray = b""

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The answers that are whole. Raises ProtocolError for what is none."""
        data = self._rest + data
        told, place = [], 0
        for found in _PIECE.finditer(data):
            self._strayed(data[place : found.start()])
            place = found.end()
            self._size += len(found[2])
            if self._size > MOST:
                raise ProtocolError(f"An answer has more than {MOST} characters.")
            self._pieces.append(found[2])
            if found[1] == b".":
                said, self._pieces, self._size = b"".join(self._pieces), [], 0
                told.append(_answer(said))
        begun = _PIECE_BEGUN.search(data, max(place, len(data) - _LONGEST))
        end = begun.start() if begun else len(data)
        self._strayed(data[place:end])
        self._rest = data[end:]
        return told

    def _strayed(self, data: bytes) -> None:
        if data:
            self.stray = (self.stray + data)[-MOST_STRAY:]


def _answer(said: bytes) -> dict[str, Any]:
    try:
        told = json.loads(said)
    except (ValueError, RecursionError):
        raise ProtocolError(f"An answer is no JSON: {said[:40]!r}.") from None
    fields = ANSWERS.get(str(told.get("is_"))) if isinstance(told, dict) else None
    if fields is None:
        raise ProtocolError(f"There is no such answer: {said[:40]!r}.")
    for name, kinds in fields.items():
        if type(told.get(name)) not in kinds:
            kind = kinds[0].__name__
            raise ProtocolError(f"The {name} of the answer {told['is_']} is no {kind}.")
    for name, read in (
        ("value", _value),
        ("error", _error),
        ("taken", _taken),
        ("offers", _offers),
    ):
        if told.get(name) is not None:
            told[name] = read(told[name])
    return {"is_": told["is_"], **{name: told.get(name) for name in fields}}


def _value(given: dict[str, Any]) -> dict[str, Any]:
    """``data`` by type, and what was ``left`` out of it or cut: (type, size)."""
    data, left = given.get("data"), given.get("left")
    if not isinstance(data, dict) or not isinstance(left, list) or len(data) + len(left) > 64:
        raise ProtocolError("A value is no data by type.")
    pairs = [
        (each[0][:100], each[1])
        for each in left
        if isinstance(each, list)
        and len(each) == 2
        and isinstance(each[0], str)
        and type(each[1]) is int
    ]
    return {"data": data, "left": pairs}


def _error(given: dict[str, Any]) -> dict[str, Any]:
    """``name`` of its class, its ``text``, and its ``trace`` as text."""
    return {name: str(given.get(name) or "")[:most] for name, most in MOST_ERROR.items()}


def _offers(given: list[Any]) -> list[tuple[str, str]]:
    """Words, and what each is."""
    return [
        (each[0][:200], each[1][:40])
        for each in given[:MOST_OFFERS]
        if isinstance(each, list) and len(each) == 2 and all(isinstance(one, str) for one in each)
    ]


def _taken(given: dict[str, Any]) -> dict[str, Any]:
    """Variables: JSON values, bytes and tables."""
    found: dict[str, Any] = {}
    for name, pair in given.items():
        match pair:
            case ["json", value]:
                found[name] = value
            case ["bytes" | "pandas" | "pyarrow" as kind, str(text)]:
                try:
                    data = base64.b64decode(text, validate=True)
                except ValueError:
                    raise ProtocolError("A variable's bytes are no base64.") from None
                found[name] = data if kind == "bytes" else Table(kind, data)
            case _:
                raise ProtocolError("A variable is neither JSON, bytes nor a table.")
    return found


class Order:
    """One cell's text and answers, in the order in which they were said.

    ``begun``: its first mark was there before it was asked for. An answer waits for its mark, and
    what is behind a mark for its answer. After ``most`` bytes of
    text no more of it is taken, nor anything waited for; a piece counts as 32 at least.
    """

    def __init__(self, cell: str, most: int, *, begun: bool = False) -> None:
        self._cell = cell
        self._most = most
        self._said: deque[Said] = deque()
        self._answers: deque[dict[str, Any]] = deque()
        self._mark = 0 if begun else -1
        #: Whether what comes is of this cell: since a mark of it, and until another begins.
        self._mine = begun
        #: Bytes of text so far; whether that is more than is taken.
        self.size = 0
        self.full = False

    @property
    def begun(self) -> bool:
        """Whether its first mark was seen."""
        return self._mark >= 0

    @property
    def waits(self) -> bool:
        """Whether something waits for something."""
        return bool(self._answers or self._said)

    @property
    def crowded(self) -> bool:
        """Whether answers are far ahead of the text."""
        return len(self._answers) > MOST_WAITING

    def text(self, said: Said) -> list[Said | dict[str, Any]]:
        """What can be handed on now."""
        if said.cell == self._cell or (said.cell and said.number == 0):
            self._mine = said.cell == self._cell
        if self.full or not self._mine or said.cell not in ("", self._cell):
            return []
        if said.cell and said.number == 0:
            self._mark = max(self._mark, 0)
            return self._due()
        self.size += max(len(said.data), 32)
        if self.size > self._most:
            self.full = True
            said = said._replace(data=said.data[: max(0, self._most - self.size + len(said.data))])
        if said.cell or said.data:
            self._said.append(said)
        return self._due()

    def answer(self, told: dict[str, Any]) -> list[Said | dict[str, Any]]:
        """What can be handed on now."""
        if told.get("cell") != self._cell:
            return []
        self._answers.append(told)
        return self._due()

    def give_up(self) -> list[Said | dict[str, Any]]:
        """What waits for marks and answers that do not come."""
        return self._due(waiting=False)

    def _due(self, *, waiting: bool = True) -> list[Said | dict[str, Any]]:
        due: list[Said | dict[str, Any]] = []
        waiting = waiting and not self.full
        while self._said or self._answers:
            mark = self._said[0].number if self._said and self._said[0].cell else None
            first = self._answers[0]["number"] if self._answers else None
            if self._said and mark is None:
                due.append(self._said.popleft())
            elif mark is not None and (first is None or first >= mark):
                if first is None and waiting:
                    break
                self._mark = max(self._mark, self._said.popleft().number)
                if first == mark:  # else its answer never came
                    due.append(self._answers.popleft())
            elif first is not None and (mark is not None or first <= self._mark or not waiting):
                due.append(self._answers.popleft())
            else:
                break
        return due
