"""Faults that are known and not mended yet. A line goes when its mend comes.

A step of a kind that stands in ``UNDRAWN`` is drawn by no script. A law that is broken in words
that one of ``KNOWN`` finds is counted, and is no failure: who mends it deletes the line.
"""

from __future__ import annotations

import re
from typing import Final

#: Kinds of steps, with why.
UNDRAWN: Final[dict[str, str]] = {}

#: Why, and the words of the broken law.
KNOWN: Final[dict[str, str]] = {
    "a container that we paused, and others unpaused, is called paused for ever": (
        r"is paused, and in truth running"
    ),
    "a container that others started again is called exited for ever": (
        r"is exited, and in truth running"
    ),
    "a container whose destruction failed is not connected to any more": (
        r"its destruction had failed"
    ),
    "a container that is destroyed, or whose agent dies, while it is made, is left there": (
        r"containers that never ran are left|too few .*, which never ran"
    ),
    "a process that was started, and whose request broke or was a reboot, is told to nobody": (
        r"the main process of b\d+ runs, and is not known to"
    ),
    "processes of a container whose reboot failed are there twice": r"descriptors are left open$",
    "a guest that speaks while its engine is asked why it is silent stays unresponsive": (
        r"is unresponsive, and in truth running"
    ),
    "a client whose line is gone stays until something is told to it, over a network": (
        r"^clients are left in the agent, of lines that are gone"
    ),
    "a write that could not be noted, on a full disk, is written again by the next agent": (
        r"^guest: stdin of \d+ is wrong.*, and the disk had failed"
    ),
    "an end that could not be written down is, after its container's folder is gone": (
        r"^files are left, and the disk had failed"
    ),
    "a container whose spawn comes right behind a bye belongs to nobody": (
        r"^containers are left at the engine, and a kernel had left"
    ),
    "a spawn that is said again is answered before its process is there, and known to run": (
        r"there run \d+ processes, and \d+ are known to"
    ),
    "a close that is cancelled leaves the link open, and its session alive": (
        r"^clients are left in the agent, of lines that are there.* a close was cancelled"
    ),
}


def known(words: str) -> str | None:
    """Why that is no news, if it is none."""
    for why, pattern in KNOWN.items():
        if re.search(pattern, words, re.DOTALL):
            return why
    return None
