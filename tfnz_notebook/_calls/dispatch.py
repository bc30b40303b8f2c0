"""Users' callbacks: where they run, in which order, and in which cell they print.

A :class:`Home` is a place where callbacks run: the loop of the thread that spawned the process (a
notebook's kernel, an asyncio script) or, where no loop runs, one dispatcher thread. A :class:`Lane`
is one process's queue at its home: first in, first out, never two at once. Rules:

- While a thread is blocked in one of our calls, it runs the callbacks that are at home there
  (:meth:`Home.pump`), so a cell that waits for a process sees its output. A callback that makes
  such a call itself lets others run meanwhile, but never its own lane.
- A callback runs in the ``contextvars`` context of the cell that made the lane. ipykernel
  sends prints where that context says, so they appear under that cell.
- A callback that raises, whatever it raises, is reported there once, with its traceback; the
  stream, the loop and the kernel go on. Only an interrupt reaches who is blocked below it.
- Output that piles up is handed over in larger pieces, up to ``JOIN`` bytes.

Pushing happens on the I/O loop, running on the home's thread. Between them are queues, and no lock
that anybody waits for: a signal handler may make a blocking call in the middle of any of this, and
the I/O loop must still get through. Each call that is pushed leaves a token, its lane, with the
home; who takes the token runs the lane's next call, if it is there and nobody else is in the lane.
Who cannot get in says so, and whoever is in leaves tokens for all that waits by then.
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

from tfnz_notebook._link.thread import Call, Caller, inside, pumped, pumps
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

    def run(self, *, blocked: bool) -> None:
        """Call it, and report what it raises.

        ``blocked``: below it is a call of the user's that waits, and that an interrupt is for.
        """
        if self.function is None:
            return
        try:
            if self.data is None:
                self.function(*self.args)
            else:
                self.function(*self.args, self.data)
        except BaseException as error:  # a user's function may raise anything
            if blocked and isinstance(error, KeyboardInterrupt):
                raise
            _report(error)


def _report(error: BaseException) -> None:
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__package__") == __package__:
        trace = trace.tb_next  # how we came to call it is of no interest
    with suppress(Exception):  # stderr may be closed, or a user's
        traceback.print_exception(error.with_traceback(trace))


class Lane:
    """The callbacks of one process, in order."""

    def __init__(self, home: Home, context: contextvars.Context) -> None:
        self.home = home
        self.items: deque[Item] = deque()
        #: Held by who runs one of its callbacks; tried, never waited for.
        self._busy = threading.Lock()
        self._skipped = False
        self._context = context

    def push(self, item: Item) -> None:
        """Queue a call."""
        self.items.append(item)
        self.home.offer(self)

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

    def run(self, *, blocked: bool) -> bool:
        """On the home's thread: the next of its calls. False if there is none, or one is run."""
        if not self._busy.acquire(blocking=False):
            self._skipped = True
            if not self._busy.acquire(blocking=False):  # else it was left just now
                return False
        stack = inside.setdefault(get_ident(), [])
        stack.append(self)
        try:
            if not self.items:  # they were joined to one before
                return False
            item = self.take()
            try:
                self._context.run(item.run, blocked=blocked)
            finally:
                if item.ran is not None:
                    item.ran(item.size)
        finally:
            stack.remove(self)
            self._busy.release()
            if self._skipped:
                self._skipped = False
                self.home.offer(self, len(self.items))
        return True


class Home:
    """Runs callbacks on one thread: a loop's, or (``loop`` None) a dispatcher thread of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None, thread: int) -> None:
        self.thread = thread
        self._loop = loop
        self._ready: deque[Lane] = deque()
        #: Of the calls that its thread is blocked in, the innermost last.
        self._waiters: list[SimpleQueue[None]] = []
        self._scheduled = False
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._started = threading.Lock()

    def offer(self, lane: Lane, calls: int = 1) -> None:
        """Calls of that lane wait: see to it that somebody runs them. From any thread."""
        self._ready.extend([lane] * calls)
        self._tell()

    def _tell(self) -> None:
        for waiter in self._waiters[-1:]:
            waiter.put(None)
        loop = self._loop
        if self._scheduled and not (loop is not None and loop.is_closed()):
            return  # who was told before looks after this
        self._scheduled = True
        if loop is not None:
            with suppress(RuntimeError):  # the loop was closed
                loop.call_soon_threadsafe(self._turn_on_loop, context=contextvars.Context())
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

    def turn(self, *, blocked: bool = False) -> bool:
        """Run one callback; False if none was waiting. ``blocked`` as in :meth:`Item.run`."""
        while True:
            try:
                lane = self._ready.popleft()
            except IndexError:
                return False
            if lane.run(blocked=blocked):
                return True

    def pump(self, call: Call[Any]) -> None:
        """Run callbacks until ``call`` is done; at least those that wait already."""
        interruptible = threading.current_thread() is threading.main_thread()
        self._waiters.append(call.wake)
        waiting = len(self._ready)
        try:
            while True:
                while (waiting > 0 or not call.done) and self.turn(blocked=interruptible):
                    waiting -= 1
                if call.done:
                    return
                call.wake.get()
        finally:
            self._waiters.remove(call.wake)
            if self._ready:
                self._tell()

    def _turn_on_loop(self) -> None:
        self._scheduled = False
        try:
            self.turn()
        finally:
            if self._ready:  # one at a time: the loop has other things to do
                self._tell()

    def _start(self) -> None:
        if self._started.acquire(blocking=False):  # by the first who comes here, for good
            threading.Thread(target=self._run, name="tfnz-callbacks", daemon=True).start()

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


def _after_fork() -> None:
    global _thread
    _thread = None
    pumps.clear()
    _loops.clear()


os.register_at_fork(after_in_child=_after_fork)


def _forget(home: Home) -> None:
    if pumps.get(home.thread) == home.pump:
        del pumps[home.thread]


def home(mode: Mode | None, caller: Caller) -> Home:
    """Where the callbacks of something made by ``caller`` run; on the I/O loop.

    ``None``: on the caller's loop if it has one, else on the dispatcher thread.
    """
    global _thread
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
    pumped(found.thread, found.pump)
    return found
