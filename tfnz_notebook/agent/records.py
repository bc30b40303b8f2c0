"""What a later agent must know of processes that have ended: one line of JSON each.

Written before the guest is told to forget: at any moment the end of a process is known to the
guest, or to this file, or to both. Beside it lie the spools of the same container's logs.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any


class Records:
    """The ends of one container's processes, in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = -1

    def write(self, told: dict[str, Any]) -> None:
        """Append an end, as ``Process.info`` tells it. A full disk costs this record, no more."""
        with contextlib.suppress(OSError):
            if self._file < 0:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
                self._file = os.open(self.folder / "ended", flags, 0o600)
            os.write(self._file, json.dumps(told).encode() + b"\n")

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

    def discard(self) -> None:
        """Delete them, and every spool in the folder."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        shutil.rmtree(self.folder, ignore_errors=True)
