"""The disk under the spools fills up: processes wait, nothing is lost, all else goes on."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.check import Stream
from faults.conftest import Stage
from faults.processes import MIB, memory
from faults.scene import Scene, command
from integration.polling import until

pytestmark = pytest.mark.faults
#: The disk, and what else is on it.
SIZE, FILLER = 120 * MIB, 96 * MIB


@pytest.fixture
def small(stage: Stage, where: str, tmp_path: Path) -> Iterator[Scene]:
    """A scene whose agent keeps its spools on a disk with room for 24 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    options = f"size={SIZE},mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tfnz-small", disk], check=True)
    try:
        (scene,) = stage(where, TFNZ_STATE=str(disk))
        scene.world.state = disk
        (disk / "filler").write_bytes(bytes(FILLER))
        yield scene
        stage.close()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_full_disk_holds_processes_back(small: Scene) -> None:
    box = small.box()
    stuck = box.spawn_process(command(1, blocks=640, code=4))  # 40 MiB
    tail = box.spawn_process(command(2, blocks=3200, code=5), retain="tail")  # 200 MiB
    size = 0

    def still() -> bool:
        nonlocal size
        before, size = size, len(stuck.log())
        return size == before > 4 * MIB

    until(still, 60, "it is held back", every=0.5)
    assert stuck.returncode is None
    assert box.run_process("echo small outputs need no disk; exit 3") == (
        b"small outputs need no disk\n",
        b"",
        3,
    )
    free = os.statvfs(small.world.state)
    assert free.f_bavail * free.f_frsize < 2 * MIB
    assert memory(small.agent) < 200 * MIB
    tail.destroy(grace=0)
    assert tail.returncode == -9
    # Room again: what was held back goes on by itself, and nothing of it is missing.
    (small.world.state / "filler").unlink()
    assert stuck.wait(60) == 4
    stream = Stream(1)
    stream.feed(stuck.stdout)
    stream.complete()
    box.destroy()
