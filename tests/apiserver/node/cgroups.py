"""A container's limits, in whatever cgroups this machine has; where there are none, no limits."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_TOP: Final = Path("/sys/fs/cgroup")


def make(name: str, memory: int, cpu: float) -> dict[str, Path]:
    """The groups to join, by controller."""
    limits = {
        "memory": {"memory.limit_in_bytes": str(memory)} if memory else {},
        "cpu": {"cpu.cfs_quota_us": str(int(cpu * 100_000))} if cpu else {},
    }
    made = {}
    for controller, values in limits.items():
        top = _TOP / controller
        if not values or not os.access(top, os.W_OK):
            continue
        path = top / f"tfnz-{name}"
        with contextlib.suppress(FileExistsError):
            path.mkdir()
        for key, value in values.items():
            (path / key).write_text(value)
        made[controller] = path
    return made


def killed(groups: Mapping[str, Path]) -> bool:
    """Something in there was killed for its memory."""
    if "memory" not in groups:
        return False
    with contextlib.suppress(OSError):
        told = (groups["memory"] / "memory.oom_control").read_text()
        return any(
            line.split() > ["oom_kill", "0"] for line in told.splitlines() if "oom_kill " in line
        )
    return False


def remove(groups: Mapping[str, Path]) -> None:
    """Once nothing is in them."""
    for path in groups.values():
        with contextlib.suppress(OSError):
            path.rmdir()
