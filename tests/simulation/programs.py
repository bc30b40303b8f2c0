"""What runs in the model's containers: scripts, whose every byte is known beforehand.

A script is words after its key: ``o100`` writes so many bytes to stdout, ``e100`` to stderr,
``s0.5`` sleeps, ``i`` reads once, ``r`` reads to the end of stdin, ``x3`` exits. What it writes,
and what is written to it, is a piece of one long pattern, which key and stream choose.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

_LONG = 1 << 16
_PATTERN = Random(0).randbytes(_LONG) * 2
#: Most bytes that one piece may have.
MOST = _LONG


def pattern(key: int, stream: int, offset: int, size: int) -> bytes:
    """The bytes that a script of that key writes there (1, 2), or reads (0)."""
    at = (key * 7919 + stream * 104729 + offset) % _LONG
    return _PATTERN[at : at + size]


class Wrong(Exception):
    """A process read what nobody wrote."""


async def script(p: Any) -> int:
    """The program."""
    key, taken = int(p.argv[1]), 0
    offsets = {1: 0, 2: 0}
    for word in p.argv[2:]:
        kind, rest = word[0], word[1:]
        if kind in "oe":
            stream, left = (1 if kind == "o" else 2), int(rest)
            while left:
                size = min(left, MOST)
                await p.write(pattern(key, stream, offsets[stream], size), error=stream == 2)
                offsets[stream] += size
                left -= size
        elif kind == "s":
            await asyncio.sleep(float(rest))
        elif kind == "x":
            return int(rest)
        else:
            while data := await p.read(1024):
                if data != pattern(key, 0, taken, len(data)):
                    p.guest.clock.complaints.append(
                        ("guest", {"message": f"stdin of {key} is wrong at {taken}"})
                    )
                taken += len(data)
                if kind == "i":
                    break
    return 0
