"""What a later agent must know of processes that have ended: one line of JSON each.

Written before the guest is told to forget: at any moment the end of a process is known to the
guest, or to this file, or to both. Beside it lie the spools of the same container's logs.
"""

from __future__ import annotations

import contextlib
import json
import signal
from pathlib import Path
from typing import Any

from tfnz_notebook.agent.disk import File
from tfnz_notebook.agent.process.writes import Writes
from tfnz_notebook.agent.world import REAL, World


class Records:
    """The ends of one container's processes, in ``folder``; and what was written to them."""

    def __init__(self, folder: Path, world: World = REAL) -> None:
        self.folder = folder
        self.world, self.disk = world, world.disk
        self.writes = Writes(folder, world.disk)
        self._file: File | None = None

    def write(self, told: dict[str, Any]) -> bool:
        """Append an end, as ``Process.info`` tells it; False if the disk has no room for it."""
        line = json.dumps(told).encode() + b"\n"
        try:
            file = self._file or self._open()
            size = file.size()
            if file.append(line) < len(line):
                file.cut(size)
                return False
        except OSError:
            return False
        return True

    def _open(self) -> File:
        path = self.folder / "ended"
        self._file = file = self.disk.extend(path)
        size = file.size()
        if size and self.disk.read(path, size - 1, 1) != b"\n":
            file.append(b"\n")  # an earlier agent died while it wrote
        return file

    def read(self) -> list[dict[str, Any]]:
        """Every end, oldest first; of a process told twice, the last one."""
        found: dict[str, dict[str, Any]] = {}
        with contextlib.suppress(OSError):
            for line in self.disk.read(self.folder / "ended").splitlines():
                # The last line is cut short if the agent died while it wrote.
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    told = json.loads(line)
                    found[str(told["process"])] = told
        return list(found.values())

    def unended(self) -> list[dict[str, Any]]:
        """Processes that left output and no end: they were killed, with their container."""
        known = {told["process"] for told in self.read()} | {self.folder.name}  # and its main one
        left: dict[str, dict[str, int]] = {}
        for name, size in sorted(self.disk.list(self.folder)):
            match name.split("."):
                case [ident, "out" | "err" as stream, start] if start.isdigit():
                    if ident not in known:
                        left.setdefault(ident, {})[stream] = int(start) + size
        return [
            {
                "process": ident,
                "text": "ended with its container",
                "tty": False,
                "pid": 0,
                "started": 0.0,
                "returncode": -signal.SIGKILL,
                "seconds": 0.0,
                "timed_out": False,
                "oom": False,
                "ran": None,
                "out": sizes.get("out", 0),
                "err": sizes.get("err", 0),
            }
            for ident, sizes in left.items()
        ]

    def discard(self) -> None:
        """Delete them, and every spool in the folder."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self.writes.discard()
        self.disk.remove_all(self.folder)
