"""Whoever uses the test cluster has it alone: the next waits for its end, however that comes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from cluster.turn import turn

TESTS = Path(__file__).resolve().parents[1]
HOLDS = """
import sys
from cluster.turn import turn
with turn(sys.argv[1]):
    print("mine", flush=True)
    sys.stdin.read()
"""


def test_two_take_turns() -> None:
    name = f"tfnz-test-{os.getpid()}"
    command = [sys.executable, "-c", HOLDS, name]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    pipe = subprocess.PIPE

    def holder() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe)

    with holder() as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"mine\n"
        with holder() as second:
            assert second.stdout is not None and second.stderr is not None
            waits = f"cluster: process {first.pid} uses it: waiting for its end\n".encode()
            assert second.stderr.readline() == waits
            first.kill()
            assert second.stdout.readline() == b"mine\n"
            second.kill()
    with turn(name):
        pass
