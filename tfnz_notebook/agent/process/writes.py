"""What was written to whose stdin: a request that is said again must not write again.

A kernel repeats what an agent has not answered when it died, a page what it heard no answer to when
its carrier did, and neither can know whether the bytes had gone on to the process. So each write is
noted, by a key that they chose, with the place it has in that process's stdin, before anything is
sent. A later agent asks the guest how far stdin has come, and knows of each write how much of it
arrived. The bytes themselves are never on disk: they may be a password, and whoever repeats the
request has them.

Fixed records in one file a container, two generations of them, and as many in memory; the end of
the older one is far behind what a kernel or a page can still be waiting for.
"""

from __future__ import annotations

import hashlib
import logging
import struct
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tfnz_notebook.agent.disk import REAL, Disk, File

log = logging.getLogger(__name__)

#: process, key, first byte's offset in stdin, size; offsets of stdout and stderr at that time.
_RECORD: Final = struct.Struct("<16s16sQQQQ")
#: Bytes of one generation: some four thousand writes.
GENERATION: Final = 4096 * _RECORD.size
#: In place of a key. ADOPTED: a later agent found ``start`` bytes of stdin at the guest.
#: CLOSED: the end of stdin was asked for. BEGUN: what is before is of another life.
_ADOPTED: Final = bytes(16)
_CLOSED: Final = bytes(15) + b"\1"
_BEGUN: Final = bytes(15) + b"\2"


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
        #: Process and key of each, the oldest first.
        self._order = deque[tuple[bytes, bytes]]()
        self._file: File | None = None
        self._size = 0

    def begin(self, process: str) -> None:
        """It is started: what is known of its id was written to one that went with its container.

        Its kernel says again what no agent has answered, after a restart that none has seen, too.
        """
        ident = _digest(process)
        if self._all().get(ident):
            self._forget(ident)
            self._append(ident, _BEGUN, Write(0, 0))

    def find(self, process: str, key: str) -> Write | None:
        """What is known of that write."""
        return self._all().get(_digest(process), {}).get(_digest(key)) if key else None

    def note(self, process: str, key: str, write: Write) -> None:
        """Before its first byte is sent."""
        if key:
            self._note(_digest(process), _digest(key), write)

    def close(self, process: str) -> None:
        """Its stdin is to end after what was written."""
        self._note(_digest(process), _CLOSED, Write(0, 0))

    def adopt(self, process: str, received: int) -> bool:
        """A guest holds so much of a process's stdin; whether that was to end after its writes."""
        ident = _digest(process)
        writes = self._all().get(ident, {})
        if writes:
            _settle(writes, received)
            self._append(ident, _ADOPTED, Write(received, 0))
        return _CLOSED in writes

    def discard(self) -> None:
        """Forget all; the files go with their folder."""
        self._close()
        self._known = None
        self._order.clear()

    # -- files

    def _all(self) -> dict[bytes, dict[bytes, Write]]:
        if self._known is None:
            self._known = {}
            for path in (self._older, self._path):
                try:
                    self._read(self._disk.read(path))
                except FileNotFoundError:
                    pass
                except OSError as error:
                    log.warning("%s: what is said again may be written again: %s", path, error)
        return self._known

    def _read(self, raw: bytes) -> None:
        whole = len(raw) - len(raw) % _RECORD.size
        for process, key, *numbers in _RECORD.iter_unpack(raw[:whole]):
            if key == _ADOPTED:
                _settle(self._all().get(process, {}), numbers[0])
            elif key == _BEGUN:
                self._forget(process)
            else:
                self._hold(process, key, Write(*numbers))

    def _note(self, process: bytes, key: bytes, write: Write) -> None:
        self._hold(process, key, write)
        self._append(process, key, write)

    def _hold(self, process: bytes, key: bytes, write: Write) -> None:
        known = self._all()
        writes = known.setdefault(process, {})
        if key not in writes:
            self._order.append((process, key))
        writes[key] = write
        while len(self._order) > 2 * GENERATION // _RECORD.size:
            old, name = self._order.popleft()
            known[old].pop(name, None)
            if not known[old]:
                del known[old]

    def _forget(self, process: bytes) -> None:
        self._all().pop(process, None)
        self._order = deque(each for each in self._order if each[0] != process)

    def _append(self, process: bytes, key: bytes, write: Write) -> None:
        # Where nothing can be written, a write is repeated only if the agent dies right now.
        record = _RECORD.pack(process, key, write.start, write.size, write.out, write.err)
        try:
            file = self._file
            if file is None or self._size >= GENERATION:
                file = self._begin()
            self._size += file.append(record)
            if self._size % _RECORD.size:
                self._close()  # a part of it, which the next one is not to follow
        except OSError:
            self._close()

    def _begin(self) -> File:
        """A new generation; those of an earlier agent are kept as the older one."""
        self._close()
        file = self._disk.extend(self._path)
        if file.size() >= GENERATION:
            file.close()
            self._disk.rename(self._path, self._older)
            file = self._disk.extend(self._path)
        self._file = file
        if file.size() % _RECORD.size:  # the disk was full once
            file.cut(file.size() - file.size() % _RECORD.size)
        self._size = file.size()
        return file

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _settle(writes: dict[bytes, Write], received: int) -> None:
    for write in writes.values():
        if write.got is None:
            write.got = min(max(received - write.start, 0), write.size)


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=16).digest()
