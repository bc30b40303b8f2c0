"""What to start in a container, and how the guest is told of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

import msgpack

from tfnz_notebook._wire.guest import Flag, Frame, Tag
from tfnz_notebook._wire.operations import MAX_ORIGIN, MAX_TEXT
from tfnz_notebook.agent.process.log import Retain

#: Ids of containers and processes: they become labels and file names.
IDENT: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(slots=True)
class Command:
    """What to start. ``text`` is what people see of it."""

    argv: list[str]
    text: str
    env: list[str] = field(default_factory=list)
    cwd: str | None = None
    user: str | None = None
    tty: bool = False
    login: bool = False
    rows: int = 24
    columns: int = 80
    timeout: float | None = None
    retain: Retain = "all"
    #: What started it, in words of the kernel's own.
    origin: str = ""
    #: Its stdin is at its end from the start.
    closed: bool = False

    def __post_init__(self) -> None:
        self.text = self.text[:MAX_TEXT]  # it is told in each event

    def fields(self, ident: str) -> list[tuple[Tag, int | bytes | str]]:
        """The fields of SPAWN. META is what :func:`remembered` needs in a later agent."""
        flags = (Flag.TTY if self.tty else 0) | (Flag.ADOPT if self.login else 0)
        told: list[tuple[Tag, int | bytes | str]] = [(Tag.ARG, part) for part in self.argv]
        told += [(Tag.ENV, pair) for pair in self.env]
        if self.cwd is not None:
            told.append((Tag.CWD, self.cwd))
        if self.user is not None:
            told.append((Tag.USER, self.user))
        told += [(Tag.FLAGS, flags), (Tag.ROWS, self.rows), (Tag.COLUMNS, self.columns)]
        kept = {"id": ident, "text": self.text, "retain": self.retain, "timeout": self.timeout}
        kept |= {"origin": self.origin, "closed": self.closed}
        meta: bytes = msgpack.packb(kept, unicode_errors="surrogateescape")
        told.append((Tag.META, meta))
        return told


def remembered(inventory: Frame) -> tuple[str, Command] | None:
    """(id, command) of a process that an earlier agent started; None if it was not one of ours.

    The guest says this, and whoever is root in a container may be the guest: an id is the name of
    files here, so one that is none of ours is not taken.
    """
    try:
        meta = msgpack.unpackb(inventory.raw(Tag.META), unicode_errors="surrogateescape")
        ident, text = str(meta["id"]), str(meta["text"])
        retain: Retain = "tail" if meta.get("retain") == "tail" else "all"
        timeout = float(meta["timeout"]) if meta.get("timeout") is not None else None
        origin = str(meta.get("origin") or "")[:MAX_ORIGIN]
        closed = bool(meta.get("closed"))
    except Exception:  # noqa: BLE001 - whatever is in there, it is not ours
        return None
    if not IDENT.fullmatch(ident):
        return None
    told = Command([], text=text, retain=retain, timeout=timeout, origin=origin, closed=closed)
    return ident, told
