"""How a process is, in the words of every view; ``_frontend/src/text/words.ts`` is the twin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from tfnz_notebook._base.names import signal_name
from tfnz_notebook._base.numbers import duration, elapsed, size

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
    return f"killed by {signal_name(-code, numbered=True)}"


def short(code: int, why: str = "") -> str:
    """The same in a column: ``exit 3``, ``SIGTERM``, ``SIGKILL (memory)``."""
    said = f"exit {code}" if code >= 0 else signal_name(-code)
    return f"{said} ({why})" if why and code else said


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
        facts.append(duration(ran))
    elif started and state == "running":
        facts.append(elapsed((info.get("now", 0) - started) / 1000))
    facts.append(size(int(info.get("out") or 0) + int(info.get("err") or 0)))
    return Status(state, words, " · ".join(facts))
