"""What a link does beside: tasks that nobody awaits, and that end with it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from tfnz_notebook.errors import TfnzError


class Background:
    """Tasks on the I/O loop. A TfnzError that one raises is nobody's business."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def background(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run it beside."""
        # No wrapper awaits it: one that is cancelled before it starts would leave it unawaited.
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._over_with)

    def _over_with(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, TfnzError):
            context = {"message": "In the background:", "exception": error, "task": task}
            task.get_loop().call_exception_handler(context)

    def _cancel_all(self) -> None:
        current = asyncio.current_task()
        for task in list(self._tasks):
            if task is not current:
                task.cancel()
