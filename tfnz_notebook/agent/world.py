"""What an agent asks of the machine it runs on, in one place: a test hands in another world.

Two clocks. :func:`now` is the running loop's, which nobody sets: all that waits, and all that ages,
goes by it. ``World.wall`` is what people's clocks show: it is told, and never waited by.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tfnz_notebook._base import proc
from tfnz_notebook._base.names import fresh
from tfnz_notebook.agent import disk
from tfnz_notebook.agent.disk import Disk


def now() -> float:
    """Seconds on the clock of the running loop."""
    return asyncio.get_running_loop().time()


class Gate:
    """As asyncio.Event, and small.

    That one makes room for 64 who wait, half a KiB, before there is anybody, and a process has
    four of them.
    """

    __slots__ = ("_open", "_waiting")

    def __init__(self, *, opened: bool = False) -> None:
        self._open = opened
        self._waiting: list[asyncio.Future[None]] | None = None

    def set(self) -> None:
        """Let all through who wait, and who will come."""
        self._open = True
        waiting, self._waiting = self._waiting, None
        for each in waiting or ():
            if not each.done():
                each.set_result(None)

    def clear(self) -> None:
        """Let nobody through any more."""
        self._open = False

    async def wait(self) -> None:
        """Until it is open."""
        if self._open:
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting = self._waiting or []
        waiting.append(mine)
        try:
            await mine
        finally:
            waiting.remove(mine)


@dataclass(frozen=True, slots=True)
class World:
    """``alive``: whether the process of that pid and start time lives on this machine.

    ``ident``: an id that nothing else has.
    """

    disk: Disk = disk.REAL
    wall: Callable[[], float] = time.time
    alive: Callable[[int, int], bool] = proc.alive
    ident: Callable[[], str] = fresh


REAL: Final = World()
