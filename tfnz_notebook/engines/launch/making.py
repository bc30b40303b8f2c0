"""Containers that are being made: an engine finishes what its client gave up on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from tfnz_notebook.errors import TfnzError


class Making:
    """A create that is cancelled is seen through, and undone.

    So nothing is left that only a search by label would find. ``remove`` takes a ref.
    """

    def __init__(self, remove: Callable[[str], Awaitable[None]]) -> None:
        self._remove = remove
        self._undoing: set[asyncio.Future[None]] = set()

    async def whole(self, work: Coroutine[Any, Any, str]) -> str:
        """The ref that it makes."""
        making = asyncio.ensure_future(work)
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            undoing = asyncio.ensure_future(self._undo(making))
            self._undoing.add(undoing)
            undoing.add_done_callback(self._undoing.discard)
            raise

    async def _undo(self, making: asyncio.Future[str]) -> None:
        with contextlib.suppress(TfnzError):
            await self._remove(await making)

    async def settled(self) -> None:
        """Wait until all of those are undone."""
        await asyncio.gather(*self._undoing, return_exceptions=True)
