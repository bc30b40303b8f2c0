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
    "what was being made when an agent died may be left at the engine, and known to nobody": (
        r"containers that never ran are left|knows too .*, (which never ran|and there were several)"
    ),
    "a container made of a spare that others restart while it is told what for may fail": (
        r"is failed, after a reboot that failed: Cannot start a container of .* before it was ready"
    ),
    "a write that could not be noted, on a full disk, is written again by the next agent": (
        r"^guest: stdin of \d+ is wrong.*, and the disk had failed"
    ),
}


def known(words: str) -> str | None:
    """Why that is no news, if it is none."""
    for why, pattern in KNOWN.items():
        if re.search(pattern, words, re.DOTALL):
            return why
    return None
