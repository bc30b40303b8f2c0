"""Processes with a terminal."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from guest.conftest import OTHER_UID

from tfnz_notebook._wire.guest import MAIN, Flag, Stream, Tag

if TYPE_CHECKING:
    from collections.abc import Callable

    from guest.harness import Agent, Guest


def test_a_terminal(agent: Agent) -> None:
    process = agent.sh("tty; stty size; echo $TERM; echo err >&2; exit 3", tty=True, size=(33, 77))
    assert process.wait() == 3
    lines = process.out.decode().split("\r\n")
    assert lines[0].startswith("/dev/pts/")
    assert lines[1:] == ["33 77", "xterm-256color", "err", ""], "stderr is on it too"
    assert process.err == b""
    agent.until(lambda: len(process.eof) == 2)
    process.wait_gone()


def test_default_size_and_given_term(plain: Agent) -> None:
    process = plain.sh("stty size; echo $TERM", tty=True, env=["TERM=dumb"])
    process.wait()
    assert process.out == b"24 80\r\ndumb\r\n"


def test_it_is_the_controlling_terminal(plain: Agent) -> None:
    process = plain.sh("echo asked > /dev/tty; read answer < /dev/tty; echo $answer", tty=True)
    process.until_out(b"asked")
    process.write(b"yes\n")
    assert process.wait() == 0
    assert process.out == b"asked\r\nyes\r\nyes\r\n"


def test_resize(plain: Agent) -> None:
    process = plain.sh("trap 'stty size' WINCH; echo up; while :; do sleep 0.01; done", tty=True)
    process.until_out(b"up")
    process.resize(50, 132)
    process.until_out(b"50 132")
    process.kill()
    piped = plain.sh("read x")
    piped.resize(1, 1)
    plain.sync()


def test_interrupt_key(plain: Agent) -> None:
    process = plain.sh(
        "trap 'echo got it; exit 7' INT; echo up; while :; do sleep 0.01; done", tty=True
    )
    process.until_out(b"up")
    process.write(b"\x03")
    assert process.wait() == 7
    assert process.out.endswith(b"got it\r\n")


@pytest.mark.parametrize("typed", [b"", b"line\n", b"half a line"])
def test_end_of_input(agent: Agent, typed: bytes) -> None:
    """The terminal's EOF character; in the middle of a line it takes two."""
    process = agent.sh("cat > /dev/null; echo end", tty=True)
    process.write(typed).close_stdin()
    assert process.wait() == 0
    assert process.out.endswith(b"end\r\n")


def test_end_of_input_with_another_character(plain: Agent) -> None:
    process = plain.sh("stty eof ^X; echo up; cat; echo end", tty=True)
    process.until_out(b"up")
    process.write(b"x\n").close_stdin()
    assert process.wait() == 0
    assert process.out.endswith(b"x\r\nx\r\nend\r\n")


def test_hang_up(plain: Agent) -> None:
    """The leader's end hangs up the terminal; what it wrote before is read whole."""
    process = plain.sh("seq 1 20000; sleep 1000 & exit 2", tty=True)
    assert process.wait() == 2
    expected = b"".join(b"%d\r\n" % n for n in range(1, 20001))
    assert process.out == expected
    plain.until(lambda: Stream.OUT in process.eof)
    process.kill()
    process.wait_gone()


def test_much_typed_at_once(plain: Agent) -> None:
    process = plain.sh("stty raw -echo; echo up; head -c 100000 | sha256sum", tty=True)
    process.until_out(b"up\n")
    process.write(b"0123456789" * 10000)
    assert process.wait() == 0
    digest = hashlib.sha256(b"0123456789" * 10000).hexdigest()
    assert process.out.splitlines()[-1].split()[0] == digest.encode()


def test_inventory_says_tty(guest: Guest) -> None:
    process = guest.agent().sh("read x", tty=True)
    proc = guest.agent().inventory[process.channel]
    assert proc.integer(Tag.FLAGS) == Flag.TTY
    assert proc.integer(Tag.ERR_EOF) == 1


@pytest.mark.usefixtures("root")
def test_a_terminal_belongs_to_its_user(plain: Agent) -> None:
    process = plain.sh("echo again > $(tty); id -u", tty=True, user=str(OTHER_UID))
    assert process.wait() == 0
    assert process.out == b"again\r\n%d\r\n" % OTHER_UID


def test_many_terminals(plain: Agent) -> None:
    processes = [plain.sh("tty; read x", tty=True) for _ in range(20)]
    for process in processes:
        process.until_out(b"\n")
    assert len({process.out for process in processes}) == 20
    for process in processes:
        process.close_stdin()
        process.wait_gone()


def test_the_main_process_has_one_where_that_is_asked_for(start: Callable[..., Guest]) -> None:
    script = "tty; stty size; echo err >&2; read line; exit 7"
    guest = start("sh", "-c", script, options=("--tty",))
    assert guest.process.stdout
    while b"err" not in guest.process.stdout.readline():
        pass  # the engine's log has all of it before any agent comes
    agent = guest.agent()
    assert agent.inventory[MAIN].integer(Tag.FLAGS) == Flag.TTY
    agent.adopt()
    main = agent.channel(MAIN)
    main.until_out(b"err")
    assert main.out.splitlines()[0].startswith(b"/dev/pts/")
    assert main.out.splitlines()[1:] == [b"24 80", b"err"]
    main.write(b"yes\n")
    assert main.wait() == 7
