"""Faults that are known and not mended yet: no script draws them. A line goes when its mend comes."""

from __future__ import annotations

from typing import Final

#: Kinds of steps, or of what a law complains of, with why.
KNOWN: Final[dict[str, str]] = {
    "restart guest": "a container that somebody restarts past us may be called exited for ever",
    "stale clients": "a client whose connection is gone stays until something is told to it",
    "late records": "an end that could not be written down is, after its container's folder is gone",
    "spool gone": "a reader whose spool file is gone raises where nobody hears it, and hangs",
}
