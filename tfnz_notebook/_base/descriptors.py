"""Waiting for descriptors, whatever their numbers: select() knows none beyond 1023."""

from __future__ import annotations

import select


def readable(*descriptors: int, seconds: float | None = None) -> set[int]:
    """Those that can be read or have ended; none of them if ``seconds`` pass first."""
    poll = select.poll()
    for each in descriptors:
        poll.register(each, select.POLLIN)
    return {found for found, _ in poll.poll(None if seconds is None else 1000 * seconds)}
