"""What was written to whose stdin: a request that is said again must not write again.

A kernel repeats what an agent has not answered when it died, a page what it heard no answer to when
its carrier did, and neither can know whether the bytes had gone on to the process. So each write is
noted, by a key that they chose, with the place it has in that process's stdin, before anything is
sent. A later agent asks the guest how far stdin has come, and knows of each write how much of it
arrived. The bytes themselves are never on disk: they may be a password, and whoever repeats the
request has them.

Fixed records in one file a container, two generations of them, and as many in memory. What somebody
waits for goes along into the next generation; the end of the older one is far behind what a kernel
or a page has not heard of.
"""

from __future__ import annotations

import hashlib
import logging
import struct
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
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
        self._order = OrderedDict[tuple[bytes, bytes], None]()
        self._awaited = Counter[tuple[bytes, bytes]]()
        self._file: File | None = None
        self._size = self._most = self._found = 0

    def begin(self, process: str) -> None:
        """It is started: what is known of its id was written to one that went with its container.

        Its kernel says again what no agent has answered, after a restart that none has seen, too.
        """
        if self._all() and self._all().get(ident := _digest(process)):
            self._forget(ident)
            self._append(ident, _BEGUN, Write(0, 0))

    def find(self, process: str, key: str) -> Write | None:
        """What is known of that write."""
        return self._all().get(_digest(process), {}).get(_digest(key)) if key else None

    def note(self, process: str, key: str, write: Write) -> None:
        """Before its first byte is sent."""
        if key:
            self._note(_digest(process), _digest(key), write)

    @contextmanager
    def awaited(self, process: str, key: str) -> Iterator[None]:
        """While somebody waits for that write, it is known, however many come after it."""
        name = _digest(process), _digest(key)
        self._awaited[name] += 1
        try:
            yield
        finally:
            self._awaited[name] -= 1
            if not self._awaited[name]:
                del self._awaited[name]

    def close(self, process: str) -> None:
        """Its stdin is to end after what was written: known until it is over."""
        ident = _digest(process)
        self._awaited[ident, _CLOSED] = 1
        self._note(ident, _CLOSED, Write(0, 0))

    def over(self, process: str) -> None:
        """It has ended."""
        if self._awaited:
            self._awaited.pop((_digest(process), _CLOSED), None)

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
        self._awaited.clear()

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
            self._found = len(self._order)
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
        self._drop()
        self._append(process, key, write)

    def _hold(self, process: bytes, key: bytes, write: Write) -> None:
        self._all().setdefault(process, {})[key] = write
        self._order[process, key] = None
        self._order.move_to_end((process, key))

    def _drop(self) -> None:
        """The oldest go that nobody waits for; those found here may be asked for yet."""
        for _ in range(len(self._order) - self._found - 2 * GENERATION // _RECORD.size):
            process, key = oldest = next(iter(self._order))
            if oldest in self._awaited:
                self._order.move_to_end(oldest)
                continue
            del self._order[oldest]
            writes = self._all()[process]
            del writes[key]
            if not writes:
                del self._all()[process]

    def _forget(self, process: bytes) -> None:
        for key in self._all().pop(process, {}):
            self._order.pop((process, key), None)

    def _append(self, process: bytes, key: bytes, write: Write) -> None:
        # Where nothing can be written, a write is repeated only if the agent dies right now.
        record = _RECORD.pack(process, key, write.start, write.size, write.out, write.err)
        try:
            file = self._file
            if file is None or self._size >= self._most:
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
        self._most = GENERATION
        if file.size() >= GENERATION:
            file.close()
            self._disk.rename(self._path, self._older)
            file = self._disk.extend(self._path)
            self._most += file.append(b"".join(self._carried()))
        self._file = file
        if file.size() % _RECORD.size:  # the disk was full once
            file.cut(file.size() - file.size() % _RECORD.size)
        self._size = file.size()
        return file

    def _carried(self) -> Iterator[bytes]:
        """Records of what is awaited: first of that of which it is known how much arrived."""
        known = self._all()
        found = [(each, known.get(each[0], {}).get(each[1])) for each in self._awaited]
        writes = [(name, write) for name, write in found if write is not None]
        for name, write in sorted(writes, key=lambda each: each[1].got is None):
            yield _RECORD.pack(*name, write.start, write.size, write.out, write.err)
            if write.got is not None:
                yield _RECORD.pack(name[0], _ADOPTED, write.start + write.got, 0, 0, 0)

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
