"""What to start in a container, and how the guest is told of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgpack

from tfnz_notebook._wire.guest import Flag, Frame, Tag
from tfnz_notebook.agent.logs import Retain


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
        meta: bytes = msgpack.packb(
            {"id": ident, "text": self.text[:500], "retain": self.retain},
            unicode_errors="surrogateescape",
        )
        told.append((Tag.META, meta))
        return told


def remembered(inventory: Frame) -> tuple[str, Command] | None:
    """(id, command) of a process that an earlier agent started; None if it was not one of ours."""
    try:
        meta = msgpack.unpackb(inventory.raw(Tag.META), unicode_errors="surrogateescape")
        ident, text = str(meta["id"]), str(meta["text"])
        retain: Retain = "tail" if meta.get("retain") == "tail" else "all"
    except Exception:  # noqa: BLE001 - whatever is in there, it is not ours
        return None
    return ident, Command([], text=text, retain=retain)
