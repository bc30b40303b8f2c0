"""Mixed work in which nothing may grow: an hour, or for as long as TFNZ_SOAK says (seconds).

``make test`` does a few rounds of it.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from faults.check import TOTAL
from faults.processes import MIB, descriptors, memory, threads
from faults.scene import Scene, at_once, environment
from integration.polling import until
from integration.scripts import Script

SECONDS = float(os.environ.get("TFNZ_SOAK", "3600"))
pytestmark = [pytest.mark.faults, pytest.mark.together, pytest.mark.slow]
#: By how much a process may have grown from the second quarter of the time to the last: what is
#: noise (an allocator's), and what may be kept of every round: the ends of seven processes, which
#: can be asked for as long as their container is there.
NOISE = {"kernel": 16 * MIB, "agent": 6 * MIB, "guest": MIB}
A_ROUND = 48 << 10
#: As many bytes as the writer's output in one round.
CHECKED = 200 << 16


@dataclass
class Watched:
    """One process, sampled after each round."""

    name: str
    pid: int
    memory: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def sample(self) -> None:
        """Look at it now."""
        self.memory.append(memory(self.pid))
        self.files.append(descriptors(self.pid))
        self.threads.append(threads(self.pid))

    def told(self) -> str:
        """A line of the table."""
        first = _quarters(self.memory)[0] / MIB
        return (
            f"{self.name:15} {first:6.1f} MiB, grew {_growth(self.memory) / MIB:5.1f}; "
            f"descriptors {_quarters(self.files)[0]:.0f}, grew {_growth(self.files):.0f}; "
            f"threads {_quarters(self.threads)[0]:.0f}, grew {_growth(self.threads):.0f}"
        )

    def flat(self) -> None:
        """AssertionError if it grew."""
        allowed = NOISE[self.name.split()[1]] + A_ROUND * len(self.memory)
        assert _growth(self.memory) < allowed, self.told()
        assert _growth(self.files) < 4, self.told()
        assert _growth(self.threads) < 2, self.told()


def _quarters(series: list[int]) -> tuple[float, float]:
    """The means of the second quarter and of the last: the first is for warming up."""
    size = max(1, len(series) // 4)
    second, last = series[size : 2 * size] or series[:1], series[-size:]
    return sum(second) / len(second), sum(last) / len(last)


def _growth(series: list[int]) -> float:
    second, last = _quarters(series)
    return last - second


def soak(scene: Scene, seconds: float, rounds: int) -> list[Watched]:
    """For so long, and so many rounds at least; what was seen of kernel, agent and guest."""
    source = (Path(__file__).parent / "soak_kernel.py").read_text()
    with Script(scene.world, source, scene.where, str(scene.writer), **environment()) as script:
        until(lambda: script.lines or script.process.poll() is not None, 60, "it has begun")
        assert script.lines, script.errors
        guest = scene.world.container(scene.where, json.loads(script.lines[0][1])["guest"])
        scene.watch.look()
        watched = [
            Watched(f"{scene.where} kernel", script.process.pid),
            Watched(f"{scene.where} agent", scene.agent),
            Watched(f"{scene.where} guest", guest["State"]["Pid"]),
        ]
        end, seen = time.monotonic() + seconds, 1
        while time.monotonic() < end or seen <= rounds:
            until(lambda seen=seen: len(script.lines) > seen or script.process.poll(), 120, "round")
            assert script.process.poll() is None, script.errors
            seen = len(script.lines)
            for each in watched:
                each.sample()
        script.process.stdin.close()
        script.process.wait(120)
        script.process.stdin = None
        script.wait(60)
        TOTAL.add((len(script.lines) - 1) * CHECKED)
    return watched


@pytest.mark.timeout(SECONDS * 1.5 + 300)
@pytest.mark.parametrize(
    ("seconds", "rounds"), [(0, 8), pytest.param(SECONDS, 8, marks=pytest.mark.long)]
)
def test_nothing_grows(
    scenes: list[Scene], measured: Callable[[str], None], seconds: float, rounds: int
) -> None:
    for scene in scenes:
        scene.location().disconnect()  # the agents are there
    begun = time.monotonic()
    seen = at_once(lambda scene: soak(scene, seconds, rounds), scenes)
    found = [each for watched in seen for each in watched]
    took, least = time.monotonic() - begun, min(len(each.memory) for each in found)
    measured(f"soak of {took:.0f} s, {least} rounds and more")
    for each in found:
        measured(each.told())
    for each in found:
        each.flat()
