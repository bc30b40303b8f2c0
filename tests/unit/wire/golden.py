"""Make ``golden.json``: frames as bytes and as what they mean, for Python and C alike.

Run ``python tests/unit/wire/golden.py > tests/unit/wire/golden.json`` when the protocol grows;
a vector that changes for an old frame is a break of the protocol, which the test points out.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from tfnz_notebook._wire import guest
from tfnz_notebook._wire.guest import Tag, Type

FIELDS: dict[str, tuple[Type, int, list[tuple[Tag, int | bytes]]]] = {
    "hello": (
        Type.HELLO,
        0,
        [
            (Tag.VERSION, 1),
            (Tag.VERSION_MIN, 1),
            (Tag.BOOT, bytes(range(16))),
            (Tag.PID, 1),
            (Tag.UID, 0),
            (Tag.SLEEPING, 0),
        ],
    ),
    "spawn": (
        Type.SPAWN,
        2,
        [
            (Tag.ARG, b"/bin/sh"),
            (Tag.ARG, b"-c"),
            (Tag.ARG, "echo \u00fc; exit 3".encode()),
            (Tag.ENV, b"A=b=c"),
            (Tag.ENV, b"GONE"),
            (Tag.CWD, b"/tmp"),
            (Tag.USER, b"33:33"),
            (Tag.FLAGS, 1),
            (Tag.ROWS, 24),
            (Tag.COLUMNS, 80),
            (Tag.META, b"\x81\xa2id\xa1x"),
        ],
    ),
    "args": (Type.ARGS, 2, [(Tag.ARG, b"one"), (Tag.ENV, b"A=1")]),
    "failed": (Type.FAILED, 7, [(Tag.ERRNO, 2), (Tag.STAGE, b"exec"), (Tag.TEXT, b"No such")]),
    "proc": (
        Type.PROC,
        3,
        [
            (Tag.PID, 41),
            (Tag.STATUS, -9),
            (Tag.OUT_BASE, 1 << 40),
            (Tag.OUT_HEAD, (1 << 40) + 5),
            (Tag.OUT_EOF, 1),
        ],
    ),
    "stat": (Type.STAT, 9, [(Tag.SIZE, 0), (Tag.MODE, 0o644), (Tag.MTIME, 1_700_000_000 * 10**9)]),
    "get": (Type.GET, 10, [(Tag.PATH, b"/etc/hostname")]),
}
FIXED: dict[str, tuple[Type, int, int, tuple[int, ...]]] = {
    "ready": (Type.READY, 0, 0, ()),
    "ping": (Type.PING, 0, 0, (2**64 - 1,)),
    "result": (Type.RESULT, 4, 0, (5, 3, -1)),
    "spawned": (Type.SPAWNED, 2, 0, (17,)),
    "ack": (Type.ACK, 2, 1, (1 << 33,)),
    "eof": (Type.EOF, 2, 2, (12,)),
    "exit": (Type.EXIT, 2, 0, (-15, 4, 1000, 2000)),
    "end": (Type.END, 2, 0, (12, 0)),
    "forget": (Type.FORGET, 2, 0, ()),
    "signal": (Type.SIGNAL, 2, 0, (6, 15, 2)),
    "resize": (Type.RESIZE, 2, 0, (50, 132)),
    "await": (Type.AWAIT, 2, 0, (7, 8)),
    "waiting": (Type.WAITING, 2, 0, (7, 0, 8, 1 << 34, 0)),
    "close": (Type.CLOSE, 11, 0, (104,)),
}


def vectors() -> list[dict[str, Any]]:
    """Every vector; integers as numbers, bytes as hex."""
    found: list[dict[str, Any]] = []
    for name, (kind, channel, fields) in FIELDS.items():
        raw = guest.fielded(kind, channel, fields)
        meant = [[int(t), v if isinstance(v, int) else v.hex()] for t, v in fields]
        found.append(_vector(name, raw, kind, channel, 0, fields=meant))
    for name, (kind, channel, stream, values) in FIXED.items():
        raw = guest.fixed(kind, channel, *values, stream=stream)
        found.append(_vector(name, raw, kind, channel, stream, values=list(values)))
    raw = guest.data(2, 1, 1 << 32, b"hello\n")
    found.append(_vector("data", raw, Type.DATA, 2, 1, values=[1 << 32], data=b"hello\n".hex()))
    return found


def _vector(
    name: str, raw: bytes, kind: Type, channel: int, stream: int, **meant: Any
) -> dict[str, Any]:
    frame = {"type": int(kind), "channel": channel, "stream": stream, **meant}
    return {"name": name, "hex": raw.hex(), "frame": frame}


if __name__ == "__main__":
    json.dump(vectors(), sys.stdout, indent=1)
    sys.stdout.write("\n")
