"""Containers at their limits, and processes that do not want to end, beside one that writes."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from faults.check import Stream
from faults.scene import Scene, command
from integration.polling import until

from tfnz_notebook.container import Container
from tfnz_notebook.errors import OutOfMemory, SpawnFailed

pytestmark = pytest.mark.faults
EAT = ["python3", "-c", "x = bytearray(300 << 20)"]
#: Ignores what asks it to end, leaves its session and its parent, forks until nothing more goes,
#: and when one of it dies the others fork again.
WEED = """
import os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    signal.signal(number, signal.SIG_IGN)
if os.fork():
    time.sleep(1000)
os.setsid()
if os.fork():
    os._exit(0)
os.environ.clear()
full = False
while True:
    try:
        if os.fork() == 0:
            os.setsid()
    except OSError:
        if not full:
            full = True
            os.write(1, b"full\\n")
        time.sleep(0.05)
"""


@contextmanager
def writing(box: Container) -> Iterator[None]:
    """A process writes all the while; none of its lines may be missing at the end."""
    stream = Stream(3, lines=1)
    ticker = box.spawn_process(
        command(3, lines=1, rate=12800, code=9),
        data_callback=lambda process, data: stream.feed(data),
    )
    until(lambda: stream.size, 30, "lines come")
    yield
    size = stream.size
    until(lambda: stream.size > size, 30, "they still come")
    ticker.signal("TERM")
    assert ticker.wait(30) == 9
    stream.complete()


def test_memory_is_exhausted(scene: Scene) -> None:
    box = scene.box(image="debian", memory="96m")
    with writing(box):
        for _ in range(3):
            eater = box.spawn_process(EAT)
            assert eater.wait(60) == -9
            assert eater.oom, "killed for the limit, and it says so"
        assert box.run_process("echo alive").stdout == b"alive\n"
        assert box.stats().memory_limit == 96 << 20
    main = scene.locations[0].best_node().spawn_container("debian", command=EAT, memory="96m")
    scene.watch.look()
    until(lambda: main.state in ("exited", "failed"), 60, "it has ended")
    with pytest.raises(OutOfMemory, match=r"^Cannot .*memory limit"):
        main.wait_until_ready()


@pytest.mark.timeout(180)
def test_processes_are_exhausted_by_one_that_does_not_want_to_end(scene: Scene) -> None:
    box = scene.box(image="debian", pids=120)
    with writing(box):
        before = box.stats().pids or 0
        weed = box.spawn_process(["python3", "-c", WEED])
        until(lambda: b"full" in weed.stdout, 60, "it has forked until its limit")
        assert (box.stats().pids or 0) >= 115, "the guest answers"
        with pytest.raises(SpawnFailed, match=r"^Cannot "):
            box.spawn_process(["/bin/true"])
        assert box.destroy_process(weed, grace=0.5) == 0, "no survivors"
        assert weed.returncode == -9
        until(lambda: (box.stats().pids or 0) <= before + 1, 20, "all of it is gone")
        assert box.run_process("echo room again").stdout == b"room again\n"
    box.destroy()
