"""The agent's wall clock jumps by a day, forth and back: nothing that waits or ends notices."""

import os
import time
from pathlib import Path

import pytest
from faults.check import Stream
from faults.conftest import Stage
from faults.scene import Scene, command
from integration.polling import Clock, until

from tfnz_notebook.location import Location

pytestmark = pytest.mark.faults
DAY = 86400
HERE = Path(__file__).parent


@pytest.fixture
def turned(stage: Stage, where: str, tmp_path: Path) -> tuple[Scene, Path]:
    """A scene whose agent's clock shows what a file says; that file."""
    paths = [str(HERE / "clock"), *filter(None, [os.environ.get("PYTHONPATH")])]
    clock = tmp_path / "clock"
    clock.write_text("0")
    settings = {"PYTHONPATH": os.pathsep.join(paths), "TFNZ_TEST_CLOCK": str(clock)}
    (scene,) = stage(where, TFNZ_SESSION_GRACE="1", **settings)
    return scene, clock


def test_the_clock_jumps(turned: tuple[Scene, Path]) -> None:
    scene, clock = turned
    own = scene.location()
    box = scene.box(own)
    lasting, brief = Location(scene.where, session="hour", ttl=3600), None
    kept = scene.box(lasting)
    lasting.disconnect()
    stream = Stream(1, lines=1)
    ticker = box.spawn_process(
        command(1, lines=1, rate=12800, code=6),
        data_callback=lambda process, data: stream.feed(data),
    )
    until(lambda: stream.size, 20, "lines come")
    for jump in (DAY, -DAY):
        clock.write_text(str(jump))
        created = scene.box(own)
        assert abs(created._info["created"] - time.time() - jump) < 60, "its clock was turned"
        brief = Location(scene.where, session=f"brief{jump}", ttl=1)
        gone = scene.box(brief).id
        with Clock() as waited:
            late = box.spawn_process("sleep 1000", timeout=1)
            napped = box.spawn_process("sleep 0.5; exit 2")
            clock.write_text(str(-jump))  # two days away from when these began
            assert late.wait(60) == -15
        assert late.timed_out
        assert 1 <= waited.seconds < 30
        assert napped.wait(60) == 2
        until(lambda p=napped: p._info.get("ran") is not None, 10, "it ran for some time")
        assert 0.3 < napped._info["ran"] < 60
        brief.disconnect()
        until(lambda gone=gone: gone not in scene.world.holds(scene.where), 30, "its ttl is over")
        assert {box.id, kept.id} <= scene.world.holds(scene.where), "whose time has not come"
        created.destroy()
        before = scene.world.kill_agent(scene.where)  # the next one adopts at another time
        assert box.run_process("echo adopted").stdout == b"adopted\n"
        assert scene.agent != before
    size = stream.size
    until(lambda: stream.size > size, 20, "lines still come")
    ticker.signal("TERM")
    assert ticker.wait(30) == 6
    stream.complete()
    assert ticker._info["ran"] is None or 0 <= ticker._info["ran"] < 120
    again = Location(scene.where, session="hour")
    again.container(kept.id).destroy()
    again.disconnect()
    box.destroy()
