"""The connection between agent and guest breaks, mid-frame, again and again, both ways."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faults.check import Stream
from faults.cut import Cutter
from faults.scene import Scene, command, read
from integration.polling import until

pytestmark = pytest.mark.faults
#: An agent pauses, longer each time, between connections that break soon; so not many.
CUTS = 4
SENT = 200


def directory(scene: Scene, container: str) -> Path:
    """Where that container's guest listens."""
    (found,) = scene.world.runtime.glob(f"guests/*/{container}")
    return found


def test_frames_that_are_cut_short(scene: Scene) -> None:
    box = scene.box()
    argv = [str(scene.writer), "seed=50", f"blocks={SENT}"]
    typed = subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout
    echoed, fast, slow = Stream(50), Stream(1), Stream(2, lines=1)
    with Cutter(directory(scene, box.id), 4 << 20, 12 << 20) as cutter:
        scene.world.kill_agent(scene.where)  # the next one connects through the cutter
        cat = box.spawn_process("cat")
        writers = [
            box.spawn_process(command(1, blocks=700, code=1)),
            box.spawn_process(command(2, lines=1, rate=12800, blocks=400, code=2)),
        ]
        with ThreadPoolExecutor(4) as pool:
            work = [
                pool.submit(read, writers[0], fast),
                pool.submit(read, writers[1], slow),
                pool.submit(read, cat, echoed),
            ]
            for start in range(0, len(typed), 100_000):
                cat.stdin(typed[start : start + 100_000])
            cat.close_stdin()
            assert [each.wait(100) for each in writers] == [1, 2]
            assert cat.wait(60) == 0
            for each in work:
                each.result(60)
        assert cutter.cuts >= CUTS, cutter.cuts
    for stream in (echoed, fast, slow):
        stream.complete()
    until(lambda: box.run_process("echo by itself").stdout == b"by itself\n", 20, "it goes on")
