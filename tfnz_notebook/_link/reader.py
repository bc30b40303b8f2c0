"""Streams that come within a credit we give, so that the kernel's memory stays bounded.

A :class:`Reader` follows one log from an offset on. The agent sends while ``offset + size`` is
within the credit; whoever takes the bytes says how many (:meth:`Reader.taken`), and once a quarter
of the window is taken the credit rises. A jump in offsets means that the log dropped older bytes:
they are counted in ``elided`` and the stream goes on. A break of the link is not seen here but as
a pause.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from tfnz_notebook._link.link import Link
from tfnz_notebook.errors import LinkClosed, QuotaFull, TfnzError

#: Bytes of one stream that may wait in this process.
WINDOW: Final = 4 << 20
#: Logs up to this size are read in one message.
SMALL: Final = 256 << 10
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
    ) -> None:
        self.process = process
        self.stream = stream
        #: Absolute offset of the next byte expected.
        self.offset = offset
        self.elided = 0
        self.finished = False
        self.credit = offset + window
        self._link = link
        self._received = received
        self._ended = ended
        self._window = window
        self._taken = offset
        self._lost = False
        self.opened = False
        self.number = link.reader(self)

    async def open(self) -> None:
        """Ask for the stream. Raises ProcessGone, ContainerGone, LinkClosed."""
        body = {
            "reader": self.number,
            "process": self.process,
            "stream": self.stream,
            "offset": self.offset,
            "credit": self.credit,
        }
        self.opened = True
        try:
            await self._link.request("reader.open", body)
        except LinkClosed:
            # Not repeated by the link, but by mended(), which knows the offset.
            if self._link.over:
                raise
        except TfnzError:
            self.opened = False
            raise

    def taken(self, size: int) -> None:
        """So many bytes were used up."""
        self._taken += size
        upto = self._taken + self._window
        if not self.finished and (upto - self.credit) * 4 >= self._window:
            self.credit = upto
            self._link.note("credit", {"reader": self.number, "upto": upto})

    def close(self) -> None:
        """Want no more of it. Idempotent."""
        self._link.drop(self.number)
        if not self.finished:
            self.finished = True
            if self.opened and not self._link.over:
                self._link.background(self._link.request("reader.close", {"reader": self.number}))

    # -- called by the link

    def data(self, offset: int, payload: bytes) -> None:
        """Bytes of the stream."""
        if offset < self.offset:  # a repeat, after a break
            payload = payload[self.offset - offset :]
            offset = self.offset
        if not payload or self.finished:
            return
        if offset > self.offset:
            self._skip(offset - self.offset)
        self.offset += len(payload)
        self._received(payload)

    def _skip(self, size: int) -> None:
        self.elided += size
        self.offset += size
        self._taken += size

    def eof(self, offset: int) -> None:
        """Nothing follows."""
        if not self.finished:
            if offset > self.offset:
                self._skip(offset - self.offset)
            self._finish(None)

    def room(self, upto: int) -> None:
        """Readers send nothing."""

    def closed(self, errno: int) -> None:
        """Readers are not dialled."""

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
        self.credit = self._taken + self._window
        self._link.background(self._reopen())

    async def _reopen(self) -> None:
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
    """A reader to take from at one's own pace: ``await chunks.next()``."""

    def __init__(self, link: Link, process: str, stream: int, offset: int) -> None:
        self._queue: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self._error: TfnzError | None = None
        self._over = False
        self.reader = Reader(link, process, stream, offset, self._received, self._ended)

    def _received(self, payload: bytes) -> None:
        self._queue.append(payload)
        self._arrived.set()

    def _ended(self, error: TfnzError | None) -> None:
        self._over, self._error = True, error
        self._arrived.set()

    @property
    def waiting(self) -> bool:
        """Whether something has arrived."""
        return bool(self._queue)

    async def next(self) -> bytes:
        """What has arrived, waiting for something; empty at the end. Raises LinkClosed."""
        while not self._queue:
            if self._over:
                if self._error is not None:
                    raise self._error
                return b""
            self._arrived.clear()
            await self._arrived.wait()
        joined = self._queue.popleft() if len(self._queue) == 1 else b"".join(self._queue)
        self._queue.clear()
        self.reader.taken(len(joined))
        return joined

    def close(self) -> None:
        """Want no more."""
        self.reader.close()


async def read(link: Link, process: str, stream: int, start: int, end: int) -> bytes:
    """The bytes of a log from ``start`` to ``end`` (absolute), or fewer if older ones are gone.

    Raises QuotaFull, LinkClosed, ProcessGone.
    """
    size = end - start
    if size <= 0:
        return b""
    if size > MAX_BYTES:
        raise QuotaFull(
            f"Cannot return {size} bytes at once: {MAX_BYTES} are the most. "
            "Read them in pieces with log(offset, limit=...), or iterate."
        )
    link.check("read the log")
    if size <= SMALL:
        reply = await link.request(
            "log.read", {"process": process, "stream": stream, "offset": start, "limit": size}
        )
        first = int(reply.body.get("offset", start))
        payload = reply.payload or b""
        if first + len(payload) >= end:
            return payload[: max(0, end - first)]
    chunks = Chunks(link, process, stream, start)
    pieces: list[bytes] = []
    try:
        await chunks.reader.open()
        while chunks.reader.offset < end or chunks.waiting:
            piece = await chunks.next()
            if not piece:
                break
            pieces.append(piece)
    finally:
        chunks.close()
    surplus = chunks.reader.offset - end
    joined = b"".join(pieces)
    return joined[: len(joined) - surplus] if surplus > 0 else joined


class Download:
    """A file on its way here."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._pieces: list[bytes] = []
        self._size = 0
        self._credit = WINDOW
        self._whole: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.number = link.reader(self)

    async def fetch(self, container: str, path: str) -> bytes:
        """Its bytes. Raises FileError, ContainerGone, LinkClosed."""
        body = {
            "container": container,
            "path": path,
            "reader": self.number,
            "credit": self._credit,
        }
        try:
            await self._link.request("file.get", body)
            return await self._whole
        finally:
            self._link.drop(self.number)
            self._whole.cancel()

    def data(self, offset: int, payload: bytes) -> None:
        """Bytes of the file."""
        self._pieces.append(payload)
        self._size += len(payload)
        upto = self._size + WINDOW
        if (upto - self._credit) * 4 >= WINDOW:
            self._credit = upto
            self._link.note("credit", {"reader": self.number, "upto": upto})

    def eof(self, offset: int) -> None:
        """The file is whole."""
        if not self._whole.done():
            self._whole.set_result(b"".join(self._pieces))

    def room(self, upto: int) -> None:
        """Downloads send nothing."""

    def closed(self, errno: int) -> None:
        """Downloads are not dialled."""

    def broken(self, error: TfnzError, final: bool) -> None:
        """A download does not survive a break."""
        if not self._whole.done():
            self._whole.set_exception(LinkClosed(str(error)))

    def mended(self) -> None:
        """It has ended already."""
