"""Worlds by their seeds: ``make check`` plays 200, ``make test`` 5,000, ``make test-long`` 200,000.

A failure says how to play its seed again, and which of its steps it takes.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tfnz_notebook
from simulation.limits import missing

TESTS = Path(__file__).resolve().parents[1]
#: Seeds of one process, which has its own limits and hash seed; of one test in the long run.
BLOCK, LONG = 500, 5_000
SEEDS = int(os.environ.get("TFNZ_SEEDS", "5000"))


def play(first: int, count: int) -> None:
    # The package that is tested here: the wheel's, unless somebody says otherwise.
    package = Path(tfnz_notebook.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{package}"}
    command = [sys.executable, "-P", "-m", "simulation", str(first), str(count), "--shrink"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{done.stdout}\n{done.stderr}", pytrace=False)


def test_every_limit_is_there_to_be_shrunk() -> None:
    assert not missing()


@pytest.mark.parametrize("first", range(0, SEEDS, min(BLOCK, SEEDS // 2 or 1)))
def test_no_law_is_broken(first: int) -> None:
    play(first, min(BLOCK, SEEDS // 2 or 1, SEEDS - first))


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("first", range(0, 200_000, LONG))
def test_no_law_is_broken_in_many_worlds(first: int) -> None:
    for begin in range(first, first + LONG, BLOCK):
        play(begin, BLOCK)
