"""A minute in which everything happens at once, on all engines: each only makes it harder.

Every part has a world of its own, so agents of its own; what they share is the machine.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from faults.blocked import blocked
from faults.conftest import Stage
from faults.flood import QUOTA, Flooded, flood
from faults.frozen import frozen
from faults.processes import MIB

pytestmark = [
    pytest.mark.faults,
    pytest.mark.together,
    pytest.mark.slow,
    pytest.mark.timeout(600),
]
#: What an agent may take while 100 processes write as fast as they can and nobody reads.
AGENT = 200 * MIB
#: What a kernel that is held, and its agent, may take each: 50 readers have 4 MiB of credit each.
HELD = 400 * MIB

Part = Callable[[], list[Any]]


@pytest.fixture(scope="module")
def minute(stages: Stage, where: str) -> Iterator[dict[str, Part]]:
    """Starts all parts; each entry waits for one of them, and gives its results by engine."""
    worlds = {
        flood: stages(where, TFNZ_SPOOL_QUOTA=str(QUOTA)),
        blocked: stages(where),
        frozen: stages(where),
    }
    running: dict[str, list[Future[Any]]] = {}
    with ThreadPoolExecutor(16) as pool:
        for part, scenes in worlds.items():
            stages.enter(scenes)
            for scene in scenes:
                scene.location()  # starts the agent, in this part's world
            running[part.__name__] = [pool.submit(part, scene) for scene in scenes]
        yield {
            name: lambda futures=futures: [each.result(540) for each in futures]
            for name, futures in running.items()
        }


def test_an_agent_that_was_stopped_goes_on(
    minute: dict[str, Part], measured: Callable[[str], None]
) -> None:
    for seconds in minute["frozen"]():
        measured(f"an agent stopped for 30 s: lines come {seconds:.2f} s after it goes on")


def test_a_hundred_processes_at_full_speed_that_nobody_reads(
    minute: dict[str, Part], measured: Callable[[str], None]
) -> None:
    results: list[Flooded] = minute["flood"]()
    for each in results:
        measured(
            f"{each.where}: 100 processes for a minute, {each.written / (1 << 30):.1f} GiB: agent "
            f"at most {each.most / MIB:.0f} MiB, grew {each.growth / MIB:.1f} MiB, "
            f"a process beside them within {each.answered:.2f} s"
        )
    assert max(each.most for each in results) < AGENT
    assert max(each.growth for each in results) < 16 * MIB, "flat"


def test_a_kernel_that_is_held_by_a_cell(
    minute: dict[str, Part], measured: Callable[[str], None]
) -> None:
    for kernel, agent in minute["blocked"]():
        measured(
            f"a cell held its kernel for a minute: kernel at most {kernel / MIB:.0f} MiB, "
            f"its agent {agent / MIB:.0f} MiB"
        )
        assert max(kernel, agent) < HELD
