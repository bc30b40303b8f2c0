"""Requests that are said one after the other, of which several are on their way at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final, Self

from tfnz_notebook._wire.link import Message

#: How many: neither the link nor the other side waits for the other.
TOGETHER: Final = 4


class Several:
    """``say`` asks one thing of the agent. The first one that fails is raised, and ends the others.

    In an ``async with``, which cancels what nobody waits for any more.
    """

    def __init__(self, say: Callable[..., Awaitable[Message]]) -> None:
        self._say = say
        self._asked = deque[asyncio.Future[Message]]()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        for each in self._asked:
            each.cancel()
        await asyncio.gather(*self._asked, return_exceptions=True)

    async def ask(self, name: str, body: dict[str, Any], payload: bytes) -> None:
        """Say one more, once there is room for it."""
        if len(self._asked) == TOGETHER:
            await self._asked.popleft()
        self._asked.append(asyncio.ensure_future(self._say(name, body, payload)))

    async def last(self) -> Message:
        """Wait for all of them; the answer to the last one."""
        while len(self._asked) > 1:
            await self._asked.popleft()
        return await self._asked[0]
