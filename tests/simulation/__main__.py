"""Play seeds: ``python -m tests.simulation SEED`` one of them, ``FIRST COUNT`` a range.

``--shrink`` looks for fewer steps that break the same law; ``--show`` prints the script. From the
repository's root, or with tests/ on the path as ``python -m simulation``. A seed plays the same
each time: its process has the hash seed of its hundred.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings

#: Seeds that have a hash seed in common.
HUNDRED = 100


def main() -> int:
    """The number of seeds that break a law, at most 100."""
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("first", type=int)
    parser.add_argument("count", type=int, nargs="?", default=1)
    parser.add_argument("--shrink", action="store_true")
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--most", type=int, default=3, help="failures after which it ends")
    given = parser.parse_args()
    hashes = str(given.first // HUNDRED % (1 << 32))
    if os.environ.get("PYTHONHASHSEED") != hashes:
        os.environ["PYTHONHASHSEED"] = hashes
        os.execv(sys.executable, [*sys.orig_argv[:1], *sys.orig_argv[1:]])
    # What a killed node was about to begin.
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    from .limits import shrink as smaller

    smaller()
    from .play import plays
    from .script import draw
    from .shrink import shrink

    if given.show:
        print(draw(given.first))
    failed, began = 0, time.process_time()
    for seed, error in plays(given.first, given.count):
        failed += 1
        print(f"seed {seed}: {error}", flush=True)
        if given.shrink:
            shrink(seed, error)
        else:
            print(f"Again: python -m tests.simulation {seed} --shrink", flush=True)
        if failed >= given.most:
            break
    if given.count > 1:
        rate = given.count / (time.process_time() - began)
        print(f"{given.count} seeds from {given.first}, {rate:.0f} a second of one core, {failed} broken")
    return min(failed, 100)


sys.exit(main())
