"""Turns for the I/O thread while somebody looks on and a cell computes.

A thread that wants to run waits until the one that computes lets go of the interpreter, by default
after 5 ms, and each message from or to a page takes several such turns: an echo took 90 ms
where half a millisecond makes it 40. So while pages speak to us, and only then, turns are short.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final, Protocol

#: Seconds of a turn while pages speak, and for how long after the last message.
TURN: Final = 0.0005
AFTER: Final = 2.0


class Interpreter(Protocol):
    """What ``sys`` says of turns: it is the whole process's."""

    def getswitchinterval(self) -> float: ...
    def setswitchinterval(self, interval: float, /) -> None: ...


class Haste:
    """Used on the I/O loop."""

    def __init__(self, interpreter: Interpreter = sys) -> None:
        self._interpreter = interpreter
        self._before = 0.0
        self._until = 0.0
        self._watching = False

    def touch(self) -> None:
        """A page spoke."""
        loop = asyncio.get_running_loop()
        self._until = loop.time() + AFTER
        if not self._watching and self._interpreter.getswitchinterval() > TURN:
            self._watching = True
            self._before = self._interpreter.getswitchinterval()
            self._interpreter.setswitchinterval(TURN)
            loop.call_later(AFTER, self._look)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        wait = self._until - loop.time()
        if wait > 0:
            loop.call_later(wait, self._look)
            return
        self._watching = False
        # Else somebody has chosen another.
        if abs(self._interpreter.getswitchinterval() - TURN) < TURN / 10:
            self._interpreter.setswitchinterval(self._before)
