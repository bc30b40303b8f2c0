"""A process beside a hundred others of its container, and a bare one there."""

import statistics
import sys
import time

from bench.cases import Stage
from bench.measure import Bar, Case, Series

COUNT = 100
#: What a hundred of them do: keep the cores, or write as fast as they are let.
CROWDS = {"turn": "while :; do :; done", "write": "exec dd if=/dev/zero bs=4k"}
#: A fork, an exec and a wait inside, so often, in between; the seconds of each in a line.
BARE = """
import os, time
while True:
    began = time.perf_counter()
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
    print(time.perf_counter() - began, flush=True)
    time.sleep(0.05)
"""


def crowd(stage: Stage) -> list[Case]:
    """Beside those that turn, and those that write."""
    return [_beside(stage, doing, command) for doing, command in CROWDS.items()]


def _beside(stage: Stage, doing: str, command: str) -> Case:
    case = Case(f"spawn to exit, /bin/true, beside {COUNT} processes that {doing}", "ms")
    for engine in stage.peers:
        box = stage.ours[engine].spawn("debian")
        for _ in range(COUNT):
            box.spawn_process(["sh", "-c", command], retain="tail")
        bare = box.spawn_process(["python3", "-c", BARE])
        next(bare.lines())
        ours = []
        for _ in range(stage.rounds(60, 20)):
            began = time.perf_counter()
            assert box.run_process(["/bin/true"]).returncode == 0
            ours.append(time.perf_counter() - began)
            time.sleep(0.05)
        found = [float(line) for line in bare.stdout.split()]
        case.series += [Series(f"a bare one inside, {engine}", found)]
        case.series += [Series(f"ours, {engine}", ours)]
        ratio = statistics.median(ours) / statistics.median(found)
        case.bars.append(Bar(f"{engine}: {ratio:.2f} x a bare one, at most 1.3", ratio <= 1.3))
        box.destroy()
    print("\n".join(case.lines()), file=sys.stderr)
    return case
