"""What a person is told who waits for something slow the first time: an agent, a pull.

One line, once the wait has become long; nothing in scripts, whose output is their own. On stderr
at a prompt, as progress goes; on stdout in a notebook, which shows stderr as what went wrong.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from tfnz_notebook._base.numbers import duration
from tfnz_notebook._base.text import one_line, width

#: Seconds after which somebody wonders.
LATE: Final = 1.5
_EVERY: Final = 0.5


def kernel() -> Any:
    """The kernel that we are in; None at a prompt and in a script."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None)


def notebook() -> bool:
    """Whether we are in a kernel."""
    return kernel() is not None


@contextmanager
def told(text: str, done: str) -> Iterator[None]:
    """Say so if what is inside takes long, to a person at a prompt or in a notebook.

    Once it is over the line says what is ``done``, and how long that took: it stays.
    """
    if not (notebook() or hasattr(sys, "ps1")):
        yield
        return
    began, late = time.monotonic(), threading.Event()

    def say_so() -> None:
        late.set()
        _write(text)

    timer = threading.Timer(LATE, say_so)
    timer.daemon = True
    timer.start()
    over = ""
    try:
        yield
        over = f"\r{done} in {duration(time.monotonic() - began)}".ljust(width(text) + 1)
    finally:
        timer.cancel()
        if late.is_set():
            _write(f"{over}\n")


@asynccontextmanager
async def moving(line: Callable[[], str]) -> AsyncIterator[None]:
    """One line that moves as long as what is inside takes, in a notebook; '' says nothing."""
    if not notebook():
        yield
        return
    task = asyncio.ensure_future(_move(line))
    try:
        yield
    finally:
        task.cancel()


async def _move(line: Callable[[], str]) -> None:
    await asyncio.sleep(LATE)
    said, widest = "", 0
    try:
        while True:
            text = one_line(line(), 100)
            if text and text != said:
                said, widest = text, max(widest, width(text))
                _write(f"\r{text}{' ' * (widest - width(text))}")
            await asyncio.sleep(_EVERY)
    finally:
        if said:
            _write("\n")


def say(text: str) -> None:
    """One line, to a person at a prompt or in a notebook."""
    if notebook() or hasattr(sys, "ps1"):
        _write(f"{text}\n")


def _write(text: str) -> None:
    try:
        out = sys.stdout if notebook() else sys.stderr
        out.write(text)
        out.flush()
    except (OSError, ValueError, AttributeError):
        pass  # closed, or none
