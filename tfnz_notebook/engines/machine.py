"""What is free on this machine, for engines that run on it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def cpu_free(cpus: int) -> float:
    """Cores that the last minute's load left idle; the load average counts waiting ones too."""
    try:
        load = os.getloadavg()[0]
    except OSError:
        return float(cpus)
    return max(0.0, round(cpus - load, 2))


def memory() -> tuple[int, int]:
    """Total and available bytes, as /proc/meminfo has them; zeroes where there is none."""
    found = {"MemTotal": 0, "MemAvailable": 0}
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in found:
                found[name] = int(rest.split()[0]) * 1024
    return found["MemTotal"], found["MemAvailable"]
