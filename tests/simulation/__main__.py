"""Play seeds: ``python -m tests.simulation SEED`` one of them, ``FIRST COUNT`` a range.

``--shrink`` looks for fewer steps that break the same law; ``--show`` prints the script. From the
repository's root, or with tests/ on the path as ``python -m simulation``. A seed plays the same
each time: its process has the hash seed of its block.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
import warnings
from collections import Counter

#: Seeds that have a hash seed in common; a range lies within one.
BLOCK = 500


def main() -> int:
    """The number of seeds that break a law, at most 100."""
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("first", type=int)
    parser.add_argument("count", type=int, nargs="?", default=1)
    parser.add_argument("--shrink", action="store_true")
    parser.add_argument("--trace", action="store_true", help="and what is said in them")
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--most", type=int, default=3, help="failures after which it ends")
    parser.add_argument("--all", action="store_true", help="what is known is a failure, too")
    given = parser.parse_args()
    block = given.first // BLOCK
    if (given.first + given.count - 1) // BLOCK != block:
        parser.error(f"a range lies within one block of {BLOCK}")
    hashes = str(block % (1 << 32))
    if os.environ.get("PYTHONHASHSEED") != hashes:
        os.environ["PYTHONHASHSEED"] = hashes
        os.execv(sys.executable, [*sys.orig_argv[:1], *sys.orig_argv[1:]])
    gc.set_threshold(50_000, 20, 100)  # a tenth of the time went into looking for garbage
    # What a killed node was about to begin.
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    from .limits import shrink as smaller

    smaller()
    from .known import known
    from .play import plays
    from .script import draw
    from .shrink import shrink

    if given.show:
        print(draw(given.first))
    failed, began = 0, time.process_time()
    met = Counter[str]()
    for seed, error in plays(given.first, given.count):
        why = None if given.all else known(str(error))
        if why is not None:
            met[why] += 1
            continue
        failed += 1
        print(f"seed {seed}: {error}", flush=True)
        if given.shrink or given.trace:
            shrink(seed, error, told=given.trace)
        else:
            print(f"Again: python -m tests.simulation {seed} --shrink", flush=True)
        if failed >= given.most:
            break
    if given.count > 1:
        rate = given.count / (time.process_time() - began)
        for why, times in met.most_common():
            print(f"{times} met what is known: {why}")
        print(f"{given.count} seeds, {rate:.0f} a second of one core, {failed} broken")
    return min(failed, 100)


sys.exit(main())
