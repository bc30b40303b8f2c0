"""The index of one container's ended processes: a file of lines, appended, read once.

A line is written whole or not at all, as far as anybody reads it: one that an agent died over, or
that a full disk cut short, is not taken for an end. Of a process told twice the last line holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from tfnz_notebook.agent.disk import Disk, File

#: Bytes that are read and taken in between two turns of the loop, less than a millisecond's work.
SLICE: Final = 64 << 10
#: Attempts to read on after an error, and the seconds before the first, doubled each time.
ATTEMPTS: Final = 5
PAUSE: Final = 0.05


class Index:
    """``lines`` counts those in the file, whatever they say."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self.path = path
        self.lines = 0
        self._disk = disk
        self._file: File | None = None

    def append(self, *lines: bytes) -> bool:
        """Write lines; False if the disk has no room for all of them."""
        data = b"".join(line + b"\n" for line in lines)
        try:
            file = self._file or self._open()
            size = file.size()
            if file.append(data) < len(data):
                file.cut(size)
                return False
        except OSError:
            self.close()  # what is written next begins with a look at what is there
            return False
        self.lines += len(lines)
        return True

    def _open(self) -> File:
        file = self._disk.extend(self.path)
        try:
            if file.size():
                file.append(b"\n")  # the last line may be a torn one
        except OSError:
            file.close()
            raise
        self._file = file
        return file

    async def load(self, take: Callable[[bytes], None], turn: asyncio.Lock) -> None:
        """Hand on every line, oldest first, a slice a turn of the loop. OSError if that fails.

        ``turn``: whoever has it reads a slice; many indexes together take no more at once than one.
        """
        at, rest, failed = 0, b"", 0
        piece: bytes | None = None
        while piece is None or piece:
            async with turn:
                await asyncio.sleep(0)
                try:
                    piece = self._disk.read(self.path, at, SLICE)
                except FileNotFoundError:
                    return
                except OSError:
                    failed += 1
                    if failed == ATTEMPTS:
                        raise
                    piece = None
                if piece:
                    at += len(piece)
                    *lines, rest = (rest + piece).split(b"\n")
                    self.lines += len(lines)
                    for line in lines:
                        take(line)
            if piece is None:
                await asyncio.sleep(PAUSE * 2 ** (failed - 1))
        if rest:
            take(rest)

    def replace(self, lines: Iterable[bytes]) -> None:
        """Have these lines and no others; without room for that it stays as it is."""
        told = list(lines)
        try:
            self._disk.replace(self.path, b"".join(line + b"\n" for line in told))
        except OSError:
            return
        self.close()
        self.lines = len(told)

    def close(self) -> None:
        """Let go of the file."""
        file, self._file = self._file, None
        if file is not None:
            file.close()
