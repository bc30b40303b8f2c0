"""A script that breaks a law, made shorter while it still does."""

from __future__ import annotations

import dataclasses
import re

from .nodes import Broken
from .play import play
from .script import Script, draw
from .trace import trace

#: In how many orders of things fewer steps may break it.
TRIES = 4


def _kind(error: Broken) -> str:
    """What two failures have in common: their words, and not their names and numbers."""
    return re.sub(r"[0-9a-f]{12,}|\d+", "#", str(error).splitlines()[0])[:60]


def shrunk(seed: int, error: Broken) -> tuple[Script, Broken]:
    """The shortest script that was found, and what it breaks."""
    script, kind = draw(seed), _kind(error)
    size = max(1, len(script.steps) // 2)
    while size:
        at = 0
        while at < len(script.steps):
            steps = script.steps[:at] + script.steps[at + size :]
            for salt in range(script.salt, script.salt + TRIES):
                fewer = dataclasses.replace(script, steps=steps, salt=salt)
                broken = play(seed, fewer)
                if broken is not None and _kind(broken) == kind:
                    script, error = fewer, broken
                    break
            else:
                at += size
        size //= 2
    return script, error


def shrink(seed: int, error: Broken, *, told: bool = False) -> None:
    """Print it; with all that was said, if that shall be told."""
    script, broken = shrunk(seed, error)
    print(f"{script}\n{broken}", flush=True)
    if told:
        trace(seed, script)
