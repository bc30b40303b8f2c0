"""Where operations run that are about one thing: they end with it, whatever they wait for.

An operation of a container is a task in that container's scope. When the container ends, or its
guest is given up, what still runs there is cancelled and raises why; so nobody has to think of
every end while waiting for something else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Coroutine
from typing import Any, TypeVar

from tfnz_notebook.errors import TfnzError

T = TypeVar("T")


async def together(*works: Coroutine[Any, Any, None]) -> None:
    """Wait for all of them; the first error ends the others, and is raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        for done in asyncio.as_completed(tasks):
            await done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Scope:
    """The tasks that run in it now."""

    def __init__(self) -> None:
        self._running: dict[asyncio.Task[object], TfnzError | None] = {}

    async def run(self, work: Awaitable[T]) -> T:
        """Its result; or what the scope was interrupted with. It may run in several scopes."""
        task = asyncio.current_task()
        assert task is not None
        if task in self._running:
            return await work
        self._running[task] = None
        try:
            return await work
        except asyncio.CancelledError:
            error = self._running[task]
            if error is None or task.uncancel() > 0:  # somebody else wants it to end
                raise
            raise error from None
        finally:
            del self._running[task]

    def running(self) -> Collection[asyncio.Task[object]]:
        """What runs in it now."""
        return frozenset(self._running)

    def interrupt(
        self, error: TfnzError, only: Collection[asyncio.Task[object]] | None = None
    ) -> None:
        """End all that runs in it now, but for who calls this; or what is among those only."""
        for task, before in list(self._running.items()):
            asked = only is None or task in only
            if asked and before is None and task is not asyncio.current_task():
                self._running[task] = error
                task.cancel()
