"""Views through desk, relay and agent: every byte, or the newest; and who waits for whom."""

import hashlib
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from integration.page import Page
from integration.polling import until

from tfnz_notebook.container import Container
from tfnz_notebook.location import Location

# The agent's logs are what they see, wherever those come from.
pytestmark = pytest.mark.engines("host", "podman", anywhere=True)
SLOW = (
    "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i; "
    "[ $((i % 10)) = 0 ] && sleep 0.005; done"
)
HASHED = (
    "import sys, hashlib\n"
    "digest = hashlib.sha256()\n"
    "for number in range({blocks}):\n"
    "    piece = number.to_bytes(8, 'big') * 8192\n"
    "    digest.update(piece); sys.stdout.buffer.write(piece)\n"
    "sys.stdout.flush(); print(digest.hexdigest(), file=sys.stderr)\n"
)
#: Where a view begins whatever was written before it opened: replay is bounded, ``from`` is not.
BEGINNING: dict[str, Any] = {"from": {"1": 0, "2": 0}}


@pytest.fixture
def box(location: Location) -> Container:
    return location.best_node().spawn_container("debian", sleep=True).wait_until_ready()


def test_a_view_sees_everything_from_the_beginning(box: Container) -> None:
    process = box.spawn_process(["python3", "-c", HASHED.format(blocks=200)])
    view = Page(process).open(mode="all", window=100_000, **BEGINNING)
    view.until(lambda: 1 in view.eof and 2 in view.eof)
    assert view.skipped == 0
    assert view.eof[1] == len(view.streams[1]) == 200 * 65536
    digest = hashlib.sha256(view.streams[1]).hexdigest()
    assert view.streams[2].decode().strip() == digest
    view.until(lambda: view.info["state"] == "ended")
    assert (view.info["returncode"], view.info["container"]) == (0, "box")
    assert 0 <= view.info["ran"] < 60


def test_a_view_that_tails_skips_and_ends_with_the_newest(box: Container) -> None:
    process = box.spawn_process(["python3", "-c", HASHED.format(blocks=3000)])
    page = Page(process)
    view = page.open(mode="tail", keep=50_000, window=20_000)
    view.window = 20_000
    assert process.wait(60) == 0
    view.until(lambda: 1 in view.eof)
    assert view.eof[1] == 3000 * 65536
    assert view.skipped > 0
    assert bytes(view.streams[1][-20_000:]) == process.log()[-20_000:]
    late = page.open(mode="tail", keep=1000, window=5000)
    late.until(lambda: 1 in late.eof)
    assert late.opened["streams"][0] == [1, 3000 * 65536 - 1000, 3000 * 65536]
    assert len(late.streams[1]) == 1000


def test_a_view_that_takes_nothing_holds_a_terminal_back_and_a_pipe_not(box: Container) -> None:
    loud = "i=0; while [ $i -lt 2000000 ]; do i=$((i+1)); echo $i; done"
    held = box.spawn_process(loud, tty=True)
    view = Page(held).open(takes=False, mode="all", window=10_000)
    view.until(lambda: view.offset.get(1, 0) >= 10_000)
    size = 0

    def still() -> bool:
        nonlocal size
        before, size = size, len(held.log())
        return size == before

    until(still, 20, "it is held back", every=0.3)
    assert 10_000 <= size < 10_000 + (64 << 10) + (2 * 128 << 10)
    view.say("close")
    until(lambda: len(held.log()) > size, 20, "it goes on when the view has gone")
    held.destroy()
    free = box.spawn_process("yes | head -c 30000000")
    view = Page(free).open(takes=False, mode="tail", window=10_000)
    assert free.wait(30) == 0
    assert len(view.streams[1]) <= 10_000, "it may have begun anywhere, and gave no more credit"


def test_a_page_that_vanished_holds_nobody_back_for_long(
    box: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfnz_notebook._wire.view.PATIENCE", 0.5)
    process = box.spawn_process("yes | head -c 5000000", tty=True)
    view = Page(process).open(takes=False, mode="all", window=10_000)
    view.until(lambda: view.closed == "slow")
    assert process.wait(30) == 0


def test_going_on_elsewhere_loses_nothing(box: Container) -> None:
    process = box.spawn_process(["python3", "-c", HASHED.format(blocks=400)])
    page = Page(process)
    first = page.open(mode="all", window=50_000, **BEGINNING)
    first.until(lambda: first.offset.get(1, 0) > 3_000_000)
    start = first.offset[1]
    second = page.open(mode="all", window=50_000, **{"from": {"1": start, "2": 0}})
    first.say("close")
    second.until(lambda: 1 in second.eof)
    whole = bytes(first.streams[1][:start] + second.streams[1])
    assert hashlib.sha256(whole).hexdigest() == process.stderr.decode().strip()


def test_typing_signals_and_sizes(box: Container) -> None:
    process = box.spawn_process(
        "stty size; read line; echo got $line; stty size; sleep 100", tty=True
    )
    page = Page(process)
    view = page.open(mode="all", rows=30, columns=100)
    view.until(lambda: view.info.get("rows") == 30)
    view.say("resize", rows=40, columns=120)
    view.until(lambda: view.info["columns"] == 120)
    view.type(b"hello\n")
    view.until(lambda: b"got hello\r\n40 120" in view.streams[1])
    view.until(lambda: view.acks == [6])
    view.say("signal", signal="NOSUCH")
    view.until(lambda: view.errors)
    assert "NOSUCH" in view.errors[0]
    view.say("signal", signal="KILL")
    view.until(lambda: view.info["state"] == "ended")
    assert view.info["returncode"] == -signal.SIGKILL


def test_a_destroyed_container_closes_its_views(box: Container) -> None:
    process = box.spawn_process("sleep 100")
    page = Page(process)
    view = page.open()
    view.until(lambda: view.opened)
    box.destroy()
    view.until(lambda: view.info["state"] == "ended")
    late = page.open()
    late.until(lambda: late.closed == "gone")


def test_an_agent_that_is_killed_is_a_pause(own_world: Callable[..., Any], where: str) -> None:
    world = own_world()
    with Location(where) as location:
        box = location.best_node().spawn_container("debian", sleep=True).wait_until_ready()
        process = box.spawn_process(SLOW)
        view = Page(process).open(mode="all", keep=1 << 30)
        view.until(lambda: view.offset.get(1, 0) > 2000)
        world.kill_agent(location.engine)
        view.until(lambda: 1 in view.eof, 60)
        assert bytes(view.streams[1]) == b"".join(b"line %d\n" % n for n in range(1, 3001))


def test_nobody_looks_and_nothing_is_asked(box: Container) -> None:
    process = box.spawn_process("while :; do echo x; sleep 0.01; done")
    before = set(process._link._sinks)
    page = Page(process)
    view = page.open()
    view.until(lambda: view.offset.get(1, 0) > 10)
    view.say("close")
    until(lambda: set(process._link._sinks) <= before, 10, "its readers are gone")
    heard = len(page.heads)
    time.sleep(0.2)  # long enough for twenty lines
    assert len(page.heads) == heard
    process.destroy()
