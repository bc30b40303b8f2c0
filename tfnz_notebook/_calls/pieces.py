"""Following a stream with ``for`` or ``async for``, by pieces or by lines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Final

from tfnz_notebook._link import thread
from tfnz_notebook._link.link import Link
from tfnz_notebook._link.reader import Chunks

#: A line longer than this comes in pieces.
MAX_LINE: Final = 1 << 20


class Pieces(Iterator[bytes], AsyncIterator[bytes]):
    """A stream of a process, piece by piece. Not to be shared by threads.

    The I/O loop says that there is something, and only then is it taken, by who asked: an ``await``
    that is cancelled, or a ``for`` that is interrupted, while waiting has taken nothing.
    """

    def __init__(self, link: Link, process: str, stream: int, offset: int) -> None:
        self._link = link
        self._process = process
        self._stream = stream
        self._offset = offset
        self._elided = 0
        self._chunks: Chunks | None = None
        self._over = False
        #: Bytes taken that the I/O loop was not told of.
        self._untold = 0

    @property
    def offset(self) -> int:
        """Where the next piece begins: the place to go on from."""
        return self._offset

    @property
    def elided(self) -> int:
        """Bytes that were passed over so far, because the log had dropped them."""
        return self._elided

    async def _arrived(self) -> None:
        """Something can be taken, or nothing will be. On the I/O loop."""
        if self._chunks is None:
            self._chunks = Chunks(self._link, self._process, self._stream, self._offset)
            self._chunks.reader.begin()  # beside: it is not for this call to cut short
        told, self._untold = self._untold, 0
        self._chunks.reader.taken(told)
        await self._chunks.arrived()

    def _take(self) -> bytes:
        """What has arrived; empty at the end."""
        assert self._chunks is not None
        piece = self._chunks.take()
        self._offset, self._elided = self._chunks.offset, self._chunks.elided
        self._untold += len(piece)
        self._over = not piece
        return piece

    def __iter__(self) -> Pieces:
        return self

    def __aiter__(self) -> Pieces:
        return self

    def __next__(self) -> bytes:
        if not self._over:
            self._link.of_this_process("read the log")
            thread.wait(self._arrived())
            if piece := self._take():
                return piece
        raise StopIteration

    async def __anext__(self) -> bytes:
        if not self._over:
            self._link.of_this_process("read the log")
            await thread.awaitable(self._arrived())
            if piece := self._take():
                return piece
        raise StopAsyncIteration

    def close(self) -> None:
        """Read no further; the process goes on. Also happens when this is collected."""
        self._over = True
        chunks, self._chunks = self._chunks, None
        if chunks is not None and not self._link.forked:
            thread.io().soon(chunks.close)

    def __del__(self) -> None:
        if self._chunks is not None and not self._over:
            self.close()


class Lines(Iterator[bytes], AsyncIterator[bytes]):
    """A stream of a process, line by line. Not to be shared by threads.

    Each has an offset of its own, so there may be several, and one may begin anywhere::

        >>> process = container.spawn_process('echo one; echo two')
        >>> list(process.lines()), list(process.lines(offset=4))
        ([b'one', b'two'], [b'two'])
    """

    def __init__(self, pieces: Pieces, end: bytes) -> None:
        self._pieces = pieces
        self._end = end
        self._ready: list[bytes] = []
        self._part = b""

    @property
    def elided(self) -> int:
        """Bytes that were passed over so far, because the log had dropped them."""
        return self._pieces.elided

    def _split(self, piece: bytes) -> None:
        lines = (self._part + piece).split(b"\n")
        self._part = lines.pop()
        if self._end == b"\r\n":
            lines = [line.removesuffix(b"\r") for line in lines]
        if len(self._part) > MAX_LINE:
            lines.append(self._part)
            self._part = b""
        self._ready = lines[::-1]

    def _last(self) -> bool:
        """The stream has ended: what is left is a line without an end."""
        if self._part:
            self._ready, self._part = [self._part], b""
        return not self._ready

    def __iter__(self) -> Lines:
        return self

    def __aiter__(self) -> Lines:
        return self

    def __next__(self) -> bytes:
        while not self._ready:
            try:
                self._split(next(self._pieces))
            except StopIteration:
                if self._last():
                    raise
        return self._ready.pop()

    async def __anext__(self) -> bytes:
        while not self._ready:
            try:
                self._split(await anext(self._pieces))
            except StopAsyncIteration:
                if self._last():
                    raise
        return self._ready.pop()

    def close(self) -> None:
        """Read no further; the process goes on."""
        self._pieces.close()
