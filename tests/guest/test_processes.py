"""SPAWN, its failures, users, environments, EXIT and END."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from guest.conftest import OTHER_UID
from guest.harness import Agent, Guest, alive, children, names, stat, until

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Flag, Stream, Tag, Type


def test_a_process(agent: Agent) -> None:
    process = agent.sh("echo out; echo err >&2; exit 3", stdin=False)
    assert process.wait() == 3
    assert (process.out, process.err, process.end) == (b"out\n", b"err\n", (4, 4))
    agent.until(lambda: Stream.ERR in process.eof and Stream.OUT in process.eof)
    process.wait_gone()


def test_argv_needs_no_shell(agent: Agent) -> None:
    process = agent.spawn("echo", "a b", "$HOME", "ü", "", stdin=False)
    assert process.wait() == 0
    assert process.out == "a b $HOME ü \n".encode()


def test_bytes_that_are_not_text(agent: Agent) -> None:
    process = agent.spawn("printf", b"%s", bytes(range(1, 256)), stdin=False)
    assert process.wait() == 0
    assert process.out == bytes(range(1, 256))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_signal_is_a_negative_status(plain: Agent, number: int) -> None:
    assert plain.sh(f"kill -{int(number)} $$", stdin=False).wait() == -number


def test_core_flag(plain: Agent) -> None:
    process = plain.sh("ulimit -c unlimited; cd /proc; kill -ABRT $$", stdin=False)
    assert process.wait() == -signal.SIGABRT
    assert process.exit
    pattern = Path("/proc/sys/kernel/core_pattern").read_text()
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if hard == 0 and not pattern.startswith("|"):
        assert process.exit.values[1] == 0
    else:
        assert process.exit.values[1] in (0, Flag.CORE)


def test_cpu_times(plain: Agent) -> None:
    script = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done"
    process = plain.sh(script, stdin=False)
    process.wait()
    assert process.exit
    assert 1_000 < process.exit.values[2] < 20_000_000


@pytest.mark.parametrize(
    ("command", "keywords", "errno", "stage"),
    [
        (["/no/such/command"], {}, 2, "exec"),
        (["no-such-command"], {}, 2, "exec"),
        (["/etc/passwd"], {}, 13, "exec"),
        (["/etc"], {}, 13, "exec"),
        (["true"], {"cwd": "/no/such/directory"}, 2, "cwd"),
        (["true"], {"cwd": "/etc/passwd"}, 20, "cwd"),
        (["true"], {"user": "no-such-user"}, 2, "user"),
        (["true"], {"user": "root:no-such-group"}, 2, "user"),
        (["true"], {"user": "0x0"}, 2, "user"),
    ],
)
@pytest.mark.parametrize("tty", [False, True])
def test_what_cannot_start(
    plain: Agent, command: list[str], keywords: dict[str, str], errno: int, stage: str, tty: bool
) -> None:
    process = plain.spawn(*command, tty=tty, **keywords)
    assert process.failed, "FAILED, not SPAWNED"
    assert process.failed.integer(Tag.ERRNO) == errno
    assert process.failed.text(Tag.STAGE) == stage
    assert process.failed.text(Tag.TEXT)
    plain.sync()
    assert not process.gone, "the channel never existed"
    again = plain.spawn("true", channel=process.channel, stdin=False)
    assert again.wait() == 0, "and its number is free"


def test_not_a_program(plain: Agent, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("no interpreter named\n")
    script.chmod(0o755)
    process = plain.spawn(str(script))
    assert process.failed
    assert process.failed.integer(Tag.ERRNO) == 8  # ENOEXEC
    denied = plain.spawn("script", env=[f"PATH=/etc:{tmp_path}/..:{tmp_path}"])
    assert denied.failed
    script.chmod(0o644)
    process = plain.spawn("script", env=[f"PATH=/no/such:{tmp_path}"])
    assert process.failed
    assert process.failed.integer(Tag.ERRNO) == 13, "found, and denied"


def test_path_is_the_childs(plain: Agent, tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\necho tool $0\n")
    tool.chmod(0o755)
    process = plain.spawn("tool", env=[f"PATH=/no/such:{tmp_path}:/bin"], stdin=False)
    assert process.wait() == 0
    assert process.out == f"tool {tool}\n".encode()
    relative = plain.spawn("./tool", cwd=str(tmp_path), stdin=False)
    assert relative.wait() == 0
    here = plain.spawn("tool", env=["PATH=:/bin"], cwd=str(tmp_path), stdin=False)
    assert here.wait() == 0, "an empty entry is the working directory"
    default = plain.spawn("sh", "-c", "echo ${PATH-none}", env=["PATH"], stdin=False)
    assert default.wait() == 0, "the default PATH finds it"


def test_environment(start: Callable[..., Guest]) -> None:
    guest = start(env={"KEEP": "1", "CHANGE": "2", "DROP": "3", "PATH": os.environ["PATH"]})
    agent = guest.agent()
    process = agent.spawn(
        "env", env=["CHANGE=a", "CHANGE=b=c", "DROP", "NEW=", "NEVER"], stdin=False
    )
    process.wait()
    assert sorted(process.out.decode().splitlines()) == [
        "CHANGE=b=c", "HOME=/root" if os.geteuid() == 0 else "HOME=/", "KEEP=1", "NEW=",
        f"PATH={os.environ['PATH']}",
    ]  # fmt: skip


def test_a_clean_start(plain: Agent) -> None:
    """Descriptors, signals, session, umask: what a program may expect."""
    process = plain.spawn("ls", "/proc/self/fd", stdin=False)
    assert process.wait() == 0
    assert process.out.split() == [b"0", b"1", b"2", b"3"]  # 3: ls reads the directory
    status = plain.run("grep -E '^Sig(Blk|Ign)' /proc/self/status; umask")
    assert status == b"SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n0022\n"
    fields = plain.run(
        "read -r a b c d pgrp session rest < /proc/self/stat; echo $pgrp $session $$"
    )
    assert len(set(fields.split())) == 1, "leader of its own group and session"
    limit = plain.run("ulimit -n").strip()
    assert int(limit) == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_cwd(plain: Agent, tmp_path: Path) -> None:
    assert plain.run("pwd", cwd=str(tmp_path)) == f"{tmp_path}\n".encode()
    assert plain.run("pwd") == f"{Path.cwd()}\n".encode()


@pytest.mark.usefixtures("root")
def test_users(plain: Agent) -> None:
    nobody = plain.run("id -un; id -u; id -g; echo $HOME $USER $LOGNAME", user="nobody")
    lines = nobody.decode().splitlines()
    assert lines[0] == "nobody"
    assert lines[3].split()[1:] == ["nobody", "nobody"]
    assert plain.run("id -u; id -g; id -G; echo $HOME", user=f"{OTHER_UID}:44444") == (
        b"%d\n44444\n44444\n/\n" % OTHER_UID
    )
    assert plain.run("id -u; id -g", user=str(OTHER_UID)) == b"%d\n0\n" % OTHER_UID
    assert plain.run("id -un; id -gn", user="nobody:daemon") == b"nobody\ndaemon\n"
    assert plain.run("echo $HOME", user="nobody", env=["HOME=/else"]) == b"/else\n"
    for line in Path("/etc/group").read_text().splitlines():
        name, _, gid, members = line.split(":")
        if members:
            user = members.split(",")[0]
            assert gid in plain.run("id -G", user=user).decode().split(), (user, name)


@pytest.mark.usefixtures("root")
def test_groups_of_the_container_are_every_users(start: Callable[..., Guest]) -> None:
    agent = start(options=("--groups", "daemon,44444", "--sleep")).agent()
    for user in (str(OTHER_UID), f"{OTHER_UID}:7"):
        groups = agent.run("id -G", user=user).split()
        assert {b"1", b"44444"} <= set(groups), user


@pytest.mark.usefixtures("root")
def test_a_directory_the_user_may_not_enter(plain: Agent, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    process = plain.spawn("true", cwd=str(tmp_path), user="nobody")
    assert process.failed
    assert process.failed.integer(Tag.ERRNO) == 13
    assert process.failed.text(Tag.STAGE) == "cwd"


def test_login_shell(plain: Agent) -> None:
    """ADOPT without words: the user's own shell, started as login does."""
    process = plain.spawn(flags=Flag.ADOPT, env=["PS1=$ "])
    process.write(b"echo $0 $HOME $SHELL; pwd; exit 7\n")
    assert process.wait() == 7
    import pwd

    entry = pwd.getpwuid(os.geteuid())
    shell = entry.pw_shell
    first, second = process.out.decode().splitlines()[-2:]
    assert first == f"-{Path(shell).name} {entry.pw_dir} {shell}"
    assert second == entry.pw_dir
    assert plain.run("echo $HOME", flags=Flag.ADOPT, env=["HOME=/x"]) == b"/x\n"


@pytest.mark.usefixtures("root")
def test_login_shell_that_is_not_there(plain: Agent) -> None:
    """nobody's is /usr/sbin/nologin in Debian; a uid without an entry has none: sh, in /."""
    process = plain.spawn(flags=Flag.ADOPT, user=str(OTHER_UID))
    process.write(b"echo $0; pwd; exit\n")
    assert process.wait() == 0
    assert process.out == b"-sh\n/\n"


def test_spawn_again_starts_nothing_twice(guest: Guest) -> None:
    agent = guest.agent()
    process = agent.sh("echo started; read line")
    process.until_out(b"started\n")
    pid = process.pid
    process.pid = 0
    agent.spawn("echo", "another", channel=process.channel)
    assert process.pid == pid
    again = guest.agent()
    assert again.inventory[process.channel].integer(Tag.PID) == pid
    repeated = again.spawn("echo", "another", channel=process.channel)
    assert repeated.pid == pid
    again.adopt()
    repeated.close_stdin()
    repeated.wait()
    assert repeated.head() == len(b"started\n")


def test_a_thousand_at_once(plain: Agent) -> None:
    processes = [plain.sh(f"exit {n % 256}", stdin=False, started=False) for n in range(1000)]
    for n, process in enumerate(processes):
        assert process.wait() == n % 256
        process.forget()
    for process in processes:
        process.wait_gone()
    assert list(children(plain.guest.pid)) == [], "no keeper, no zombie"
    descriptors = len(names(f"/proc/{plain.guest.pid}/fd"))
    assert descriptors < 16, "and nothing left open"


def test_channels_have_a_limit(start: Callable[..., Guest]) -> None:
    """A spawn too many is refused like any other, and what runs goes on."""
    guest = start(prefix=["prlimit", "--nofile=40:40"])
    agent = guest.agent()
    processes = [agent.sh("read x") for _ in range(20)]
    failed = [process for process in processes if process.failed]
    running = [process for process in processes if not process.failed]
    assert failed and running
    assert all(process.failed.integer(Tag.ERRNO) == 24 for process in failed if process.failed)
    again = guest.agent()
    assert set(again.inventory) == {process.channel for process in running}, "it can come back"
    again.adopt()
    for process in running:
        again.channel(process.channel).close_stdin()
        again.channel(process.channel).wait_gone()
    assert again.run("echo room again") == b"room again\n"


@pytest.mark.usefixtures("root")
def test_no_more_processes(start: Callable[..., Guest]) -> None:
    """The user's limit: FAILED with the stage, and no half process."""
    guest = start(uid=OTHER_UID + 1, transport="connect", prefix=["prlimit", "--nproc=6:6"])
    agent = guest.agent()
    processes = [agent.spawn("sleep", "100") for _ in range(8)]
    failed = [process.failed for process in processes if process.failed]
    assert failed
    assert {frame.integer(Tag.ERRNO) for frame in failed} == {11}  # EAGAIN
    assert {frame.text(Tag.STAGE) for frame in failed} == {"fork"}
    for process in processes:
        if not process.failed:
            assert process.kill() == 0
            process.wait_gone()


def test_meta_and_inventory(guest: Guest) -> None:
    agent = guest.agent()
    before = time.time_ns()
    process = agent.sh("echo one; echo two >&2; read line; exit 4", meta=b"\x00\xffmeta")
    process.write(b"unf")
    process.until_out(b"one\n")
    agent.until(lambda: process.err == b"two\n" and process.taken == 3)
    agent.sync()
    again = guest.agent()
    proc = again.inventory[process.channel]
    assert proc.integer(Tag.PID) == process.pid
    assert proc.raw(Tag.META) == b"\x00\xffmeta"
    assert before <= proc.integer(Tag.STARTED) <= time.time_ns()
    assert 0 < proc.integer(Tag.AGE) <= time.time_ns() - before
    assert proc.integer(Tag.STATUS, 999) == 999
    assert proc.integer(Tag.IN_OFFSET) == 3
    assert (proc.integer(Tag.OUT_BASE), proc.integer(Tag.OUT_HEAD)) == (4, 4)
    assert (proc.integer(Tag.ERR_BASE), proc.integer(Tag.ERR_HEAD)) == (4, 4)
    assert (proc.integer(Tag.OUT_EOF), proc.integer(Tag.FLAGS)) == (0, 0)
    again.adopt()
    process = again.channel(process.channel)
    process.write(b"inished\n")
    assert process.wait() == 4
    third = guest.agent()
    proc = third.inventory[process.channel]
    assert proc.integer(Tag.STATUS, 999) == 4
    assert (proc.integer(Tag.OUT_EOF), proc.integer(Tag.ERR_EOF)) == (1, 1)
    third.adopt()
    process = third.channel(process.channel)
    assert process.wait() == 4, "EXIT and END are said again"
    process.wait_gone()
    assert guest.agent().inventory == {}


def test_exit_before_end(plain: Agent) -> None:
    """EXIT comes at once, END when all the leader wrote is on the wire."""
    plain.auto_ack = False
    process = plain.sh("head -c 3000000 /dev/zero & wait; exit 5", stdin=False)
    assert process.agent.until(lambda: len(process.out) == wire.WINDOW_OUT)
    plain.sync()
    assert process.exit is None, "it waits for room, as on any pipe"
    process.auto_ack = True
    process.ack()
    assert process.wait() == 5
    assert process.end == (3000000, 0)


def test_exit_with_output_unread(plain: Agent) -> None:
    plain.auto_ack = False
    process = plain.spawn("head", "-c", str(wire.WINDOW_OUT + 60000), "/dev/zero", stdin=False)
    plain.until(lambda: process.status == 0)
    plain.sync()
    assert process.end is None
    process.auto_ack = True
    process.ack()
    process.wait()
    assert process.end == (wire.WINDOW_OUT + 60000, 0)


def test_descendants_hold_the_stream_open(agent: Agent) -> None:
    process = agent.sh("sleep 1000 & echo early")
    assert process.wait() == 0
    assert process.end == (6, 0)
    assert process.out == b"early\n"
    assert Stream.OUT not in process.eof
    process.forget()
    agent.sync()
    assert not process.gone, "a member of the tree lives"
    assert process.kill() == 0
    agent.until(lambda: process.gone)


def test_descendants_write_after_end(agent: Agent, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = agent.sh(
        f"(exec 3<{fifo}; read line <&3; echo late; read line <&3) & echo early", stdin=False
    )
    with fifo.open("wb", buffering=0) as writer:
        process.wait()
        process.forget()
        writer.write(b"go\n")
        process.until_out(b"late\n")
        assert process.end == (6, 0)
        assert not process.gone
    agent.until(lambda: process.gone)
    assert process.eof[Stream.OUT] == 11


def test_gone_only_when_all_is_acknowledged(plain: Agent) -> None:
    plain.auto_ack = False
    process = plain.sh("echo out; echo err >&2", stdin=False)
    process.wait()
    process.forget()
    plain.sync()
    assert not process.gone
    process.ack(Stream.OUT)
    plain.sync()
    assert not process.gone
    process.ack(Stream.ERR)
    plain.until(lambda: process.gone)


def test_forgotten_without_a_connection(guest: Guest, tmp_path: Path) -> None:
    """What ends while nobody listens is not told to the next agent, if it was forgotten."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    agent = guest.agent()
    process = agent.sh(f"cat {fifo} > /dev/null & exec >&- 2>&-")
    process.wait()
    process.forget()
    agent.sync()
    agent.close()
    fifo.write_text("")
    until(lambda: not list(children(guest.pid)))
    again = guest.agent()
    if process.channel in again.inventory:  # its EOF was not acknowledged by then: once more
        again.adopt()
        again.channel(process.channel).wait_gone()
    assert guest.agent().inventory == {}


def test_killed_keeper(plain: Agent) -> None:
    """Somebody with root's rights killed it: the process ends too, and is reported."""
    process = plain.sh(
        "(trap '' TERM; setsid sleep 1000 &); trap '' TERM; echo up; while :; do sleep 100; done"
    )
    process.until_out(b"up\n")
    keeper = next(children(plain.guest.pid))
    name = Path(f"/proc/{keeper}/comm").read_text()
    assert name == "tfnz-keeper\n"
    for number in sorted(signal.valid_signals() - {signal.SIGKILL}):
        os.kill(keeper, number)
    plain.sync()
    assert alive(keeper), "TERM is the kernel's word for the guest's death, not anybody's"
    until(lambda: (fields := stat(keeper)) and fields[0] == "S")  # nor is it stopped for long
    os.kill(keeper, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.wait_gone()
    plain.until(lambda: not list(children(plain.guest.pid)))


def test_the_guest_takes_everything_along(start: Callable[..., Guest], tmp_path: Path) -> None:
    """Killed outright, it cannot tidy up: its keepers do."""
    guest = start()
    agent = guest.agent()
    pids = tmp_path / "pids"
    agent.sh(
        f"trap '' TERM HUP; setsid sh -c 'trap \"\" TERM HUP; echo $$ >> {pids}; "
        f"sleep 1000' & (sleep 1000 & echo $! >> {pids}); echo $$ >> {pids}; sleep 1000"
    )
    until(lambda: pids.exists() and len(pids.read_text().split()) == 3)
    members = [int(pid) for pid in pids.read_text().split()]
    keepers = list(children(guest.pid))
    guest.process.kill()
    guest.process.wait()
    for pid in (*members, *keepers):
        until(lambda pid=pid: not alive(pid))


def test_the_guest_ends_on_term(start: Callable[..., Guest]) -> None:
    guest = start()
    agent = guest.agent()
    process = agent.sh("trap '' TERM; echo up; while :; do sleep 100; done")
    process.until_out(b"up\n")
    guest.process.terminate()
    assert guest.process.wait(10) == 128 + signal.SIGTERM
    assert not alive(process.pid)
    assert not guest.socket.exists()
    agent.until_closed()


def test_fields_of_spawn_out_of_order(plain: Agent) -> None:
    channel = plain.open(
        Type.SPAWN, (Tag.ENV, "A=1"), (Tag.ARG, "sh"), (Tag.CWD, "/"), (Tag.ARG, "-c"),
        (Tag.ENV, "A=2"), (Tag.ARG, "echo $A; pwd"),
    )  # fmt: skip
    assert channel.wait() == 0
    assert channel.out == b"2\n/\n"
