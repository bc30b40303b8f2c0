"""Files, as logs and records want them: handed to what writes them, never reached for.

So a test can hand in a disk that is full, slow, or gone in the middle of a write. All that is made
is the agent's user's alone, and no link is followed at its last part. Every method raises OSError
as its system call does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
from pathlib import Path
from typing import Final, Protocol

_KEEP_SIZE: Final = 1  # FALLOC_FL_KEEP_SIZE, linux/falloc.h
_MINE: Final = os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class File(Protocol):
    """One that grows at its end."""

    def append(self, data: bytes | memoryview) -> int:
        """Write some of it; how many bytes."""

    def size(self) -> int:
        """Its length in bytes."""

    def cut(self, size: int) -> None:
        """Shorten it to that length, and give back what was reserved beyond."""

    def reserve(self, offset: int, size: int) -> None:
        """Find room for what will be written there, if the file system can; its size stays."""

    def close(self) -> None:
        """Write no more."""


class Disk(Protocol):
    """Where an agent keeps what a later agent must know."""

    def create(self, path: Path) -> File:
        """An empty file, whatever was there; its folder is made if need be."""

    def extend(self, path: Path) -> File:
        """The file that is there, or an empty one, to append to."""

    def read(self, path: Path, offset: int = 0, limit: int = -1) -> bytes:
        """Its bytes from ``offset`` on, at most ``limit``."""

    def replace(self, path: Path, data: bytes) -> None:
        """Have exactly this in the file: whoever reads sees the old or the new, whole."""

    def rename(self, path: Path, to: Path) -> None:
        """Another name, over whatever has it."""

    def cut(self, path: Path, size: int) -> None:
        """Shorten a file to that length."""

    def list(self, folder: Path) -> list[tuple[str, int]]:
        """Names in a folder with their sizes; none if it is not there."""

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there."""

    def remove_all(self, folder: Path) -> None:
        """Remove a folder with all that is in it, as far as that can be done."""


class _RealFile:
    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def append(self, data: bytes | memoryview) -> int:
        return os.write(self._descriptor, data)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def cut(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def reserve(self, offset: int, size: int) -> None:
        libc = ctypes.CDLL(None)
        if hasattr(libc, "fallocate"):
            args = ctypes.c_int64(offset), ctypes.c_int64(size)
            libc.fallocate(self._descriptor, _KEEP_SIZE, *args)

    def close(self) -> None:
        os.close(self._descriptor)


class RealDisk:
    """The file system."""

    def create(self, path: Path) -> File:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _RealFile(os.open(path, os.O_WRONLY | os.O_TRUNC | _MINE, 0o600))

    def extend(self, path: Path) -> File:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _RealFile(os.open(path, os.O_WRONLY | os.O_APPEND | _MINE, 0o600))

    def read(self, path: Path, offset: int = 0, limit: int = -1) -> bytes:
        with path.open("rb", buffering=0) as file:
            if limit < 0:
                file.seek(offset)
                return file.read()
            return os.pread(file.fileno(), limit, offset)

    def replace(self, path: Path, data: bytes) -> None:
        fresh = path.with_name(f"{path.name}.new")
        try:
            file = self.create(fresh)
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[file.append(rest) :]
            finally:
                file.close()
            fresh.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                fresh.unlink()  # on a full disk a piece of it would take what room there is
            raise

    def rename(self, path: Path, to: Path) -> None:
        path.replace(to)

    def cut(self, path: Path, size: int) -> None:
        os.truncate(path, size)

    def list(self, folder: Path) -> list[tuple[str, int]]:
        found = []
        with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # just removed
                    found.append((entry.name, entry.stat(follow_symlinks=False).st_size))
        return found

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def remove_all(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)


REAL: Final[Disk] = RealDisk()
