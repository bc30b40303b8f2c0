"""``make bench``: us beside docker-py, the command lines and subprocess, in the same minutes.

Usage: run.py [--quick] [--keep] [CASE ...]; ``BENCH=quick`` in the environment does the same as
--quick. Prints a table of medians with least and most, says of each bar of the project whether it
is met, and keeps all numbers under build/bench/. What fell back since last.json, which is in the
repository, by more than the spread of both runs, is said; ``--keep`` puts this run's figures there.
A number is never a test: the exit code tells whether it ran, and left nothing behind.
"""

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# A safe path has no script's directory on it; what the bench shares with the tests lies beside it.
sys.path.insert(0, str(HERE.parent))

import pytest  # noqa: E402 - found on the path above, as are the next ones
from bench import cases, costs, crowd, files, inside, plots, reattach, terminals, views  # noqa: E402
from bench.measure import Case  # noqa: E402
from bench.ours import Ours  # noqa: E402
from bench.peers import ENGINES, DockerPy, environment  # noqa: E402
from integration.world import World  # noqa: E402

import tfnz_notebook  # noqa: E402

#: Each case's last figures, by its title, which says in what size it was measured.
LAST = HERE / "last.json"

CASES = {
    each.__name__: each
    for each in (
        *(costs.imports, cases.spawn, cases.echo, cases.thousand, cases.twenty),
        crowd.crowd,
        *(cases.stream, files.files, files.tunnel, cases.create, costs.cold),
        *(costs.idle, costs.processes, reattach.reattach, inside.cells),
        *(terminals.keystroke, terminals.control_c, terminals.cat, plots.plots),
        *(views.flood, views.twenty_views, views.paint),
    )
}


def about(peers: dict[str, DockerPy], quick: bool) -> dict[str, Any]:
    """Where and with what the numbers were taken."""
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "mode": "quick" if quick else "full",
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "tfnz_notebook": tfnz_notebook.__version__,
        "from": "the wheel" if "site-packages" in tfnz_notebook.__file__ else "the source tree",
        "peers": {engine: peer.ask("version") for engine, peer in peers.items()},
    }


def measured(world: World, names: list[str], quick: bool) -> tuple[dict[str, Any], list[Case]]:
    """Run the cases; what they are about, and what they say."""
    python = environment(ROOT / "build" / "bench" / "venv")
    ours: dict[str, Ours] = {}
    peers: dict[str, DockerPy] = {}
    found: list[Case] = []
    try:
        for engine in ("host", *ENGINES):
            ours[engine] = Ours(engine)
        for engine in ENGINES:
            peers[engine] = DockerPy(python, engine)
        told = about(peers, quick)
        for name in names:
            print(f"bench: {name}", file=sys.stderr)
            answer = CASES[name](cases.Stage(world, quick, ours, peers))
            found += answer if isinstance(answer, list) else [answer]
    finally:
        for peer in peers.values():
            peer.close()
        for each in ours.values():
            each.close()
    return told, found


def compare(found: list[Case], day: str, *, keep: bool) -> list[str]:
    """What fell back since the figures that were kept; and keep these, if that is wished for."""
    last = json.loads(LAST.read_text()) if LAST.exists() else {}
    fallen = []
    for case in found:
        before = last.get(case.title, {"day": "", "figures": {}})
        fallen += [f"{line} on {before['day']}" for line in case.fallen(before["figures"])]
        last[case.title] = {"day": day, "figures": case.kept()}
    if keep:
        LAST.write_text(json.dumps(last, indent=1) + "\n")
    return fallen


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", default=os.environ.get("BENCH") == "quick")
    parser.add_argument("--keep", action="store_true", help="as what later runs are held against")
    parser.add_argument("case", nargs="*", metavar="CASE", help=", ".join(CASES))
    args = parser.parse_args()
    unknown = [name for name in args.case if name not in CASES]
    if unknown:
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(CASES)}")
    world = World()
    with pytest.MonkeyPatch.context() as patch:
        world.enter(patch)
        try:
            told, found = measured(world, args.case or list(CASES), args.quick)
        finally:
            left = world.close()
    folder = ROOT / "build" / "bench"
    kept = folder / f"{told['when'].replace(':', '')}-{told['mode']}.json"
    kept.write_text(json.dumps({**told, "cases": [case.data() for case in found]}, indent=1))
    print(f"\n{told['when']}, {told['mode']}, {told['cores']} cores, load {told['load'][0]:.1f},")
    print(f"Python {told['python']}, peers {told['peers']}")
    for case in found:
        print("", *case.lines(), sep="\n")
    fallen = compare(found, told["when"][:10], keep=args.keep)
    print(
        "\nfell back by more than the spread:" if fallen else "\nnothing fell back",
        *fallen,
        sep="\n  ",
    )
    bars = [bar for case in found for bar in case.bars]
    met = sum(bar.met for bar in bars)
    print(f"\n{met} of {len(bars)} bars met; kept as {kept.relative_to(ROOT)}")
    if left:
        print("left behind:", *left, sep="\n", file=sys.stderr)
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
