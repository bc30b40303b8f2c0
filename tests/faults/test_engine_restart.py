"""The Docker daemon (with live-restore) and the Podman service stop and start: a set of our own."""

import os
import shlex
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faults.check import Stream
from faults.scene import Scene, command, read
from integration.polling import until

from tfnz_notebook.errors import LocationError

pytestmark = [pytest.mark.faults, pytest.mark.engines("podman", "docker", each=True)]
CI = Path(__file__).parents[2] / ".ci"
NAME = "tfnz-restart"


def run(script: str, *arguments: str) -> str:
    """Run one of .ci's scripts; what it printed."""
    # Not in the test's world: what is of that world must be gone before the engines are.
    mine = ("TFNZ_RUNTIME", "TFNZ_STATE", "TFNZ_CONFIG")
    environment = {key: value for key, value in os.environ.items() if key not in mine}
    done = subprocess.run(
        [CI / script, *arguments],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def services() -> Iterator[None]:
    """Engines that nobody else uses, with busybox in them; this process's engines meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFNZ_SERVICES", NAME)
        patch.setenv("TFNZ_LIVE_RESTORE", "yes")
        try:
            run("services", "start")
            for word in shlex.split(run("services", "env")):
                name, is_setting, value = word.partition("=")
                if is_setting:
                    patch.setenv(name, value)
            run("images", "make", "busybox")
            yield
        finally:
            run("services", "purge")


@pytest.fixture
def lonely(services: None, scene: Scene) -> Scene:
    """A scene on those engines."""
    assert NAME in os.environ["DOCKER_HOST"]
    return scene


@pytest.mark.timeout(240)
def test_an_engine_stops_and_starts(lonely: Scene) -> None:
    scene = lonely
    box = scene.box()
    node = scene.locations[0].best_node()
    ticks, fast = Stream(1, lines=1), Stream(2)
    ticker = box.spawn_process(
        command(1, lines=1, rate=12800, code=5),
        data_callback=lambda process, data: ticks.feed(data),
    )
    writer = box.spawn_process(command(2, rate=4e6, code=6))
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read, writer, fast)
        for round_ in ("agent lives", "agent is killed"):
            until(lambda: ticks.size and fast.size, 30, "lines come")
            run("services", "halt", scene.where)
            if round_ == "agent lives":
                size = ticks.size
                until(lambda size=size: ticks.size > size, 30, "they come without the engine")
                assert box.run_process("echo inside; exit 4") == (b"inside\n", b"", 4)
                with pytest.raises(LocationError, match=r"^Cannot .*\. .+"):
                    node.spawn_container("busybox", sleep=True).wait_until_ready(timeout=60)
            else:
                before = scene.world.kill_agent(scene.where)
            run("services", "start")
            if round_ == "agent is killed":
                until(lambda before=before: scene.agent not in (0, before), 60, "a new agent")
            size = ticks.size
            until(lambda size=size: ticks.size > size, 60, "lines come again")
            assert box.state == "running"
            other = scene.box(scene.locations[0])
            assert other.run_process("echo new").stdout == b"new\n"
            other.destroy()
        for process, code in ((ticker, 5), (writer, 6)):
            process.signal("TERM")
            assert process.wait(60) == code
        reading.result(60)
    ticks.complete()
    fast.complete()
    box.destroy()
