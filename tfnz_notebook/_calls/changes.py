"""Waiting for the state of something that events change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tfnz_notebook.errors import TfnzError


class Changes:
    """Wakes whoever waits for something to become true; on the I/O loop."""

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []

    def tell(self) -> None:
        """Something changed."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(
        self, met: Callable[[], bool], timeout: float | None, late: Callable[[], TfnzError]
    ) -> None:
        """Return once ``met``; after ``timeout`` seconds raise what ``late`` makes."""
        if met():
            return
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        while not met():
            waiter = loop.create_future()
            self._waiters.append(waiter)
            timer = None
            if deadline is not None:
                if loop.time() >= deadline:
                    waiter.cancel()
                    raise late()
                timer = loop.call_at(deadline, _expire, waiter)
            try:
                await waiter
            finally:
                if timer is not None:
                    timer.cancel()


def _expire(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
