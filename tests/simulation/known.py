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
    "an end that could not be written down is, after its container's folder is gone": (
        r"^files are left: .*/ended'\]"
    ),
    "a client whose line is gone stays until something is told to it": (
        r"^clients are left in the agent, of lines that are there: \[False"
    ),
}


def known(words: str) -> str | None:
    """Why that is no news, if it is none."""
    for why, pattern in KNOWN.items():
        if re.search(pattern, words, re.DOTALL):
            return why
    return None
