"""A first process that is the image's own and not its guest's (``entrypoint='unmodified'``).

The guest beside it did not start it, and holds no end of it. What it writes comes from the engine's
log, which tells all of it from the beginning: what is in our log already is passed over. How it
ends comes from the engine, with the container.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from tfnz_notebook._wire.guest import MAX_DATA
from tfnz_notebook.agent.process.output import RETRY
from tfnz_notebook.agent.process.process import Process
from tfnz_notebook.errors import Misuse, ProtocolError, TfnzError

log = logging.getLogger(__name__)


class First(Process):
    """Its output can be read, and its end be waited for."""

    def begins(self, pieces: AsyncIterator[tuple[int, bytes]]) -> None:
        """It runs, and that is what it writes."""
        self.input.begin(0, closed=True)
        self._is_spawned(1)
        self._following = asyncio.create_task(self._follow(pieces))

    async def _follow(self, pieces: AsyncIterator[tuple[int, bytes]]) -> None:
        known = [output.log.head for output in self.outputs]
        try:
            async for stream, chunk in pieces:
                index = stream - 1
                passed = min(known[index], len(chunk))
                known[index] -= passed
                for at in range(passed, len(chunk), MAX_DATA):
                    await self._take(index, chunk[at : at + MAX_DATA])
        except (TfnzError, OSError) as error:
            log.warning("process %s: its output is told no more: %s", self.ident, error)

    async def _take(self, index: int, piece: bytes) -> None:
        output = self.outputs[index]
        while True:  # a full disk holds it up, not back
            try:
                output.data(output.log.head, piece)
                return
            except ProtocolError:
                await asyncio.sleep(RETRY)

    async def heard_out(self, patience: float) -> None:
        """Wait for its last words, which its engine tells to their end; not for long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await asyncio.shield(self._following)

    def _ack(self, stream: int, upto: int) -> None:
        """Its guest holds nothing of it."""

    def alive(self, what: str) -> None:
        super().alive(what)
        raise Misuse(
            f"Cannot {what}: the container's first process is the image's own "
            "(entrypoint='unmodified'), and not its guest's. Reach it from a process of yours in "
            "the container, or leave entrypoint= out."
        )

    def discard(self) -> None:
        self._following.cancel()
        super().discard()

    def gone(self, returncode: int = -9) -> None:
        self._following.cancel()
        super().gone(returncode)
