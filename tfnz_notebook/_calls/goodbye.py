"""The ordinary end of a process is the end of its sessions, at once: nobody waits two minutes.

A script's end, and that of a kernel nothing runs in, comes to ``atexit``. A kernel's may not: with
a cell that goes on, whatever asks it to end (a Hub's "Stop", a server's Ctrl-C, papermill) asks on
the control channel first, sends SIGTERM 2.5 s later, and SIGKILL after as long again. So in a
kernel that request counts too, once the kernel has had the time to end by itself, and SIGTERM is
answered before it kills. A thread of ipykernel's looks each second whether the process that
started the kernel is gone, and then ends it by ``os._exit``: we go first. Neither ■ nor a kernel
that is killed is an ordinary end; and a durable session hears only that this kernel left.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import signal
import sys
import threading
import weakref
from types import FrameType
from typing import Any, Final, Protocol

from tfnz_notebook._link import patience, thread

#: Seconds until a process ends whose sessions do not.
LONGEST: Final = 10.0
#: Seconds that a kernel which was asked to end has for it, its views' last pictures included.
BY_ITSELF: Final = 0.5


class Open(Protocol):
    """A location, to here."""

    @property
    def connected(self) -> bool: ...
    @property
    def _forked(self) -> bool: ...
    async def _disconnect(self) -> None: ...


_open: weakref.WeakSet[Open] = weakref.WeakSet()
_leaving: asyncio.Task[None] | None = None
_pid = 0


def at_the_end(location: Open) -> None:
    """Let it say good-bye when this process ends. Any thread, after it has connected."""
    global _pid
    _open.add(location)
    kernel = patience.kernel()
    if kernel is None:
        return
    _pid = os.getpid()
    ordinary = getattr(kernel, "do_shutdown", None)
    if ordinary is not None and not isinstance(ordinary, _Asked):
        kernel.do_shutdown = _Asked(ordinary)
        poller = getattr(getattr(kernel, "parent", None), "poller", None)
        if poller is not None:
            home: Any = sys.modules[type(poller).__module__]
            home.os = _Os()
    if (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    ):
        signal.signal(signal.SIGTERM, _terminated)


class _Asked:
    """Stands before a kernel's ``do_shutdown``: it is asked to end, or to end and start again."""

    def __init__(self, ordinary: Any) -> None:
        self._ordinary = ordinary

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        loop = thread.io().loop
        loop.call_soon_threadsafe(loop.call_later, BY_ITSELF, _leave)
        return self._ordinary(*arguments, **named)


class _Os:
    """``os`` for the module of ipykernel's poller, whose ``_exit`` is no end without a word."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def _exit(self, code: int) -> None:
        try:
            _goodbye()
        finally:
            os._exit(code)


def _terminated(number: int, _frame: FrameType | None) -> None:
    # Whoever sends it twice does not want to wait.
    signal.signal(number, signal.SIG_DFL)
    if os.getpid() == _pid:  # not in a child that a cell forked
        _goodbye()
    os.kill(os.getpid(), number)


@atexit.register
def _goodbye() -> None:
    if any(_staying()):
        thread.wait(_left())


def _staying() -> list[Open]:
    return [each for each in _open if each.connected and not each._forked]  # noqa: SLF001  # see Open


def _leave() -> asyncio.Task[None]:
    """On the I/O loop: leave each session, all together, whoever asks for it how often."""
    global _leaving
    if _leaving is None or _leaving.done():
        _leaving = asyncio.get_running_loop().create_task(_all_left())
    return _leaving


async def _all_left() -> None:
    try:
        async with asyncio.timeout(LONGEST):
            partings = (each._disconnect() for each in _staying())  # noqa: SLF001
            await asyncio.gather(*partings, return_exceptions=True)
    except TimeoutError:
        pass  # the agent finds out by itself


async def _left() -> None:
    await asyncio.shield(_leave())


def _after_fork() -> None:
    global _leaving
    _leaving = None


os.register_at_fork(after_in_child=_after_fork)
