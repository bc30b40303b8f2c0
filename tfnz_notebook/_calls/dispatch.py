"""Users' callbacks: where they run, in which order, and in which cell they print.

A :class:`Home` is a place where callbacks run: the loop of the thread that spawned the process (a
notebook's kernel, an asyncio script) or, where no loop runs, one dispatcher thread. A :class:`Lane`
is one process's queue at its home: first in, first out, never two at once. Rules:

- While a thread is blocked in one of our calls, it runs the callbacks that are at home there
  (:meth:`Home.pump`), so a cell that waits for a process sees its output. A callback that makes
  such a call itself lets others run meanwhile, but never its own lane.
- A callback runs in the ``contextvars`` context of the cell that made the lane. ipykernel
  sends prints where that context says, so they appear under that cell.
- A callback that raises is reported there once, with its traceback; the stream goes on.
- Output that piles up is handed over in larger pieces, up to ``JOIN`` bytes.

Pushing happens on the I/O loop; running on the home's thread; one lock a home lies between.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import get_ident
from typing import Any, Final, Literal
from weakref import WeakKeyDictionary

from tfnz_notebook._link.thread import Call, Caller, pumps
from tfnz_notebook.errors import Misuse

#: Most bytes given to a data callback in one call, where several chunks were waiting.
JOIN: Final = 1 << 20

Mode = Literal["thread", "loop"]


class Item:
    """One call of a user's function. ``data`` is its last argument if it is output.

    ``ran`` is told, on the home's thread, how many bytes that were.
    """

    __slots__ = ("args", "data", "function", "ran", "size")

    def __init__(
        self,
        function: Callable[..., object] | None,
        args: tuple[Any, ...],
        data: bytes | None = None,
        ran: Callable[[int], None] | None = None,
    ) -> None:
        self.function = function
        self.args = args
        self.data = data
        self.ran = ran
        self.size = 0 if data is None else len(data)

    def run(self) -> None:
        """Call it; whatever it raises is printed, and only interrupts and exits go further."""
        if self.function is None:
            return
        try:
            if self.data is None:
                self.function(*self.args)
            else:
                self.function(*self.args, self.data)
        except Exception as error:  # noqa: BLE001  # a user's function may raise anything
            trace = error.__traceback__
            while trace is not None and trace.tb_frame.f_globals.get("__package__") == __package__:
                trace = trace.tb_next  # how we came to call it is of no interest
            traceback.print_exception(error.with_traceback(trace))


class Lane:
    """The callbacks of one process, in order."""

    def __init__(self, home: Home, context: contextvars.Context) -> None:
        self.home = home
        self.items: deque[Item] = deque()
        self.queued = False
        self.busy = False
        self._context = context

    def push(self, item: Item) -> None:
        """Queue a call."""
        self.home.offer(self, item)

    def runs_in(self, thread: int) -> bool:
        """Whether that thread is inside of one of this lane's callbacks right now."""
        return self.busy and self.home.thread == thread

    def take(self) -> Item:
        """The next call, with the output that waits behind it joined to its own."""
        first = self.items.popleft()
        if first.data is None or not self.items or first.size >= JOIN:
            return first
        pieces = [first.data]
        while self.items and first.size < JOIN:
            item = self.items[0]
            if item.data is None or item.function is not first.function or item.ran != first.ran:
                break
            pieces.append(item.data)
            first.size += item.size
            self.items.popleft()
        first.data = b"".join(pieces)
        return first

    def run(self, item: Item) -> None:
        """On the home's thread, with ``busy`` set."""
        try:
            self._context.run(item.run)
        finally:
            if item.ran is not None:
                item.ran(item.size)


class Home:
    """Runs callbacks on one thread: a loop's, or (``loop`` None) a dispatcher thread of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None, thread: int) -> None:
        self.thread = thread
        self._loop = loop
        self._lock = threading.Lock()
        self._ready: deque[Lane] = deque()
        self._waiters: list[SimpleQueue[None]] = []
        self._scheduled = False
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._dispatcher: threading.Thread | None = None

    # -- on the I/O loop

    def offer(self, lane: Lane, item: Item) -> None:
        """Queue ``item`` and see to it that somebody runs it."""
        with self._lock:
            lane.items.append(item)
            if lane.queued or lane.busy:
                return  # somebody was told before, or will look when the present one is done
            lane.queued = True
            self._ready.append(lane)
            waiter = self._waiters[-1] if self._waiters else None
        if waiter is not None:
            waiter.put(None)
        self._schedule()

    def _schedule(self) -> None:
        with self._lock:
            if self._scheduled:
                return
            self._scheduled = True
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop was closed
                self._loop.call_soon_threadsafe(self._turn_on_loop, context=contextvars.Context())
                return
            self._leave_loop()
        self._start()
        self._wake.put(None)

    def _leave_loop(self) -> None:
        """Its loop is closed: what is left runs on a thread, as in a script without a loop."""
        self._loop = None
        _forget(self)
        self.thread = 0

    # -- on the home's thread

    def turn(self) -> bool:
        """Run one callback; False if none was waiting."""
        with self._lock:
            if not self._ready:
                return False
            lane = self._ready.popleft()
            lane.queued = False
            lane.busy = True
            item = lane.take()
        try:
            lane.run(item)
        finally:
            with self._lock:
                lane.busy = False
                if lane.items:
                    lane.queued = True
                    self._ready.append(lane)
        return True

    def pump(self, call: Call[Any]) -> None:
        """Run callbacks until ``call`` is done; at least those that wait already."""
        with self._lock:
            self._waiters.append(call.wake)
            waiting = len(self._ready)
        try:
            while True:
                while (waiting > 0 or not call.done) and self.turn():
                    waiting -= 1
                if call.done:
                    return
                call.wake.get()
        finally:
            with self._lock:
                self._waiters.remove(call.wake)
                ready, outer = bool(self._ready), self._waiters[-1:]
            if ready:
                for waiter in outer:
                    waiter.put(None)
                self._schedule()

    def _turn_on_loop(self) -> None:
        self._scheduled = False
        try:
            self.turn()
        finally:
            if self._ready:  # one at a time: the loop has other things to do
                self._schedule()

    def _start(self) -> None:
        if self._dispatcher is None:
            self._dispatcher = threading.Thread(
                target=self._run, name="tfnz-callbacks", daemon=True
            )
            self._dispatcher.start()

    def _run(self) -> None:
        self.thread = get_ident()
        pumps[self.thread] = self.pump
        while True:
            self._wake.get()
            self._scheduled = False
            while self.turn():
                pass


_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, Home] = WeakKeyDictionary()
_thread: Home | None = None
_making = threading.Lock()


def _after_fork() -> None:
    global _thread, _making
    _thread = None
    _making = threading.Lock()
    pumps.clear()
    _loops.clear()


os.register_at_fork(after_in_child=_after_fork)


def _forget(home: Home) -> None:
    if pumps.get(home.thread) == home.pump:
        del pumps[home.thread]


def home(mode: Mode | None, caller: Caller) -> Home:
    """Where the callbacks of something made by ``caller`` run.

    ``None``: on the caller's loop if it has one, else on the dispatcher thread.
    """
    global _thread
    with _making:
        if mode == "thread" or (mode is None and caller.loop is None):
            if _thread is None:
                _thread = Home(None, 0)
            return _thread
        if caller.loop is None:
            raise Misuse(
                "Cannot run callbacks on a loop: none runs in this thread. "
                "Call this from a coroutine or a notebook, or use Location(callbacks='thread')."
            )
        found = _loops.get(caller.loop)
        if found is None:
            for loop in [loop for loop in _loops if loop.is_closed()]:
                _forget(_loops.pop(loop))
            found = _loops[caller.loop] = Home(caller.loop, caller.thread)
        pumps[found.thread] = found.pump
        return found
