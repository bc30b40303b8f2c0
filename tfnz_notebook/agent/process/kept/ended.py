"""A process that ended, as a line of its container's index: numbers, a text, where its output is.

Memory holds the line and no more; an :class:`Ended` is made of it for whoever asks, and reads the
logs from their files. A line is JSON, as agents of 0.1 wrote it and read it (they had ``process``
to ``err``, under these names), and ends with what is looked at without understanding the rest::

    "logs"    of each stream its first offset, and the sizes of its segments; a negative one is of
              the first, which is in the pack
    "place"   where in the pack that is: number of the file, offset there
    "marks"   see marks.py; null: they are in a file
    "dropped" why the logs are not there any more
    "at"      seconds that agents were there, at its end: what its age is counted from
    "kept"    bytes of both logs
    "pack"    number of the pack's file, -1 without
    "rest"    1: it is over for good. 0: what it started went on to write when this was written
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tfnz_notebook._wire.guest import Frame, Tag
from tfnz_notebook.agent.disk import Disk
from tfnz_notebook.agent.process.kept.marks import Marks
from tfnz_notebook.agent.process.kept.pack import Pack
from tfnz_notebook.agent.process.log import Log
from tfnz_notebook.agent.process.reader import Reader
from tfnz_notebook.agent.process.writes import Write, Writes
from tfnz_notebook.errors import ProcessGone, TfnzError

if TYPE_CHECKING:
    from tfnz_notebook.agent.process.process import Process

Told = dict[str, Any]
STREAMS: Final = ("out", "err")
#: Seconds between a guest's word of when a process began, and an agent's.
SAME: Final = 5.0

_text: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_FIRST: Final = b'{"process":"'
_LAST: Final = (b',"rest":0}', b',"rest":1}')
#: What each line says, whoever wrote it.
NEEDED: Final = {
    *("process", "text", "tty", "pid", "started"),
    *("returncode", "seconds", "timed_out", "oom"),
}
_NOT_THERE: Final = {"at", "kept", "pack", "rest", "container", "ended", "stalled"}


class Seen(NamedTuple):
    """What a line says at its begin and end."""

    ident: str
    at: int
    kept: int
    pack: int
    rest: bool


def seen(line: bytes) -> Seen | None:
    """None if it was not written whole, or by an agent from before there were indexes."""
    *first, at, kept, pack, rest = line.rsplit(b",", 4) if line.endswith(_LAST) else (b"",) * 4
    if not first or not line.startswith(_FIRST) or not at.startswith(b'"at":'):
        return None
    ident = line[len(_FIRST) : line.index(b'"', len(_FIRST))].decode()
    return Seen(ident, int(at[5:]), int(kept[7:]), int(pack[7:]), rest == b'"rest":1}')


def line_of(told: Told) -> bytes:
    """The line that says so."""
    return _text(told).encode("utf-8", "surrogatepass")


def told_of(
    process: Process, marks: list[list[int]] | None, place: tuple[int, int] | None, at: float
) -> Told:
    """What the line of a process says; its logs are in their files."""
    out, err = process.final or (0, 0)
    command = process.command
    screen = {"rows": command.rows, "columns": command.columns} if command.tty else {}
    origin = {"origin": command.origin} if command.origin else {}
    return {
        "process": process.ident,
        "text": command.text,
        "tty": command.tty,
        **screen,
        **origin,
        "pid": process.pid,
        "started": process.started,
        "returncode": process.returncode,
        "seconds": process.seconds,
        "timed_out": process.timed_out,
        "oom": process.oom,
        "ran": process.ran,
        "retain": command.retain,
        "out": out,
        "err": err,
        "logs": [log.segments() for log in process.logs],
        "place": place,
        "marks": marks,
        **_tail(int(at), sum(log.head - log.base for log in process.logs), place, process.over),
    }


def _head(told: Told) -> Told:
    """All but what stands at the end of a line, and what agents of 0.1 wrote besides."""
    return {key: value for key, value in told.items() if key not in _NOT_THERE}


def _tail(at: int, kept: int, place: Iterable[int] | None, rest: bool) -> Told:
    return {"at": at, "kept": kept, "pack": next(iter(place or ()), -1), "rest": int(rest)}


def killed(ident: str) -> Told:
    """Of a process that left output and no end: it was killed, with its container."""
    return {
        "process": ident,
        "text": "ended with its container",
        "tty": False,
        "pid": 0,
        "started": 0.0,
        "returncode": -signal.SIGKILL,
        "seconds": 0.0,
        "timed_out": False,
        "oom": False,
        "ran": None,
    }


def completed(told: Told, logs: Iterable[Log]) -> Told:
    """What was told without logs (by an agent of before), or while they grew, with them."""
    logs = list(logs)
    place = told.get("place")
    return {
        **_head(told),
        **{name: told.get(name, log.head) for name, log in zip(STREAMS, logs, strict=True)},
        "logs": [log.segments() for log in logs],
        "marks": told.get("marks", []),
        **_tail(int(told.get("at", 0)), sum(log.head - log.base for log in logs), place, True),
    }


def dropped(told: Told, why: str) -> Told:
    """The same, once its logs are not there any more."""
    tail = _tail(told["at"], 0, None, True)
    return {**_head(told), "place": None, "marks": [], "dropped": why, **tail}


class Ended:
    """What a :class:`Process` is from the moment on at which nothing of it can change."""

    ended = True

    def __init__(self, told: Told, folder: Path, disk: Disk, pack: Pack, writes: Writes) -> None:
        self._told = told
        self._folder = folder
        self._disk = disk
        self._pack = pack
        self._writes = writes

    @property
    def ident(self) -> str:
        """Its id."""
        return str(self._told["process"])

    @property
    def returncode(self) -> int:
        """Its code, or minus the signal that killed it."""
        return int(self._told["returncode"])

    @property
    def final(self) -> tuple[int, int]:
        """Where what it had written by its end ends in its logs."""
        return int(self._told["out"]), int(self._told["err"])

    @cached_property
    def logs(self) -> tuple[Log, Log]:
        """Both, to be read."""
        out, err = self._logs()
        return out, err

    def _logs(self) -> Iterator[Log]:
        place, retain = self._told.get("place"), self._told.get("retain", "all")
        path, at = (self._pack.path(place[0]), place[1]) if place else (self._folder, 0)
        for name, sizes in zip(STREAMS, self._told["logs"], strict=True):
            own = self._folder / f"{self.ident}.{name}"
            log = Log.recalled(own, sizes, (path, at), retain=retain, disk=self._disk)
            log.dropped = str(self._told.get("dropped") or "")
            at += log.packed
            yield log

    @property
    def marks(self) -> Marks:
        """When its output came."""
        marks = Marks(f"{self._folder}/{self.ident}.marks", self._disk)
        marks.recall(self._told.get("marks"))
        return marks

    def read_by(self, reader: Reader, stream: int) -> None:
        """Nothing more will come: a reader needs the log alone."""

    def said(self, most: int) -> list[bytes] | None:
        """All that it wrote to each stream before its end, if that is at most so much."""
        return said(self.logs, self.final, most)

    def is_that(self, inventory: Frame) -> bool:
        """Whether a guest lists it, and no other life of the container's main process."""
        late = any(tag is Tag.STATUS for tag, _ in inventory.fields)
        apart = abs(inventory.integer(Tag.STARTED) / 1e9 - self._told["started"])
        return late and inventory.integer(Tag.PID) == self._told["pid"] and apart < SAME

    def alive(self, what: str) -> None:
        """Raise ProcessGone, 'Cannot <what>'."""
        raise gone(what, self.returncode)

    def written(self, key: str, what: str) -> Write:
        """A write to its stdin that was made before. Raises ProcessGone if there was none."""
        known = self._writes.find(self.ident, key)
        if known is None:
            raise gone(what, self.returncode)
        return known

    def discard(self) -> None:
        """Its output is of no use any more."""
        for log in self.logs:
            log.discard()
        if self._told.get("marks", []) is None:
            self.marks.remove()

    def info(self) -> Told:
        """What kernels see, as in PROTOCOL.md."""
        told = self._told
        return {
            "process": self.ident,
            "container": self._folder.name,
            "text": str(told["text"]),
            "pid": told["pid"],
            "tty": told["tty"],
            "rows": told.get("rows", 24),
            "columns": told.get("columns", 80),
            "started": told["started"],
            "returncode": self.returncode,
            "out": told["out"],
            "err": told["err"],
            "ended": True,
            "seconds": told["seconds"],
            "ran": told.get("ran"),
            "timed_out": told["timed_out"],
            "oom": told["oom"],
            "retain": told.get("retain", "all"),
            "stalled": "",
            "dropped": str(told.get("dropped") or ""),
            "origin": str(told.get("origin") or ""),
        }


def gone(what: str, returncode: int | None) -> ProcessGone:
    """The error of who asks something of a process that has ended."""
    return ProcessGone(
        f"Cannot {what}: the process has ended with code {returncode}. Spawn another one."
    )


def said(logs: tuple[Log, Log], final: tuple[int, int], most: int) -> list[bytes] | None:
    """All that was written before the end, if that is at most so much and can be read."""
    if max(final) > most or any(log.base for log in logs):
        return None
    try:
        wrote = [log.read(0, end)[1] if end else b"" for log, end in zip(logs, final, strict=True)]
    except TfnzError:
        return None
    return wrote if tuple(map(len, wrote)) == final else None
