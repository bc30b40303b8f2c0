"""SIGNAL to leader, group and tree; KILL of trees that resist."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from guest.conftest import OTHER_UID
from guest.harness import Agent, Guest, Process, alive, children, names, until

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Stream, Target

ESRCH, EINVAL = 3, 22
#: Leaves a daemon behind: in a session of its own, without environment or open files, ignoring
#: what can be ignored, its parent gone.
DAEMON = """
cd /
trap '' HUP INT QUIT USR1 USR2 ALRM TERM TSTP
({prefix} setsid env -i /bin/sh -c '
    exec </dev/null >/dev/null 2>&1
    echo $$ > {note}
    while :; do sleep 100; done
' &)
sleep 1000
"""


def daemon(agent: Agent, directory: Path, prefix: str = "") -> tuple[Process, int]:
    """A process, and the pid of the daemon that it left behind."""
    note = directory / "pid"
    note.touch()
    note.chmod(0o666)
    process = agent.sh(DAEMON.format(note=note, prefix=prefix))
    pid = int(until(note.read_text))
    until(lambda: [keeper for keeper in children(agent.guest.pid) if pid in children(keeper)])
    return process, pid


FORKS = """
import os, signal, time
signal.signal(signal.SIGINT, signal.SIG_DFL)
print("up", flush=True)
for _ in range(1000):
    if not os.fork():
        break
time.sleep(1000)
"""


def test_none_forks_away_from_a_signal(plain: Agent) -> None:
    for _ in range(3):
        process = plain.spawn(sys.executable, "-c", FORKS)
        process.until_out(b"up")
        plain.until(lambda process=process: process.signal(0, Target.TREE)[1] > 30)
        assert process.signal(signal.SIGINT, Target.TREE)[0] == 0
        process.wait_gone()


def test_leader_group_tree(plain: Agent) -> None:
    process = plain.sh(
        "trap 'echo leader' USR1; "
        "sh -c 'trap \"echo member\" USR1; echo up; while :; do sleep 0.01; done' & "
        "setsid sh -c 'trap \"echo outside\" USR1; echo up; while :; do sleep 0.01; done' & "
        "while :; do sleep 0.01; done"
    )
    plain.until(lambda: process.out.count(b"up\n") == 2)
    assert process.signal(signal.SIGUSR1) == (0, 1)
    process.until_out(b"leader")
    plain.sync()
    assert b"member" not in process.out
    error, count = process.signal(signal.SIGUSR1, Target.GROUP)
    assert error == 0
    assert count >= 2  # and perhaps their sleeps
    process.until_out(b"member")
    plain.sync()
    assert b"outside" not in process.out
    error, count = process.signal(signal.SIGUSR1, Target.TREE)
    assert error == 0
    assert count >= 3
    process.until_out(b"outside")
    assert process.kill() == 0
    assert process.wait() == -signal.SIGKILL


def test_counting(plain: Agent) -> None:
    process = plain.sh("sleep 1000 & sleep 1000 & echo up; wait")
    process.until_out(b"up\n")
    plain.until(lambda: process.signal(0, Target.TREE) == (0, 3))
    assert process.signal(0, Target.GROUP) == (0, 3)
    assert process.signal(0) == (0, 1)
    assert process.kill() == 0
    process.wait()
    plain.until(lambda: Stream.OUT in process.eof)
    assert process.signal(0) == (ESRCH, 0)
    assert process.signal(signal.SIGTERM, Target.GROUP) == (ESRCH, 0)
    assert process.signal(signal.SIGTERM, Target.TREE) == (ESRCH, 0)
    assert process.kill() == 0, "nothing is left to kill, and nothing survives"


def test_nonsense(plain: Agent) -> None:
    process = plain.sh("read x")
    assert process.signal(99) == (EINVAL, 0)
    assert process.signal(-1) == (EINVAL, 0)
    request = plain.request()
    plain.send(wire.fixed(wire.Type.SIGNAL, process.channel, request, 9, 7))
    assert plain.result(request) == (EINVAL, 0)
    assert process.signal(0) == (0, 1)


def test_group_of_an_ended_leader(plain: Agent) -> None:
    process = plain.sh("(trap 'echo got it; exit' TERM; echo up; while :; do sleep 0.01; done) &")
    process.wait()
    process.until_out(b"up\n")
    assert process.signal(signal.SIGTERM) == (ESRCH, 0)
    error, count = process.signal(signal.SIGTERM, Target.GROUP)
    assert (error, count > 0) == (0, True)
    process.until_out(b"got it\n")
    process.wait_gone()


def test_kill_a_daemon(agent: Agent, tmp_path: Path) -> None:
    process, pid = daemon(agent, tmp_path)
    error, count = process.signal(signal.SIGTERM, Target.TREE)
    assert error == 0
    assert count >= 2
    agent.sync()
    assert alive(pid), "it ignores that"
    assert process.kill() == 0
    assert not alive(pid)
    process.wait_gone()


@pytest.mark.usefixtures("root")
def test_kill_a_daemon_of_another_user(agent: Agent, tmp_path: Path) -> None:
    for parent in tmp_path.parents[:3]:
        parent.chmod(0o755)
    tmp_path.chmod(0o777)
    process, pid = daemon(agent, tmp_path, f"setpriv --reuid={OTHER_UID} --clear-groups")
    assert process.kill() == 0
    assert not alive(pid)


def test_kill_after_the_leader_ended(plain: Agent, tmp_path: Path) -> None:
    process, pid = daemon(plain, tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.forget()
    plain.sync()
    assert not process.gone
    assert process.kill() == 0
    plain.until(lambda: process.gone)
    assert not alive(pid)


def test_trees_are_apart(plain: Agent, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, first = daemon(plain, tmp_path / "a")
    two, second = daemon(plain, tmp_path / "b")
    assert one.kill() == 0
    assert (alive(first), alive(second)) == (False, True)
    assert two.kill() == 0


def test_kill_stopped_members(plain: Agent) -> None:
    process = plain.sh("sleep 1000 & kill -STOP $!; echo up; kill -STOP $$")
    process.until_out(b"up\n")
    assert process.kill() == 0
    process.wait_gone()


def test_kill_twice_at_once(plain: Agent) -> None:
    process = plain.sh("for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; echo up; wait")
    process.until_out(b"up\n")
    one, two = plain.request(), plain.request()
    both = b"".join(
        wire.fixed(wire.Type.SIGNAL, process.channel, request, 9, Target.TREE)
        for request in (one, two)
    )
    plain.send(both)
    assert plain.result(one)[0] == 0
    assert plain.result(two) == (0, 0)
    process.wait_gone()


def test_kill_while_the_connection_breaks(plain: Agent) -> None:
    agent, guest = plain, plain.guest
    process = agent.sh("sleep 1000 & sleep 1000 & echo up; wait")
    process.until_out(b"up\n")
    agent.send(wire.fixed(wire.Type.SIGNAL, process.channel, 1, 9, Target.TREE))
    agent.close()
    again = guest.agent()
    again.adopt()
    assert again.channel(process.channel).wait() == -signal.SIGKILL


@pytest.mark.usefixtures("root")
def test_kill_a_fork_bomb(start: Callable[..., Guest], misbehaving: str) -> None:
    """It refills its limit as fast as members die: stopping all of them first outruns it."""
    uid = OTHER_UID + 2
    guest = start(prefix=["prlimit", "--nproc=100:100"])
    agent = guest.agent()
    process = agent.spawn(misbehaving, "bomb", user=str(uid))
    agent.until(lambda: process.signal(0, Target.TREE)[1] > 40)
    started = time.monotonic()
    assert process.kill() == 0
    assert time.monotonic() - started < 5
    assert process.wait() == -signal.SIGKILL
    until(lambda: not [pid for pid in names("/proc") if pid.isdigit() and _uid(pid) == uid])


def _uid(pid: str) -> int:
    try:
        return Path("/proc", pid).stat().st_uid
    except FileNotFoundError:
        return -1
