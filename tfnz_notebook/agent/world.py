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
