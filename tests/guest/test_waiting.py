"""AWAIT: is the process waiting for input, and has all it said been read?"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from guest.conftest import OTHER_UID
from guest.harness import children

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Reason, Type

if TYPE_CHECKING:
    from guest.harness import Agent, Guest, Process

BASH = ["bash", "--norc", "--noprofile"]
PROMPTS = ["PS1=$ ", "PS2=", "TERM=dumb", "INPUTRC=/dev/null", "HISTFILE="]
SELECT = """
import select, os
while select.select([0], [], [])[0]:
    data = os.read(0, 100)
    if not data: break
    os.write(1, b"got " + data)
"""
POLL = SELECT.replace("select.select([0], [], [])[0]", "p.poll()").replace(
    "while", "p = select.poll(); p.register(0, select.POLLIN)\nwhile"
)
EPOLL = SELECT.replace("select.select([0], [], [])[0]", "p.poll()").replace(
    "while", "p = select.epoll(); p.register(0, select.EPOLLIN)\nwhile"
)
THREAD = """
import threading, os
def reader():
    while data := os.read(0, 100): os.write(1, b"got " + data)
thread = threading.Thread(target=reader); thread.start(); thread.join()
"""
DUPLICATE = (
    "import os; fd = os.dup(0); os.close(0)\nwhile d := os.read(fd, 9): os.write(1, b'got ' + d)"
)


def test_cat(agent: Agent) -> None:
    process = agent.spawn("cat")
    assert process.waiting().values[1:] == (Reason.INPUT, 0, 0, 0)
    assert process.reply(b"hello\n") == b"hello\n"
    assert process.reply(b"a" * 50000) == b"a" * 50000


@pytest.mark.parametrize("tty", [False, True])
@pytest.mark.parametrize(
    "program",
    [SELECT, POLL, EPOLL, THREAD, DUPLICATE],
    ids=["select", "poll", "epoll", "thread", "dup"],
)
def test_ways_to_wait(plain: Agent, program: str, tty: bool) -> None:
    process = plain.spawn(sys.executable, "-c", program, tty=tty)
    process.waiting()
    expected = b"x\r\ngot x\r\n" if tty else b"got x\n"
    for _ in range(3):
        assert process.reply(b"x\n") == expected


def test_bash_pipe(agent: Agent) -> None:
    process = agent.spawn(*BASH)
    process.waiting()
    assert process.reply(b"echo one; echo two\n") == b"one\ntwo\n"
    assert process.reply(b"sleep 0.3; echo late\n") == b"late\n"
    assert process.reply(b"seq 1 20000\n") == b"".join(b"%d\n" % n for n in range(1, 20001))
    assert process.reply(b"seq 1 3 | while read n; do echo $n; done\n") == b"1\n2\n3\n"
    assert process.reply(b":\n") == b""
    assert process.reply(b"echo err >&2\n") == b""
    assert process.err == b"err\n", "ERR is counted, and on the wire, too"


def test_bash_terminal(agent: Agent) -> None:
    process = agent.spawn(*BASH, tty=True, env=PROMPTS)
    process.waiting()
    assert process.out.endswith(b"$ ")
    answer = process.reply(b"sleep 0.2; echo $((6*7))\n")
    assert answer.endswith(b"\r\n42\r\n$ "), answer
    answer = process.reply(b"read -p 'name? ' name; echo hi $name\n")
    assert answer.endswith(b"name? "), answer
    assert process.reply(b"me\n").endswith(b"hi me\r\n$ ")
    assert process.reply(b"read secret < /dev/tty\n").endswith(b"secret < /dev/tty\r\n")
    assert process.reply(b"\n").endswith(b"$ ")


def test_python(agent: Agent) -> None:
    process = agent.spawn(sys.executable, "-i", "-q", env=["PYTHON_BASIC_REPL=1", "HOME=/"])
    process.waiting()
    assert process.reply(b"6 * 7\n") == b"42\n"
    assert process.reply(b"import time; time.sleep(0.2); print('x' * 9)\n") == b"x" * 9 + b"\n"
    assert process.err.count(b">>> ") == 3


def test_python_terminal(agent: Agent) -> None:
    process = agent.spawn(
        sys.executable, "-i", "-q", tty=True, env=["PYTHON_BASIC_REPL=1", "HOME=/", *PROMPTS]
    )
    process.waiting()
    assert process.out.endswith(b">>> ")
    answer = process.reply(b"import time; time.sleep(0.2); 6 * 7\n")
    assert answer.endswith(b"42\r\n>>> "), answer


def test_half_a_line(plain: Agent) -> None:
    """A terminal in canonical mode keeps it to itself: its reader waits on."""
    process = plain.spawn("cat", tty=True)
    process.waiting()
    assert process.reply(b"half") == b"half"
    assert process.reply(b" whole\n") == b" whole\r\nhalf whole\r\n"


def test_background_job(plain: Agent) -> None:
    """A sleeper in the background does not make the shell busy; one that runs does."""
    process = plain.spawn(*BASH)
    started = time.monotonic()
    process.reply(b"sleep 100 &\n")
    assert time.monotonic() - started < 10
    spinning = b"(i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo spun) &\n"
    assert process.reply(spinning) == b"spun\n"
    process.kill()


def comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def test_stopped_job(plain: Agent) -> None:
    process = plain.spawn(*BASH, tty=True, env=PROMPTS)
    process.waiting()
    process.write(b"sleep 100\n")
    # Not before it is sleep: until then the terminal's foreground may be bash, which ignores ^Z.
    plain.until(lambda: any(comm(child) == "sleep" for child in children(process.pid)))
    answer = process.reply(b"\x1a")
    assert answer.endswith(b"$ "), answer
    process.kill()


def test_one_that_never_reads(plain: Agent) -> None:
    process = plain.sh("echo up; sleep 1000")
    process.until_out(b"up\n")
    request = process.ask_waiting()
    with pytest.raises(AssertionError, match="not within"):
        plain.until(lambda: request in plain.waitings, timeout=0.5)
    plain.send(wire.fixed(Type.CANCEL, process.channel, request))
    plain.until(lambda: request in plain.waitings)
    assert plain.waitings[request].values[1] == Reason.CANCELLED
    plain.send(wire.fixed(Type.CANCEL, process.channel, 999))
    plain.sync()


def test_one_that_does_not_take_its_input(plain: Agent) -> None:
    process = plain.sh("sleep 0.3; cat")
    assert process.reply(b"x" * 200_000) == b"x" * 200_000


def test_it_ends_instead(agent: Agent) -> None:
    process = agent.sh("sleep 0.1; echo bye; exit 3")
    answer = process.waiting()
    assert answer.values[1:] == (Reason.ENDED, 0, 4, 0)
    assert process.status == 3
    assert process.end == (4, 0)
    assert process.waiting().values[1] == Reason.ENDED, "and asked again"


def test_end_of_input(plain: Agent) -> None:
    process = plain.spawn("cat")
    process.write(b"x").close_stdin()
    assert process.waiting().values[1:] == (Reason.ENDED, 1, 1, 0)


def test_input_that_is_still_to_come(plain: Agent) -> None:
    """Asked for an offset that was not even sent yet: not before that."""
    process = plain.spawn("cat")
    process.waiting()
    request = process.ask_waiting(offset=5)
    with pytest.raises(AssertionError, match="not within"):
        plain.until(lambda: request in plain.waitings, timeout=0.2)
    process.write(b"12345")
    plain.until(lambda: request in plain.waitings)
    assert plain.waitings[request].values[2:] == (5, 5, 0)


def test_output_is_held_up_by_the_agent(plain: Agent) -> None:
    """WAITING comes behind the bytes it counts, also when those wait for the window."""
    plain.auto_ack = False
    process = plain.sh("head -c 1500000 /dev/zero; read line")
    request = process.ask_waiting()
    plain.until(lambda: len(process.out) == wire.WINDOW_OUT)
    plain.sync()
    assert request not in plain.waitings
    process.auto_ack = True
    process.ack()
    plain.until(lambda: request in plain.waitings)
    assert plain.waitings[request].values[3] == 1500000 == len(process.out)


def test_many_questions(plain: Agent) -> None:
    process = plain.spawn("cat")
    requests = [process.ask_waiting() for _ in range(70)]
    plain.until(lambda: all(request in plain.waitings for request in requests))
    reasons = [plain.waitings[request].values[1] for request in requests]
    assert reasons.count(Reason.INPUT) >= 64
    assert set(reasons) <= {Reason.INPUT, Reason.CANCELLED}


def test_questions_end_with_their_connection(guest: Guest) -> None:
    agent = guest.agent()
    process = agent.sh("sleep 1000")
    process.ask_waiting()
    agent.sync()
    again = guest.agent()
    again.adopt()
    again.sync()
    assert again.waitings == {}
    again.channel(process.channel).kill()


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("tty", [False, True])
def test_another_users_process(start: Callable[..., Guest], tty: bool) -> None:
    """As in a container: root, without the right to ptrace."""
    no_ptrace = ["setpriv", "--bounding-set=-sys_ptrace,-sys_admin", "--inh-caps=-all", "--"]
    agent = start(prefix=no_ptrace).agent()
    status = agent.run("grep CapEff /proc/self/status").split()[1]
    assert not int(status, 16) >> 19 & 1, "CAP_SYS_PTRACE is gone"
    for user in (None, str(OTHER_UID), f"{OTHER_UID}:{OTHER_UID}"):
        process = agent.spawn(*BASH, user=user, tty=tty, env=PROMPTS)
        process.waiting()
        end = b"late\r\n$ " if tty else b"late\n"
        assert process.reply(b"sleep 0.2; echo late\n").endswith(end)
        assert process.kill() == 0


@pytest.mark.usefixtures("root")
def test_a_member_nobody_may_look_into(start: Callable[..., Guest], misbehaving: str) -> None:
    """Neither the right to ptrace nor the right uid: stillness has to do."""
    keep = "-all,+setuid,+setgid,+kill"
    agent = start(prefix=["setpriv", f"--bounding-set={keep}", "--inh-caps=-all", "--"]).agent()
    process = agent.spawn(misbehaving, "blind", user=str(OTHER_UID))
    process.waiting()
    assert process.reply(b"x\n") == b"got x\n"
    process.kill()


@pytest.fixture
def load() -> Iterator[None]:
    """Every core busy twice over."""
    spin = [sys.executable, "-c", "while True: pass"]
    spinners = [subprocess.Popen(spin) for _ in range(2 * (os.cpu_count() or 1))]
    yield
    for spinner in spinners:
        spinner.kill()
        spinner.wait()


REPETITIONS = int(os.environ.get("TFNZ_GUEST_REPETITIONS", "300"))


@pytest.mark.usefixtures("load")
@pytest.mark.parametrize("tty", [False, True])
def test_never_short_never_long(plain: Agent, tty: bool) -> None:
    """The same question over and over, answered whole each time, on a busy machine."""
    process = plain.spawn(*BASH, tty=tty, env=PROMPTS)
    process.waiting()
    end = b"\r\n$ " if tty else b"\n"
    for n in range(REPETITIONS):
        script = b"/bin/echo a%d; /bin/echo b | cat; printf 'c%%s\\n' %d\n" % (n, n)
        answer = process.reply(script)
        assert answer.endswith(b"c%d" % n + end), (n, answer)
        assert answer.count(b"\nb") + answer.startswith(b"b") == 1 or not tty, (n, answer)
        if not tty:
            assert answer == b"a%d\nb\nc%d\n" % (n, n)


@pytest.mark.usefixtures("load")
def test_never_short_python(plain: Agent) -> None:
    process: Process = plain.spawn(
        sys.executable, "-i", "-q", tty=True, env=["PYTHON_BASIC_REPL=1", "HOME=/", *PROMPTS]
    )
    process.waiting()
    for n in range(REPETITIONS // 3):
        answer = process.reply(b"print('a', %d)\n" % n)
        assert answer.endswith(b"\r\na %d\r\n>>> " % n), (n, answer)
