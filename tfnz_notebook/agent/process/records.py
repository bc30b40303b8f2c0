"""What a later agent must know of processes that have ended: one line of JSON each.

Written before the guest is told to forget: at any moment the end of a process is known to the
guest, or to this file, or to both. Beside it lie the spools of the same container's logs.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

from tfnz_notebook.agent.process.writes import Writes


class Records:
    """The ends of one container's processes, in ``folder``; and what was written to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writes = Writes(folder)
        self._file = -1

    def write(self, told: dict[str, Any]) -> bool:
        """Append an end, as ``Process.info`` tells it; False if the disk has no room for it."""
        line = json.dumps(told).encode() + b"\n"
        try:
            if self._file < 0:
                self._open()
            size = os.fstat(self._file).st_size
            if os.write(self._file, line) < len(line):
                os.ftruncate(self._file, size)
                return False
        except OSError:
            return False
        return True

    def _open(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(self.folder / "ended", flags, 0o600)
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")  # an earlier agent died while it wrote

    def read(self) -> list[dict[str, Any]]:
        """Every end, oldest first; of a process told twice, the last one."""
        found: dict[str, dict[str, Any]] = {}
        with contextlib.suppress(OSError):
            for line in (self.folder / "ended").read_bytes().splitlines():
                # The last line is cut short if the agent died while it wrote.
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    told = json.loads(line)
                    found[str(told["process"])] = told
        return list(found.values())

    def unended(self) -> list[dict[str, Any]]:
        """Processes that left output and no end: they were killed, with their container."""
        known = {told["process"] for told in self.read()} | {self.folder.name}  # and its main one
        left: dict[str, dict[str, int]] = {}
        for path in sorted(self.folder.glob("*.*.*")):
            ident, stream, start = path.name.split(".")
            if ident not in known and stream in ("out", "err") and start.isdigit():
                left.setdefault(ident, {})[stream] = int(start) + path.stat().st_size
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
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self.writes.discard()
        shutil.rmtree(self.folder, ignore_errors=True)
