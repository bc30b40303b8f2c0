"""A guest that was started asleep is told what its container is; one without an agent ends."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from guest.conftest import OTHER_UID
from guest.harness import Agent, Guest, Process, alive, until

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import MAIN, Feature, Tag, Type

ENOENT, E2BIG, EPERM, EINVAL, EALREADY = 2, 7, 1, 22, 114


def setup(agent: Agent, *words: str, **more: Any) -> int:
    """Say SETUP; the errno of its RESULT."""
    request = agent.request()
    say_setup(agent, request, words, **more)
    return agent.result(request)[0]


def say_setup(
    agent: Agent,
    request: int,
    words: Iterable[str] = (),
    *,
    env: Iterable[str] = (),
    cwd: str | None = None,
    user: str | None = None,
) -> None:
    fields: list[tuple[Tag, Any]] = [(Tag.ARG, word) for word in words]
    fields += [(Tag.ENV, pair) for pair in env]
    fields += [(tag, text) for tag, text in ((Tag.CWD, cwd), (Tag.USER, user)) if text is not None]
    for frame in wire.setup(request, fields, wire.MAX_ARGUMENTS):
        agent.send(frame)


def begin(agent: Agent) -> tuple[int, int]:
    request = agent.request()
    agent.send(wire.fixed(Type.START, MAIN, request))
    return agent.result(request)


def shown(agent: Agent) -> Process:
    """What the main process wrote, to its end."""
    main = agent.channel(MAIN)
    assert main.wait() == 0, main.err
    return main


def test_what_it_says_is_as_if_the_image_had_said_it(guest: Guest) -> None:
    agent = guest.agent()
    assert agent.hello is not None
    assert agent.hello.integer(Tag.FEATURES) & Feature.SETUP
    assert agent.hello.integer(Tag.CONFIGURED) == 0
    script = 'echo "$A-$B" $PWD; env >&2'
    assert setup(agent, "sh", "-c", script, env=["A=1", "B=x=y", "HOME"], cwd="/usr") == 0
    assert agent.run('echo "$A-$B" $PWD') == b"1-x=y /usr\n", "of what is spawned before, too"
    assert agent.run('echo "$A-$B" $PWD', env=["A=2"], cwd="/") == b"2-x=y /\n"
    assert begin(agent)[0] == 0
    main = shown(agent)
    assert main.out == b"1-x=y /usr\n"
    assert b"HOME=" in main.err, "no process is without one"
    again = guest.agent().hello
    assert again is not None
    assert again.integer(Tag.CONFIGURED) == 1


def test_the_guests_own_environment_is_below_it(start: Callable[..., Guest]) -> None:
    env = {"PATH": os.environ["PATH"], "KEPT": "kept", "CHANGED": "before", "GONE": "x"}
    agent = start(env=env).agent()
    assert setup(agent, env=["CHANGED=after", "GONE"]) == 0
    assert agent.run('echo "$KEPT $CHANGED ${GONE-gone}"') == b"kept after gone\n"
    assert agent.run('echo "$KEPT $CHANGED"', env=["KEPT=own"]) == b"own after\n"
    assert agent.run('echo "${CHANGED-gone}"', env=["CHANGED"]) == b"gone\n"


def test_said_again_it_counts_as_it_was_last_said(plain: Agent) -> None:
    for number in range(3):
        assert setup(plain, "echo", str(number), env=[f"A{number}=x"], cwd="/usr") == 0
    assert plain.run("env | grep ^A[0-9]=") == b"A2=x\n"
    assert begin(plain)[0] == 0
    assert shown(plain).out == b"2\n"
    assert setup(plain, "true") == EALREADY
    assert begin(plain)[0] == EALREADY


def test_without_a_word_the_command_line_counts(start: Callable[..., Guest]) -> None:
    agent = start("sh", "-c", "echo $A $PWD", options=["--sleep", "--cwd", "/usr"]).agent()
    assert setup(agent, env=["A=1"]) == 0
    assert begin(agent)[0] == 0
    assert shown(agent).out == b"1 /usr\n"


def test_what_is_not_said_again_is_as_it_was_at_first(start: Callable[..., Guest]) -> None:
    agent = start("echo", "own", options=["--sleep", "--cwd", "/usr"]).agent()
    for _ in range(3):
        assert setup(agent, "rm", "-rf", cwd="/", user=str(os.geteuid()), env=["A=1"]) == 0
        assert agent.run("echo $A$PWD") == b"1/\n"
        assert setup(agent) == 0
        assert agent.run("echo $A$PWD") == b"/usr\n"
    assert begin(agent)[0] == 0
    assert shown(agent).out == b"own\n"


def test_what_does_not_fit_in_a_frame_goes_ahead(plain: Agent) -> None:
    env = [f"A{number}={'x' * 60_000}" for number in range(25)]
    script = 'echo $# ${#A0} ${#A24}; echo "$A0$A24" | wc -c'
    assert setup(plain, "sh", "-c", script, "sh", *["y"] * 5, env=env) == 0
    assert begin(plain)[0] == 0
    assert shown(plain).out == b"5 60000 60000\n120001\n"


def test_what_it_refuses_changes_nothing(plain: Agent) -> None:
    assert setup(plain, "echo", "fine", env=["A=1"]) == 0
    request = plain.request()
    for fields, errno in (
        ([(Tag.ARG, b"a\0b")], EINVAL),
        ([(Tag.ARG, "rm"), (Tag.ENV, "=x")], EINVAL),
        ([(Tag.ARG, "rm"), (Tag.CWD, b"/\0")], EINVAL),
        ([(Tag.ARG, "rm"), (Tag.USER, b"\0")], EINVAL),
        ([(Tag.ARG, "rm"), (Tag.USER, "no-such-user")], ENOENT),
        ([(Tag.ARG, "rm"), *[(Tag.ENV, f"A{n}=") for n in range(20000)]], E2BIG),
    ):
        request = plain.request()
        for frame in wire.setup(request, fields):  # type: ignore[arg-type]
            plain.send(frame)
        assert plain.result(request)[0] == errno, fields[1:2]
    request = plain.request()
    plain.send(wire.fielded(Type.SETUP, 7, [(Tag.REQUEST, request), (Tag.ARG, "rm")]))
    assert plain.result(request)[0] == EINVAL
    assert plain.run("echo $A") == b"1\n"
    assert begin(plain)[0] == 0
    assert shown(plain).out == b"fine\n"


def test_files_are_there_before_it_starts(plain: Agent, tmp_path: Path) -> None:
    place = tmp_path / "deep" / "down"
    upload = plain.open(Type.PUT, (Tag.PATH, str(place)), (Tag.FLAGS, wire.Flag.PARENTS))
    upload.write(b"before boot\n").close_stdin()
    assert plain.answered(upload).failed is None
    assert setup(plain, "cat", str(place)) == 0
    assert begin(plain)[0] == 0
    assert shown(plain).out == b"before boot\n"


@pytest.mark.usefixtures("root")
def test_a_user_for_all_that_runs(plain: Agent) -> None:
    script = "id -u; id -g"
    assert setup(plain, "sh", "-c", script, user=f"{OTHER_UID}:7") == 0
    assert plain.hello is not None
    may = Feature(plain.hello.integer(Tag.FEATURES))
    assert may & Feature.USERS
    assert may & Feature.OWNERS
    assert plain.run(script) == b"%d\n7\n" % OTHER_UID
    assert plain.run(script, user="0:0") == b"0\n0\n"
    assert begin(plain)[0] == 0
    assert shown(plain).out == b"%d\n7\n" % OTHER_UID


# --- as Pod Security's "restricted" has it -------------------------------------------------------

#: No user, no capability that could be had, no way to gain any.
RESTRICTED = (
    *("setpriv", f"--reuid={OTHER_UID}", "--regid=7", "--clear-groups", "--no-new-privs"),
    *("--bounding-set=-all", "--inh-caps=-all", "--"),
)


@pytest.fixture
def restricted(start: Callable[..., Guest], tmp_path: Path) -> Agent:
    """A guest of a user's, its socket in a directory that everybody may write, as /tmp is."""
    sticky = tmp_path / "run"
    sticky.mkdir()
    tmp_path.chmod(0o755)
    for above in tmp_path.parents[:2]:
        above.chmod(0o755)
    sticky.chmod(0o1777)
    return start(prefix=RESTRICTED, directory=sticky, transport="connect").agent()


@pytest.mark.usefixtures("root")
def test_a_user_without_any_privilege(restricted: Agent, tmp_path: Path) -> None:
    """Everything but what only root may; and that is refused by name."""
    agent = restricted
    assert agent.hello is not None
    assert agent.hello.integer(Tag.UID) == OTHER_UID
    assert (
        Feature(agent.hello.integer(Tag.FEATURES)) == Feature.SETUP | Feature.PIPES | Feature.WIDE
    )
    for user in (str(OTHER_UID), f"{OTHER_UID}:7", ""):
        assert setup(agent, "sh", "-c", "id -u; read x", env=["A=1"], user=user) == 0
    for user in ("0", "root", f"{OTHER_UID}:8", "1"):
        assert setup(agent, "rm", user=user) == EPERM
        refused = agent.spawn("true", user=user)
        assert refused.failed is not None
        assert (agent.errno(refused), refused.failed.text(Tag.STAGE)) == (EPERM, "user")
    assert agent.run("id -u; id -g; echo $A", user=str(OTHER_UID)) == b"%d\n7\n1\n" % OTHER_UID
    cat = agent.spawn("cat", tty=True)
    cat.waiting()
    assert b"x" in cat.reply(b"x\n")
    assert cat.kill() == 0
    upload = agent.open(Type.PUT, (Tag.PATH, str(tmp_path / "run" / "new")))
    assert agent.answered(upload.write(b"x").close_stdin()).failed is None
    given = agent.open(Type.PUT, (Tag.PATH, str(tmp_path / "run" / "x")), (Tag.USER, "root"))
    given.close_stdin()
    assert agent.errno(given) == EPERM
    assert given.failed is not None
    assert given.failed.text(Tag.STAGE) == "user"
    denied = agent.open(Type.PUT, (Tag.PATH, "/usr/new"))
    assert agent.errno(denied) == 13
    assert begin(agent)[0] == 0
    main = agent.channel(MAIN)
    main.until_out(b"%d\n" % OTHER_UID)
    assert agent.sample().integer(Tag.PIDS)
    agent.sh("trap '' TERM; sleep 100 & sleep 100")
    assert main.kill() == 0
    main.wait()
    main.forget()
    assert agent.guest.process.wait(10) == 137


@pytest.mark.usefixtures("root")
def test_nobody_else_connects_to_a_socket_in_a_directory_of_all(
    restricted: Agent, binary: Path, tmp_path: Path
) -> None:
    assert (tmp_path / "run" / "guest.sock").stat().st_mode & 0o777 == 0o600
    command = [str(binary), "connect", "--socket", str(tmp_path / "run" / "guest.sock")]
    mine = subprocess.run(
        [*RESTRICTED, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True
    )
    assert next(iter(wire.Decoder().feed(mine.stdout))).type is Type.HELLO
    other = ["setpriv", "--reuid=12345", "--clear-groups", "--", *command]
    theirs = subprocess.run(other, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert theirs.returncode == 1
    assert theirs.stdout == b""


# --- a guest without its agent -------------------------------------------------------------------


def test_what_no_agent_comes_for_ends(start: Callable[..., Guest], tmp_path: Path) -> None:
    """TERM, and KILL to who does not care; and at once, when there is nothing to be ended."""
    polite = tmp_path / "polite"
    guest = start(options=["--sleep", "--orphan", "1"])
    agent = guest.agent()
    assert agent.hello is not None
    assert agent.hello.integer(Tag.ORPHAN) == 1
    ready = "echo up; while :; do sleep 0.05; done"
    kind = agent.sh(f"trap 'touch {polite}; exit' TERM; {ready}")
    kind.until_out(b"up\n")
    agent.close()
    assert guest.process.wait(20) == 128 + signal.SIGTERM
    assert polite.exists()
    assert not alive(kind.pid)
    assert guest.process.stderr is not None
    assert b"ending: no agent has come for 1 s" in guest.process.stderr.read()
    assert start(options=["--sleep", "--orphan", "1"]).process.wait(20) == 128 + signal.SIGTERM


def test_its_main_process_tells_the_code(start: Callable[..., Guest]) -> None:
    script = "trap 'exit 7' TERM; while :; do sleep 0.05; done"
    guest = start("sh", "-c", script, options=["--orphan", "1"])
    assert guest.process.wait(20) == 7


def test_who_does_not_end_is_killed(start: Callable[..., Guest]) -> None:
    script = "trap '' TERM; (trap '' TERM; while :; do sleep 0.1; done) & while :; do wait; done"
    guest = start("sh", "-c", script, options=["--orphan", "1"])
    agent = guest.agent()
    agent.adopt()
    main = agent.channel(MAIN)
    agent.close()
    assert guest.process.wait(30) == 128 + signal.SIGTERM
    assert not alive(main.pid)


def test_a_word_is_what_counts(start: Callable[..., Guest]) -> None:
    """A connection that says nothing may lead to nobody; a word now and then is enough."""
    guest, other = (start(options=["--sleep", "--orphan", "1"]) for _ in range(2))
    speaks, silent = guest.agent(), other.agent()
    deadline = time.monotonic() + 20
    while other.process.poll() is None:
        assert time.monotonic() < deadline
        speaks.sync()
        time.sleep(0.05)  # it is spoken to more often than it counts
    speaks.sync()
    silent.until_closed()
    assert other.process.returncode == 128 + signal.SIGTERM


def test_what_was_stopped_is_no_orphan(start: Callable[..., Guest]) -> None:
    """What counts is the time in which it ran: a machine may sleep."""
    guest = start(options=["--sleep", "--orphan", "3"])
    agent = guest.agent()
    os.kill(guest.pid, signal.SIGSTOP)
    beside = start(options=["--sleep", "--orphan", "3"])
    assert beside.process.wait(20)
    os.kill(guest.pid, signal.SIGCONT)
    agent.sync()
    assert guest.process.poll() is None


@pytest.mark.parametrize("given", ["0", "-1", "soon", "99999999999", ""])
def test_an_orphans_time_is_in_seconds(binary: Path, given: str) -> None:
    done = subprocess.run(
        [str(binary), "init", "--orphan", given], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "--orphan wants seconds" in done.stderr


def test_what_ends_meanwhile_is_told(start: Callable[..., Guest]) -> None:
    """Who comes while it ends is told how that went."""
    script = "trap 'sleep 1; exit 9' TERM; echo up; while :; do sleep 0.05; done"
    guest = start(options=["--sleep", "--orphan", "1"])
    agent = guest.agent()
    process = agent.sh(script)
    process.until_out(b"up\n")
    agent.close()
    assert guest.process.stderr is not None
    until(lambda: b"ending" in guest.process.stderr.read1(1000))  # type: ignore[attr-defined]
    again = guest.agent()
    again.adopt()
    assert again.channel(process.channel).wait() == 9
    assert guest.process.wait(20) == 128 + signal.SIGTERM


# --- beside a first process of the image's -------------------------------------------------------


def test_one_guest_beside_another_process_is_enough(
    start: Callable[..., Guest], tmp_path: Path
) -> None:
    """Whoever wants one starts one; what its keepers hold keeps nobody out once it was killed."""
    options = ["--beside", "--sleep"]
    first = start(options=options, directory=tmp_path)
    agent = first.agent()
    process = agent.sh("sleep 1000")
    assert start(options=options, directory=tmp_path).process.wait(20) == 0
    assert agent.run("echo fine") == b"fine\n"
    first.process.kill()
    first.process.wait()
    second = start(options=options, directory=tmp_path)
    again = second.agent()
    assert again.hello is not None
    assert again.hello.integer(Tag.PID) == second.pid
    until(lambda: not alive(process.pid))


def test_one_that_is_detached_lets_go_of_its_exec(
    start: Callable[..., Guest], tmp_path: Path
) -> None:
    """As some engines' execs last until nobody holds their ends: it listens, and they are over."""
    options = ["--beside", "--detach", "--sleep"]
    first = start(options=options, directory=tmp_path)
    assert (first.process.communicate(timeout=20), first.process.returncode) == ((b"", b""), 0)
    agent = first.agent()
    assert agent.hello is not None
    pid = agent.hello.integer(Tag.PID)
    try:
        assert pid != first.pid
        assert agent.run("echo fine") == b"fine\n"
        assert start(options=options, directory=tmp_path).process.wait(20) == 0
    finally:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(pid))


def test_one_that_cannot_listen_says_so_before_it_is_detached(binary: Path) -> None:
    command = [str(binary), "init", "--beside", "--detach", "--socket", "/proc/no/such"]
    done = subprocess.run(command, capture_output=True, timeout=20, check=False)
    assert done.returncode == 1
    assert b"cannot listen" in done.stderr


@pytest.mark.usefixtures("root")
def test_an_orphan_has_the_first_process_end_too(binary: Path, tmp_path: Path) -> None:
    guest = f"{binary} init --beside --sleep --orphan 1 --socket {tmp_path}/guest.sock"
    script = f"trap 'exit 9' TERM; {guest} & while :; do sleep 0.05; done"
    spaces = ["unshare", "--pid", "--fork", "--kill-child"]
    done = subprocess.run([*spaces, "sh", "-c", script], timeout=20, check=False)
    assert done.returncode == 9
