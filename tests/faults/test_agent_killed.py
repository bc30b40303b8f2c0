"""The agent is killed again and again while processes write as fast as they can."""

import os
import statistics
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from faults.killer import Killer, shift
from faults.scene import Scene, at_once

pytestmark = pytest.mark.faults
LONG = pytest.mark.long
#: Seconds. The bar is 1; a machine that runs other things besides may take this long.
BACK = 5.0 * float(os.environ.get("TFNZ_TEST_PATIENCE", "1"))


@pytest.mark.together
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("kills", "blocks"), [(3, 1000), pytest.param(50, 4000, marks=LONG)])
def test_kills_lose_nothing(
    scenes: list[Scene], measured: Callable[[str], None], kills: int, blocks: int
) -> None:
    def on_one(scene: Scene) -> None:
        scene.location()
        killer = Killer(scene, kills)
        with ThreadPoolExecutor(1) as pool:
            killing = pool.submit(killer.work)
            number = 0
            while not killer.over.is_set():
                number += 1
                shift(scene, killer, number, blocks)
            killing.result()
        if not killer.back:  # of a few, each may have been killed before a line came
            return
        median = statistics.median(killer.back)
        measured(
            f"{scene.where}: {killer.kills} agents killed; streams flow again after "
            f"{median:.2f} s (median of {len(killer.back)}, most {max(killer.back):.2f} s)"
        )
        assert median < BACK

    at_once(on_one, scenes)
