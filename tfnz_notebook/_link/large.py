"""What does not fit in one message: requests that go ahead in pieces, answers that come in pages.

Lists, maps and payload of such a request (a container's files, a process's arguments) go to the
agent in pieces first, and the request then names them. Of a listing the agent keeps what did not
fit on the first page. Neither outlives a connection: who finds that it did not says all of it
again, which is what their operations allow.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgpack

from tfnz_notebook._base.names import fresh
from tfnz_notebook._wire.link import Message, too_large
from tfnz_notebook._wire.operations import MAX_CHUNK, OPERATIONS
from tfnz_notebook.errors import AgentError

#: Pieces that are on their way at once.
TOGETHER: Final = 8
#: Bytes of a field that stays in its request: the link has to look into some.
SMALL: Final = 256
#: Times that the connection may break in the middle before the call fails.
BREAKS: Final = 5

Undo = Callable[[], object]
Say = Callable[..., Awaitable[Message]]


class Large:
    """Of one link; ``say`` asks one thing of its agent."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._turn = asyncio.Lock()  # an agent keeps one at a time of each client

    async def ahead(self, message: Message, undo: Undo | None = None) -> Message:
        """Ask what is too large for one message. Raises TooLarge, and what the agent answers.

        ``undo`` as with any request.
        """
        row = OPERATIONS[message.name]
        parts = {
            key: each
            for key, each in message.body.items()
            if isinstance(each, list | dict) and len(_packed(each)) > SMALL
        }
        whole = _packed([parts, message.payload])
        if len(whole) > row.ahead:
            raise too_large(row.name, len(whole), row.ahead)
        left = {key: type(each)() for key, each in parts.items()}

        async def ask() -> Message:
            name = fresh()
            async with self._turn:
                await self._pieces(name, whole)
            return await self._say(row.name, {**message.body, **left, "ahead": name}, None, undo)

        return await _until_whole(ask)

    async def _pieces(self, name: str, whole: bytes) -> None:
        for start in range(0, len(whole), TOGETHER * MAX_CHUNK):
            some = whole[start : start + TOGETHER * MAX_CHUNK]
            pieces = (
                self._say("ahead", {"ahead": name, "offset": start + at}, some[at : at + MAX_CHUNK])
                for at in range(0, len(some), MAX_CHUNK)
            )
            await asyncio.gather(*pieces)

    async def listing(self, name: str, body: dict[str, Any]) -> Message:
        """The answer to a listing, all its pages in one list."""
        key = OPERATIONS[name].reply[0]

        async def ask() -> Message:
            reply = await self._say(name, body, None)
            more = reply.body.pop("more", 0)
            while more:
                page = (await self._say("more", {"more": more}, None)).body
                reply.body[key] += page["items"]
                more = page["more"]
            return reply

        return await _until_whole(ask)


async def _until_whole(ask: Callable[[], Awaitable[Message]]) -> Message:
    for attempt in itertools.count(1):
        try:
            return await ask()
        except AgentError as error:
            if not error.details.get("lost") or attempt > BREAKS:
                raise
    raise AssertionError  # for the type checker: count does not end


def _packed(value: object) -> bytes:
    return bytes(msgpack.packb(value, unicode_errors="surrogateescape"))
