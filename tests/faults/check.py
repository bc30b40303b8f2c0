"""Checks what writer.c writes: every line there, once, in order, whole.

A block's CRC covers every byte of its lines, its numbers say which block it is, and the offset at
which it comes must be the one that its number tells: so bytes lost, doubled or moved show, also
where a reader begins in the middle (``retain='tail'``). Everything checked is counted: the suite
says the total at its end.
"""

import threading
import zlib
from typing import Final

LINE: Final = 64
#: Lines in a block, unless the writer is told otherwise.
LINES: Final = 1024


class Wrong(AssertionError):
    """What came is not what was written."""


class Stream:
    """One writer's output as it comes: ``feed`` pieces of any size, then ``complete``."""

    def __init__(self, seed: int, *, lines: int = LINES, start: int = 0) -> None:
        self._seed = seed
        self._lines = lines
        self._size = lines * LINE
        self._rest = bytearray()
        #: Offset of the first byte that is not checked yet; bytes before a first whole block, in
        #: a stream read from its middle on, are left out.
        self.checked = -(-start // self._size) * self._size
        self._skip = self.checked - start
        self.first = self.checked
        self.last = False

    @property
    def size(self) -> int:
        """Bytes that have come, counted from the writer's first."""
        return self.checked + len(self._rest) - self._skip

    def feed(self, data: bytes) -> None:
        """More of it. Raises Wrong at the first block that is not what it must be."""
        self._rest += data
        if self._skip:
            skipped = min(self._skip, len(self._rest))
            del self._rest[:skipped]
            self._skip -= skipped
        done = len(self._rest) // self._size * self._size
        if done:
            with memoryview(self._rest) as view:
                for at in range(0, done, self._size):
                    self._block(view[at : at + self._size])
            del self._rest[:done]

    def _block(self, block: memoryview) -> None:
        number = self.checked // LINE
        if self.last:
            raise Wrong(f"seed {self._seed}: bytes after the last line, {number}")
        mark = bytes(block[-LINE:])
        crc = zlib.crc32(block[:-LINE])
        head = b"%08x %016x %08x " % (self._seed, number + self._lines - 1, crc)
        filler = b"." * (LINE - 1 - len(head) - 4) + b"\n"
        if mark == head + b"last" + filler:
            self.last = True
        elif mark != head + b"more" + filler:
            raise Wrong(self._story(bytes(block), number))
        if bytes(block[:25]) != b"%08x %016x" % (self._seed, number):
            raise Wrong(self._story(bytes(block), number))
        self.checked += self._size

    def _story(self, block: bytes, number: int) -> str:
        """Which line of a wrong block is the first that is not as written."""
        for index in range(self._lines):
            got = block[index * LINE : (index + 1) * LINE]
            head = b"%08x %016x " % (self._seed, number + index)
            whole = head + b"." * (LINE - 1 - len(head)) + b"\n"
            if not got.startswith(head) or (index < self._lines - 1 and got != whole):
                return f"seed {self._seed}: line {number + index} came as {got!r}"
        return f"seed {self._seed}: checksum of lines from {number}: {block[-LINE:]!r}"

    def partial(self) -> None:
        """The writer was killed: what came of its last block is the beginning of a block."""
        number = self.checked // LINE
        for index, at in enumerate(range(0, len(self._rest), LINE)):
            head = b"%08x %016x " % (self._seed, number + index)
            got = bytes(self._rest[at : at + len(head)])
            if got != head[: len(got)]:
                raise Wrong(f"seed {self._seed}: line {number + index} came as {got!r}")
        TOTAL.add(self.size - self.first)

    def complete(self) -> None:
        """The writer ended by itself: its last line has come, and nothing after it."""
        if not self.last or self._rest:
            raise Wrong(
                f"seed {self._seed}: {self.size} bytes came, the last line did "
                f"{'' if self.last else 'not'}, {len(self._rest)} are left over"
            )
        TOTAL.add(self.checked - self.first)


class Total:
    """Bytes that were checked and found right, over all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.bytes = 0

    def add(self, size: int) -> None:
        """So many more."""
        with self._lock:
            self.bytes += size


TOTAL = Total()
