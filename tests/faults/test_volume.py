"""Gibibytes, read as they come, all engines at once: the plain case, and most of the bytes.

In blocks of 64 KiB: a quarter of a gibibyte an engine, or in ``make test-long`` three and a half.
"""

import time
from collections.abc import Callable

import pytest
from faults.check import Stream
from faults.processes import MIB, peak
from faults.scene import Scene, at_once, command, read

pytestmark = [pytest.mark.faults, pytest.mark.together, pytest.mark.slow]
WRITERS = 4


@pytest.mark.timeout(400)
@pytest.mark.parametrize("blocks", [1000, pytest.param(14_000, marks=pytest.mark.long)])
def test_gibibytes_of_lines(
    scenes: list[Scene], measured: Callable[[str], None], blocks: int
) -> None:
    for scene in scenes:
        scene.location()

    def on_one(scene: Scene) -> None:
        box = scene.box(scene.locations[0])
        began = time.monotonic()

        def one(number: int) -> None:
            process = box.spawn_process(command(number, blocks=blocks, code=number))
            stream = Stream(number)
            read(process, stream)
            assert process.wait(60) == number
            stream.complete()

        at_once(one, range(WRITERS))
        size = WRITERS * blocks * 65536 / 1e6
        measured(
            f"{scene.where}: {size / (time.monotonic() - began):.0f} MB/s through {WRITERS} "
            f"streams, checked; agent at most {peak(scene.agent) / MIB:.0f} MiB"
        )
        assert peak(scene.agent) < 200 * MIB
        box.destroy()

    at_once(on_one, scenes)
