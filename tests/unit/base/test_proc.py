"""Processes of this machine, by pid and start time, and what is free on it."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tfnz_notebook._base import proc

NOBODY = 2**22 + 1  # beyond every pid


@pytest.fixture
def sleeping() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts ``sleep`` under a name."""
    made: list[subprocess.Popen[bytes]] = []

    def start(program: str = "sleep", **environ: str) -> subprocess.Popen[bytes]:
        made.append(subprocess.Popen([program, "60"], env={**os.environ, **environ}))
        return made[-1]

    yield start
    for child in made:
        child.kill()
        child.wait()


def test_a_process_is_its_pid_and_its_start() -> None:
    me = os.getpid()
    started = proc.start_time(me)
    assert proc.alive(me, started)
    assert not proc.alive(me, started + 1), "another's by now"
    assert proc.start_time(NOBODY) == 0
    assert not proc.alive(NOBODY, 0)


def test_a_name_may_look_like_the_rest_of_the_line(
    tmp_path: Path, sleeping: Callable[..., subprocess.Popen[bytes]]
) -> None:
    program = tmp_path / ") Z 1 1 ("
    shutil.copy2(str(shutil.which("sleep")), program)
    child = sleeping(str(program))
    assert proc.start_time(child.pid) >= proc.start_time(os.getpid())
    assert proc.alive(child.pid, proc.start_time(child.pid))
    assert child.pid in proc.descendants(os.getpid())


def test_a_zombie_has_ended(sleeping: Callable[..., subprocess.Popen[bytes]]) -> None:
    child = sleeping()
    started = proc.start_time(child.pid)
    child.kill()
    deadline = time.monotonic() + 10
    while proc.alive(child.pid, started):
        assert time.monotonic() < deadline
    assert proc.start_time(child.pid) == started, "its parent did not look yet"
    child.wait()
    assert proc.start_time(child.pid) == 0


def test_what_it_was_started_with(sleeping: Callable[..., subprocess.Popen[bytes]]) -> None:
    child = sleeping(TFNZ_TEST="a=b")
    deadline = time.monotonic() + 10
    while (found := proc.environ(child.pid) or {}).get(
        "TFNZ_TEST"
    ) != "a=b":  # it is not yet exec'd
        assert time.monotonic() < deadline, found
    assert proc.environ(NOBODY) is None


def test_what_it_has_open(tmp_path: Path) -> None:
    path, other = tmp_path / "file", tmp_path / "other"
    other.touch()
    with path.open("w"):
        assert proc.has_open(os.getpid(), path)
        assert not proc.has_open(os.getpid(), other)
        path.unlink()
        path.touch()
        assert not proc.has_open(os.getpid(), path), "another file of that name"
    assert not proc.has_open(os.getpid(), tmp_path / "none")


def test_here_is_the_same_for_every_process_here() -> None:
    said = "from tfnz_notebook._base import proc; print(proc.here())"
    other = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == proc.here()
    assert len(proc.here()) == 8


def test_limits_and_capabilities() -> None:
    limits = proc.hard_limits(os.getpid())
    assert limits is not None
    assert all(limit > 0 for limit in limits)
    assert proc.capable(os.getpid(), 0) in (True, False)
    assert proc.capable(NOBODY, 0) is None


def test_what_is_free() -> None:
    total, free = proc.memory()
    assert 0 < free < total
    assert 0 <= proc.cpu_free(4) <= 4
