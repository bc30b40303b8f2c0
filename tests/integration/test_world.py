"""The tests' own worlds: one that could not be closed is ended with the run that it was made in."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from integration.world import World, alive

END_RUN = Path(__file__).resolve().parents[2] / ".ci" / "end-run"
KILLED = """
import os, sys, time
from integration.world import World
world = World()
os.environ.update(world.settings)
from tfnz_notebook.location import Location
box = Location("host").best_node().spawn_container("debian", sleep=True).wait_until_ready()
print(world.home, world.agents()["host"], flush=True)
time.sleep(600)
"""


@pytest.mark.host
def test_what_a_killed_test_left_ends_with_the_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(tempfile.mkdtemp(prefix="tfnz-"))
    monkeypatch.setenv("TFNZ_TEST_WORLDS", str(run / "worlds"))
    (run / "worlds").mkdir()
    closed = World()
    assert not closed.close()
    test = subprocess.Popen(
        [sys.executable, "-c", KILLED],
        stdout=subprocess.PIPE,
        text=True,
        env=world.environment(PYTHONPATH=os.pathsep.join(filter(None, sys.path))),
    )
    assert test.stdout is not None
    with test.stdout as told:
        home, agent = told.readline().split()
    test.send_signal(signal.SIGKILL)
    test.wait(10)
    assert alive(int(agent))
    ended = subprocess.run([END_RUN, run], capture_output=True, text=True, timeout=60, check=True)
    assert f"pid {agent}" in ended.stderr
    assert not alive(int(agent))
    assert not Path(home).exists()
    assert not run.exists()
