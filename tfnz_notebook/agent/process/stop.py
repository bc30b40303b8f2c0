"""Signals to a process, and its end with everything that it started."""

from __future__ import annotations

import asyncio
import contextlib
import signal as signals
from typing import TYPE_CHECKING

from tfnz_notebook._wire.guest import Target, Type
from tfnz_notebook.agent.process.kept.ended import Ended
from tfnz_notebook.agent.process.states import Event
from tfnz_notebook.errors import ContainerGone, ProcessGone, WaitTimeout

if TYPE_CHECKING:
    from tfnz_notebook.agent.process.process import Process


async def signal(process: Process | Ended, number: int, target: Target) -> int:
    """Signal its leader, group or tree; how many were reached. Raises ProcessGone."""
    if target is not Target.TREE:
        process.alive("signal")
    if isinstance(process, Ended):
        return 0
    await process.guest.up()
    frame = await process.guest.request(Type.SIGNAL, process.channel, number, target)
    _, errno, count = frame.values
    if errno == 3 and target is Target.TREE:  # ESRCH: a tree without members
        return 0
    if errno == 3:
        raise ProcessGone("Cannot signal: the process has just ended.")
    if errno:
        raise ProcessGone(f"Cannot signal: errno {errno}. Is {number} a signal?")
    return count


async def destroy(process: Process | Ended, grace: float) -> int:
    """TERM the tree, KILL it after ``grace`` seconds; the number of survivors."""
    process.alive("destroy")
    assert not isinstance(process, Ended)
    await process.ready()
    if not process.happens(Event.STOP):
        process.alive("destroy")
        raise ProcessGone("Cannot destroy: the process is already being destroyed.")
    try:
        return await end(process, grace)
    finally:
        process.happens(Event.SPARE)


async def end(process: Process, grace: float) -> int:
    """What :func:`destroy` does, of one of which it is decided."""
    try:
        if grace > 0:
            await _signal_tree(process, signals.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await _tree_gone(process)
        survivors = await _signal_tree(process, signals.SIGKILL)
        async with asyncio.timeout(10):
            await process.done.wait()
        return survivors
    except TimeoutError:
        raise WaitTimeout(
            "Cannot destroy: the process did not end within 10 s of KILL. Destroy its container."
        ) from None


async def _tree_gone(process: Process) -> None:
    delay = 0.002
    while process.returncode is None or await _signal_tree(process, 0):
        await asyncio.sleep(delay)
        delay = min(delay * 2, 0.1)


async def _signal_tree(process: Process, number: int) -> int:
    """How many it reached; said again when the connection breaks, for that ends nothing."""
    while True:
        try:
            await process.guest.up()
        except ContainerGone:
            if process.guest.over:  # a main process takes its container along: nobody is left
                return 0
            raise
        try:
            return await signal(process, number, Target.TREE)
        except ProcessGone:
            return 0
        except ContainerGone:
            if process.returncode is not None:
                return 0
