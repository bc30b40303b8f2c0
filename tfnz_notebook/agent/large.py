"""What does not fit in one message: what came ahead of a request, what is left of an answer.

The kernel's half is ``_link/large.py``. Of each client one request at a time may have a part ahead,
and a few listings more pages to come; what nobody asks for within a while is dropped, and with the
client all of it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgpack

from tfnz_notebook._wire import operations as wire
from tfnz_notebook._wire.link import Message, too_large
from tfnz_notebook._wire.operations import OPERATIONS, checked
from tfnz_notebook.errors import AgentError, ProtocolError

#: Seconds that a piece, or a page, waits for who asks for it.
KEPT: Final = 60.0
#: Listings of one client that may have pages to come.
MAX_LISTINGS: Final = 16


def packed(item: object) -> int:
    """Bytes that it takes in a message."""
    return len(msgpack.packb(item, unicode_errors="surrogateescape"))


class Large:
    """Of one client."""

    def __init__(self) -> None:
        self._name = ""
        self._pieces = bytearray()
        self._dropping: asyncio.TimerHandle | None = None
        self._numbers = itertools.count(1)
        #: What is left of listings, and when each is dropped.
        self._left: dict[int, tuple[Iterator[Any], asyncio.TimerHandle]] = {}

    # -- ahead

    def piece(self, name: str, offset: int, chunk: bytes) -> None:
        """A piece of what a request of that name will need. Raises AgentError if one is missing."""
        if offset == 0:
            self._drop()
            self._name = name
        if name != self._name or offset != len(self._pieces):
            raise _lost()
        if offset + len(chunk) > wire.MAX_AHEAD:
            self._drop()
            raise too_large("ahead", offset + len(chunk), wire.MAX_AHEAD)
        self._pieces += chunk
        self._keep()

    def whole(self, message: Message) -> Message:
        """The request with what came ahead of it. Raises AgentError if that did not."""
        row = OPERATIONS[message.name]
        name = message.body.get("ahead") if row.ahead else None
        if not name:
            return message
        if name != self._name:
            raise _lost()
        pieces = self._pieces
        self._drop()
        if len(pieces) > row.ahead:
            raise too_large(row.name, len(pieces), row.ahead)
        match _unpacked(pieces):
            case [dict(parts), bytes() | None as payload]:
                body = checked(row.name, row.fields, {**message.body, **parts})
            case _:
                raise ProtocolError(f"{row.name}: what came ahead is not [fields, payload].")
        return Message(message.kind, message.ident, message.name, body, payload)

    def _keep(self) -> None:
        if self._dropping is not None:
            self._dropping.cancel()
        self._dropping = asyncio.get_running_loop().call_later(KEPT, self._drop)

    def _drop(self) -> None:
        self._name, self._pieces = "", bytearray()
        if self._dropping is not None:
            self._dropping.cancel()
            self._dropping = None

    # -- pages

    def answer(self, message: Message, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to a listing as it is sent: its first page, and where the next is asked."""
        row = OPERATIONS[message.name]
        if not row.pages:
            return body
        key = row.reply[0]
        items, more = self._page(iter(body[key]))
        return {**body, key: items, "more": more}

    def more(self, number: int) -> dict[str, Any]:
        """The next page of a listing. Raises AgentError if it is not kept."""
        items, dropping = self._left.pop(number, (None, None))
        if items is None or dropping is None:
            raise _lost()
        dropping.cancel()
        told, more = self._page(items)
        return {"items": told, "more": more}

    def _page(self, items: Iterator[Any]) -> tuple[list[Any], int]:
        page, full = first_page(items)
        if not full:
            return page, 0
        if len(self._left) >= MAX_LISTINGS:
            self._forget(next(iter(self._left)))
        number = next(self._numbers)
        dropping = asyncio.get_running_loop().call_later(KEPT, self._forget, number)
        self._left[number] = (items, dropping)
        return page, number

    def _forget(self, number: int) -> None:
        self._left.pop(number)[1].cancel()

    def close(self) -> None:
        """Nobody will ask any more."""
        self._drop()
        for number in list(self._left):
            self._forget(number)


def first_page(items: Iterable[Any]) -> tuple[list[Any], bool]:
    """As many as fit on a page, and whether it is full."""
    page, size = list[Any](), 0
    for item in items:
        page.append(item)
        size += packed(item)
        if size >= wire.PAGE:
            return page, True
    return page, False


def _unpacked(pieces: bytearray) -> object:
    try:
        return msgpack.unpackb(pieces, unicode_errors="surrogateescape")
    except Exception:  # noqa: BLE001 - as in _wire.link
        return None


def _lost() -> AgentError:
    # Not garbage: it is what a kernel meets whose connection broke in the middle.
    return AgentError("Cannot go on: a part of it did not arrive. Say all of it again.", lost=True)
