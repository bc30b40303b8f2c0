"""Nodes and their clock: an asyncio loop for each, and one order in which all of them run.

Within a node, what asyncio promises holds: callbacks run in the order in which they were queued,
and a timer's is queued when it is due. Between nodes nothing is promised, so the seed decides. Time
only passes when nobody has anything to do; a node that is *stalled* lets it pass all the same.

A node is *killed* as SIGKILL would: nothing of it runs any more. Whoever kills it takes away its
sockets and its disk first, so that what Python runs when coroutines are thrown away reaches nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from asyncio import events
from collections import deque
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

#: Callbacks in one world after which something turns without end.
MOST = 400_000


class Broken(AssertionError):
    """A law of the world was broken."""


class Task(asyncio.Task):  # type: ignore[type-arg]
    """One whose place in a set is that of its number, and not of its address: a replay is exact."""

    _numbers = itertools.count()

    def __init__(self, *args: Any, **more: Any) -> None:
        self._number = next(Task._numbers)
        super().__init__(*args, **more)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class Node(asyncio.AbstractEventLoop):
    """One process of the world, as far as asyncio goes."""

    def __init__(self, clock: Clock, name: str) -> None:
        self.clock, self.name = clock, name
        self.ready: deque[asyncio.Handle] = deque()
        self.alive, self.stalled = True, False
        self.was_stalled = False
        self.frozen = False  # by its engine, which SIGCONT does not undo
        self.awake = False  # among those of whom the seed chooses
        self.tasks: list[asyncio.Task[Any]] = []
        clock.nodes.append(self)

    def __repr__(self) -> str:
        return f"<{self.name}>"

    # -- what asyncio and the product ask of a loop

    def time(self) -> float:
        return self.clock.now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self.alive

    def is_closed(self) -> bool:
        return not self.alive

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None) -> Any:
        task = Task(coro, loop=self, name=name or "task", context=context)
        self.tasks.append(task)
        return task

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        if self.alive:
            self.ready.append(handle)
            if not self.awake:
                self.wake()
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(
        self, delay: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.clock.now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        clock = self.clock
        heapq.heappush(clock.timers, (when, clock.random(), next(clock.order), handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self.alive:
            self.clock.complaints.append((self.name, context))

    # -- what others do to it

    def wake(self) -> None:
        """It has something to do."""
        if not self.awake and not self.stalled and self.alive:
            self.awake = True
            self.clock.awake.append(self)

    def rest(self) -> None:
        """It has nothing to do, or may not."""
        if self.awake:
            self.awake = False
            self.clock.awake.remove(self)

    def stall(self) -> None:
        """SIGSTOP: it does nothing, while time goes on."""
        self.stalled = self.was_stalled = True
        self.rest()

    def resume(self) -> None:
        """SIGCONT."""
        if self.stalled and not self.frozen:
            self.stalled = False
            if self.ready:
                self.wake()

    def kill(self) -> None:
        """SIGKILL. Its sockets and files are out of its reach already."""
        self.alive = False
        self.ready.clear()
        self.rest()

    @contextlib.contextmanager
    def within(self) -> Iterator[None]:
        """What is called inside is this node's doing."""
        before = events._get_running_loop()
        events._set_running_loop(self)
        try:
            yield
        finally:
            events._set_running_loop(before)

    def pending(self) -> list[asyncio.Task[Any]]:
        """Its tasks that are not done."""
        return [task for task in self.tasks if not task.done()]

    def timers(self) -> list[asyncio.TimerHandle]:
        """Its timers that will fire."""
        return [h for *_, h in self.clock.timers if h._loop is self and not h._cancelled]


class Clock:
    """All nodes, and who of them runs."""

    def __init__(self, seed: object) -> None:
        self.chance = Random(seed)  # type: ignore[arg-type]
        self.random = self.chance.random
        self.now = 1000.0
        self.nodes: list[Node] = []
        self.awake: list[Node] = []
        self.timers: list[tuple[float, float, int, asyncio.TimerHandle]] = []
        self.order = itertools.count()
        self.complaints: list[tuple[str, dict[str, Any]]] = []
        self.turns = 0

    def run(
        self,
        met: Callable[[], object],
        until: float,
        stop: int | None = None,
    ) -> bool:
        """Have the nodes run until that is true, or that time has come; whether it is true.

        It is asked whenever time would pass. ``stop``: the number of turns after which that is all.
        """
        awake, random = self.awake, self.random
        running = None
        try:
            while True:
                if not awake:
                    if met():
                        return True
                    if not self._advance(until):
                        return False
                    continue
                node = awake[int(random() * len(awake))] if len(awake) > 1 else awake[0]
                if node is not running:
                    events._set_running_loop(node)
                    running = node
                ready = node.ready
                turns = 1 if stop is not None else 1 + int(random() * len(ready))
                self.turns += turns
                for _ in range(turns):
                    handle = ready.popleft()
                    if not handle._cancelled:
                        handle._run()
                    if not ready or node.stalled:
                        break
                if not ready:
                    node.rest()
                if self.turns == stop:
                    return False
                if self.turns > MOST:
                    raise Broken(f"{node.name} turns without end")
        finally:
            events._set_running_loop(None)

    def _advance(self, until: float) -> bool:
        """Let time pass to the next timer; False if none comes before ``until``."""
        timers = self.timers
        while timers and timers[0][3]._cancelled:
            heapq.heappop(timers)
        if not timers or timers[0][0] > until:
            self.now = max(self.now, until)
            return False
        self.now = max(self.now, timers[0][0])
        while timers and timers[0][0] <= self.now:
            handle = heapq.heappop(timers)[3]
            node: Node = handle._loop
            if not handle._cancelled and node.alive:
                node.ready.append(handle)
                node.wake()
        return True

    def bury(self) -> None:
        """Throw away what is left, so that it reaches nobody."""
        for node in self.nodes:
            node.kill()
        self.timers.clear()
        for node in self.nodes:
            for task in node.pending():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                with node.within(), contextlib.suppress(BaseException):
                    task.get_coro().close()  # type: ignore[union-attr]
