"""Waiting for something to become true: to a deadline, never a fixed time."""

import time
from collections.abc import Callable
from typing import Self, TypeVar

T = TypeVar("T")


def until(ask: Callable[[], T], seconds: float, what: str, *, every: float = 0.02) -> T:
    """The first true answer; AssertionError with ``what`` if none came in time."""
    deadline = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}; last: {answer!r}"
        time.sleep(every)


class Clock:
    """How long something took: ``with Clock() as clock: ...`` and then ``clock.seconds``."""

    seconds: float = 0.0

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        return self

    def __exit__(self, *unused: object) -> None:
        self.seconds = time.monotonic() - self._began
