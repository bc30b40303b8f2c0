"""Streams that come within a credit we give, so that the kernel's memory stays bounded.

A :class:`Reader` follows one log from an offset on, by the rules of ``_wire.window``: whoever takes
the bytes says how many (:meth:`Reader.taken`), and the credit rises. A jump in offsets means that
the log dropped older bytes: they are counted in ``elided`` and the stream goes on. A break of the
link is not seen here but as a pause.
"""

from __future__ import annotations

import asyncio
import io
import os
from collections import deque
from collections.abc import Callable
from typing import Final

from tfnz_notebook._base import numbers
from tfnz_notebook._link.link import Link
from tfnz_notebook._wire.window import Receiver
from tfnz_notebook.errors import LinkClosed, LogGone, QuotaFull, TfnzError

#: Bytes of one stream that may wait in this process.
WINDOW: Final = 4 << 20
#: What is handed on at once, about: while it is used, the rest of the window is on its way.
PIECE: Final = WINDOW // 4
#: Logs up to this size are asked for; larger ones stream.
SMALL: Final = 1 << 20
#: Most bytes that one call returns.
MAX_BYTES: Final = 1 << 30


class Reader:
    """One reader of one stream of a process. ``received`` gets the bytes, on the I/O loop."""

    def __init__(
        self,
        link: Link,
        process: str,
        stream: int,
        offset: int,
        received: Callable[[bytes], None],
        ended: Callable[[TfnzError | None], None],
        *,
        window: int = WINDOW,
        keep: int | None = None,
    ) -> None:
        """``keep``: of what is there at first only the newest; and again, having fallen behind."""
        self.process = process
        self.stream = stream
        self.elided = 0
        self.finished = False
        self._link = link
        self._received = received
        self._ended = ended
        self._window = Receiver(offset, window)
        self._keep = keep
        self._lost = False
        self.opened = False
        self.number = link.reader(self)

    @property
    def offset(self) -> int:
        """Absolute offset of the next byte expected."""
        return self._window.expected

    @property
    def credit(self) -> int:
        """How far the agent was told to send."""
        return self._window.granted

    async def open(self) -> None:
        """Ask for the stream. Raises ProcessGone, ContainerGone, LinkClosed."""
        body = {
            "reader": self.number,
            "process": self.process,
            "stream": self.stream,
            "offset": self.offset,
            "credit": self.credit,
        }
        if self._keep is not None:
            window = self.credit - self.offset
            body |= {"tail": self._keep, "keep": self._keep, "window": window}
        number, self.opened = self.number, True
        try:
            reply = await self._link.request("reader.open", body)
            self.elided += self._window.skip(int(reply.body.get("offset") or 0))
        except LinkClosed:
            # Not repeated by the link, but by mended(), which knows the offset.
            if self._link.over:
                raise
            if self._lost or self.number != number:
                return  # it broke meanwhile: mended() will come, or has come already
            if self._link.up:
                await self.open()
            else:  # it was broken before, so that nobody has told us
                self._lost = True
        except TfnzError:
            self.opened = False
            raise

    def begin(self) -> None:
        """Open it beside; what stands against that ends it."""
        self._link.background(self._open_or_end())

    def taken(self, size: int) -> None:
        """So many bytes were used up."""
        self._window.take(size)
        if not self.finished and (upto := self._window.grant()) is not None:
            self._link.note("credit", {"reader": self.number, "upto": upto})

    def close(self) -> None:
        """Want no more of it. Idempotent."""
        self._link.drop(self.number)
        if not self.finished:
            self.finished = True
            if self.opened and not self._link.over:
                self._link.background(self._link.request("reader.close", {"reader": self.number}))

    # -- called by the link

    def begins(self) -> None:
        """The agent has it."""
        self.opened = True

    def data(self, offset: int, payload: bytes) -> None:
        """Bytes of the stream. ProtocolError for those that nobody asked for."""
        if self.finished:
            return
        new, left = self._window.arrived(offset, payload)
        self.elided += left
        if new:
            self._received(new)

    def eof(self, offset: int) -> None:
        """Nothing follows."""
        if not self.finished:
            self.elided += self._window.skip(offset)
            self._finish(None)

    def room(self, upto: int) -> None:
        """Readers send nothing."""

    def closed(self, errno: int) -> None:
        """The agent cannot read on: what it kept of the stream is gone, or its disk fails."""
        if not self.finished:
            self._finish(
                LogGone(
                    f"Cannot read the log beyond byte {self.offset}: its agent has lost it "
                    f"({os.strerror(errno)}). Read from a later offset.",
                    errno=errno,
                )
            )

    def broken(self, error: TfnzError, final: bool) -> None:
        """Pause, or end."""
        self._lost = self.opened
        if final and not self.finished:
            self._finish(error)

    def mended(self) -> None:
        """Go on where we were."""
        if not self._lost or self.finished:
            return
        self._lost = False
        self._link.drop(self.number)
        self.number = self._link.reader(self)
        self._window.renew()
        self.begin()

    async def _open_or_end(self) -> None:
        try:
            await self.open()
        except TfnzError as error:
            if not self.finished:
                self._finish(error)

    def _finish(self, error: TfnzError | None) -> None:
        self.finished = True
        self._link.drop(self.number)
        self._ended(error)


class Chunks:
    """A reader to take from at one's own pace.

    Bytes come on the I/O loop; who knows that some have :meth:`arrived` may :meth:`take` them on
    any one thread, and tells the reader afterwards.
    """

    def __init__(self, link: Link, process: str, stream: int, offset: int) -> None:
        #: Each piece with its end and what was dropped before it, so that none has a gap in it.
        self._queue: deque[tuple[bytes, int, int]] = deque()
        self._arrived = asyncio.Event()
        self._error: TfnzError | None = None
        self._over = False
        #: Where what :meth:`take` returns begins; bytes that were dropped before there.
        self.offset = offset
        self.elided = 0
        self.reader = Reader(link, process, stream, offset, self._received, self._ended)

    def _received(self, payload: bytes) -> None:
        self._queue.append((payload, self.reader.offset, self.reader.elided))
        self._arrived.set()

    def _ended(self, error: TfnzError | None) -> None:
        self._over, self._error = True, error
        self._arrived.set()

    @property
    def waiting(self) -> bool:
        """Whether something has arrived."""
        return bool(self._queue)

    async def arrived(self) -> None:
        """Wait for something, or for the end. Raises what ended it before the stream's own end."""
        while not self._queue:
            if self._over:
                if self._error is not None:
                    raise self._error
                return
            self._arrived.clear()
            await self._arrived.wait()

    def take(self) -> bytes:
        """What has arrived, up to ``PIECE`` bytes and a piece; empty at the end."""
        if not self._queue:
            self.offset, self.elided = self.reader.offset, self.reader.elided
            return b""
        pieces, before, size = [], self._queue[0][2], 0
        while self._queue and self._queue[0][2] == before and size < PIECE:
            piece, self.offset, self.elided = self._queue.popleft()
            pieces.append(piece)
            size += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def next(self) -> bytes:
        """What has arrived, waiting for something; for the I/O loop itself. Empty at the end."""
        await self.arrived()
        piece = self.take()
        self.reader.taken(len(piece))
        return piece

    def close(self) -> None:
        """Want no more."""
        self.reader.close()


def check_size(size: int) -> None:
    """Raise QuotaFull for more than one call may return."""
    if size > MAX_BYTES:
        raise QuotaFull(
            f"Cannot return all of it at once: it has more than {numbers.size(MAX_BYTES)}. "
            "Read it in pieces with log(offset, limit=...), or iterate."
        )


async def read(link: Link, process: str, stream: int, start: int, end: int) -> bytes:
    """The bytes of a log from ``start`` to ``end`` (absolute), or fewer if older ones are gone.

    Raises LogGone if newer ones are, QuotaFull, LinkClosed, ProcessGone.
    """
    size = end - start
    if size <= 0:
        return b""
    check_size(size)
    link.check("read the log")
    # It grows in place: pieces that are joined at the end would be there twice, and hold up others.
    whole = io.BytesIO()
    while 0 < end - start <= SMALL:
        body = {"process": process, "stream": stream, "offset": start, "limit": end - start}
        reply = await link.request("log.read", body)
        first, piece = int(reply.body.get("offset", start)), reply.payload or b""
        whole.write(piece[: max(0, end - first)])
        if not piece and first < end:
            raise _short(first, end)
        start = max(first, start) + len(piece)
    if start >= end:
        return whole.getvalue()
    chunks = Chunks(link, process, stream, start)
    try:
        await chunks.reader.open()
        while chunks.reader.offset < end or chunks.waiting:
            piece = await chunks.next()
            if not piece:
                raise _short(chunks.reader.offset, end)
            whole.write(piece)
    finally:
        chunks.close()
    whole.truncate(whole.tell() - max(0, chunks.reader.offset - end))
    return whole.getvalue()


def _short(offset: int, end: int) -> LogGone:
    return LogGone(
        f"Cannot read the log from byte {offset} to {end}: that went with an agent and with the "
        "container. What was before is there."
    )
