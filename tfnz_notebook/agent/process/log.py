"""A stream of output as an append-only log with byte offsets.

Theory of operation. Bytes arrive from a guest in order, each chunk with its offset. The guest
keeps what was not acknowledged, so a byte must be acknowledged only once it would survive this
agent: when it is in a spool file. Small outputs (under ``PENDING`` bytes) are never written while
their process runs: the guest's own memory is their durable copy; at its end they go into the file
that such outputs share (``kept/pack.py``). Larger ones are appended to segment files of
``SEGMENT`` bytes, named by the offset of their first byte, and acknowledged.

At the quota a log either stops acknowledging (``retain='all'``: the guest's window fills, the
process blocks on write) or drops its oldest segment (``retain='tail'``). A full disk stops the
acknowledging as well, until there is room. Memory per log is bounded by the guest's window plus
``TAIL``, and is none once all is in files and nothing follows.
"""

from __future__ import annotations

import contextlib
import errno
import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Final, Literal

from tfnz_notebook._base import numbers
from tfnz_notebook._wire.guest import WINDOW_OUT, WINDOW_WIDE
from tfnz_notebook.agent.disk import REAL, Disk, File
from tfnz_notebook.errors import LogGone

PENDING: Final = WINDOW_OUT // 4
#: Newest bytes kept in memory besides, so that live readers never touch the disk.
TAIL: Final = 256 << 10
SEGMENT: Final = 64 << 20
#: Smaller chunks are joined up to this size: a process that writes byte by byte costs no more.
MERGE: Final = 4096
#: Written at once, where chunks are smaller.
TOGETHER: Final = 64 << 10
QUOTA: Final = int(os.environ.get("TFNZ_SPOOL_QUOTA", str(2 << 30)))

#: First step in which room on the disk is reserved.
RESERVE: Final = 1 << 20

Retain = Literal["all", "tail"]


Segment = tuple[int, int]  # first offset, size


class Log:
    """One stream of one process. Offsets count bytes since the process started."""

    def __init__(
        self,
        path: Path | str,
        *,
        retain: Retain = "all",
        quota: int = QUOTA,
        segment: int = SEGMENT,
        disk: Disk = REAL,
    ) -> None:
        self.path = path
        self._disk = disk
        self.retain = retain
        self.quota = quota
        self.segment = segment
        #: Offsets: first byte held, one past the last byte, one past the last byte in a file.
        self.base = 0
        self.head = 0
        self.spooled = 0
        self.eof = False
        self.pending = PENDING
        #: What stopped the spool (quota or a disk error), for people; empty while all is well.
        self.trouble = ""
        #: It is the quota, which no waiting helps.
        self.full = False
        #: Why it is not there any more, though it was; empty while it is.
        self.dropped = ""
        self._chunks: list[tuple[int, bytes]] = []  # few: a deque of none is larger
        self._kept = 0
        self._segments: list[Segment] = []
        #: Where the first segment is, if it is in a file that others share: path, offset there.
        self.place: tuple[Path, int] | None = None
        self._file: File | None = None
        self._reserved = 0

    @classmethod
    def adopt(
        cls,
        path: Path | str,
        found: Iterable[Segment],
        *,
        before: Log | None = None,
        retain: Retain = "all",
        quota: int = QUOTA,
        disk: Disk = REAL,
    ) -> Log:
        """The log an earlier agent left at ``path``, as far as its files go.

        ``found``: the files; ``before``: what the process's end, if it is known, says of the log.
        """
        log = cls(path, retain=retain, quota=quota, disk=disk)
        if before is not None and before.packed:
            log.place, log._segments = before.place, [(before.base, before.packed)]
            log.spooled = before.base + before.packed
        for start, size in sorted(found):
            if log._segments and start != log.spooled:
                break  # a hole: what follows cannot be trusted
            log._segments.append((start, size))
            log.spooled = start + size
        if log._segments:
            log.base = log._segments[0][0]
            log.head = log.spooled
            start, size = log._segments[-1]
            with contextlib.suppress(OSError):  # what the last one had reserved
                if log.place is None or len(log._segments) > 1:
                    disk.cut(log._segment_path(start), size)
        return log

    @classmethod
    def recalled(
        cls,
        path: Path,
        sizes: list[int],
        place: tuple[Path, int],
        *,
        retain: Retain = "all",
        disk: Disk = REAL,
    ) -> Log:
        """The log of a process that ended, as :meth:`segments` told it; ``place``: in the pack."""
        log = cls(path, retain=retain, disk=disk)
        log.base = log.head = sizes[0]
        for size in sizes[1:]:
            log._segments.append((log.head, abs(size)))
            log.head += abs(size)
            if size < 0:
                log.place = place
        log.spooled = log.head
        log.eof = True
        return log

    def segments(self) -> list[int]:
        """Its first offset, and the sizes of its segments; that of one in the pack is negative."""
        sizes = [size for _, size in self._segments]
        if self.place is not None:
            sizes[0] = -sizes[0]
        return [self.base, *sizes]

    @property
    def packed(self) -> int:
        """Bytes of it that are in the pack, its first ones."""
        return self._segments[0][1] if self.place is not None else 0

    @property
    def filed(self) -> bool:
        """Whether some of it is in files, where what follows will be."""
        return bool(self._segments)

    @property
    def loose(self) -> bool:
        """Whether all of it is in memory alone, and little."""
        return not self._segments and 0 < self.head - self.base < self.pending

    def whole(self) -> bytes:
        """All of it, while it is loose."""
        return b"".join(chunk for _, chunk in self._chunks)

    def lies(self, path: Path, at: int) -> None:
        """What was loose is in that file of the pack, from that offset on."""
        self.place = (path, at)
        self._segments.append((self.base, self.head - self.base))
        self.spooled = self.head

    def append(self, offset: int, chunk: bytes) -> None:
        """Take a chunk that is new.

        One after a gap (the main process's window, which drops while no agent listens; what an
        agent had whose disk was full) moves ``base``: what lies between is gone for good.
        """
        if offset > self.head:
            self.skip_to(offset)
        self._kept += len(chunk)
        last = self._chunks[-1] if self._chunks else None
        if last and len(last[1]) + len(chunk) <= MERGE and last[0] + len(last[1]) == self.head:
            self._chunks[-1] = (last[0], last[1] + chunk)
        else:
            self._chunks.append((self.head, chunk))
        self.head += len(chunk)
        if self.head - self.spooled >= self.pending:
            self.spool()

    def skip_to(self, offset: int) -> None:
        """Go on there: what is before is gone, or a part of it."""
        self.discard()
        self.base = self.head = self.spooled = offset

    def spool(self) -> bool:
        """Write what is not yet in a file; False if the quota or the disk does not allow it."""
        self.full = self.retain == "all" and self.head - self.base > self.quota
        if self.full:
            self.trouble = f"the quota of {numbers.size(self.quota)} is full"
            return False
        try:
            for piece in self._unspooled():
                self._write(piece)
        except OSError as error:
            self.trouble = error.strerror or str(error)
            return False
        self.trouble = ""
        old = 0
        while old < len(self._chunks) and self._kept - len(self._chunks[old][1]) >= TAIL:
            self._kept -= len(self._chunks[old][1])
            old += 1
        del self._chunks[:old]
        while self.retain == "tail" and len(self._segments) > 1:
            start, size = self._segments[0]
            if self.head - (start + size) < self.quota // 2 and self.head - start <= self.quota:
                break
            self._segments.pop(0)
            self.base = start + size
            if self.place is not None:
                self.place = None
                continue
            with contextlib.suppress(OSError):
                self._disk.remove(self._segment_path(start))
        return True

    def _unspooled(self) -> Iterator[bytes]:
        """What is not in a file yet; what came in small pieces comes in larger ones."""
        pieces, size = list[bytes](), 0
        first = bisect_right(self._chunks, self.spooled, key=itemgetter(0)) - 1
        for start, chunk in self._chunks[max(0, first) :]:
            new = chunk[max(0, self.spooled + size - start) :]
            if pieces and size + len(new) > TOGETHER:
                yield b"".join(pieces)
                pieces, size = [], 0
            if new:
                pieces.append(new)
                size += len(new)
        if pieces:
            yield b"".join(pieces)

    def lift(self) -> None:
        """Its process has exited: what is left in its pipe and in the guest is taken as well."""
        self.quota += 2 * WINDOW_WIDE

    def lies_at(self, offset: int) -> tuple[Path, int, int]:
        """Where the bytes from ``offset`` on are: a file, the place in it, how many there.

        None of them where they are in no file yet.
        """
        # Most often the last segments are asked for, or there are few.
        within = (each for each in reversed(self._segments) if each[0] <= offset)
        start, size = next(within, (offset, 0))
        path, at = self._segment_path(start), offset - start
        if self.place is not None and start == self._segments[0][0]:
            path, at = self.place[0], self.place[1] + at
        return path, at, max(0, start + size - offset)

    def _segment_path(self, start: int) -> Path:
        return Path(f"{self.path}.{start}")

    def _write(self, chunk: bytes) -> None:
        size = min(self.segment, max(self.quota // 4, 1)) if self.retain == "tail" else self.segment
        file = self._file
        if file is None or self._segments[-1][1] >= size:
            file = self._open_segment()
        self._reserve(file, len(chunk))
        view = memoryview(chunk)
        while view:
            wrote = file.append(view)
            view = view[wrote:]
            start, before = self._segments[-1]
            self._segments[-1] = (start, before + wrote)
            self.spooled += wrote

    def _reserve(self, file: File, size: int) -> None:
        """Have the file system find room before it is written to, in steps that grow.

        One extent of blocks instead of a search a page: a third of the cost of writing on ext4.
        KEEP_SIZE leaves the file's length to what was written, which is what adoption reads.
        """
        written = self._segments[-1][1]
        if written + size > self._reserved:
            step = min(max(self._reserved, RESERVE), 16 * RESERVE)
            file.reserve(self._reserved, step)
            self._reserved += step

    def _open_segment(self) -> File:
        self._close_file()
        self._file = file = self._disk.create(self._segment_path(self.spooled))
        self._segments.append((self.spooled, 0))
        self._reserved = 0
        return file

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.cut(self._segments[-1][1])  # gives back what was reserved
            file.close()

    def read(self, offset: int, limit: int) -> tuple[int, bytes]:
        """At most ``limit`` bytes from ``offset`` on: (offset of the first one, bytes).

        The first offset is greater than asked when older bytes were dropped, as ``retain='tail'``
        does. Raises LogGone for bytes that should be there and are not.
        """
        offset = self.first(offset)
        if offset >= self.head or limit <= 0:
            return offset, b""
        if self._chunks and offset >= self._chunks[0][0]:
            return offset, self._read_memory(offset, limit)
        return offset, self._read_file(offset, limit)

    def first(self, offset: int) -> int:
        """Of the bytes from there on the first one that is here. LogGone if others should be."""
        if self.dropped and offset < self.head:
            raise LogGone(
                f"Cannot read the log: it was dropped, because {self.dropped}. How much is kept, "
                "the environment of the agent says.",
                errno=errno.ENODATA,
            )
        if offset < self.base and self.retain == "all":
            raise LogGone(
                f"Cannot read the log from byte {offset} on: what is before byte {self.base} was "
                "lost with an agent whose disk was full, or cannot be read. Read from there.",
                errno=errno.EIO,
            )
        return max(offset, self.base)

    def tail(self, size: int) -> bytes:
        """The last ``size`` bytes, or fewer. Raises LogGone."""
        pieces, offset = [], max(self.base, self.head - size)
        while offset < self.head:
            offset, piece = self.read(offset, size)
            pieces.append(piece)
            offset += len(piece)
        return b"".join(pieces)

    def _read_memory(self, offset: int, limit: int) -> bytes:
        # Readers follow the head, so the wanted chunk is most often the last one.
        wanted: list[bytes] = []
        for start, chunk in reversed(self._chunks):
            wanted.append(chunk)
            if start <= offset:
                break
        if len(wanted) == 1 and start == offset and len(chunk) <= limit:
            return chunk
        pieces, skip = [], offset - start
        for chunk in reversed(wanted):
            piece = chunk[skip : skip + limit]
            pieces.append(piece)
            skip, limit = 0, limit - len(piece)
            if not limit:
                break
        return b"".join(pieces)

    def _read_file(self, offset: int, limit: int) -> bytes:
        path, at, size = self.lies_at(offset)
        try:
            piece = self._disk.read(path, at, min(limit, size))
        except OSError as error:
            raise _unreadable(error.strerror or str(error), path, error.errno) from None
        if not piece:
            raise _unreadable("it is shorter than it was", path)
        return piece

    def close(self) -> None:
        """Close the spool's descriptor; reading and appending go on to work."""
        self._close_file()

    def settled(self) -> None:
        """Nothing follows, and all of it is in files: keep nothing of it in memory."""
        self._chunks.clear()
        self._kept = 0

    def discard(self) -> None:
        """Delete the files that are its own: nothing before the head is here any more."""
        self._close_file()
        self.base = self.head
        for start, _ in self._segments[1 if self.place is not None else 0 :]:
            with contextlib.suppress(OSError):
                self._disk.remove(self._segment_path(start))
        self._segments.clear()
        self.place = None
        self._chunks.clear()
        self._kept = 0


def _unreadable(cause: str, path: Path, number: int | None = None) -> LogGone:
    return LogGone(
        f"Cannot read the log: {cause} ({path}). Read what is left of it from another offset.",
        errno=number or errno.EIO,
    )
