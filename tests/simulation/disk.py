"""The model's disk: what it holds outlives agents, and each agent has its own way to it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from .nodes import Clock


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class Platter:
    """What is on it: by folder, by name."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.folders: dict[Path, dict[str, bytearray]] = {}
        #: Until when every write fails, is cut short; every read fails.
        self.full = self.short = self.bad = 0.0
        #: Whether anything ever failed.
        self.failed = False

    @property
    def files(self) -> list[Path]:
        """All there are."""
        return [folder / name for folder, held in self.folders.items() for name in held]


class Disk:
    """As an agent sees it (``agent.disk.Disk``), until it is killed."""

    def __init__(self, platter: Platter) -> None:
        self.platter, self._clock = platter, platter.clock
        self.revoked = False
        self.open = 0

    def revoke(self) -> None:
        """Its agent is dead: what it may still seem to do, does nothing."""
        self.revoked = True

    def may(self, *, write: bool) -> None:
        """Raise what the disk would."""
        if self.revoked:
            raise _error(errno.EIO)
        now, platter = self._clock.now, self.platter
        if write and now < platter.full:
            platter.failed = True
            raise _error(errno.ENOSPC)
        if now < platter.bad and self._clock.random() < 0.5:
            platter.failed = True
            raise _error(errno.EIO)

    def _folder(self, path: Path) -> dict[str, bytearray]:
        return self.platter.folders.setdefault(path.parent, {})

    def _file(self, path: Path) -> bytearray:
        held = self.platter.folders.get(path.parent, {}).get(path.name)
        if held is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return held

    def create(self, path: Path) -> File:
        self.may(write=True)
        self._folder(path)[path.name] = made = bytearray()
        return File(self, made)

    def extend(self, path: Path) -> File:
        self.may(write=True)
        return File(self, self._folder(path).setdefault(path.name, bytearray()))

    def read(self, path: Path, offset: int = 0, limit: int = -1) -> bytes:
        self.may(write=False)
        held = self._file(path)
        return bytes(held[offset:] if limit < 0 else held[offset : offset + limit])

    def replace(self, path: Path, data: bytes) -> None:
        self.may(write=True)
        self._folder(path)[path.name] = bytearray(data)

    def rename(self, path: Path, to: Path) -> None:
        self.may(write=True)
        held = self._file(path)
        del self._folder(path)[path.name]
        self._folder(to)[to.name] = held

    def cut(self, path: Path, size: int) -> None:
        self.may(write=True)
        del self._file(path)[size:]

    def list(self, folder: Path) -> list[tuple[str, int]]:
        self.may(write=False)
        folders = self.platter.folders
        inside = {
            each.relative_to(folder).parts[0]: 0 for each in folders if folder in each.parents
        }
        inside |= {name: len(held) for name, held in folders.get(folder, {}).items()}
        return list(inside.items())

    def remove(self, path: Path) -> None:
        if not self.revoked:
            self.platter.folders.get(path.parent, {}).pop(path.name, None)

    def remove_all(self, folder: Path) -> None:
        if self.revoked:
            return
        for each in [e for e in self.platter.folders if e == folder or folder in e.parents]:
            del self.platter.folders[each]


class File:
    """One that is open (``agent.disk.File``)."""

    def __init__(self, disk: Disk, held: bytearray) -> None:
        self._disk, self._held = disk, held
        self._closed = False
        disk.open += 1

    def append(self, data: bytes | memoryview) -> int:
        disk = self._disk
        disk.may(write=True)
        assert not self._closed, "a write to a closed descriptor"
        size = len(data)
        if disk._clock.now < disk.platter.short and size > 1:
            disk.platter.failed = True
            size = 1 + int(disk._clock.random() * (size - 1))
            if disk._clock.random() < 0.3:
                disk.platter.full = disk._clock.now + 0.5
        self._held += data[:size]
        return size

    def size(self) -> int:
        return len(self._held)

    def cut(self, size: int) -> None:
        self._disk.may(write=True)
        del self._held[size:]

    def reserve(self, offset: int, size: int) -> None:
        pass

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._disk.open -= 1
