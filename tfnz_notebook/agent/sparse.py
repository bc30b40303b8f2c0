"""Log lines that others cause: a few a minute, then how many more there were."""

from __future__ import annotations

import logging
import time
from typing import Final

#: Lines in one period, and the period in seconds.
MOST: Final = 20
PERIOD: Final = 60.0


class Sparse:
    """Warnings about one kind of thing, so that who causes them cannot fill the disk with them."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._began = -PERIOD
        self._said = 0
        self._left_out = 0

    def warning(self, message: str, *arguments: object) -> None:
        """As of a logger; at most ``MOST`` in a ``PERIOD``, the last of which says so."""
        now = time.monotonic()
        if now - self._began >= PERIOD:
            if self._left_out:
                self._log.warning("%d more like the last one were left out.", self._left_out)
            self._began, self._said, self._left_out = now, 0, 0
        self._said += 1
        if self._said > MOST:
            self._left_out += 1
            return
        ending = " More of these are left out for a while." if self._said == MOST else ""
        self._log.warning(message + ending, *arguments)
