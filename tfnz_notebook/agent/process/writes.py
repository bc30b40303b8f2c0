"""What was written to whose stdin: a request that is said again must not write again.

A kernel repeats what an agent has not answered when it died, a page what it heard no answer to when
its carrier did, and neither can know whether the bytes had gone on to the process. So each write is
noted, by a key that they chose, with the place it has in that process's stdin, before anything is
sent. A later agent asks the guest how far stdin has come, and knows of each write how much of it
arrived. The bytes themselves are never on disk: they may be a password, and whoever repeats the
request has them.

Fixed records in one file a container, two generations of them; the end of the older one is far
behind what a kernel or a page can still be waiting for.
"""

from __future__ import annotations

import contextlib
import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tfnz_notebook.agent.disk import REAL, Disk, File

#: process, key, first byte's offset in stdin, size; offsets of stdout and stderr at that time.
_RECORD: Final = struct.Struct("<16s16sQQQQ")
#: Bytes of one generation: some four thousand writes.
GENERATION: Final = 4096 * _RECORD.size
#: In place of a key. ADOPTED: a later agent found ``start`` bytes of stdin at the guest.
#: CLOSED: the end of stdin was asked for.
_ADOPTED: Final = bytes(16)
_CLOSED: Final = bytes(15) + b"\1"


@dataclass(slots=True)
class Write:
    """One write: its place in stdin, and where the outputs were before it."""

    start: int
    size: int
    out: int = 0
    err: int = 0
    #: Bytes that arrived, if that is settled: an earlier agent began it. None: we did.
    got: int | None = None

    @property
    def end(self) -> int:
        """One past its last byte."""
        return self.start + self.size


class Writes:
    """The writes of one container's processes; ``folder`` is where its records are."""

    def __init__(self, folder: Path, disk: Disk = REAL) -> None:
        self._disk = disk
        self._path = folder / "stdin"
        self._older = folder / "stdin.older"
        self._known: dict[bytes, dict[bytes, Write]] | None = None
        self._closed: set[bytes] = set()
        self._file: File | None = None
        self._size = 0

    def find(self, process: str, key: str) -> Write | None:
        """What is known of that write."""
        return self._of(_digest(process)).get(_digest(key)) if key else None

    def note(self, process: str, key: str, write: Write) -> None:
        """Before its first byte is sent."""
        if key:
            ident, digest = _digest(process), _digest(key)
            self._of(ident)[digest] = write
            self._append(ident, digest, write)

    def close(self, process: str) -> None:
        """Its stdin is to end after what was written."""
        ident = _digest(process)
        self._of(ident)
        self._closed.add(ident)
        self._append(ident, _CLOSED, Write(0, 0))

    def adopt(self, process: str, received: int) -> bool:
        """A guest holds so much of a process's stdin; whether that was to end after its writes."""
        ident = _digest(process)
        if self._of(ident):
            _settle(self._of(ident), received)
            self._append(ident, _ADOPTED, Write(received, 0))
        return ident in self._closed

    def discard(self) -> None:
        """Forget all; the files go with their folder."""
        self._close()
        self._known = None
        self._closed.clear()

    # -- files

    def _of(self, process: bytes) -> dict[bytes, Write]:
        if self._known is None:
            self._known = {}
            for path in (self._older, self._path):
                with contextlib.suppress(OSError):
                    self._read(self._disk.read(path))
        return self._known.setdefault(process, {})

    def _read(self, raw: bytes) -> None:
        assert self._known is not None
        whole = len(raw) - len(raw) % _RECORD.size
        for process, key, *numbers in _RECORD.iter_unpack(raw[:whole]):
            writes = self._known.setdefault(process, {})
            if key == _ADOPTED:
                _settle(writes, numbers[0])
            elif key == _CLOSED:
                self._closed.add(process)
            else:
                writes[key] = Write(*numbers)

    def _append(self, process: bytes, key: bytes, write: Write) -> None:
        # Where nothing can be written, a write is repeated only if the agent dies right now.
        with contextlib.suppress(OSError):
            file = self._file
            if file is None or self._size >= GENERATION:
                file = self._begin()
            record = _RECORD.pack(process, key, write.start, write.size, write.out, write.err)
            self._size += file.append(record)

    def _begin(self) -> File:
        """A new generation; those of an earlier agent are kept as the older one."""
        self._close()
        file = self._disk.extend(self._path)
        if file.size() >= GENERATION:
            file.close()
            self._disk.rename(self._path, self._older)
            file = self._disk.extend(self._path)
        elif file.size() % _RECORD.size:  # the disk was full once
            file.cut(file.size() - file.size() % _RECORD.size)
        self._file, self._size = file, file.size()
        self._forget_old()
        return file

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _forget_old(self) -> None:
        assert self._known is not None
        for writes in self._known.values():
            for key in list(writes)[: -GENERATION // _RECORD.size]:
                del writes[key]


def _settle(writes: dict[bytes, Write], received: int) -> None:
    for write in writes.values():
        if write.got is None:
            write.got = min(max(received - write.start, 0), write.size)


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=16).digest()
