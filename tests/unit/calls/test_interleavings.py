"""What is crossed between threads and loops, in every order: faces, iterators, callbacks, fork."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from unit.calls.schedule import Choices, Queue, Stepped, Taking, every_order, every_switch
from unit.link.wired import Nowhere, Peer

from tfnz_notebook._calls import dispatch
from tfnz_notebook._calls.dispatch import Home, Item, Lane
from tfnz_notebook._calls.pieces import Lines, Pieces
from tfnz_notebook._link import thread
from tfnz_notebook._link.link import Link


class World:
    """The caller's loop and the I/O loop, in one thread."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.caller, self.io = Stepped(), Stepped()
        soon = self.io.call_soon_threadsafe
        patch.setattr(thread, "io", lambda: SimpleNamespace(loop=self.io, soon=soon, ident=-1))

    def rest(self, choices: Choices | None = None) -> None:
        """Both loops until neither has anything to do; in the order chosen."""
        while busy := [loop for loop in (self.caller, self.io) if not loop.waits]:
            at = choices.choose(len(busy)) if choices is not None else 0
            busy[at].step()

    def close(self) -> None:
        for loop in (self.caller, self.io):
            loop.close()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], World]]:
    made: list[World] = []

    def make() -> World:
        while made:
            made.pop().close()
        made.append(World(monkeypatch))
        return made[0]

    yield make
    made[0].close()


# -- awaitable faces


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_what_is_made_is_had_or_undone(world: Callable[[], World], steps: int) -> None:
    """A cancel at any moment: the caller has it, or it was never made, or it is undone once."""
    outcomes: set[tuple[bool, bool, int]] = set()

    def run(choices: Choices) -> None:
        here, made, undone, had = world(), [], [], []

        async def make() -> str:
            for _ in range(steps):
                await asyncio.sleep(0)
            made.append("it")
            thread.unless_taken(lambda: undone.append("it"))
            return "it"

        async def ask() -> None:
            had.append(await thread.awaitable(make()))

        task = here.caller.create_task(ask())
        cancelled = False
        while True:
            busy: list[Callable[[], object]] = [
                loop.step for loop in (here.caller, here.io) if not loop.waits
            ]
            if not busy:
                break
            if not cancelled:
                busy.append(task.cancel)
            chosen = busy[choices.choose(len(busy))]
            cancelled = cancelled or chosen == task.cancel
            chosen()
        assert len(had) + len(undone) == len(made)
        assert task.done()
        outcomes.add((bool(had), bool(made), len(undone)))

    assert every_order(run) > 10
    # Each of them does happen: had; made for nobody and undone; never made.
    assert outcomes == {(True, True, 0), (False, True, 1), (False, False, 0)}


def test_an_error_of_what_was_cancelled_is_nobodys(world: Callable[[], World]) -> None:
    def run(choices: Choices) -> None:
        here, undone = world(), []

        async def fail() -> None:
            thread.unless_taken(lambda: undone.append("it"))
            await asyncio.sleep(0)
            raise KeyError("x")

        async def ask() -> None:
            await thread.awaitable(fail())

        task = here.caller.create_task(ask())
        for _ in range(choices.choose(6)):
            if busy := [loop for loop in (here.caller, here.io) if not loop.waits]:
                busy[choices.choose(len(busy))].step()
        task.cancel()
        here.rest(choices)
        assert task.cancelled() or isinstance(task.exception(), KeyError)
        assert undone == []  # it raised: it has tidied up itself

    every_order(run)


# -- iterating


def opened(here: World, peer: Peer) -> Link:
    link = Link(Nowhere(), connect=peer.connect, session="s")
    opening = here.io.create_task(link.open())
    here.rest()
    opening.result()
    return link


@pytest.mark.parametrize(
    ("cancels", "pieces"), [(1, (b"a\nb", b"\nc\n")), (2, (b"a\n",))], ids=["once", "twice"]
)
def test_no_line_is_lost_or_doubled_whenever_a_wait_for_one_is_cancelled(
    world: Callable[[], World], cancels: int, pieces: tuple[bytes, ...]
) -> None:
    lost = 0

    def run(choices: Choices) -> None:
        nonlocal lost
        here, peer = world(), Peer()
        link = opened(here, peer)
        lines = Lines(Pieces(link, "p", 1, 0), b"\n")
        got: list[bytes] = []
        cut = 0

        async def one() -> None:
            got.append(await anext(lines))

        def ask() -> asyncio.Task[None]:
            return here.caller.create_task(one())

        said, due = list(pieces), b"".join(pieces).splitlines()
        offset = 0
        task = ask()
        while len(got) < len(due):
            if task.done():
                if not task.cancelled():
                    task.result()
                task = ask()
            doing: list[Callable[[], object]] = [
                loop.step for loop in (here.caller, here.io) if not loop.waits
            ]
            asked = peer.asked("reader.open")
            if said and asked:

                def say(number: int = asked[0].body["reader"]) -> None:
                    nonlocal offset
                    asyncio._set_running_loop(here.io)
                    peer.tell("data", said[0], reader=number, offset=offset)
                    asyncio._set_running_loop(None)
                    offset += len(said.pop(0))

                doing.append(say)
            if cut < cancels and asked and (cancels == 1 or not said):
                doing.append(task.cancel)
            assert doing, f"it waits for ever, having {got}"
            chosen = doing[choices.choose(len(doing))]
            if chosen == task.cancel:
                cut += 1
                lost += 1
            chosen()
        assert got == due
        lines.close()  # now, and not whenever it is collected
        here.io.create_task(link.close())
        here.rest()

    runs = every_order(run)
    assert runs > 50
    assert lost > 20


# -- callbacks: the I/O thread pushes, the home's thread runs, between any two lines


FILES = (dispatch.__file__,)


@pytest.fixture
def _queues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "SimpleQueue", Queue)
    monkeypatch.setattr(thread, "SimpleQueue", Queue)


async def nothing() -> None:
    """What a call is about is of no interest here."""


def call() -> thread.Call[None]:
    coroutine = nothing()
    made = thread.Call(coroutine)
    coroutine.close()
    return made


class FakeLoop:
    """A loop that notes what it is to do."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def is_closed(self) -> bool:
        return False

    def call_soon_threadsafe(self, function: Callable[[], None], *, context: object) -> None:
        self.due.append(function)

    def run(self) -> None:
        """All that it was told, as when no cell holds it any more."""
        while self.due:
            self.due.pop(0)()


def done(of: thread.Call[None]) -> None:
    of.done = True
    of.wake.put(None)


@pytest.mark.usefixtures("_queues")
def test_what_comes_while_a_call_blocks_runs_once_in_order() -> None:
    """Pushed to two lanes while their thread waits, ends its wait, or turns its loop again."""

    def make(taking: Taking) -> tuple[dict[str, Callable[[], None]], Callable[[], None]]:
        Queue.taking = taking
        loop = FakeLoop()
        home = Home(loop, 1)  # type: ignore[arg-type]  # all that it needs of one
        one, two = (Lane(home, contextvars.Context()) for _ in range(2))
        got: list[str] = []
        blocking = call()

        def push() -> None:
            one.push(Item(got.append, ("a",)))
            two.push(Item(got.append, ("x",)))
            one.push(Item(got.append, ("b",)))
            done(blocking)
            one.push(Item(got.append, ("c",)))

        def holds() -> None:
            loop.run()  # the cell is over
            assert sorted(got) == ["a", "b", "c", "x"]
            assert [each for each in got if each != "x"] == ["a", "b", "c"]
            assert not (home._ready or one.items or two.items)

        return {"home": lambda: home.pump(blocking), "io": push}, holds

    assert every_switch(FILES, make) > 300


@pytest.mark.usefixtures("_queues")
def test_a_callback_that_blocks_lets_others_run_and_never_its_own_lane() -> None:
    def make(taking: Taking) -> tuple[dict[str, Callable[[], None]], Callable[[], None]]:
        Queue.taking = taking
        loop = FakeLoop()
        home = Home(loop, 1)  # type: ignore[arg-type]  # all that it needs of one
        one, two = (Lane(home, contextvars.Context()) for _ in range(2))
        got: list[str] = []
        outer, inner = call(), call()

        def first() -> None:
            got.append("first begins")
            home.pump(inner)
            got.append("first ends")

        def push() -> None:
            one.push(Item(first, ()))
            one.push(Item(got.append, ("second",)))
            two.push(Item(got.append, ("other",)))
            done(inner)
            done(outer)

        def holds() -> None:
            loop.run()
            assert sorted(got) == ["first begins", "first ends", "other", "second"]
            assert got.index("first ends") < got.index("second")

        return {"home": lambda: home.pump(outer), "io": push}, holds

    assert every_switch(FILES, make) > 300


@pytest.mark.usefixtures("_queues")
def test_two_threads_never_run_one_lane_at_once() -> None:
    """A loop was closed while its thread waits in a call: a dispatcher runs beside it."""

    def make(taking: Taking) -> tuple[dict[str, Callable[[], None]], Callable[[], None]]:
        Queue.taking = taking
        home = Home(FakeLoop(), 1)  # type: ignore[arg-type]  # all that it needs of one
        one = Lane(home, contextvars.Context())
        got: list[int] = []
        inside: list[int] = []

        def callback(number: int) -> None:
            assert not inside
            inside.append(number)
            home.offer(one, 0)  # lines of the code under test, to be switched at
            got.append(number)
            inside.clear()

        for number in range(3):
            one.push(Item(callback, (number,)))

        def turn() -> None:
            while home.turn():
                pass

        def holds() -> None:
            while home.turn():
                pass
            assert got == [0, 1, 2]

        return {"loop's": turn, "dispatcher": turn}, holds

    assert every_switch(FILES, make, back=2) > 100


@pytest.mark.usefixtures("_queues")
def test_a_signal_handler_may_block_while_a_call_does() -> None:
    """What came for the handler's call, at its very end, the call below it is told of."""

    class Interrupted(Queue):
        def __init__(self, handler: Callable[[], None]) -> None:
            super().__init__()
            self.handlers = [handler]

        def get(self) -> None:
            while self.handlers:
                self.handlers.pop()()
            super().get()

    def make(taking: Taking) -> tuple[dict[str, Callable[[], None]], Callable[[], None]]:
        Queue.taking = taking
        home = Home(FakeLoop(), 1)  # type: ignore[arg-type]  # all that it needs of one
        one = Lane(home, contextvars.Context())
        outer, inner = call(), call()
        interrupted = Interrupted(lambda: home.pump(inner))
        outer.wake = interrupted  # type: ignore[assignment]  # all that is needed of one

        def push() -> None:
            done(inner)
            one.push(Item(lambda: done(outer), ()))  # what the outer call waits for

        return {"home": lambda: home.pump(outer), "io": push}, lambda: None

    assert every_switch(FILES, make, back=1) > 300


def test_a_signal_handler_may_block_at_any_line_of_it() -> None:
    """It calls, is answered, and runs callbacks meanwhile; what it interrupts goes on."""
    lines = 1
    at = 0
    while at < lines:
        loop = FakeLoop()
        home = Home(loop, 1)  # type: ignore[arg-type]  # all that it needs of one
        one, two = (Lane(home, contextvars.Context()) for _ in range(2))
        got: list[str] = []
        outer = call()

        def handler(home: Home = home, one: Lane = one, got: list[str] = got) -> None:
            one.push(Item(got.append, ("while handled",)))  # as the I/O thread does
            inner = call()
            done(inner)
            home.pump(inner)

        for lane, text in ((one, "a"), (two, "x"), (one, "b")):
            lane.push(Item(got.append, (text,)))
        done(outer)
        lines = interrupted(lambda home=home, outer=outer: home.pump(outer), at, handler)
        loop.run()
        assert sorted(got) == ["a", "b", "while handled", "x"], at
        assert [text for text in got if text in "ab"] == ["a", "b"], at
        at += 1
    assert at > 40


def interrupted(act: Callable[[], None], at: int, handler: Callable[[], None]) -> int:
    """Call the handler before the line of that number; how many there were."""
    import sys

    seen = 0

    def trace(frame: Any, event: str, _argument: object) -> Any:
        nonlocal seen
        if frame.f_code.co_filename not in FILES:
            return None
        if event == "line":
            if seen == at:
                handler()
            seen += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return seen


# -- blocking faces


def test_an_interrupt_at_any_line_of_a_wait_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It raises; what was made is had by nobody, and undone; nothing is left of the call."""
    files = (thread.__file__,)
    had = 0
    for at in range(200):
        undone: list[str] = []
        made: list[str] = []
        seen = 0

        async def make(made: list[str] = made, undone: list[str] = undone) -> str:
            made.append("it")
            thread.unless_taken(lambda: undone.append("it"))
            return "it"

        def trace(frame: Any, event: str, _argument: object, at: int = at) -> Any:
            nonlocal seen
            if frame.f_code.co_filename not in files:
                return None
            if event == "line":
                seen += 1
                if seen == at:
                    raise KeyboardInterrupt
            return trace

        import sys

        coroutine = make()
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            thread.wait(coroutine)
            had += 1
            interrupted = False
        except KeyboardInterrupt:
            interrupted = True
        finally:
            sys.settrace(before)
        coroutine.close()
        thread.wait(asyncio.sleep(0))
        thread.wait(asyncio.sleep(0))
        if not interrupted and at:
            break
        assert undone == (made if interrupted else []), at
    assert had == 2
    assert threading.current_thread() is threading.main_thread()
