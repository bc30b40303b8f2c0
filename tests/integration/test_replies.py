"""``stdin(..., return_reply=True)``: answers by the thousand, all of them whole, on a busy machine.

In ``make test`` fewer, on a machine that has other tests to do.
"""

import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tfnz_notebook.container import Container
from tfnz_notebook.process import Process

#: How many of each kind, where it is the thousand's turn.
COUNTS = {"podman": 1000}
ELSEWHERE = 100
FEW = 20
LONGEST = 100_000
#: What a terminal program may say besides its answer: escape sequences and carriage returns.
INVISIBLE = re.compile(rb"(?:\x1b\[[0-?]*[ -/]*[@-~]|\r)*")


@dataclass(frozen=True)
class Talker:
    """Something to talk with. ``question`` asks for a number, padded with zeros to a size."""

    command: str
    tty: bool
    first: bytes
    question: Callable[[int, int], str]
    prompt: bytes = b""


def in_bash(number: int, size: int) -> str:
    return f"printf '%0{size}d\\n' {number}\n"


def in_bash_sleepily(number: int, size: int) -> str:
    """The answer comes after a pause, in two pieces with another between them."""
    half = size // 2
    return (
        f"sleep 0.0{number % 3}; printf '%0{half}d' 0; sleep 0.00{number % 7}; "
        f"printf '%0{size - half}d\\n' {number}\n"
    )


def in_python(number: int, size: int) -> str:
    return f"print('%0{size}d' % {number})\n"


TALKERS = {
    "bash": Talker("/bin/bash", False, b"true\n", in_bash),
    "bash-pty": Talker("/bin/bash", True, b"PS1='ready> '\n", in_bash, b"ready> "),
    "python": Talker("python3 -i", False, b"0\n", in_python),
    "python-pty": Talker("python3 -i", True, b"0\n", in_python, b">>> "),
    "sleeper": Talker("/bin/bash", False, b"true\n", in_bash_sleepily),
}


@pytest.fixture
def count(where: str, request: pytest.FixtureRequest) -> Iterator[int]:
    """So many replies; for many, on a machine that has its hands full."""
    if request.param == "few":
        yield FEW
        return
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    yield COUNTS.get(where, ELSEWHERE)
    for loop in loops:
        loop.kill()
        loop.wait()


def ask(process: Process, text: bytes) -> bytes:
    return process.stdin(text, return_reply=True, drop_echo=True, timeout=30)


def around(talker: Talker, reply: bytes, body: bytes) -> tuple[bytes, bytes]:
    """What stands before and after the answer: nothing that can be seen but newline and prompt."""
    before, found, after = reply.partition(body)
    assert found, reply
    if not talker.tty:
        assert (before, after) == (b"", b"\n")
    assert INVISIBLE.fullmatch(before), reply
    assert INVISIBLE.sub(b"", after) == b"\n" + talker.prompt, reply
    return before, after


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "count", ["few", pytest.param("many", marks=pytest.mark.long)], indirect=True
)
@pytest.mark.parametrize("kind", TALKERS)
def test_every_reply_is_whole(box: Container, kind: str, count: int) -> None:
    talker = TALKERS[kind]
    process = box.spawn_process(talker.command, tty=talker.tty)
    ask(process, talker.first)
    ask(
        process, talker.question(7, 10).encode()
    )  # a readline's first line may differ from later ones
    before, after = around(talker, ask(process, talker.question(7, 10).encode()), b"0000000007")
    chance = random.Random(kind)
    for number in range(count):
        size = LONGEST if number == 0 else int(10 ** chance.uniform(1, 5))
        reply = ask(process, talker.question(number, size).encode())
        expected = before + b"%0*d" % (size, number) + after
        # Compared outside the assert: pytest would take minutes to explain 100 KB.
        same = reply == expected
        assert same, (number, size, len(reply), len(expected), reply[:80], reply[-80:])
    box.destroy_process(process)


def test_a_reply_holds_back_until_children_are_done(box: Container) -> None:
    process = box.spawn_process("/bin/bash")
    question = b"for i in 1 2 3 4 5; do sleep 0.2; echo $i; done\n"
    assert ask(process, question) == b"1\n2\n3\n4\n5\n"
    box.destroy_process(process)


def test_a_reply_of_nothing_is_empty(box: Container) -> None:
    process = box.spawn_process("/bin/bash")
    assert ask(process, b"cd /\n") == b""
    assert ask(process, b"pwd\n") == b"/\n"
    box.destroy_process(process)


def test_the_reply_of_a_process_that_ends_is_its_last_words(box: Container) -> None:
    process = box.spawn_process("/bin/bash")
    assert ask(process, b"echo good-bye; exit 3\n") == b"good-bye\n"
    process.wait_until_complete(timeout=10)
    assert process.returncode == 3


def test_a_prompt_in_the_middle_of_a_line_is_a_question_too(box: Container) -> None:
    process = box.spawn_process("/bin/bash")
    assert ask(process, b"read -p 'name? ' name; echo hello $name\n") == b""  # -p goes to stderr
    assert ask(process, b"Ann\n") == b"hello Ann\n"
    box.destroy_process(process)


def test_a_reply_that_does_not_come_times_out_and_is_not_lost(box: Container) -> None:
    process = box.spawn_process("/bin/bash")
    with pytest.raises(TimeoutError, match="^Cannot .*timeout"):
        process.stdin(b"echo early; sleep 0.5; echo late\n", return_reply=True, timeout=0.2)
    process.close_stdin()
    assert process.wait_until_complete(timeout=10) == b"early\nlate\n"
