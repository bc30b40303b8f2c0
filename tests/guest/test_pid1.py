"""As PID 1 of namespaces of its own: cgroups (made up, both versions), orphans, empty images."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from guest.conftest import OTHER_UID
from guest.harness import Agent, Guest, alive, children, until

from tfnz_notebook._wire.guest import Flag, Stream, Tag, Target, Type

pytestmark = pytest.mark.usefixtures("root")

UNSHARE = [
    "unshare",
    "--pid",
    "--mount",
    "--net",
    "--ipc",
    "--fork",
    "--kill-child",
    "--mount-proc",
]

V2 = {
    "cpu.stat": "usage_usec 123456\nuser_usec 100000\n",
    "memory.current": "10000000\n",
    "memory.stat": "anon 1\ninactive_file 4000000\n",
    "memory.max": "50000000\n",
    "memory.events": "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n",
    "pids.current": "7\n",
    "io.stat": "8:0 rbytes=100 wbytes=200 rios=1\n8:16 rbytes=11 wbytes=22 rios=1\n",
}
V1 = {
    "cpuacct/cpuacct.usage": "123456000\n",
    "memory/memory.usage_in_bytes": "10000000\n",
    "memory/memory.stat": "cache 1\ntotal_inactive_file 4000000\n",
    "memory/memory.limit_in_bytes": "9223372036854771712\n",
    "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    "pids/pids.current": "7\n",
    "blkio/blkio.throttle.io_service_bytes": (
        "8:0 Read 100\n8:0 Write 200\n8:16 Read 11\n8:16 Write 22\nTotal 333\n"
    ),
}


@pytest.fixture
def pid1(start: Callable[..., Guest]) -> Callable[..., Guest]:
    """A guest that is PID 1, after some shell words in its namespaces."""

    def pid1(*command: str, prepare: str = "", **keywords: object) -> Guest:
        prefix = [*UNSHARE, "sh", "-c", f'set -e; ip link set lo up; {prepare}\nexec "$@"', "sh"]
        return start(*command, prefix=prefix, hard=True, **keywords)

    return pid1


def faked(directory: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (directory / name).parent.mkdir(exist_ok=True, parents=True)
        (directory / name).write_text(text)
    return f"mount --bind {directory} /sys/fs/cgroup"


@pytest.mark.parametrize("version", [V1, V2], ids=["v1", "v2"])
def test_samples(pid1: Callable[..., Guest], tmp_path: Path, version: dict[str, str]) -> None:
    agent = pid1(prepare=faked(tmp_path, version)).agent()
    assert agent.hello
    assert agent.hello.integer(Tag.PID) == 1
    frame = agent.sample()
    got = {tag: value for tag, value in frame.fields if tag not in (Tag.REQUEST, Tag.CLOCK)}
    assert got == {
        Tag.CPU: 123456,
        Tag.MEMORY: 6000000,
        Tag.MEMORY_LIMIT: 50000000 if version is V2 else 0,
        Tag.PIDS: 7,
        Tag.READ: 111,
        Tag.WRITTEN: 222,
        Tag.OOM: 1,
        Tag.RECEIVED: 0,  # lo does not count
        Tag.SENT: 0,
    }
    (tmp_path / "memory.max").write_text("max\n")
    assert version is V1 or agent.sample().integer(Tag.MEMORY_LIMIT) == 0


def test_network_counts(pid1: Callable[..., Guest]) -> None:
    """What left by an interface that is not the loopback."""
    dummy = "ip link add d0 type dummy; ip addr add 10.99.0.1/24 dev d0; ip link set d0 up"
    agent = pid1(prepare=f"({dummy}) 2>/dev/null || true").agent()
    if not agent.run("cat /proc/net/dev").count(b"d0:"):
        return  # this kernel has no dummy interfaces; the contract tests have networks
    before = agent.sample().integer(Tag.SENT)
    agent.run("ip neigh add 10.99.0.2 lladdr 02:00:00:00:00:01 dev d0")
    agent.sh("exec bash -c 'echo 12345678 > /dev/udp/10.99.0.2/9'", stdin=False).wait()
    until(lambda: agent.sample().integer(Tag.SENT) > before)


@pytest.mark.parametrize(
    ("seen", "options"),
    [
        ({"none": ""}, []),
        (V1, ["--no-cgroup"]),
        (V2 | {"cgroup.procs": "1\n0\n"}, []),
    ],
    ids=["none", "the machine's", "of more than us"],
)
def test_without_a_cgroup_of_its_own(
    pid1: Callable[..., Guest], tmp_path: Path, seen: dict[str, str], options: list[str]
) -> None:
    """Summed over the tree, then; and what the kernel killed elsewhere is not ours."""
    agent = pid1(prepare=faked(tmp_path, seen), options=["--sleep", *options]).agent()
    killed = agent.sh("kill -9 $$")
    assert killed.wait() == -signal.SIGKILL
    assert killed.exit and not killed.exit.values[1] & Flag.OOM
    frame = agent.sample()
    tags = {tag for tag, _ in frame.fields}
    assert {Tag.CPU, Tag.MEMORY, Tag.PIDS, Tag.RECEIVED} <= tags
    assert frame.integer(Tag.MEMORY) != 6000000
    assert not {Tag.MEMORY_LIMIT, Tag.OOM} & tags


@pytest.mark.parametrize("version", [V1, V2], ids=["v1", "v2"])
def test_killed_for_memory(
    pid1: Callable[..., Guest], tmp_path: Path, version: dict[str, str]
) -> None:
    agent = pid1(prepare=faked(tmp_path, version)).agent()
    first, second = (agent.sh("kill -9 $$", stdin=False) for _ in range(2))
    for process in (first, second):
        process.wait()
    flags = sorted(process.exit.values[1] for process in (first, second) if process.exit)
    assert flags == [0, Flag.OOM], "one kill was counted, so it explains one death"


def test_orphans_of_others_are_reaped(pid1: Callable[..., Guest]) -> None:
    """What an engine's exec leaves behind becomes PID 1's child."""
    guest = pid1()
    agent = guest.agent()
    inner = int(Path(f"/proc/{guest.pid}/task/{guest.pid}/children").read_text())
    enter = f"nsenter --target {inner} --pid --mount"
    assert os.system(f"{enter} sh -c '(sleep 0.05; exit 3) & exit 0'") == 0
    sleeper = f"{enter} sh -c '(sleep 1000 <&- >&- 2>&- &) ; exit 0'"
    assert os.system(sleeper) == 0
    states = "cat /proc/[0-9]*/stat 2>/dev/null | cut -d' ' -f3"
    until(lambda: b"Z" not in agent.run(states))
    listing = agent.run("cat /proc/[0-9]*/comm 2>/dev/null; true")
    assert b"sleep\n" in listing, "one that lives is let live"


def test_its_end_is_everybodys(pid1: Callable[..., Guest]) -> None:
    guest = pid1("sh", "-c", "read x; exit 4", options=())
    agent = guest.agent()
    process = agent.sh("trap '' TERM; sleep 1000")
    inner = int(Path(f"/proc/{guest.pid}/task/{guest.pid}/children").read_text())
    agent.adopt(1)
    agent.channel(1).close_stdin()
    agent.channel(1).wait()
    agent.channel(1).forget()
    assert guest.process.wait(10) == 4
    assert not alive(inner)
    assert process.pid


def test_only_what_runs_is_found_by_its_name(pid1: Callable[..., Guest]) -> None:
    guest = pid1("sleep", "1234", options=("--user", "0:0"))
    agent = guest.agent()
    agent.adopt()
    for words in (["pgrep", "-f", "sleep 1234"], ["pgrep", "-x", "sleep"]):
        found = agent.spawn(*words, stdin=False)
        assert found.wait() == 0
        assert found.out == b"%d\n" % agent.channel(1).pid
    assert agent.spawn("pkill", "-f", "sleep 1234", stdin=False).wait() == 0
    assert agent.channel(1).wait() == -signal.SIGTERM
    agent.channel(1).forget()
    assert guest.process.wait(10) == 128 + signal.SIGTERM


def test_a_sleeper_is_ended_from_outside_alone(pid1: Callable[..., Guest]) -> None:
    """A careless pkill does not end the container; its engine does."""
    guest = pid1()
    agent = guest.agent()
    process = agent.spawn("cat")
    agent.spawn("pkill", "-f", "tfnz", stdin=False).wait()
    agent.run("kill -TERM 1; kill -INT 1; kill -KILL 1; kill -STOP 1")
    assert process.write(b"x\n").until_out(b"x\n")
    (inner,) = children(guest.pid)
    os.kill(inner, signal.SIGTERM)
    assert guest.process.wait(10) == 128 + signal.SIGTERM


def test_a_killed_keeper(pid1: Callable[..., Guest]) -> None:
    agent = pid1().agent()
    process = agent.sh("echo up; while :; do sleep 100; done")
    process.until_out(b"up\n")
    parent = f"cut -d' ' -f4 /proc/{process.pid}/stat"
    killer = agent.sh(
        f"grep -q tfnz-keeper /proc/$({parent})/comm && kill -9 $({parent})", stdin=False
    )
    assert killer.wait() == 0
    assert process.wait() == -signal.SIGKILL


def test_without_proc(pid1: Callable[..., Guest]) -> None:
    """Trees cannot be seen then; the group still can be killed, and the end is known."""
    agent = pid1(prepare="mount -t tmpfs none /proc").agent()
    process = agent.sh("trap '' TERM; sleep 1000 & echo up; wait")
    process.until_out(b"up\n")
    assert process.signal(signal.SIGTERM, Target.TREE) == (38, 0)  # ENOSYS
    assert process.kill() == 0
    assert process.wait() == -signal.SIGKILL
    process.wait_gone()
    frame = agent.sample()
    assert frame.integer(Tag.CLOCK)
    stream = agent.spawn("cat")
    request = stream.ask_waiting()
    agent.sync()
    assert request not in agent.waitings
    stream.close_stdin()
    agent.until(lambda: request in agent.waitings)


def empty_image(directory: Path, binary: Path, misbehaving: str, *, readonly: bool) -> str:
    """Shell words that leave nothing but the guest and one other static program."""
    image = directory / "image"
    (image / ".tfnz" / "run").mkdir(parents=True)
    (image / "work").mkdir()
    shutil.copy(binary, image / "guest")
    shutil.copy(misbehaving, image / "program")
    again = f"mount -o remount,bind,ro {image}" if readonly else ":"
    return f"mount --bind {image} {image}; mount --bind {directory}/run {image}/.tfnz/run; {again}"


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize("uid", [0, OTHER_UID])
def test_an_empty_image(
    start: Callable[..., Guest], tmp_path: Path, binary: Path, misbehaving: str,
    readonly: bool, uid: int,
) -> None:  # fmt: skip
    """No /etc, no /dev, no /proc, no shell; perhaps read-only, perhaps not root."""
    if b"/ld-" in binary.read_bytes():
        return  # a sanitizer's or a coverage build is not static
    run = tmp_path / "run"
    run.mkdir()
    os.chown(run, uid, uid)
    prepare = empty_image(tmp_path, binary, misbehaving, readonly=readonly)
    script = (
        f'set -e; {prepare}; shift; exec chroot --userspec={uid}:{uid} {tmp_path}/image /guest "$@"'
    )
    prefix = [*UNSHARE, "sh", "-c", script, "sh"]
    guest = start(prefix=prefix, hard=True, directory=run, inner_socket="/.tfnz/run/guest.sock")
    agent: Agent | None = None
    if uid == 0:
        agent = guest.agent()
        process = agent.spawn("/program", "blind", stdin=True)
        process.write(b"x").close_stdin()
        process.wait_gone()
        assert process.out == b"got x"
        failed = agent.spawn("/program", user="daemon")
        assert failed.failed
        assert failed.failed.text(Tag.STAGE) == "user"
        numeric = agent.spawn("/program", "blind", user=f"{OTHER_UID}:7", cwd="/work", stdin=False)
        assert numeric.wait() == 0
        terminal = agent.spawn("/program", tty=True)
        assert terminal.failed, "there is no /dev/ptmx"
        assert terminal.failed.text(Tag.STAGE) == "pty"
        made = agent.open(Type.PUT, (Tag.PATH, "/work/file"))
        made.write(b"x").close_stdin()
        agent.until(lambda: made.gone or made.failed)
        assert bool(made.failed) == readonly
        if made.failed:
            assert made.failed.integer(Tag.ERRNO) == 30  # EROFS
        assert Stream.OUT == 1
    else:
        until(guest.socket.exists)
        assert guest.socket.stat().st_uid == uid
