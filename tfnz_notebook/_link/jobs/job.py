"""One request that takes long, as seen from here.

What it says comes as a stream within a credit that rises with what is used up, and what it is sent
goes in pieces, some of them on their way at once. Who stops waiting ends it at the agent, too.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from tfnz_notebook._base.names import fresh
from tfnz_notebook._link.jobs.several import Several
from tfnz_notebook._link.link import Link
from tfnz_notebook._wire.link import Message
from tfnz_notebook._wire.window import Receiver
from tfnz_notebook.errors import ImageError, LinkClosed, TfnzError

#: Bytes of what it says that may wait in this process.
WINDOW: Final = 4 << 20


class Job:
    """``heard`` gets what it says, on the I/O loop; who has used that up says :meth:`taken`."""

    def __init__(self, link: Link, heard: Callable[[bytes], None]) -> None:
        self._link = link
        self._heard = heard
        self._window = Receiver(0, WINDOW, gaps=False)
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._over.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.number = link.reader(self)

    async def ask(self, name: str, body: dict[str, Any]) -> Message:
        """Its answer, once it is over."""
        told = {**body, "reader": self.number, "credit": WINDOW}
        try:
            return await self._link.request(name, told)
        except BaseException:
            self._leave()
            raise
        finally:
            self._link.drop(self.number)

    async def stream(self, name: str, body: dict[str, Any]) -> None:
        """Wait until all that it has to say was heard. LinkClosed, ImageError if it breaks off."""
        told = {**body, "reader": self.number, "credit": WINDOW}
        try:
            await self._link.request(name, told)
            await self._over
        except BaseException:
            self._leave()
            raise
        finally:
            self._link.drop(self.number)

    async def send(self, name: str, body: dict[str, Any], pieces: AsyncIterator[bytes]) -> Message:
        """Send it the pieces, each at most a message's; its answer, once it is over."""
        transfer, first = fresh(), {**body, "reader": self.number, "credit": WINDOW}
        offset, piece = 0, await anext(pieces, b"")
        try:
            async with Several(self._link.request) as sent:
                while True:
                    after = await anext(pieces, None)
                    told = {"transfer": transfer, "offset": offset, "last": after is None}
                    await sent.ask(name, {**first, **told}, piece)
                    if after is None:
                        return await sent.last()
                    first, offset, piece = {}, offset + len(piece), after
        except BaseException:
            self._link.take_back(name, {"transfer": transfer, "drop": True})
            raise
        finally:
            self._link.drop(self.number)

    def _leave(self) -> None:
        self._link.note("dial.close", {"reader": self.number})

    def taken(self, size: int) -> None:
        """So many bytes were used up."""
        self._window.take(size)
        if (upto := self._window.grant()) is not None:
            self._link.note("credit", {"reader": self.number, "upto": upto})

    # -- called by the link

    def data(self, offset: int, payload: bytes) -> None:
        """More of what it says. ProtocolError for what is not next, or not asked for."""
        new, _ = self._window.arrived(offset, payload)
        if new:
            self._heard(new)

    def eof(self, offset: int) -> None:
        """It has said all."""
        del offset
        if not self._over.done():
            self._over.set_result(None)

    def room(self, upto: int) -> None:
        """Nothing is sent here but by requests."""

    def closed(self, errno: int) -> None:
        """It broke off."""
        if not self._over.done():
            why = f"the engine broke off ({os.strerror(errno)})"
            self._over.set_exception(ImageError(f"Cannot go on: {why}. Do it again."))

    def broken(self, error: TfnzError, final: bool) -> None:
        """What is said again begins anew; a stream that was asked for does not survive it."""
        del final
        self._window = Receiver(0, WINDOW, gaps=False)
        if not self._over.done():
            self._over.set_exception(LinkClosed(str(error)))

    def mended(self) -> None:
        """Its request is said again, if it may be."""
