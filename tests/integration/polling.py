"""Waiting for something to become true: to a deadline, never a fixed time."""

import time
from collections.abc import Callable
from typing import Self, TypeVar

T = TypeVar("T")


def until(ask: Callable[[], T], seconds: float, what: str, *, every: float = 0.02) -> T:
    """The first true answer; AssertionError with ``what`` if none came in time.

    It is asked ever less often: many ask an engine, which has something to do for other tests.
    """
    deadline, pause = time.monotonic() + seconds, every
    while True:
        answer = ask()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}; last: {answer!r}"
        time.sleep(pause)
        pause = min(1.25 * pause, max(every, 0.1))


class Clock:
    """How long something took: ``with Clock() as clock: ...`` and then ``clock.seconds``."""

    seconds: float = 0.0

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        return self

    def __exit__(self, *unused: object) -> None:
        self.seconds = time.monotonic() - self._began
