"""How costs grow: python tests/bench/growth.py [--quick] [WHAT ...]; --draw for docs/speed.md.

Medians of one short call while there is ever more of something: processes that ended in the same
container, containers, a process's log, kernels at one agent; and what views cost a page. On the
host's own engine, where nothing else costs; each point in its own turn. ``--draw`` makes
pictures/growth-*.svg of docs.
"""

import argparse
import contextlib
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import pytest  # noqa: E402 - what comes from here on is found on the path above
from bench import views as page_of  # noqa: E402
from bench.cases import Stage  # noqa: E402
from browser.cells import LOAD  # noqa: E402
from browser.views import Output  # noqa: E402
from integration.world import World  # noqa: E402

from tfnz_notebook.location import Location  # noqa: E402

PICTURES = ROOT.parent / "docs" / "pictures"
TIMES = 51
BOX = (
    f"{LOAD}\nfrom tfnz_notebook.location import Location\nlocation = Location()\n"
    "box = location.best_node().spawn_container('debian', sleep=True).wait_until_ready();"
)

Points = Iterator[tuple[int, float]]


def median(call: Callable[[], object]) -> float:
    """Milliseconds."""
    found = []
    for _ in range(TIMES):
        began = time.perf_counter()
        call()
        found.append(1000 * (time.perf_counter() - began))
    return statistics.median(found)


def processes(stage: Stage) -> Points:
    """A process of true, by how many ended in its container before, ms"""
    with Location("host") as location:
        box = location.best_node().spawn_container("debian", sleep=True).wait_until_ready()
        ended = 0
        for count in steps(stage.rounds(10_000, 1000)):
            while ended < count:
                box.run_process(["true"])
                ended += 1
            yield count, median(lambda: box.run_process(["true"]))
            ended += TIMES
        box.destroy()


def containers(stage: Stage) -> Points:
    """A process of true, by how many containers there are, ms"""
    with Location("host") as location:
        boxes = []
        for count in steps(stage.rounds(300, 30)):
            while len(boxes) < count:
                boxes.append(location.best_node().spawn_container("debian", sleep=True))
            box = boxes[-1].wait_until_ready()
            yield count, median(lambda box=box: box.run_process(["true"]))
        for box in boxes:
            box.destroy()


def log(stage: Stage) -> Points:
    """The last KiB of a log, by how many KiB it has, ms"""
    with Location("host") as location:
        box = location.best_node().spawn_container("debian", sleep=True).wait_until_ready()
        for count in steps(stage.rounds(10 << 20, 1 << 20)):
            process = box.spawn_process(f"head -c {count << 10} /dev/zero")
            process.wait()
            last = (count << 10) - 1024
            assert len(process.log(offset=last)) == 1024
            yield count, median(lambda process=process, last=last: process.log(offset=last))
        box.destroy()


def kernels(stage: Stage) -> Points:
    """A process of true, by how many kernels the agent has, ms"""
    with Location("host") as location, contextlib.ExitStack() as others:
        box = location.best_node().spawn_container("debian", sleep=True).wait_until_ready()
        have = 1
        for count in steps(stage.rounds(50, 5)):
            while have < count:
                others.enter_context(Location("host"))
                have += 1
            yield count, median(lambda: box.run_process(["true"]))
        box.destroy()


def views(stage: Stage) -> Points:
    """The browser, by how many views get ten lines a second each, % of a core"""
    cells = [f"box.spawn_process({page_of.TICK!r})"] * 30
    with page_of.notebook(stage, BOX, *cells, where="host") as page:
        browser = page_of.of_the_browser()
        shown = 0
        for count in steps(stage.rounds(30, 3)):
            while shown < count:
                shown += 1
                page.run(shown)
            Output(page, shown).wait().wait_text("a line")
            time.sleep(2)
            yield count, page_of.used(browser)


WHAT = {each.__name__: each for each in (processes, containers, log, kernels, views)}


def steps(most: int) -> list[int]:
    """1, 10, 100 … and the last."""
    found = [10**power for power in range(8) if 2 * 10**power <= most]
    return [*found, most]


def short(count: int) -> str:
    """As 300, 10 k or 10 M."""
    for power, name in ((1_000_000, " M"), (1000, " k")):
        if count >= power:
            return f"{count / power:.0f}{name}"
    return str(count)


def drawn(title: str, points: list[tuple[int, float]]) -> str:
    """As a picture: the count by its power of ten, the other from 0."""
    wide, high, left, foot = 480, 220, 52, 36
    top = 1.25 * max(value for _, value in points)
    powers = [math.log10(count) for count, _ in points]
    span = powers[-1] - powers[0] or 1

    def at(power: float, value: float) -> str:
        x = left + (wide - left - 24) * (power - powers[0]) / span
        return f"{x:.0f},{high - foot - (high - foot - 28) * value / top:.0f}"

    line = " ".join(at(power, value) for power, (_, value) in zip(powers, points, strict=True))
    marks = []
    for number, (power, (count, value)) in enumerate(zip(powers, points, strict=True)):
        x, y = at(power, value).split(",")
        anchor = "start" if number == 0 else "end" if count == points[-1][0] else "middle"
        marks.append(f'<circle cx="{x}" cy="{y}" r="3"/>')
        for height, text in ((int(y) - 8, f"{value:.3g}"), (high - 18, short(count))):
            marks.append(f'<text x="{x}" y="{height}" text-anchor="{anchor}">{text}</text>')
    axis = f'<path d="M{left},28V{high - foot}H{wide - 24}" fill="none" stroke="#888"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" '
        f'font-family="sans-serif" font-size="11" fill="#555" role="img" aria-label="{title}">'
        f'<rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="{left}" y="16">{title}</text>{axis}'
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
    # More than a process may leave by itself.
    os.environ["TFNZ_SPOOL_QUOTA"] = str(16 << 30)
    world = World()
    stage = Stage(world, args.quick, {}, {})
    with pytest.MonkeyPatch.context() as patch:
        world.enter(patch)
        try:
            for name in args.what or WHAT:
                title = WHAT[name].__doc__ or name
                print(f"\n{title}")
                points = []
                for count, value in WHAT[name](stage):
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
