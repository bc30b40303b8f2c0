"""A minute in which everything happens at once, on all engines: each only makes it harder.

In ``make test`` it is five seconds long, and there are fewer processes.
Every part has a world of its own, so agents of its own; what they share is the machine.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from faults.blocked import blocked
from faults.conftest import Stage
from faults.flood import Flood, Flooded, flood
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


@pytest.fixture(scope="module", params=[5, pytest.param(60, marks=pytest.mark.long)])
def seconds(request: pytest.FixtureRequest) -> int:
    """How long the minute is."""
    return int(request.param)


@pytest.fixture(scope="module")
def minute(stages: Stage, where: str, seconds: int) -> Iterator[dict[str, Part]]:
    """Starts all parts; each entry waits for one of them, and gives its results by engine."""
    of = Flood(60, 100, 8 * MIB) if seconds == 60 else Flood(seconds, 20, 4 * MIB)
    worlds = {
        partial(flood, of=of): stages(where, TFNZ_SPOOL_QUOTA=str(of.quota)),
        partial(blocked, seconds=seconds): stages(where),
        partial(frozen, seconds=seconds // 2): stages(where),
    }
    running: dict[str, list[Future[Any]]] = {}
    with ThreadPoolExecutor(16) as pool:
        for part, scenes in worlds.items():
            stages.enter(scenes)
            for scene in scenes:
                scene.location()  # starts the agent, in this part's world
            running[part.func.__name__] = [pool.submit(part, scene) for scene in scenes]
        yield {
            name: lambda futures=futures: [each.result(540) for each in futures]
            for name, futures in running.items()
        }


def test_an_agent_that_was_stopped_goes_on(
    minute: dict[str, Part], seconds: int, measured: Callable[[str], None]
) -> None:
    for after in minute["frozen"]():
        measured(
            f"an agent stopped for {seconds // 2} s: lines come {after:.2f} s after it goes on"
        )


def test_processes_at_full_speed_that_nobody_reads(
    minute: dict[str, Part], measured: Callable[[str], None]
) -> None:
    results: list[Flooded] = minute["flood"]()
    for each in results:
        measured(
            f"{each.where}: {each.of.writers} processes for {each.of.seconds} s, "
            f"{each.written / (1 << 30):.1f} GiB: agent at most {each.most / MIB:.0f} MiB, "
            f"grew {each.growth / MIB:.1f} MiB, a process beside them within {each.answered:.2f} s"
        )
    assert max(each.most for each in results) < AGENT
    assert max(each.growth for each in results) < 16 * MIB, "flat"


def test_a_kernel_that_is_held_by_a_cell(
    minute: dict[str, Part], seconds: int, measured: Callable[[str], None]
) -> None:
    for kernel, agent in minute["blocked"]():
        measured(
            f"a cell held its kernel for {seconds} s: kernel at most {kernel / MIB:.0f} MiB, "
            f"its agent {agent / MIB:.0f} MiB"
        )
        assert max(kernel, agent) < HELD
