"""The real terminal, given to a process: a pty in its place."""

import os
import pty
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from unit.link.scripted_agent import ScriptedAgent
from unit.magics.conftest import Shell

from tfnz_notebook.magics.shown import keyboard, terminal


class Terminal:
    """A person's terminal: what was shown there, and keys to press."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        self.shown = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            try:
                self.shown += os.read(self.master, 4096)
            except OSError:
                return

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def raw(self) -> bool:
        return not termios.tcgetattr(self.slave)[3] & termios.ICANON


@pytest.fixture
def person() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    os.close(made.slave)
    os.close(made.master)


@contextmanager
def sitting_at(person: Terminal) -> Iterator[None]:
    """Their terminal is ours. Not in the fixture: pytest has its own stdout after that."""
    with (
        pytest.MonkeyPatch.context() as patch,
        os.fdopen(os.dup(person.slave), "r") as read,
        os.fdopen(os.dup(person.slave), "w") as write,
    ):
        patch.setattr("sys.stdin", read)
        patch.setattr("sys.stdout", write)
        yield


def started(shell: Shell) -> Any:
    return shell["web"].spawn_process("bash", tty=True)


def test_it_is_raw_until_the_process_ends(
    shell: Shell, agent: ScriptedAgent, web: str, person: Terminal
) -> None:
    process = started(shell)

    def act() -> None:
        agent.until(person.raw)
        agent.write(process.id, b"$ \x1b]52;c;x\x07\x1b[2Jhi")
        agent.until(lambda: b"hi" in person.shown)
        person.press(b"ls\x03\r")
        agent.until(lambda: agent.processes[process.id].stdin == b"ls\x03\r")
        agent.end(process.id, 0)

    acting = threading.Thread(target=act)
    acting.start()
    with sitting_at(person):
        assert keyboard.attach(process) is False
    acting.join()
    assert bytes(person.shown).startswith(b"$ \x1b[2Jhi")
    assert not person.raw()
    resized = agent.named("process.resize")[0].body
    assert resized["rows"] >= 1


def test_ctrl_bracket_leaves_it_running(
    shell: Shell, agent: ScriptedAgent, web: str, person: Terminal
) -> None:
    process = started(shell)

    def act() -> None:
        agent.until(person.raw)
        person.press(b"x\x1dy")

    acting = threading.Thread(target=act)
    acting.start()
    with sitting_at(person):
        assert keyboard.attach(process) is True
    acting.join()
    assert process.returncode is None
    assert bytes(agent.processes[process.id].stdin) == b"x"
    assert not person.raw()


def test_what_was_typed_ahead_is_its_own(
    shell: Shell, agent: ScriptedAgent, web: str, person: Terminal
) -> None:
    process = started(shell)
    person.press(b"ls\n\x1d")
    with sitting_at(person):
        assert keyboard.attach(process) is True
    agent.until(lambda: agent.processes[process.id].stdin == b"ls\n")


def test_lines_go_to_stdin_until_the_end_of_file(
    shell: Shell, agent: ScriptedAgent, web: str, person: Terminal
) -> None:
    process = shell["web"].spawn_process("cat")

    def act() -> None:
        person.press(b"one\n")
        agent.until(lambda: agent.processes[process.id].stdin == b"one\n")
        person.press(b"\x04")

    acting = threading.Thread(target=act)
    acting.start()
    with sitting_at(person):
        keyboard.lines(process)
    acting.join()
    assert agent.named("process.close_stdin")


def test_a_shell_gets_the_terminal_where_there_is_one(
    shell: Shell, agent: ScriptedAgent, web: str, person: Terminal
) -> None:
    termios.tcsetwinsize(person.slave, (30, 100))
    before = len(agent.named("process.spawn"))

    def act() -> None:
        agent.until(person.raw)
        agent.end(agent.named("process.spawn")[before].body["process"], 0)

    acting = threading.Thread(target=act)
    acting.start()
    with sitting_at(person):
        made = terminal.Terminal().shell(shell["web"], None, {"env": {}, "cwd": None, "user": None})
        assert terminal.Terminal().attached(made, stdin=False) is False
    acting.join()
    asked = agent.named("process.spawn")[before].body
    assert (asked["rows"], asked["columns"], asked["tty"]) == (30, 100, True)
