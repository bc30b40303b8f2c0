"""How a server misbehaves, on command: which requests it befalls, how often, and what happens.

    cluster.faults.add(answers(429, retry_after=1), on="create pods", times=3)
    cluster.faults.add(hangs(), on="watch pods")

``on`` is a verb and a resource as in a Role (``get pods/exec``); either may be ``*``. What befalls
an open stream is in :class:`Streams`, what befalls a watch in :class:`Watching`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from apiserver.objects import refusals
from apiserver.objects.refusals import Refusal


class Cut(Exception):
    """The connection breaks here, without a word."""


Act = Callable[[], Awaitable[None]]


@dataclass
class Fault:
    """One, as long as ``left`` is not 0; ``met`` counts whom it befell."""

    act: Act
    verb: str
    resource: str
    left: int
    met: int = 0

    def befalls(self, verb: str, resource: str) -> bool:
        return self.left != 0 and self.verb in ("*", verb) and self.resource in ("*", resource)


class Faults:
    """All of a server's."""

    def __init__(self) -> None:
        self._all: list[Fault] = []
        self.streams = Streams()
        self.watching = Watching()

    def add(self, act: Act, on: str = "* *", times: int = -1) -> Fault:
        """From now on; ``times`` -1 is until :meth:`clear`."""
        verb, resource = on.split()
        self._all.append(fault := Fault(act, verb, resource, times))
        return fault

    def clear(self) -> None:
        self._all.clear()
        self.streams = Streams()
        self.watching = Watching()

    async def before(self, verb: str, resource: str) -> None:
        """A request comes; raises what it is answered instead."""
        for fault in [*self._all]:
            if fault.befalls(verb, resource):
                fault.left -= 1
                fault.met += 1
                await fault.act()


def answers(refusal: int | Refusal, *, retry_after: int = 1) -> Act:
    """One of the usual refusals, by its code, or a given one."""
    usual = {
        401: refusals.unauthorized,
        404: refusals.nothing_here,
        409: lambda: refusals.conflict("pods", "", "x"),
        410: refusals.expired_page,
        429: lambda: refusals.too_many(retry_after),
        500: refusals.store_timeout,
        503: lambda: refusals.unavailable(retry_after),
        504: lambda: Refusal(504, "Timeout", "Timeout: request did not complete"),
    }

    async def act() -> None:
        raise usual[refusal]() if isinstance(refusal, int) else refusal

    return act


def hangs() -> Act:
    """Half open: the request was taken, and nothing comes, ever."""

    async def act() -> None:
        await asyncio.Event().wait()

    return act


def waits(gate: asyncio.Event) -> Act:
    """Slow: it is answered once the gate is open."""

    async def act() -> None:
        await gate.wait()

    return act


def takes(seconds: float, jitter: float = 0.0, seed: int = 0) -> Act:
    """As long as a real one."""
    chance = random.Random(seed)

    async def act() -> None:
        await asyncio.sleep(seconds + jitter * chance.random())

    return act


def cuts() -> Act:
    """The connection is reset before there is an answer."""

    async def act() -> None:
        raise Cut

    return act


@dataclass
class Streams:
    """What befalls execs."""

    #: Asked before each frame, either way; True breaks the connection in its place.
    drop: Callable[[], bool] = lambda: False
    #: It ends here, too, but as a killed containerd has it: ``Success``, and close 1000.
    succeed: Callable[[], bool] = lambda: False
    #: No frame passes, and the connection stays: half open. Pings are not answered.
    mute: bool = False
    #: Frames that passed, and streams that were broken.
    frames: int = 0
    broken: int = 0

    def at_random(self, chance: float, seed: int) -> None:
        """Each frame may be the last one of its stream."""
        dice = random.Random(seed)
        self.drop = lambda: dice.random() < chance

    def fate(self) -> str:
        """What becomes of a stream at this frame: '', 'cut' or 'success'."""
        self.frames += 1
        for word, happens in (("cut", self.drop), ("success", self.succeed)):
            if happens():
                self.broken += 1
                return word
        return ""


@dataclass
class Watching:
    """What befalls watches, by the kind of their events (``MODIFIED``)."""

    #: Events that are swallowed, as a cache that skips does: asked for each.
    skip: Callable[[str, refusals.Object], bool] = lambda kind, it: False
    #: Each event is told twice.
    twice: bool = False
    #: While it is clear, nothing is told: a watch that is stale.
    fresh: asyncio.Event = field(default_factory=asyncio.Event)
    #: Seconds between bookmarks.
    bookmarks: float = 60.0

    def __post_init__(self) -> None:
        self.fresh.set()
