"""What a container can be, and what makes it something else: one table.

::

    pulling    its image is coming               paused        its engine has stopped it for a while
    creating   the engine makes it               unresponsive  it runs; its guest does not answer
    starting   its guest has not said hello yet  exited        its main process, and all, have ended
    running    it can be used                    failed        it never became ready
    unreachable its machine does not answer      destroyed     it was removed

An event that the table has no row for changes nothing: it came too late, or says what is known.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class Event(Enum):
    """What happens to a container."""

    PULL = "its image is being pulled"
    MAKE = "the engine is asked to make it"
    START = "it is started, or started again"
    MEET = "its guest has said hello, and it is fenced off"
    PAUSE = "the engine says that it is paused"
    MUTE = "the engine says that it runs, and its guest has not answered for a while"
    LOSE = "the engine says that it runs, and that its machine is not heard of"
    HEAR = "its guest says something again"
    EXIT = "the engine says that it runs no more"
    FAIL = "it could not be brought up, or was taken away"
    DESTROY = "it was removed"


#: Those before it can be used.
COMING: Final = frozenset({"pulling", "creating", "starting"})
#: Those in which nothing can be done in it for good.
OVER: Final = frozenset({"exited", "failed", "destroyed"})
#: Those in which its guest is to be asked for nothing.
SILENT: Final = frozenset({"paused", "unresponsive", "unreachable"})

NEXT: Final[dict[tuple[str, Event], str]] = {
    **{(state, Event.PULL): "pulling" for state in ("creating", "pulling")},
    **{(state, Event.MAKE): "creating" for state in ("creating", "pulling")},
    **{
        (state, Event.START): "starting"
        for state in ("creating", "pulling", "running", *SILENT, "exited")
    },
    **{(state, Event.MEET): "running" for state in ("starting", *SILENT, "exited")},
    **{(state, Event.PAUSE): "paused" for state in ("running", *SILENT - {"paused"})},
    **{(state, Event.MUTE): "unresponsive" for state in ("running", *SILENT - {"unresponsive"})},
    **{(state, Event.LOSE): "unreachable" for state in ("running", *SILENT - {"unreachable"})},
    **{(state, Event.HEAR): "running" for state in SILENT},
    **{(state, Event.EXIT): "exited" for state in ("starting", "running", *SILENT)},
    **{(state, Event.FAIL): "failed" for state in (*COMING, "running", *SILENT)},
    **{
        (state, Event.DESTROY): "destroyed"
        for state in (
            *(*COMING, "running", *SILENT),
            *("exited", "failed"),
        )
    },
}
