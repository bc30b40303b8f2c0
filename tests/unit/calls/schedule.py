"""Deciding what runs next, in every order there is: for small cases, all of them.

Two kinds of worlds. In the first, *loops* take turns: each keeps its own queue in its own order, as
asyncio promises, and a test decides whose next callback runs (:func:`every_order`). In the second,
*threads* do, between any two lines of the code under test (:func:`every_switch`): one runs until
the line at which the other is to go on, or until it waits.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Final

#: More steps than any case takes: one that goes on beyond turns in a circle.
ENOUGH: Final = 10_000


class Choices:
    """One run's decisions: those that are given, then always the first."""

    def __init__(self, given: list[int]) -> None:
        self._given = given
        self.made: list[tuple[int, int]] = []

    def choose(self, count: int) -> int:
        """One of so many."""
        at = len(self.made)
        assert at < ENOUGH, "it never ends"
        chosen = self._given[at] if at < len(self._given) else 0
        self.made.append((chosen, count))
        return chosen


def every_order(run: Callable[[Choices], None]) -> int:
    """Run it with each sequence of decisions that it asks for; how many there were."""
    given: list[int] = []
    runs = 0
    while True:
        choices = Choices(given)
        try:
            run(choices)
        except AssertionError as error:
            error.add_note(f"decided: {[chosen for chosen, _ in choices.made]}")
            raise
        runs += 1
        made = choices.made
        while made and made[-1][0] + 1 == made[-1][1]:
            made.pop()
        if not made:
            return runs
        given = [chosen for chosen, _ in made[:-1]] + [made[-1][0] + 1]


class Stepped(asyncio.SelectorEventLoop):
    """A loop that runs one callback when it is told to."""

    _ready: deque[asyncio.Handle]

    @property
    def waits(self) -> bool:
        return not self._ready

    def step(self) -> None:
        """The next callback in its queue."""
        handle = self._ready.popleft()
        if not handle.cancelled():
            asyncio._set_running_loop(self)
            try:
                handle._run()
            finally:
                asyncio._set_running_loop(None)


class Taking:
    """Threads of which one runs, until it waits or is told to let another go on."""

    def __init__(self, files: tuple[str, ...]) -> None:
        self._files = files
        self._go: dict[str, threading.Semaphore] = {}
        self._waits_for: dict[str, Callable[[], bool]] = {}
        self._over: set[str] = set()
        self._switches: dict[str, list[int]] = {}
        self._lines: dict[str, int] = {}
        self._done = threading.Semaphore(0)
        self.errors: list[BaseException] = []

    def run(
        self, actors: dict[str, Callable[[], None]], first: str, switches: dict[str, list[int]]
    ) -> dict[str, int]:
        """Each actor to its end; how many lines each ran. ``switches``: after which of them."""
        self._switches = {name: sorted(switches.get(name, ())) for name in actors}
        self._lines = dict.fromkeys(actors, 0)
        self._go = {name: threading.Semaphore(0) for name in actors}
        threads = [
            threading.Thread(target=self._act, args=(name, act), name=name, daemon=True)
            for name, act in actors.items()
        ]
        for thread in threads:
            thread.start()
        self._go[first].release()
        assert self._done.acquire(timeout=20), "it hangs"
        if self.errors:
            raise self.errors[0]
        for thread in threads:
            thread.join(20)
        return self._lines

    def _act(self, name: str, act: Callable[[], None]) -> None:
        self._go[name].acquire()

        def trace(frame: FrameType, event: str, _argument: object) -> Any:
            if frame.f_code.co_filename not in self._files:
                return None
            if event == "line":
                self._lines[name] += 1
                due = self._switches[name]
                if due and self._lines[name] > due[0]:
                    due.pop(0)
                    self._pass(name)
            return trace

        sys.settrace(trace)
        try:
            act()
        except BaseException as error:  # noqa: BLE001  # raised again by who waits
            self.errors.append(error)
        finally:
            sys.settrace(None)
        self._over.add(name)
        if not self._next(name):
            self._done.release()

    def _next(self, name: str) -> bool:
        """Have another go on that can; False if none can."""
        for other in self._go:
            if other != name and other not in self._over:
                if other in self._waits_for and not self._waits_for[other]():
                    continue
                self._go[other].release()
                return True
        if len(self._over) < len(self._go) and name in self._over:
            self.errors.append(AssertionError(f"all wait: {set(self._go) - self._over}"))
        return False

    def _pass(self, name: str) -> None:
        if self._next(name):
            self._go[name].acquire()

    def wait(self, met: Callable[[], bool]) -> None:
        """By an actor: go on once that is so."""
        name = threading.current_thread().name
        while not met():
            self._waits_for[name] = met
            if not self._next(name):
                self.errors.append(AssertionError(f"{name} waits for nothing"))
                self._done.release()
            self._go[name].acquire()
            del self._waits_for[name]


class Queue:
    """``SimpleQueue`` of actors."""

    taking: Taking

    def __init__(self) -> None:
        self._items: deque[None] = deque()

    def put(self, item: None) -> None:
        self._items.append(item)

    def get(self) -> None:
        self.taking.wait(lambda: bool(self._items))
        self._items.popleft()


def every_switch(
    files: tuple[str, ...],
    make: Callable[[Taking], tuple[dict[str, Callable[[], None]], Callable[[], None]]],
    *,
    back: int = 6,
) -> int:
    """Run ``make``'s actors with a switch after each line of each, and ``back`` lines later again.

    It returns the actors, and what must hold in the end. The number of runs is returned.
    """
    runs = 0
    for first, switches in _schedules(files, make, back):
        taking = Taking(files)
        actors, holds = make(taking)
        try:
            taking.run(actors, first, switches)
            holds()
        except AssertionError as error:
            error.add_note(f"{first} first, switched after {switches}")
            raise
        runs += 1
    return runs


def _schedules(
    files: tuple[str, ...], make: Callable[[Taking], Any], back: int
) -> Iterator[tuple[str, dict[str, list[int]]]]:
    taking = Taking(files)
    actors, _ = make(taking)
    for first in actors:
        taking = Taking(files)
        lines = taking.run(make(taking)[0], first, {})
        (other,) = [name for name in actors if name != first]
        for at in range(lines[first] + 1):
            yield first, {first: [at]}
            for later in range(1, lines[other] + 1, back):
                yield first, {first: [at], other: [later]}
