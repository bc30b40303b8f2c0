"""What a process can be, and what makes it something else: one table.

::

    asked     its guest is to start it             exited  its return code is known; what it wrote
    running   it has a pid                                 may still come
    stopping  somebody has begun to end it         late    it had exited before this agent met it,
    overdue   its timeout has                              which tells how in a moment
                                                   ended   and where its output ended is known

An event that the table has no row for changes nothing: it came too late, or says what is known.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class Event(Enum):
    """What happens to a process."""

    START = "its guest says its pid"
    FIND = "its guest says that it had ended, of one that an earlier agent started"
    STOP = "somebody wants it ended"
    SPARE = "who wanted that has given up"
    TIME = "its time is over"
    EXIT = "its guest says its return code, or the end of its container does"
    END = "its guest says where its output ended, or there is nobody left to say it"


#: Those of which more may come than its last words.
LIVE: Final = frozenset({"asked", "running", "stopping", "overdue"})

NEXT: Final[dict[tuple[str, Event], str]] = {
    ("asked", Event.START): "running",
    ("asked", Event.FIND): "late",
    **{(state, Event.STOP): "stopping" for state in ("asked", "running")},
    ("stopping", Event.SPARE): "running",
    ("asked", Event.TIME): "overdue",
    ("running", Event.TIME): "overdue",
    **{(state, Event.EXIT): "exited" for state in (*LIVE, "late")},
    ("exited", Event.END): "ended",
}
