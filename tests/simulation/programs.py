"""What runs in the model's containers: scripts, whose every byte is known beforehand.

A script is words after its key: ``o100`` writes so many bytes to stdout, ``e100`` to stderr,
``s0.5`` sleeps, ``i`` reads once, ``r`` reads to the end of stdin, ``x3`` exits. What it writes,
and what is written to it, is a piece of one long pattern, which key and stream choose. ``t90`` is
for later: at TERM it writes so much to stdout and exits with :data:`LAST`.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

_LONG = 1 << 16
_PATTERN = Random(0).randbytes(_LONG) * 2
#: Most bytes that one piece may have.
MOST = _LONG
#: What a script exits with that had something to say at TERM.
LAST = 7


def pattern(key: int, stream: int, offset: int, size: int) -> bytes:
    """The bytes that a script of that key writes there (1, 2), or reads (0)."""
    at = (key * 7919 + stream * 104729 + offset) % _LONG
    return _PATTERN[at : at + size]


class _Script:
    """One that runs."""

    def __init__(self, p: Any) -> None:
        self.p, self.key = p, int(p.argv[1])
        self.taken = 0
        self.last = 0
        self.termed = False

    async def run(self) -> int:
        task = asyncio.current_task()
        assert task is not None

        def term(number: int) -> None:
            if not self.termed:
                self.termed = True
                task.cancel()

        try:
            for word in self.p.argv[2:]:
                kind, rest = word[0], word[1:]
                if kind == "t":
                    self.last, self.p.on_signal = int(rest), term
                elif kind == "x":
                    return int(rest)
                else:
                    await self.do(kind, rest)
        except asyncio.CancelledError:
            if not self.termed:
                raise
            await self.write(1, self.last)
            return LAST
        return 0

    async def do(self, kind: str, rest: str) -> None:
        if kind in "oe":
            await self.write(1 if kind == "o" else 2, int(rest))
        elif kind == "s":
            await asyncio.sleep(float(rest))
        else:
            await self.read(once=kind == "i")

    async def write(self, stream: int, left: int) -> None:
        stream = 1 if self.p.tty else stream
        while left:
            size = min(left, MOST)
            begin = self.p.streams[stream].window.head  # of one that was interrupted, too
            await self.p.write(pattern(self.key, stream, begin, size), error=stream == 2)
            left -= size

    async def read(self, *, once: bool) -> None:
        while data := await self.p.read(1024):
            if data != pattern(self.key, 0, self.taken, len(data)):
                told = {"message": f"stdin of {self.key} is wrong at {self.taken}"}
                self.p.guest.clock.complaints.append(("guest", told))
            self.taken += len(data)
            if once:
                break


async def script(p: Any) -> int:
    """The program."""
    return await _Script(p).run()
