"""The main process, PID 1's duties, and the command line."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from guest.conftest import OTHER_UID
from guest.harness import Agent, Guest, alive, children, names, until

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import MAIN, Stream, Tag, Type

NO_SLEEP: tuple[str, ...] = ()


def run(binary: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(binary), *arguments], capture_output=True, text=True, timeout=20, check=False
    )


def test_version(binary: Path) -> None:
    done = run(binary, "version")
    assert (done.returncode, done.stdout) == (0, f"tfnz-guest {wire.VERSION}\n")


@pytest.mark.parametrize(
    "arguments", [[], ["dance"], ["init", "--dance"], ["init", "--socket"], ["connect", "--x"]]
)
def test_usage(binary: Path, arguments: list[str]) -> None:
    done = run(binary, *arguments)
    assert done.returncode == 2
    assert "Usage: guest init" in done.stderr


def test_nowhere_to_listen(binary: Path, tmp_path: Path) -> None:
    done = run(binary, "init", "--socket", str(tmp_path / "no" / "such" / "guest.sock"))
    assert done.returncode == 1
    assert "cannot listen" in done.stderr
    assert "No such file" in done.stderr
    done = run(binary, "init", "--socket", str(tmp_path / ("x" * 200)))
    assert done.returncode == 1
    done = run(binary, "init", "--socket", str(tmp_path / "s"), "--root", "/no/such/root")
    assert done.returncode == 1
    assert "/no/such/root" in done.stderr


def test_connect_to_nothing(binary: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run(binary, "connect", "--socket", str(tmp_path / "file" / "x"))
    assert done.returncode == 1
    assert "Is the guest running?" in done.stderr


def test_connect_waits_for_the_guest(
    binary: Path, start: Callable[..., Guest], tmp_path: Path
) -> None:
    bridge = subprocess.Popen(
        [str(binary), "connect", "--socket", str(tmp_path / "guest.sock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    start(directory=tmp_path)
    assert bridge.stdin and bridge.stdout
    decoder = wire.Decoder()
    (hello,) = decoder.feed(bridge.stdout.read1(1000))
    assert hello.type is Type.HELLO
    bridge.stdin.close()  # half a close: the guest hears the end, and ends the other half
    assert bridge.stdout.read() == b""
    assert bridge.wait(20) == 0
    bridge.stdout.close()


@pytest.mark.parametrize("options", [(), ("--sleep",)])
def test_only_the_child_is_called_what_it_runs(
    start: Callable[..., Guest], options: tuple[str, ...]
) -> None:
    """Neither the guest nor a keeper is found by the command, the user or a directory."""
    words = ["--user", "root:root", "--cwd", "/usr/share", *options]
    guest = start("sh", "-c", "cat; : nginx", options=words)
    agent = guest.agent()
    if options:
        agent.send(wire.fixed(Type.START, 0, 5))
        agent.result(5)
    agent.sh("cat; : nginx")
    keepers = until(lambda: found if len(found := list(children(guest.pid))) == 2 else None)
    shown = dict.fromkeys(keepers, "tfnz-keeper") | {guest.pid: "tfnz-guest"}
    for pid, name in shown.items():
        until(lambda pid=pid: Path(f"/proc/{pid}/comm").read_text() == shown[pid] + "\n")
        assert Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode() == name
    for keeper in keepers:
        (leader,) = until(lambda keeper=keeper: list(children(keeper)))
        until(lambda leader=leader: b"nginx" in Path(f"/proc/{leader}/cmdline").read_bytes())
    assert agent.run("tr '\\0' '\\n' < /proc/$PPID/environ | grep ^PATH=").startswith(b"PATH=")


def test_main_process(start: Callable[..., Guest]) -> None:
    guest = start("sh", "-c", "echo out; echo err >&2; read line; exit 7", options=NO_SLEEP)
    agent = guest.agent()
    assert agent.hello and agent.hello.integer(Tag.SLEEPING) == 0
    assert list(agent.inventory) == [MAIN]
    agent.adopt()
    main = agent.channel(MAIN)
    assert main.pid
    agent.until(lambda: main.out == b"out\n" and main.err == b"err\n")
    main.close_stdin()
    assert main.wait() == 7
    main.forget()
    assert guest.process.wait(10) == 7
    assert guest.process.stdout and guest.process.stderr
    assert guest.process.stdout.read() == b"out\n", "the engine's log has it too"
    assert guest.process.stderr.read() == b"err\n"
    assert not guest.socket.exists()


def told(guest: Guest) -> int:
    """How the main process ended, to an agent that takes note; the guest's exit code, too."""
    agent = guest.agent()
    agent.adopt()
    status = agent.channel(MAIN).wait()
    agent.channel(MAIN).forget()
    assert guest.process.wait(10) == (status if status >= 0 else 128 - status)
    return status


def test_main_without_an_agent(start: Callable[..., Guest]) -> None:
    """The engine's log has all of it; and who stops the container need not wait for an agent."""
    expected = b"".join(b"%d\n" % n for n in range(1, 300001))
    guest = start("sh", "-c", "seq 1 300000; exit 3", options=NO_SLEEP)
    assert guest.process.stdout
    log = b""
    while len(log) < len(expected):
        log += guest.process.stdout.read1(1 << 20)
    until(lambda: not list(children(guest.pid)))
    guest.process.terminate()
    assert log + guest.process.stdout.read() == expected
    assert guest.process.wait(5) == 3


@pytest.mark.parametrize("first", [True, False])
def test_main_that_ended_while_no_agent_was_there(
    start: Callable[..., Guest], tmp_path: Path, first: bool
) -> None:
    """Before the first one came, or between two: nothing of it is lost."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    guest = start("sh", "-c", f"read x <{fifo}; echo out; echo err >&2; exit 3", options=NO_SLEEP)
    if not first:
        guest.agent().close()
    fifo.write_text("go\n")
    until(lambda: not list(children(guest.process.pid)))
    agent = guest.agent()
    assert list(agent.inventory) == [MAIN]
    agent.adopt()
    main = agent.channel(MAIN)
    assert main.wait() == 3
    assert (main.out, main.err) == (b"out\n", b"err\n")
    main.forget()
    assert guest.process.wait(10) == 3


def test_main_takes_all_along(start: Callable[..., Guest]) -> None:
    guest = start("sh", "-c", "sleep 1000 & read line", options=NO_SLEEP)
    agent = guest.agent()
    other = agent.sh("trap '' TERM; echo up; while :; do sleep 100; done")
    other.until_out(b"up\n")
    agent.adopt(MAIN)
    agent.channel(MAIN).close_stdin()
    agent.channel(MAIN).wait()
    agent.channel(MAIN).forget()
    assert guest.process.wait(10) == 1
    assert not alive(other.pid)


def test_an_agent_that_does_not_forget(start: Callable[..., Guest]) -> None:
    guest = start("sh", "-c", "read line; exit 9", options=NO_SLEEP)
    agent = guest.agent()
    agent.adopt()
    agent.channel(MAIN).close_stdin()
    agent.channel(MAIN).wait()
    assert guest.process.poll() is None
    guest.process.terminate()
    agent.sync()
    assert guest.process.wait(10) == 9, "two seconds, then"


@pytest.mark.usefixtures("root")
def test_how_main_starts_and_ends(
    start: Callable[..., Guest], subtests: pytest.Subtests, tmp_path: Path
) -> None:
    other = ["--user", f"{OTHER_UID}:7", "--cwd", "/usr"]
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    rows = {
        "missing": (start("no-such", options=NO_SLEEP), 127, "cannot start no-such: No such file"),
        "no program": (
            start("/etc/passwd", options=NO_SLEEP),
            126,
            "cannot start /etc/passwd: Permission denied",
        ),
        "killed": (start("sh", "-c", "kill -KILL $$", options=NO_SLEEP), 128 + signal.SIGKILL, ""),
        "a user": (start("sh", "-c", "id -u; pwd; echo $HOME >&2", options=other), 0, "/\n"),
        "no such user": (
            start("true", options=["--user", "no-such-user"]),
            126,
            "cannot start true: No such file or directory (user no-such-user)",
        ),
        "no directory": (
            start("true", options=["--user", f"{OTHER_UID}:7", "--cwd", str(closed)]),
            126,
            f"cannot start true: Permission denied (cwd {closed})",
        ),
    }
    for what, (guest, code, said) in rows.items():
        with subtests.test(what):
            assert told(guest) == (code if code < 128 else 128 - code)
            assert guest.process.stdout and guest.process.stderr
            assert said in guest.process.stderr.read().decode()
            out = guest.process.stdout.read()
            assert out == (b"%d\n/usr\n" % OTHER_UID if what == "a user" else b"")


def test_no_command_sleeps(start: Callable[..., Guest]) -> None:
    guest = start(options=NO_SLEEP)
    agent = guest.agent()
    assert agent.hello and agent.hello.integer(Tag.SLEEPING) == 1
    agent.send(wire.fixed(Type.START, 0, 5))
    assert agent.result(5) == (22, 0), "there is nothing to start"
    assert agent.channel(MAIN).signal(0) == (3, 0)


def test_start(start: Callable[..., Guest]) -> None:
    guest = start("sh", "-c", "echo started; read line; exit 4")
    agent = guest.agent()
    assert agent.inventory == {}
    agent.send(wire.fixed(Type.START, 0, 5))
    main = agent.channel(MAIN)
    main.until_out(b"started\n")
    assert agent.result(5) == (0, main.pid)
    agent.send(wire.fixed(Type.START, 0, 6))
    assert agent.result(6) == (114, 0)  # EALREADY
    again = guest.agent()
    assert again.hello and again.hello.integer(Tag.SLEEPING) == 0
    again.adopt()
    again.channel(MAIN).close_stdin()
    assert again.channel(MAIN).wait() == 4
    again.channel(MAIN).forget()
    assert guest.process.wait(10) == 4


def test_start_that_fails(start: Callable[..., Guest]) -> None:
    guest = start("no-such-command")
    agent = guest.agent()
    agent.send(wire.fixed(Type.START, 0, 5))
    assert agent.result(5) == (2, 4), "which it could not: exec"
    main = agent.channel(MAIN)
    assert main.wait() == 127
    main.forget()
    assert guest.process.wait(10) == 127


PASSED_ON = [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGWINCH,
             signal.SIGQUIT, signal.SIGUSR2, signal.SIGRTMIN + 3]  # fmt: skip


def test_signals_are_passed_on(start: Callable[..., Guest], subtests: pytest.Subtests) -> None:
    script = "trap 'echo got; exit 5' %d; echo up; while :; do sleep 0.01; done"
    guests = {n: start("bash", "-c", script % n, options=NO_SLEEP) for n in PASSED_ON}
    for number, guest in guests.items():
        assert guest.process.stdout and guest.process.stdout.readline() == b"up\n"
        guest.process.send_signal(number)
    for number, guest in guests.items():
        with subtests.test(str(number)):
            assert guest.process.wait(10) == 5
            assert guest.process.stdout and guest.process.stdout.read() == b"got\n"


def test_a_sleeper_ignores_what_does_not_end_it(start: Callable[..., Guest]) -> None:
    guest = start()
    agent = guest.agent()
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGWINCH, signal.SIGPIPE):
        guest.process.send_signal(number)
    agent.sync()
    guest.process.send_signal(signal.SIGINT)
    assert guest.process.wait(10) == 130


def test_a_full_ring_drops_its_oldest_bytes(start: Callable[..., Guest], tmp_path: Path) -> None:
    """Nobody listens: the server goes on, the log of the engine has all, the ring the newest."""
    done = tmp_path / "done"
    guest = start(
        "sh", "-c", f"seq 1 700000; touch {done}; read line",
        options=NO_SLEEP, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    until(done.exists)
    expected = b"".join(b"%d\n" % n for n in range(1, 700001))
    agent = guest.agent()
    proc = agent.inventory[MAIN]
    base = proc.integer(Tag.OUT_BASE)
    assert proc.integer(Tag.OUT_ELIDED) == base
    assert proc.integer(Tag.OUT_HEAD) == len(expected)
    assert len(expected) - wire.WINDOW_OUT <= base < len(expected) - wire.WINDOW_OUT / 2
    agent.adopt()
    main = agent.channel(MAIN)
    agent.until(lambda: len(main.out) == len(expected) - base)
    assert main.out == expected[base:]


def test_a_turn_may_end_with_a_full_ring(start: Callable[..., Guest], tmp_path: Path) -> None:
    """What one turn reads is bounded: a wide pipe's last read of it may just fill the ring."""
    fifo, up = tmp_path / "fifo", tmp_path / "up"
    os.mkfifo(fifo)

    def dd(size: str, count: int) -> str:
        write = f"dd if=/dev/zero bs={size} count={count} 2>/dev/null; echo >&2; touch {up}"
        return f"read line <&3; {write}"

    guest = start(
        "sh", "-c", f"exec 3<{fifo}; {dd('64K', 1)}; {dd('1M', 1)}; {dd('1M', 3)}; read line",
        options=NO_SLEEP, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    (keeper,) = until(lambda: list(children(guest.pid)))
    (main,) = until(lambda: list(children(keeper)))

    def widened() -> bool:
        pipe = os.open(f"/proc/{main}/fd/1", os.O_RDONLY | os.O_NONBLOCK)
        try:
            return fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) == 1 << 20
        finally:
            os.close(pipe)

    with fifo.open("w") as go:
        for _ in range(2):  # a pipe of 64 KiB, then of 1 MiB, is full, and something is on stderr
            guest.process.send_signal(signal.SIGSTOP)
            print("go", file=go, flush=True)
            until(up.exists)
            up.unlink()
            guest.process.send_signal(signal.SIGCONT)
            until(widened)
        print("go", file=go, flush=True)
        until(up.exists)


def test_with_an_agent_the_main_process_waits(start: Callable[..., Guest]) -> None:
    guest = start("sh", "-c", "seq 1 700000", options=NO_SLEEP, stdout=subprocess.DEVNULL)
    agent = guest.agent()
    agent.adopt()
    main = agent.channel(MAIN)
    assert main.wait() == 0
    assert main.head() == len(b"".join(b"%d\n" % n for n in range(1, 700001)))
    assert main.base[Stream.OUT] == agent.inventory[MAIN].integer(Tag.OUT_BASE)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_log_nobody_reads(start: Callable[..., Guest], kind: str, tmp_path: Path) -> None:
    """It holds the process up for a moment, not for ever; what is read later goes on."""
    done = tmp_path / "done"
    if kind == "pipe":
        reader, writer = os.pipe()
    else:
        one, two = socket.socketpair()
        reader, writer = one.detach(), two.detach()
    guest = start(
        "sh", "-c", f"seq 1 700000; touch {done}; read line; echo after",
        options=NO_SLEEP, stdout=writer,
    )  # fmt: skip
    os.close(writer)
    until(done.exists)
    agent = guest.agent()
    agent.adopt()
    main = agent.channel(MAIN)
    agent.until(lambda: main.out.endswith(b"\n700000\n"))
    log = b""
    while not log.endswith(b"after\n"):
        log += os.read(reader, 1 << 20)
        if main.written == 0 and len(log) > 0:
            main.write(b"go\n")
    os.close(reader)
    assert log.startswith(b"1\n2\n3\n")
    assert main.wait() == 0


def test_a_log_that_was_closed(start: Callable[..., Guest]) -> None:
    guest = start("sh", "-c", "read line; seq 1 100000; exit 2", options=NO_SLEEP)
    assert guest.process.stdout
    guest.process.stdout.close()
    agent = guest.agent()
    agent.adopt()
    agent.channel(MAIN).close_stdin()
    assert agent.channel(MAIN).wait() == 2
    assert agent.channel(MAIN).out.endswith(b"\n100000\n")


def test_without_standard_descriptors(binary: Path, tmp_path: Path) -> None:
    path = tmp_path / "guest.sock"
    command = f"exec {binary} init --socket {path} --sleep <&- >&- 2>&-"
    process = subprocess.Popen(["sh", "-c", command])
    guest = Guest.__new__(Guest)
    guest.socket, guest.transport, guest._channel, guest._ends = path, "socket", 1, []
    guest.process = process
    agent = Agent(guest)
    assert agent.run("echo fine; ls /proc/self/fd | wc -l") == b"fine\n4\n"
    guest._ends[0]()
    process.terminate()
    assert process.wait(10) == 143


def test_descriptors_of_the_launcher_are_closed(start: Callable[..., Guest]) -> None:
    guest = start(prefix=["sh", "-c", 'exec 9</etc/passwd "$@"', "sh"])
    agent = guest.agent()
    links = [
        str(Path(f"/proc/{guest.pid}/fd/{fd}").readlink()) for fd in names(f"/proc/{guest.pid}/fd")
    ]
    assert "/etc/passwd" not in links
    assert agent.run("ls /proc/self/fd | wc -l") == b"4\n"


@pytest.mark.parametrize("age", ["old-kernel", "old-docker"])
def test_without_the_newest_calls(start: Callable[..., Guest], misbehaving: str, age: str) -> None:
    """close_range, openat2, epoll_pwait2: each has another way."""
    guest = start(prefix=["prlimit", "--nofile=4096", misbehaving, age])
    agent = guest.agent()
    assert agent.run("ls /proc/self/fd | wc -l") == b"4\n"
    process = agent.spawn("cat")
    process.waiting()
    assert process.reply(b"x\n") == b"x\n"
    assert process.kill() == 0
    transfer = agent.open(Type.GET, (Tag.PATH, "/proc/version"))
    agent.until(lambda: transfer.gone)
    assert transfer.out == Path("/proc/version").read_bytes()


def test_idle_means_idle(start: Callable[..., Guest]) -> None:
    """No timer ticks while nothing happens."""
    guest = start()
    agent = guest.agent()
    processes = [agent.sh("read x") for _ in range(20)]
    agent.sync()

    def switches() -> int:
        text = Path(f"/proc/{guest.pid}/status").read_text()
        return int(text.split("\nvoluntary_ctxt_switches:")[1].split()[0])

    until(lambda: switches() == (time.sleep(0.05), switches())[1])
    before = switches()
    time.sleep(0.3)  # the one fixed wait: idleness can only be seen in time
    assert switches() == before
    assert len(processes) == 20
