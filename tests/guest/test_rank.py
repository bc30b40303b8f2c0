"""The guest and its keepers come first; what they start begins where the guest was started."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from guest.harness import Agent, Guest, children, stat, until

from tfnz_notebook._base import proc
from tfnz_notebook.engines.launch import rank

RANK = rank.RANK
#: Where tests run, and so where guests are started.
HERE = os.getpriority(os.PRIO_PROCESS, 0)
#: As in a container: root, and yet nobody who may raise himself.
LESSER = ["setpriv", "--bounding-set=-sys_nice", "--inh-caps=-sys_nice", "--"]

pytestmark = pytest.mark.usefixtures("root")


def nice(pid: int) -> int:
    fields = stat(pid)
    assert fields
    return int(fields[16])


def slice_of(pid: int) -> int:
    """Nanoseconds; 0 where the kernel (before 6.12) does not say."""
    for line in Path(f"/proc/{pid}/sched").read_text().splitlines():
        if line.startswith("se.slice"):
            return int(line.rpartition(":")[2])
    return 0


def autogroup(pid: int) -> str:
    """A session's nice; nothing where the kernel has no such groups."""
    where = Path(f"/proc/{pid}/autogroup")
    return where.read_text().split()[-1] if where.exists() else ""


def keeper_of(agent: Agent, pid: int) -> int:
    return next(each for each in children(agent.guest.pid) if pid in children(each))


@pytest.mark.parametrize("lower", [0, 5])
def test_it_asks_for_itself(start: Callable[..., Guest], lower: int) -> None:
    agent = start(prefix=["nice", "-n", str(lower)]).agent()
    process = agent.spawn("cat")
    assert nice(agent.guest.pid) == RANK
    assert nice(keeper_of(agent, process.pid)) == RANK
    assert nice(process.pid) == HERE + lower
    assert agent.run("nice") == b"%d\n" % (HERE + lower)
    assert autogroup(agent.guest.pid) in ("", str(RANK))
    assert autogroup(process.pid) in ("", "0")


def test_raised_from_outside(start: Callable[..., Guest]) -> None:
    """Those that run already, too, but for what the keepers have started."""
    agent = start("cat", prefix=LESSER, options=()).agent()
    agent.adopt()
    before = agent.spawn("sh", "-c", "sleep 1000 & wait")
    (child,) = until(lambda: list(children(before.pid)))
    assert nice(agent.guest.pid) == HERE
    os.setpriority(os.PRIO_PGRP, agent.guest.pid, RANK)
    after, terminal = agent.spawn("cat"), agent.spawn("cat", tty=True)
    keepers = list(children(agent.guest.pid))
    assert len(keepers) == 4
    assert [nice(pid) for pid in (agent.guest.pid, *keepers)] == [RANK] * 5
    processes = [agent.channel(1), before, after, terminal]
    assert [nice(pid) for pid in (*(each.pid for each in processes), child)] == [HERE] * 5
    assert agent.run("nice") == b"%d\n" % HERE
    user = agent.spawn("nice", user="65534", stdin=False)
    user.wait()
    assert user.out == b"%d\n" % HERE, "a lesser user may not come higher, nor need he"


def test_lowered_from_outside(start: Callable[..., Guest]) -> None:
    """Somebody means the whole container: its processes do not rise above it."""
    agent = start(prefix=LESSER).agent()
    os.setpriority(os.PRIO_PGRP, agent.guest.pid, HERE + 7)
    assert agent.run("nice") == b"%d\n" % (HERE + 7)


def test_a_short_slice_is_the_guests_alone(start: Callable[..., Guest]) -> None:
    agent = start(prefix=LESSER).agent()
    process = agent.spawn("cat")
    usual = slice_of(os.getpid())
    assert slice_of(process.pid) == usual
    assert slice_of(agent.guest.pid) < usual or not usual


def test_another_policy_is_left_alone(start: Callable[..., Guest]) -> None:
    agent = start(prefix=["chrt", "--batch", "0"]).agent()
    process = agent.spawn("cat")
    assert os.sched_getscheduler(agent.guest.pid) == os.SCHED_BATCH
    assert os.sched_getscheduler(process.pid) == os.SCHED_BATCH
    agent = start(prefix=["chrt", "--idle", "0"]).agent()
    assert os.sched_getscheduler(agent.spawn("cat").pid) == os.SCHED_IDLE


# --- by an agent ---------------------------------------------------------------------------------


def test_an_agent_raises_whom_it_meets(start: Callable[..., Guest]) -> None:
    guest = start(prefix=LESSER)
    plug, _, close = guest.connect()
    with socket.socket(fileno=os.dup(plug)) as sock:
        rank.raise_guest(sock)
    assert nice(guest.pid) == RANK
    assert autogroup(guest.pid) in ("", str(RANK))
    close()


#: Somebody in the guest's place: its name, its socket.
IMPOSTOR = """
import ctypes, os, socket, sys
ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0)
sock = socket.socket(socket.AF_UNIX)
sock.bind(sys.argv[2])
sock.listen()
print(flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def impostor(path: Path, name: str, *prefix: str, leads: bool = True) -> Iterator[int]:
    """Its id here, while it listens."""
    words = [*prefix, sys.executable, "-c", IMPOSTOR, name, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, start_new_session=leads) as process:
        assert process.stdout
        process.stdout.readline()
        below = (process.pid, *proc.descendants(process.pid))
        yield next(pid for pid in below if proc.status(pid)["Name"] == name)
        assert process.stdin
        process.stdin.close()


@pytest.mark.parametrize(
    ("name", "prefix", "leads"),
    [
        ("guest", [], True),  # one of 0.1, which would hand its rank on
        (rank.NAME, [], False),  # its process group is others' too
        (rank.NAME, ["unshare", "--pid", "--fork", "sh", "-c", 'setsid -w "$@"; true', "sh"], True),
    ],
    ids=["old", "not alone", "not the first of its container"],
)  # fmt: skip
def test_who_is_no_guest_is_not_raised(
    tmp_path: Path, name: str, prefix: list[str], leads: bool
) -> None:
    with (
        impostor(tmp_path / "s", name, *prefix, leads=leads) as pid,
        socket.socket(socket.AF_UNIX) as sock,
    ):
        sock.connect(str(tmp_path / "s"))
        rank.raise_guest(sock)
        assert nice(pid) == HERE
