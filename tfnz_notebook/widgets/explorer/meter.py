"""What a container uses: counters become rates, and a short history for the little curves."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

#: Samples kept: two minutes at one in two seconds.
HISTORY: Final = 60
_RATES: Final = ("read", "written", "received", "sent")


class Meter:
    """Of one container, fed with the answers to ``container.stats``."""

    def __init__(self) -> None:
        self._before: Mapping[str, Any] = {}
        self._at = 0.0
        self._latest: dict[str, Any] = {}
        self._cpu: deque[float] = deque(maxlen=HISTORY)
        self._memory: deque[int] = deque(maxlen=HISTORY)

    def add(self, sample: Mapping[str, Any]) -> None:
        """One more; a counter that fell back (a reboot) starts anew."""
        # Both are needed for a rate: the guest's clock, and without it our own.
        at = sample["clock"] / 1e9 if "clock" in sample else time.monotonic()
        seconds = at - self._at if self._before else 0.0
        latest: dict[str, Any] = {
            "memory": sample.get("memory"),
            "limit": sample.get("memory_limit") or None,  # 0: none is set
            "pids": sample.get("pids"),
        }
        used = self._rate("cpu", sample, seconds)
        latest["cpu"] = None if used is None else round(used / 1e4, 1)  # microseconds, to percent
        for name in _RATES:
            told = self._rate(name, sample, seconds)
            latest[name] = None if told is None else round(told)
        self._before, self._at, self._latest = dict(sample), at, latest
        if latest["cpu"] is not None:
            self._cpu.append(latest["cpu"])
        if latest["memory"] is not None:
            self._memory.append(latest["memory"])

    def _rate(self, name: str, sample: Mapping[str, Any], seconds: float) -> float | None:
        now, before = sample.get(name), self._before.get(name)
        if now is None or before is None or seconds <= 0 or now < before:
            return None
        return float(now - before) / seconds

    @property
    def latest(self) -> dict[str, Any] | None:
        """What it uses, and used.

        ``cpu`` (percent of a core), ``memory``, ``limit`` (bytes), ``pids``; ``read``, ``written``,
        ``received``, ``sent`` (bytes a second); ``cpus`` and ``memories``, the history. None for
        what is unknown, as each rate is after the first sample.
        """
        if not self._latest:
            return None
        return {**self._latest, "cpus": list(self._cpu), "memories": list(self._memory)}
