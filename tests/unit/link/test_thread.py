"""Across to the I/O thread and back: results, errors, interrupts, cancellation, forks."""

import asyncio
import contextvars
import os
import signal
import threading
import warnings
from typing import Any

import pytest
from unit.children import in_a_child

from tfnz_notebook._link import thread
from tfnz_notebook.errors import Misuse

flag: contextvars.ContextVar[str] = contextvars.ContextVar("flag", default="unset")


async def ident() -> int:
    return threading.get_ident()


async def fail() -> None:
    raise KeyError("x")


def test_a_coroutine_runs_over_there_and_its_result_comes_back() -> None:
    assert thread.wait(ident()) == thread.io().ident != threading.get_ident()


def test_an_error_comes_back() -> None:
    with pytest.raises(KeyError, match="x"):
        thread.wait(fail())


def test_blocking_in_the_io_thread_is_an_error_rather_than_a_deadlock() -> None:
    async def nested() -> None:
        thread.wait(ident())

    with pytest.raises(Misuse, match=r"\.aio"):
        thread.wait(nested())


def test_it_runs_in_the_callers_context_and_knows_the_caller() -> None:
    async def look() -> tuple[str, thread.Caller]:
        return flag.get(), thread.caller()

    token = flag.set("set")
    try:
        seen, caller = thread.wait(look())
    finally:
        flag.reset(token)
    assert seen == "set"
    assert caller == thread.Caller(None, threading.get_ident())

    async def inside() -> None:
        loop = asyncio.get_running_loop()
        assert thread.wait(look())[1] == thread.Caller(loop, threading.get_ident())
        assert (await thread.awaitable(look()))[1] == thread.Caller(loop, threading.get_ident())

    asyncio.run(inside())
    assert thread.caller() == thread.Caller(None, 0)


def test_an_interrupt_is_raised_at_once_and_cancels(request: pytest.FixtureRequest) -> None:
    started, cancelled = threading.Event(), threading.Event()
    heard: list[int] = []

    def once(number: int, _frame: object) -> None:
        heard.append(number)
        if len(heard) == 1:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, once)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))

    async def forever() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    def interrupt() -> None:
        assert started.wait(10)
        os.kill(os.getpid(), signal.SIGINT)
        # One that comes as Python is about to sleep wakes nobody, as anywhere in Python.
        while not cancelled.wait(0.2):
            os.kill(os.getpid(), signal.SIGINT)

    other = threading.Thread(target=interrupt)
    other.start()
    with pytest.raises(KeyboardInterrupt):
        thread.wait(forever())
    other.join()
    assert cancelled.wait(10)
    assert thread.wait(ident())


async def test_awaiting_lets_the_own_loop_go_on() -> None:
    gate = asyncio.Event()
    thread.io().soon(lambda: None)

    async def slow() -> str:
        asyncio.get_running_loop().call_later(0.01, opened.set)
        await opened.wait()
        return "done"

    opened = asyncio.Event()
    task = asyncio.create_task(thread.awaitable(slow()))
    asyncio.get_running_loop().call_soon(gate.set)
    await gate.wait()
    assert await task == "done"


async def test_cancelling_here_cancels_there() -> None:
    started, cancelled = threading.Event(), threading.Event()

    async def forever() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    task = asyncio.create_task(thread.awaitable(forever()))
    while not started.is_set():
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(cancelled.wait, 10)


async def made(undone: list[str]) -> str:
    thread.unless_taken(lambda: undone.append("it"))
    return "it"


async def settled() -> None:
    """The I/O loop has done what it was told before."""
    await asyncio.sleep(0)


def test_what_was_made_for_nobody_is_undone() -> None:
    undone: list[str] = []
    call = thread.Call(made(undone))
    thread.io().soon(call.start)
    call.wake.get()
    thread.io().soon(call.abandon)
    thread.wait(settled())
    assert undone == ["it"]


def test_what_was_taken_stays() -> None:
    undone: list[str] = []
    assert thread.wait(made(undone)) == "it"
    assert asyncio.run(awaited(undone)) == "it"
    assert undone == []


async def awaited(undone: list[str]) -> str:
    return await thread.awaitable(made(undone))


async def test_a_cancel_after_the_result_and_before_its_arrival_undoes_it() -> None:
    undone: list[str] = []
    task = asyncio.create_task(awaited(undone))
    await asyncio.sleep(0)
    for _ in range(3):
        thread.wait(settled())  # it has returned over there, and this loop has not turned
    task.cancel()
    await asyncio.wait([task])
    thread.wait(settled())
    assert (task.cancelled(), undone) == (True, ["it"])


def test_a_loop_that_was_closed_meanwhile_takes_nothing() -> None:
    undone: list[str] = []
    release = threading.Event()

    async def late() -> str:
        await asyncio.to_thread(release.wait)
        return await made(undone)

    async def leave() -> None:
        waiting.append(asyncio.create_task(thread.awaitable(late())))
        await asyncio.sleep(0)

    waiting: list[asyncio.Task[str]] = []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave())
    loop.close()
    release.set()
    for _ in range(100):
        thread.wait(asyncio.sleep(0.01))
        if undone:
            break
    assert undone == ["it"]
    waiting[0]._log_destroy_pending = False  # type: ignore[attr-defined]  # as it is meant to be


def test_where_no_asyncio_loop_runs_the_remedy_is_named() -> None:
    """As under trio, whose loop is another."""

    async def ask() -> None:
        await thread.awaitable(ident())

    coroutine = ask()
    with pytest.raises(Misuse, match=r"trio\.to_thread"):
        coroutine.send(None)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_the_loop_lives_on_whatever_is_raised_on_it(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    before = thread.io().ident

    def broken() -> None:
        raise error

    async def task() -> None:
        raise error

    tasks: list[asyncio.Task[None]] = []
    thread.io().soon(broken)
    thread.io().soon(lambda: tasks.append(thread.io().loop.create_task(task())))
    for _ in range(3):
        assert thread.wait(ident()) == before
    assert caplog.text.count("On the I/O loop:") == 2
    with pytest.raises(type(error)):
        thread.wait(task())
    assert thread.wait(ident()) == before
    assert isinstance(tasks[0].exception(), type(error))


def test_a_signal_handler_may_block_while_its_thread_does() -> None:
    seen: list[int] = []

    async def kill() -> str:
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.to_thread(handled.wait, 10)
        return "done"

    def handler(_number: int, _frame: object) -> None:
        seen.append(thread.wait(ident()))
        handled.set()

    handled = threading.Event()
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        for _ in range(20):
            handled.clear()
            assert thread.wait(kill()) == "done"
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [thread.io().ident] * 20


def test_many_threads_at_once() -> None:
    results: list[int] = []

    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    def work(first: int) -> None:
        results.extend(thread.wait(double(first + n)) for n in range(50))

    threads = [threading.Thread(target=work, args=(100 * n,)) for n in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(20)
    assert sorted(results) == sorted(2 * (100 * n + m) for n in range(8) for m in range(50))


def test_a_forked_child_has_an_io_thread_of_its_own() -> None:
    before = thread.wait(ident())
    assert in_a_child(lambda: thread.wait(ident()) == thread.io().ident) == "True"
    assert thread.wait(ident()) == before


def test_who_is_blocked_below_the_callback_that_forks_is_not_blocked_there() -> None:
    """The child goes on in the middle of its parent's wait, which nobody there will end."""
    read, write = os.pipe()

    def pump(call: thread.Call[Any]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            children.append(os.fork())
        if children[0]:
            thread.io().soon(release.set)
        call.wake.get()

    children: list[int] = []
    release = asyncio.Event()

    async def parents() -> str:
        await release.wait()
        return "the parent's"

    thread.pumps[threading.get_ident()] = pump
    answer = "nothing"
    try:
        answer = thread.wait(parents())
    except BaseException as error:  # noqa: BLE001  # it is told of
        answer = f"{type(error).__name__}: {error}"
    finally:
        if children[0] == 0:
            os.write(write, answer.encode())
            os._exit(0)
        del thread.pumps[threading.get_ident()]
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        assert pipe.read().startswith(b"ForkedError: Cannot wait any longer: this location")
    os.waitpid(children[0], 0)
    assert answer == "the parent's"


def test_one_that_came_second_leaves_nothing() -> None:
    """Of two threads that both begin the first thing ever asked, one is not needed."""
    spare = thread.IOThread()
    spare.discard()
    spare._thread.join(10)
    assert spare.loop.is_closed()
