"""The I/O thread of this process: one asyncio loop that owns every socket of the kernel side.

This is the only way across. :func:`wait` runs a coroutine over there and blocks for its result:
one wake-up to go and one to come back. :func:`awaitable` does the same for code that runs on an
asyncio loop of its own. Everything else in ``_link`` is called on this loop alone.

The coroutine runs in a copy of its caller's ``contextvars`` context, in which :func:`caller` says
where it was called from; that is how ``dispatch`` knows the cell that a callback belongs to.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable, Coroutine
from queue import SimpleQueue
from threading import get_ident
from typing import Any, Generic, NamedTuple, TypeVar

from tfnz_notebook.errors import Misuse

T = TypeVar("T")


class Caller(NamedTuple):
    """Who asked: the loop that runs in the calling thread, if one does, and that thread."""

    loop: asyncio.AbstractEventLoop | None
    thread: int


_caller: contextvars.ContextVar[Caller] = contextvars.ContextVar("tfnz_caller")


def caller() -> Caller:
    """The caller of the coroutine that is running; outside of one, no loop and no thread."""
    return _caller.get(Caller(None, 0))


class IOThread:
    """A daemon thread that runs an asyncio loop for as long as the process lives."""

    def __init__(self) -> None:
        self.loop = asyncio.SelectorEventLoop()
        self.pid = os.getpid()
        started = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(started,), name="tfnz-io", daemon=True
        )
        self._thread.start()
        started.wait()
        self.ident = self._thread.ident

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.call_soon(started.set)
        self.loop.run_forever()

    def soon(self, function: Callable[..., object], *args: Any) -> None:
        """Call it on the loop; from any thread."""
        self.loop.call_soon_threadsafe(function, *args)


_current: IOThread | None = None
_starting = threading.Lock()
#: I/O threads of the parent process. Their loops share file descriptors with it, so a child
#: must neither use nor close them; being referenced here keeps the garbage collector off.
_of_parents: list[IOThread] = []


def io() -> IOThread:
    """The I/O thread, started at the first call in each process."""
    global _current
    if _current is None:
        with _starting:
            if _current is None:
                _current = IOThread()
    return _current


def _after_fork() -> None:
    global _current, _starting
    if _current is not None:
        _of_parents.append(_current)
    _current = None
    _starting = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


class Call(Generic[T]):
    """One coroutine on its way through the I/O loop. ``wake`` gets an item when it is done."""

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self.wake: SimpleQueue[None] = SimpleQueue()
        self.done = False
        self._begun = False
        self._coroutine = coroutine
        self._task: asyncio.Task[None] | None = None
        self._value: T
        self._error: BaseException | None = None

    def start(self) -> None:
        """On the loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        self._begun = True
        try:
            self._value = await self._coroutine
        except BaseException as error:  # noqa: BLE001  # raised again by who waits
            self._error = error
        self.done = True
        self.wake.put(None)

    def cancel(self) -> None:
        """On the loop, after :meth:`start`."""
        if self._task is not None:
            self._task.cancel()
            if not self._begun:  # and now it never will
                self._coroutine.close()

    def result(self) -> T:
        """What the coroutine returned or raised."""
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # a traceback that refers to itself lives until the next gc
        return self._value


def _context() -> contextvars.Context:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    context = contextvars.copy_context()
    context.run(_caller.set, Caller(loop, get_ident()))
    return context


#: What a blocked thread does meanwhile: by thread, a function that returns once the call is done.
#: ``dispatch`` enters the threads here whose callbacks have to go on.
pumps: dict[int, Callable[[Call[Any]], None]] = {}


def wait(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it on the I/O loop and block until it is done.

    A KeyboardInterrupt cancels the coroutine and is raised at once.
    """
    thread = io()
    ident = get_ident()
    if ident == thread.ident:
        coroutine.close()
        raise Misuse(
            "Cannot block in the I/O thread: nothing could answer. Use the '.aio' twin there."
        )
    call = Call(coroutine)
    try:
        thread.loop.call_soon_threadsafe(call.start, context=_context())
        pump = pumps.get(ident)
        if pump is not None:
            pump(call)
        while not call.done:
            call.wake.get()
    except BaseException:
        thread.soon(call.cancel)
        raise
    return call.result()


async def awaitable(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it on the I/O loop while the calling loop goes on. Cancelling this cancels it."""
    thread = io()
    if get_ident() == thread.ident:
        return await coroutine
    context = _context()
    future = context.run(asyncio.run_coroutine_threadsafe, coroutine, thread.loop)
    return await asyncio.wrap_future(future)
