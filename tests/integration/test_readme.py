"""The README's ten lines, as a real script; and its magics, as a person pastes them."""

import os
import pty
import re
import select
import subprocess
import sys
import termios
from pathlib import Path
from typing import Self

import pytest
from integration.notebook import Notebook
from integration.polling import until
from integration.scripts import run
from integration.world import World

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def ten_lines() -> str:
    """Of the Python blocks, the one without magics."""
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (code,) = [block for block in blocks if "%tf_" not in block]
    return str(code)


@pytest.mark.engines("podman", "docker", each=True)
def test_the_ten_lines_do_what_they_say(world: World, where: str) -> None:
    assert len([line for line in ten_lines().splitlines() if line.strip()]) <= 13
    output = run(world, ten_lines(), TFNZ_LOCATION=where)
    assert re.search(r"[1-9]\d+ bytes", output), output  # nginx's line may come before its end
    assert re.search(r'"GET / HTTP/1\.\d" 200', output), output
    assert re.search(r"^/etc/nginx\n[1-9]\d*$", output, re.MULTILINE), output
    assert "test is successful" in output


def magic_lines() -> list[str]:
    """The lines of the block with magics, comments and all, as a person pastes them."""
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (code,) = [block for block in blocks if "%tf_" in block]
    return [line for line in str(code).splitlines() if line.strip()]


@pytest.mark.engines("podman", "docker", anywhere=True)
def test_its_magics_pasted_line_by_line_into_a_notebook(world: World, where: str) -> None:
    with Notebook(world, where) as opened:
        for line in magic_lines():
            opened.run(line, cell=line)
        known = "print(type(web).__name__, type(plot).__name__, len(web.all_tunnels()))"
        assert opened.text(opened.run(known)) == "Container Plot 1\n"
        cell = opened.run("\n".join(magic_lines()), cell="all of it")
        assert "left" not in opened.text(cell)
        opened.run("%tf_stop --all")


@pytest.mark.engines("podman", "docker", anywhere=True)
def test_its_magics_pasted_line_by_line_into_ipython(world: World, where: str) -> None:
    with Person(world.environment(TFNZ_LOCATION=where, IPYTHONDIR=str(world.home / "i"))) as at:
        at.sees(rb"In \[1\]: ")
        for number, line in enumerate([*magic_lines(), "%tf_stop --all"], 2):
            at.types(line.encode() + b"\n")
            if "%tf_shell" in line:
                at.sees(rb"\n.*[#$] ")  # its prompt, below the line with its comment
                at.types(b"\x1d")  # Ctrl-]
            at.sees(rb"In \[%d\]: " % number)
        assert b"Error" not in at.seen and b"Cannot" not in at.seen, at.seen.decode()


class Person:
    """Sits at a terminal, before IPython."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = {**environment, "TERM": "dumb"}
        self.seen = b""
        self._new = b""

    def __enter__(self) -> Self:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (40, 200))
        ipython = [sys.executable, "-m", "IPython", "--simple-prompt", "--colors=nocolor"]
        self._process = subprocess.Popen(
            [*ipython, "--ext=tfnz_notebook"],
            env=self._environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.types(b"exit()\n")
            self._process.wait(20)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._master)

    def types(self, keys: bytes) -> None:
        """Type, or paste."""
        self._new = b""
        os.write(self._master, keys)

    def sees(self, pattern: bytes) -> None:
        """Wait until that has appeared since the last key."""
        until(lambda: self._looks(pattern), 40, f"{pattern!r} is seen, after {self.seen[-900:]!r}")

    def _looks(self, pattern: bytes) -> bool:
        while select.select([self._master], [], [], 0)[0]:
            try:
                piece = os.read(self._master, 65536)
            except OSError:  # it has ended
                break
            self._new += piece
            self.seen += piece
        return re.search(pattern, self._new) is not None
