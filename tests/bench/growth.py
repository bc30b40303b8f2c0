"""How costs grow: python tests/bench/growth.py [--quick] [WHAT ...]; --draw for docs/speed.md.

Medians of one short call while there is ever more of something: processes that ended in the same
container, containers, a process's log, kernels at one agent. On the host's own engine, where
nothing else costs; each point in its own turn. ``--draw`` makes pictures/growth-*.svg of docs.
"""

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import pytest  # noqa: E402 - found on the path above, as is the next one
from integration.world import World  # noqa: E402

from tfnz_notebook.location import Location  # noqa: E402

PICTURES = ROOT.parent / "docs" / "pictures"
TIMES = 51

Points = Iterator[tuple[int, float]]


def median(call: Callable[[], object]) -> float:
    """Milliseconds."""
    found = []
    for _ in range(TIMES):
        began = time.perf_counter()
        call()
        found.append(1000 * (time.perf_counter() - began))
    return statistics.median(found)


def processes(location: Location, most: int) -> Points:
    """A process of true, by how many ended in its container before"""
    box = location.best_node().spawn_container("debian", sleep=True).wait_until_ready()
    ended = 0
    for count in steps(most):
        while ended < count:
            box.run_process(["true"])
            ended += 1
        yield count, median(lambda: box.run_process(["true"]))
        ended += TIMES
    box.destroy()


def containers(location: Location, most: int) -> Points:
    """A process of true, by how many containers there are"""
    boxes = []
    for count in steps(min(most, 300)):
        while len(boxes) < count:
            boxes.append(location.best_node().spawn_container("debian", sleep=True))
        box = boxes[-1].wait_until_ready()
        yield count, median(lambda box=box: box.run_process(["true"]))
    for box in boxes:
        box.destroy()


def log(location: Location, most: int) -> Points:
    """The last KiB of a log, by how many KiB it has"""
    box = location.best_node().spawn_container("debian", sleep=True).wait_until_ready()
    for count in steps(most << 10):
        process = box.spawn_process(f"head -c {count << 10} /dev/zero")
        process.wait_until_complete()
        last = (count << 10) - 1024
        assert len(process.log(offset=last)) == 1024
        yield count, median(lambda process=process, last=last: process.log(offset=last))
    box.destroy()


def kernels(location: Location, most: int) -> Points:
    """A process of true, by how many other kernels the agent has"""
    box = location.best_node().spawn_container("debian", sleep=True).wait_until_ready()
    others: list[Location] = []
    for count in steps(min(most, 50)):
        while len(others) < count:
            others.append(Location("host"))
        yield count, median(lambda: box.run_process(["true"]))
    for other in others:
        other.disconnect()
    box.destroy()


WHAT = {each.__name__: each for each in (processes, containers, log, kernels)}


def steps(most: int) -> list[int]:
    """1, 10, 100 … and the last."""
    found = [10**power for power in range(8) if 2 * 10**power <= most]
    return [*found, most]


def drawn(title: str, points: list[tuple[int, float]]) -> str:
    """As a picture: the count by its power of ten, milliseconds from 0."""
    wide, high, left, foot = 480, 220, 52, 36
    top = 1.25 * max(value for _, value in points)
    powers = [math.log10(count) for count, _ in points]
    span = powers[-1] - powers[0] or 1

    def at(power: float, value: float) -> str:
        x = left + (wide - left - 24) * (power - powers[0]) / span
        return f"{x:.0f},{high - foot - (high - foot - 28) * value / top:.0f}"

    line = " ".join(at(power, value) for power, (_, value) in zip(powers, points, strict=True))
    marks = []
    for power, (count, value) in zip(powers, points, strict=True):
        x, y = at(power, value).split(",")
        marks.append(f'<circle cx="{x}" cy="{y}" r="3"/>')
        marks.append(f'<text x="{x}" y="{int(y) - 8}" text-anchor="middle">{value:.2f}</text>')
        marks.append(f'<text x="{x}" y="{high - 18}" text-anchor="middle">{count:,}</text>')
    axis = f'<path d="M{left},28V{high - foot}H{wide - 24}" fill="none" stroke="#888"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" '
        f'font-family="sans-serif" font-size="11" fill="#555" role="img" aria-label="{title}">'
        f'<rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="{left}" y="16">{title}, ms</text>{axis}'
        f'<polyline points="{line}" fill="none" stroke="#2563eb" stroke-width="2"/>'
        f"{''.join(marks)}</svg>\n"
    )


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="to a tenth of the counts")
    parser.add_argument("--draw", action="store_true")
    parser.add_argument("what", nargs="*", metavar="WHAT", help=", ".join(WHAT))
    args = parser.parse_args()
    world = World()
    with pytest.MonkeyPatch.context() as patch:
        world.enter(patch)
        try:
            for name in args.what or WHAT:
                title = WHAT[name].__doc__ or name
                print(f"\n{title}, ms")
                points = []
                with Location("host") as location:
                    for count, value in WHAT[name](location, 1000 if args.quick else 10_000):
                        print(f"{count:>12,}{value:>10.2f}", flush=True)
                        points.append((count, value))
                if args.draw:
                    (PICTURES / f"growth-{name}.svg").write_text(drawn(title, points))
        finally:
            left = world.close()
    if left:
        print("left behind:", *left, sep="\n", file=sys.stderr)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
