"""Across to the I/O thread and back: results, errors, interrupts, cancellation, forks."""

import asyncio
import contextvars
import os
import signal
import threading
import warnings
from typing import Any

import pytest

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
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: forking with threads
        child = os.fork()
    if child == 0:
        answer: Any = b"no"
        try:
            answer = b"ok" if thread.wait(ident()) == thread.io().ident else b"other"
        finally:
            os.write(write, answer)
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        assert pipe.read() == b"ok"
    assert thread.wait(ident()) == before
