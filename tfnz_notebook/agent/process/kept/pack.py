"""Small outputs of processes that ended, one after the other in a few files.

A process that wrote less than its log keeps in memory has no file of its own: a hundred thousand
of them would be as many files to list and to remove. What is in these files is known by the
index alone; what an agent wrote and could not note there is passed over.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path
from typing import Final

from tfnz_notebook.agent.disk import Disk, File

#: Bytes of a file after which the next one is begun.
SIZE: Final = 64 << 20


class Pack:
    """The files of one container, ``small.0`` and so on; each is removed when nobody needs it."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self._folder = folder
        self._disk = disk
        self._number = 0
        self._file: File | None = None
        self._needed = Counter[int]()

    def path(self, number: int) -> Path:
        """The file of that number."""
        return self._folder / f"small.{number}"

    def add(self, data: bytes) -> tuple[int, int]:
        """Write all of it: the file's number, and where it begins there. Raises OSError."""
        file = self._file or self._open()
        at = file.size()
        if at >= SIZE:
            self.close()
            self._number += 1
            file = self._open()
            at = file.size()
        view = memoryview(data)
        try:
            while view:
                view = view[file.append(view) :]
        except OSError:
            with contextlib.suppress(OSError):
                file.cut(at)
            raise
        return self._number, at

    def _open(self) -> File:
        self._file = self._disk.extend(self.path(self._number))
        return self._file

    def need(self, number: int) -> None:
        """A process has its output there."""
        self._needed[number] += 1
        self._number = max(self._number, number)

    def spare(self, number: int) -> None:
        """One of them has it there no more."""
        self._needed[number] -= 1
        if not self._needed[number]:
            del self._needed[number]
            if number != self._number:
                self._disk.remove(self.path(number))

    def close(self) -> None:
        """Let go of the file."""
        file, self._file = self._file, None
        if file is not None:
            file.close()
