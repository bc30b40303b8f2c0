"""How much is kept of what ended: nothing goes without a word, and the word names what to set."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from tfnz_notebook._base import numbers

_DAY: Final = 86400.0


@dataclass(frozen=True, slots=True)
class Retention:
    """Of one container: its ended processes' logs, by number, bytes, and seconds since the end.

    Seconds count while an agent is there, by a clock that nobody sets. As many again are known
    without their logs.
    """

    count: int
    size: int
    age: float

    def why(self, count: int, size: int, age: float) -> str:
        """Why the oldest of so many logs is to go, as in "was dropped, because ..."; or empty."""
        if count > self.count:
            since = f"more than {self.count} processes have ended in its container since"
            return f"{since} (TFNZ_KEEP_PROCESSES)"
        if size > self.size:
            most = numbers.size(self.size)
            return f"what ended in its container had written more than {most} (TFNZ_KEEP_BYTES)"
        if age > self.age:
            return f"it ended more than {self.age / _DAY:g} days ago (TFNZ_KEEP_DAYS)"
        return ""


USUAL: Final = Retention(
    int(os.environ.get("TFNZ_KEEP_PROCESSES", "100000")),
    int(os.environ.get("TFNZ_KEEP_BYTES", str(32 << 30))),
    float(os.environ.get("TFNZ_KEEP_DAYS", "90")) * _DAY,
)
