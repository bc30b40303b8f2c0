"""How a process is, in the words that every view uses (``_frontend/src/words.ts`` is the other)."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

State = Literal["starting", "running", "ok", "bad"]


class Status(NamedTuple):
    """What a status line says: ``words`` are coloured by ``state``, ``facts`` are beside."""

    state: State
    words: str
    facts: str

    def __str__(self) -> str:
        return " · ".join(filter(None, (self.words, self.facts)))


def ended(code: int, *, timed_out: bool = False, oom: bool = False) -> str:
    """How it ended: ``exit 3``, ``killed by SIGTERM (15)``, ``timed out``, ``out of memory``."""
    if timed_out:
        return "timed out"
    if oom:
        return "out of memory"
    if code >= 0:
        return f"exit {code}"
    try:
        return f"killed by {signal.Signals(-code).name} ({-code})"
    except ValueError:
        return f"killed by signal {-code}"


def amount(size: int) -> str:
    """Bytes for people: ``12.3 MB``; decimal, as the disks' makers count."""
    if size < 1000:
        return f"{size} B"
    value = float(size)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.95 or unit == "TB":
            return f"{value:.1f} {unit}" if value < 99.95 else f"{value:.0f} {unit}"
    raise AssertionError("TB was the last")


def duration(seconds: float, *, exact: bool = False) -> str:
    """A time for people: ``12 s``, ``3 min 20 s``, ``2 h 05 min``; ``exact``: ``0.4 s``."""
    seconds = max(0.0, seconds)
    if exact and seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if exact and seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole // 60 % 60:02} min"
    return f"{whole // 86400} d {whole // 3600 % 24:02} h"


def of(info: Mapping[str, Any]) -> Status:
    """The status of a process; ``info`` as views get it (VIEWS.md), times in milliseconds."""
    code, told = info.get("returncode"), info.get("state")
    state: State = "running" if told == "running" else "starting"
    words: str = state
    if code is not None:
        words = ended(code, timed_out=bool(info.get("timed_out")), oom=bool(info.get("oom")))
        state = "ok" if words == "exit 0" else "bad"
    elif told == "gone":
        state, words = "bad", "gone"
    facts = []
    ran, started = info.get("ran"), info.get("started") or 0
    if ran is not None:
        facts.append(duration(ran, exact=True))
    elif started and state == "running":
        facts.append(duration((info.get("now", 0) - started) / 1000))
    size = int(info.get("out") or 0) + int(info.get("err") or 0)
    facts.append(amount(size))
    return Status(state, words, " · ".join(facts))
