"""What a job is sent: one request a piece, each answered when it was taken.

The last one is answered with the outcome. The kernel may have several on their way; they are taken
in their order.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from tfnz_notebook.errors import AgentError

Outcome = dict[str, Any]
#: What is done with the pieces.
Work = Callable[[AsyncIterator[bytes]], Coroutine[Any, Any, Outcome]]


class Sent:
    """One job and its pieces, under the name of their transfer."""

    def __init__(self, work: Work) -> None:
        self._queue = asyncio.Queue[bytes | None](1)
        self._offset = 0
        self._turn = asyncio.Lock()
        self._task = asyncio.create_task(work(self._pieces()))
        # It may end between two pieces, and the next one hears of it.
        self._task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _pieces(self) -> AsyncIterator[bytes]:
        while (piece := await self._queue.get()) is not None:
            yield piece

    async def take(self, offset: int, piece: bytes, *, last: bool) -> Outcome:
        """A piece; with the last one what came of it. Raises what the job ended with before."""
        async with self._turn:
            if offset != self._offset:
                raise AgentError("Cannot go on: a part of it did not arrive. Begin it anew.")
            self._offset += len(piece)
            await self._put(piece)
            if not last:
                if self._task.done():
                    self._task.result()
                return {}
            await self._put(None)
        # It goes on when who waits for it does not, until it is dropped or its kernel has gone.
        return await asyncio.shield(self._task)

    async def _put(self, piece: bytes | None) -> None:
        putting = asyncio.ensure_future(self._queue.put(piece))
        try:
            await asyncio.wait((putting, self._task), return_when=asyncio.FIRST_COMPLETED)
        finally:
            putting.cancel()

    def drop(self) -> None:
        """Nobody wants it any more."""
        self._task.cancel()
