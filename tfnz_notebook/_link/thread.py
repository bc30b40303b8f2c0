"""The I/O thread of this process: one asyncio loop that owns every socket of the kernel side.

This is the only way across. :func:`wait` runs a coroutine over there and blocks for its result:
one wake-up to go and one to come back. :func:`awaitable` does the same for code that runs on an
asyncio loop of its own. Everything else in ``_link`` is called on this loop alone.

The coroutine runs in a copy of its caller's ``contextvars`` context, in which :func:`caller` says
where it was called from; that is how ``dispatch`` knows the cell that a callback belongs to.

Who waits may stop waiting at any moment: by a KeyboardInterrupt, by a cancelled ``await``. Then the
coroutine is cancelled. It may have returned by then, and its result is nobody's: what it made is
undone by what it gave to :func:`unless_taken`. No lock is held here while Python runs, for a signal
handler may call any of this in the middle of it, in the same thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from queue import SimpleQueue
from threading import get_ident
from typing import Any, Generic, NamedTuple, TypeVar

from tfnz_notebook._link.faults import FORKED
from tfnz_notebook.errors import ForkedError, Misuse

T = TypeVar("T")


class Caller(NamedTuple):
    """Who asked: the loop that runs in the calling thread, if one does, and that thread."""

    loop: asyncio.AbstractEventLoop | None
    thread: int
    #: The lanes of callbacks that the caller is inside of, see :data:`inside`.
    inside: tuple[object, ...] = ()


_caller: contextvars.ContextVar[Caller] = contextvars.ContextVar("tfnz_caller")
_call: contextvars.ContextVar[Call[Any]] = contextvars.ContextVar("tfnz_call")


def caller() -> Caller:
    """The caller of the coroutine that is running; outside of one, no loop and no thread."""
    return _caller.get(Caller(None, 0))


def unless_taken(undo: Callable[[], object]) -> None:
    """On the loop, in a coroutine that made something: how to undo that if nobody gets it.

    It is called if the coroutine returns and its caller does not wait any more.
    """
    call = _call.get(None)
    if call is not None:
        call.undone_by.append(undo)


class IOThread:
    """A daemon thread that runs an asyncio loop for as long as the process lives."""

    def __init__(self) -> None:
        self.loop = asyncio.SelectorEventLoop()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="tfnz-io", daemon=True)
        self._thread.start()
        self.ident = self._thread.ident

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self._stopped:
            try:
                self.loop.run_forever()
            except BaseException as error:  # noqa: BLE001  # nobody is above to raise it to
                # asyncio reports what a task or a callback raises, but for SystemExit and
                # KeyboardInterrupt: with those it stops, as if they meant this thread.
                context = {"message": "On the I/O loop:", "exception": error}
                self.loop.call_exception_handler(context)
        self.loop.close()

    def discard(self) -> None:
        """End it, unused; from any thread."""
        self._stopped = True
        self.soon(self.loop.stop)

    def soon(self, function: Callable[..., object], *args: Any) -> None:
        """Call it on the loop; from any thread."""
        self.loop.call_soon_threadsafe(function, *args)


#: The one of this process, under its pid, once there is one.
_threads: dict[int, IOThread] = {}
#: I/O threads of the parent process. Their loops share file descriptors with it, so a child
#: must neither use nor close them; being referenced here keeps the garbage collector off.
_of_parents: list[IOThread] = []


def io() -> IOThread:
    """The I/O thread, started at the first call in each process."""
    thread = _threads.get(os.getpid())
    if thread is None:
        made = IOThread()
        thread = _threads.setdefault(os.getpid(), made)
        if thread is not made:  # a signal handler, or another thread, was quicker
            made.discard()
    return thread


def _after_fork() -> None:
    _of_parents.extend(_threads.values())
    _threads.clear()
    inside.clear()
    # Who was blocked in this thread, below the callback that forked: nobody would wake it.
    for call in _blocked:
        call.fail(ForkedError(f"Cannot wait any longer: {FORKED}"))
    _blocked.clear()


class Call(Generic[T]):
    """One coroutine on its way through the I/O loop.

    ``wake`` gets an item when it is done, or ``tell`` is called instead, on the I/O loop.
    """

    def __init__(
        self, coroutine: Coroutine[Any, Any, T], tell: Callable[[], object] | None = None
    ) -> None:
        self.wake: SimpleQueue[None] = SimpleQueue()
        self.done = False
        #: Its caller was told that it failed, and how.
        self.failed = False
        self.undone_by: list[Callable[[], object]] = []
        self._tell = partial(self.wake.put, None) if tell is None else tell
        self._begun = False
        self._abandoned = False
        self._coroutine = coroutine
        self._task: asyncio.Task[None] | None = None
        self._value: T
        self._error: BaseException | None = None

    def start(self) -> None:
        """On the loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        self._begun = True
        _call.set(self)
        try:
            self._value = await self._coroutine
        except BaseException as error:  # noqa: BLE001  # raised again by who waits
            self._error = error
        self.done, self._task = True, None  # whose context knows this call: it would be a cycle
        if self._abandoned:
            self._undo()
            return
        try:
            self._tell()
        except RuntimeError:  # the caller's loop was closed
            self._undo()

    def abandon(self) -> None:
        """On the loop: nobody waits for it any more. Cancel it, or undo what came of it."""
        self._abandoned = True
        if self.done:
            self._undo()
        elif self._task is not None:
            self._task.cancel()
        if not self._begun:  # and now it never will
            self._coroutine.close()

    def _undo(self) -> None:
        if self._error is None:  # else the coroutine has seen to it
            for undo in self.undone_by:
                undo()
        self.undone_by.clear()

    def fail(self, error: BaseException) -> None:
        """Let its caller have an error, whatever becomes of the coroutine."""
        self._error, self.done = error, True
        self.wake.put(None)

    def result(self) -> T:
        """What the coroutine returned or raised."""
        if self._error is not None:
            self.failed = True
            try:
                raise self._error
            finally:
                self._error = None  # a traceback that refers to itself lives until the next gc
        value = self._value
        del self._value  # contexts that were copied from the coroutine's know this call
        return value


def _context() -> contextvars.Context:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    context = contextvars.copy_context()
    ident = get_ident()
    context.run(_caller.set, Caller(loop, ident, tuple(inside.get(ident, ()))))
    return context


#: What a blocked thread does meanwhile: by thread, a function that returns once the call is done.
#: ``dispatch`` enters the threads here whose callbacks have to go on.
pumps: dict[int, Callable[[Call[Any]], None]] = {}
#: By thread, the lanes whose callbacks are on its stack, the innermost last; by ``dispatch``.
inside: dict[int, list[object]] = {}
#: Calls for which threads are blocked.
_blocked: list[Call[Any]] = []


def pumped(ident: int, pump: Callable[[Call[Any]], None]) -> None:
    """On the loop: that thread runs ``pump`` while it is blocked, and if it is now, from now on.

    It may be blocked by the very call that made its first callbacks, and waits for them.
    """
    if pumps.get(ident) != pump:
        pumps[ident] = pump
        for call in _blocked.copy():
            call.wake.put(None)


os.register_at_fork(after_in_child=_after_fork)


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
        _blocked.append(call)
        try:
            thread.loop.call_soon_threadsafe(call.start, context=_context())
            while True:
                pump = pumps.get(ident)
                if pump is not None:
                    pump(call)
                elif not call.done:
                    call.wake.get()
                if call.done:
                    break
        finally:
            if call in _blocked:  # a fork has cleared it
                _blocked.remove(call)
        return call.result()
    except BaseException:
        if not call.failed:  # so this is an interrupt, maybe of the very return
            thread.soon(call.abandon)
        raise


async def awaitable(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it on the I/O loop while the calling loop goes on. Cancelling this cancels it."""
    thread = io()
    if get_ident() == thread.ident:
        return await coroutine
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        coroutine.close()
        raise Misuse(
            "Cannot await here: no asyncio loop runs in this thread. Call the method without "
            "'.aio', which blocks; under trio, in trio.to_thread.run_sync()."
        ) from None
    ready = loop.create_future()
    call = Call(coroutine, lambda: loop.call_soon_threadsafe(_ready, ready))
    try:
        thread.loop.call_soon_threadsafe(call.start, context=_context())
        await ready
        return call.result()
    except BaseException:
        if not call.failed:
            thread.soon(call.abandon)
        raise


def _ready(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
