"""A link whose other end is the test: what is said lies in a list, an answer arrives at once.

Everything is on the test's own loop, so it decides between which two steps of it something comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tfnz_notebook._link.ends import Address, Place
from tfnz_notebook._link.link import Link
from tfnz_notebook._wire import link as wire
from tfnz_notebook._wire.link import Kind, Message
from tfnz_notebook.errors import LinkClosed, TfnzError, to_wire


class Nowhere:
    where = "here"

    def find(self) -> Address:
        raise AssertionError("no address is needed")


class Peer:
    """The agent's end, and the line to it."""

    def __init__(self) -> None:
        self.said: list[Message] = []
        self.away = False
        self._number = 0
        self._received: Callable[[list[bytes]], None]
        self._ended: Callable[[str], None]

    async def connect(
        self, place: Place, received: Callable[[list[bytes]], None], ended: Callable[[str], None]
    ) -> Peer:
        if self.away:
            raise LinkClosed("Cannot reach it: it is away.")
        self._received, self._ended, self._number = received, ended, 0
        return self

    # -- the line

    def send(self, parts: list[bytes]) -> None:
        message = wire.decode(parts)
        self.said.append(message)
        if message.name == "hello":
            asyncio.get_running_loop().call_soon(self._greet, message)
        elif message.name == "bye":
            asyncio.get_running_loop().call_soon(self.answer, message)

    def look(self) -> None:
        pass

    def close(self, linger: float = 0.0) -> None:
        pass

    # -- what tests say

    def _greet(self, message: Message) -> None:
        self.answer(message, session="s")
        page = {"containers": [], "processes": [], "ended": {}, "more": False, "number": 0}
        self.tell("snapshot", **page)

    def answer(self, message: Message, **body: Any) -> None:
        self._received(wire.encode(wire.reply(message, body)))

    def refuse(self, message: Message, error: TfnzError) -> None:
        told = Message(Kind.ERROR, message.ident, message.name, to_wire(error))
        self._received(wire.encode(told))

    def tell(self, name: str, payload: bytes | None = None, **body: Any) -> None:
        self._received(wire.encode(wire.event(name, body, payload)))

    def changed(self, info: dict[str, Any]) -> None:
        """A process is like that now."""
        self._number += 1
        self.tell("process", process=info["process"], info=info, number=self._number)

    def cut(self) -> None:
        """The connection breaks."""
        self._ended("it was cut")

    def asked(self, name: str) -> list[Message]:
        return [message for message in self.said if message.name == name]


async def turns(count: int = 20) -> None:
    """The loop does what can be done now."""
    for _ in range(count):
        await asyncio.sleep(0)


async def linked() -> tuple[Link, Peer]:
    peer = Peer()
    link = Link(Nowhere(), connect=peer.connect, session="s")
    await link.open()
    await turns()
    return link, peer
