"""Callbacks: in order, one at a time, where they belong, whatever they do."""

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tfnz_notebook._calls import dispatch
from tfnz_notebook._calls.dispatch import Item, Lane
from tfnz_notebook._link import thread
from tfnz_notebook.errors import Misuse

flag: contextvars.ContextVar[str] = contextvars.ContextVar("flag", default="unset")


def until(met: Callable[[], Any], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.001)


NOWHERE = thread.Caller(None, 0)


def lane(caller: thread.Caller = NOWHERE, mode: dispatch.Mode | None = None) -> Lane:
    return Lane(dispatch.home(mode, caller), contextvars.copy_context())


def here() -> thread.Caller:
    return thread.Caller(asyncio.get_running_loop(), threading.get_ident())


def push(to: Lane, function: Callable[..., object] | None, *given: Any) -> None:
    thread.io().soon(to.push, Item(function, given))


async def nothing() -> None:
    """A blocking call that is done at once."""


async def pushed(what: list[tuple[Lane, Callable[..., object]]]) -> None:
    """A blocking call during which callbacks come in."""
    for to, function in what:
        to.push(Item(function, ()))


# -- a dispatcher thread


def test_without_a_loop_they_run_in_order_on_one_other_thread() -> None:
    got: list[tuple[int, int]] = []
    one = lane()
    for number in range(100):
        push(one, lambda n: got.append((n, threading.get_ident())), number)
    until(lambda: len(got) == 100)
    assert [n for n, _ in got] == list(range(100))
    assert {ident for _, ident in got}.isdisjoint({threading.get_ident(), thread.io().ident})
    assert len({ident for _, ident in got}) == 1


def test_output_that_waits_is_joined_and_counted() -> None:
    gate = threading.Event()
    got: list[bytes] = []
    ran: list[int] = []
    one = lane()
    push(one, gate.wait)

    def feed() -> None:
        for _ in range(10):
            one.push(Item(got_data, ("process",), b"x" * 1000, ran.append))
        one.push(Item(lambda: got.append(b"end"), ()))
        one.push(Item(got_data, ("process",), b"y", ran.append))

    def got_data(process: object, data: bytes) -> None:
        assert process == "process"
        got.append(data)

    thread.io().soon(feed)
    thread.wait(nothing())
    gate.set()
    until(lambda: len(got) == 3)
    assert got == [b"x" * 10000, b"end", b"y"]
    until(lambda: sum(ran) == 10001)


def test_pieces_are_joined_up_to_a_limit() -> None:
    gate = threading.Event()
    sizes: list[int] = []
    one = lane()
    push(one, gate.wait)

    def take(data: bytes) -> None:
        sizes.append(len(data))

    def feed() -> None:
        for _ in range(20):
            one.push(Item(take, (), bytes(dispatch.JOIN // 4)))

    thread.io().soon(feed)
    thread.wait(nothing())
    gate.set()
    until(lambda: sum(sizes) == 5 * dispatch.JOIN)
    assert sizes == [dispatch.JOIN] * 5


def test_an_error_is_printed_once_and_the_next_one_runs(capsys: pytest.CaptureFixture[str]) -> None:
    got: list[int] = []
    one = lane()

    def broken() -> None:
        raise ZeroDivisionError("in a callback")

    push(one, broken)
    push(one, got.append, 1)
    until(lambda: got)
    said = capsys.readouterr().err
    assert said.count("ZeroDivisionError: in a callback") == 1
    assert "in broken" in said
    assert "_link" not in said  # the user's own frames only


ANYTHING = (
    SystemExit("out of a callback"),
    KeyboardInterrupt("out of a callback"),
    GeneratorExit("out of a callback"),
    asyncio.CancelledError("out of a callback"),
    BaseException("out of a callback"),
)


@pytest.mark.parametrize("error", ANYTHING, ids=lambda error: type(error).__name__)
def test_whatever_one_raises_is_reported_and_the_dispatcher_goes_on(
    error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    got: list[int] = []
    one, two = lane(), lane()

    def broken() -> None:
        raise error

    push(one, broken)
    push(one, got.append, 1)
    push(two, got.append, 2)
    until(lambda: len(got) == 2)
    assert sorted(got) == [1, 2]
    assert f"{type(error).__name__}: out of a callback" in capsys.readouterr().err


@pytest.mark.parametrize("error", ANYTHING, ids=lambda error: type(error).__name__)
async def test_whatever_one_raises_on_a_loop_the_loop_goes_on(
    error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    done = asyncio.Event()
    one = lane(here())

    def broken() -> None:
        raise error

    push(one, broken)
    push(one, done.set)
    await done.wait()
    assert f"{type(error).__name__}: out of a callback" in capsys.readouterr().err


async def test_an_exit_does_not_reach_who_waits(capsys: pytest.CaptureFixture[str]) -> None:
    """As sys.exit() in a callback, while a notebook's cell waits for its process."""
    one = lane(here())

    def leave() -> None:
        raise SystemExit(3)

    async def long() -> str:
        one.push(Item(leave, (), None, lambda _: thread.io().soon(left.set)))
        await left.wait()
        return "done"

    left = asyncio.Event()
    assert thread.wait(long()) == "done"
    told = asyncio.Event()
    push(one, told.set)
    await told.wait()  # what came before has been reported
    assert "SystemExit: 3" in capsys.readouterr().err


def test_an_error_that_cannot_be_shown_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def write(self, text: str) -> None:
            raise ValueError("closed")

    got: list[int] = []
    one = lane()

    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("sys.stderr", Closed())
    push(one, broken)
    push(one, got.append, 1)
    until(lambda: got)


def test_they_run_in_the_context_of_who_made_the_lane() -> None:
    token = flag.set("spawner")
    one = lane()
    flag.reset(token)
    got: list[str] = []
    push(one, lambda: got.append(flag.get()))
    push(one, lambda: flag.set("changed"))
    push(one, lambda: got.append(flag.get()))
    until(lambda: len(got) == 2)
    assert got == ["spawner", "changed"]
    assert flag.get() == "unset"


def test_one_that_blocks_lets_others_run_but_not_its_own() -> None:
    got: list[str] = []
    one, two = lane(), lane()

    def first() -> None:
        got.append("first begins")
        push(one, got.append, "second")
        push(two, got.append, "other")
        until_pumped()
        got.append("first ends")

    def until_pumped() -> None:
        deadline = time.monotonic() + 10
        while "other" not in got and time.monotonic() < deadline:
            thread.wait(nothing())

    push(one, first)
    until(lambda: "second" in got)
    assert got == ["first begins", "other", "first ends", "second"]


# -- a loop


async def test_on_a_loop_they_run_there_while_it_is_free() -> None:
    got: list[int] = []
    done = asyncio.Event()
    one = lane(here())
    for number in range(20):
        push(one, got.append, number)
    push(one, done.set)
    await done.wait()
    assert got == list(range(20))


async def test_while_it_is_busy_they_wait_for_a_blocking_call() -> None:
    got: list[int] = []
    one = lane(here())
    for number in range(5):
        push(one, got.append, number)
    until(lambda: len(one.items) == 5)
    assert not got
    thread.wait(nothing())
    assert 0 in got  # those that waited run, at least the first of each lane
    for _ in range(5):
        thread.wait(nothing())
    assert got == list(range(5))


async def test_a_blocking_call_runs_what_comes_meanwhile() -> None:
    seen: list[str] = []
    one = lane(here())
    release = asyncio.Event()

    async def long() -> str:
        one.push(Item(lambda: seen.append("a"), ()))
        one.push(Item(lambda: thread.io().soon(release.set), ()))
        await release.wait()
        return "done"

    assert thread.wait(long()) == "done"
    assert seen == ["a"]


async def test_nested_blocking_calls_pump_too() -> None:
    seen: list[str] = []
    one, two = lane(here()), lane(here())
    outer, inner = asyncio.Event(), asyncio.Event()

    async def wait_for(event: asyncio.Event, *items: tuple[Lane, Callable[[], object]]) -> None:
        for to, function in items:
            to.push(Item(function, ()))
        await event.wait()

    def first() -> None:
        seen.append("first")
        thread.io().soon(outer.set)  # the outer call is over while the inner one still waits
        thread.wait(wait_for(inner, (two, second)))
        seen.append("first ends")

    def second() -> None:
        seen.append("second")
        thread.io().soon(inner.set)

    thread.wait(wait_for(outer, (one, first)))
    assert seen == ["first", "second", "first ends"]


async def test_an_interrupt_in_a_callback_goes_through_and_the_lane_goes_on() -> None:
    got: list[int] = []
    one = lane(here())

    def interrupted() -> None:
        raise KeyboardInterrupt

    push(one, interrupted)
    push(one, got.append, 1)
    until(lambda: len(one.items) == 2)
    with pytest.raises(KeyboardInterrupt):
        thread.wait(nothing())
    for _ in range(3):
        thread.wait(nothing())
    assert got == [1]


async def test_a_wait_knows_the_callbacks_that_it_is_made_in() -> None:
    """Those above it on the stack it cannot wait for; the ones that run below it, it can."""
    one, two = lane(here()), lane(here())
    seen: list[tuple[object, ...]] = []
    over = asyncio.Event()

    async def look() -> None:
        seen.append(thread.caller().inside)
        over.set()

    async def call(of: Lane, function: Callable[..., object]) -> None:
        of.push(Item(function, ()))
        await over.wait()

    def first() -> None:
        thread.wait(call(two, second))

    def second() -> None:
        thread.wait(look())

    async def wait_for_both() -> None:
        seen.append(thread.caller().inside)
        await call(one, first)

    thread.wait(wait_for_both())
    thread.wait(look())
    assert seen == [(), (one, two), ()]


async def test_thread_mode_on_a_loop_needs_no_pumping() -> None:
    got: list[int] = []
    one = lane(here(), "thread")
    push(one, got.append, 1)
    until(lambda: got)  # blocks the loop


def test_what_was_told_to_a_loop_that_was_closed_runs_on_the_thread() -> None:
    got: list[int] = []

    async def make() -> Lane:
        one = lane(here())
        push(one, got.append, 1)
        until(lambda: one.items)  # it is scheduled, and this loop will not turn again
        asyncio.get_running_loop().stop()
        return one

    loop = asyncio.new_event_loop()
    task = loop.create_task(make())
    loop.run_forever()
    one = task.result()
    loop.close()
    push(one, got.append, 2)
    until(lambda: len(got) == 2)
    assert got == [1, 2]


def test_after_its_loop_is_closed_they_run_on_the_thread() -> None:
    async def make() -> Lane:
        return lane(here())

    one = asyncio.run(make())
    got: list[int] = []
    push(one, lambda: got.append(threading.get_ident()))
    until(lambda: got)
    assert got != [threading.get_ident()]


def test_loop_mode_needs_a_loop() -> None:
    with pytest.raises(Misuse, match="none runs in this thread"):
        lane(mode="loop")


async def test_a_lane_never_overlaps_itself_however_it_is_pumped() -> None:
    depth, deepest, got = 0, 0, []
    one = lane(here())

    def callback(number: int) -> None:
        nonlocal depth, deepest
        depth += 1
        deepest = max(deepest, depth)
        thread.wait(nothing())
        got.append(number)
        depth -= 1

    for number in range(50):
        push(one, callback, number)
    deadline = time.monotonic() + 10
    while len(got) < 50 and time.monotonic() < deadline:
        thread.wait(nothing())
        await asyncio.sleep(0)
    assert got == list(range(50))
    assert deepest == 1


async def test_who_is_blocked_already_runs_the_first_callbacks_of_its_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As of a first ``run_process(data_callback=...)``: it waits for what it has made itself."""
    looked = threading.Event()

    class Pumps(dict[int, Any]):
        def get(self, *asked: Any) -> Any:
            found = super().get(*asked)
            if threading.get_ident() == caller.thread:
                looked.set()  # and found none: it will block
            return found

    caller = here()
    for module in (thread, dispatch):
        monkeypatch.setattr(module, "pumps", Pumps())
    got: list[int] = []

    async def call() -> None:
        while not looked.is_set():
            await asyncio.sleep(0)
        ran = asyncio.Event()
        one = lane(caller)
        one.push(Item(got.append, (1,), None, lambda _: thread.io().soon(ran.set)))
        async with asyncio.timeout(10):
            await ran.wait()

    thread.wait(call())
    assert got == [1]
