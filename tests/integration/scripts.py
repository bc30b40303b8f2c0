"""Python scripts as users run them: in a process of their own, their output read as it comes."""

import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Self

from integration.world import PYTHON, World


class Script:
    """A running script. ``lines`` grows while it runs: (seconds since its start, text)."""

    def __init__(self, world: World, source: str, *arguments: str, **environment: str) -> None:
        self._file = Path(tempfile.mkstemp(suffix=".py", dir=world.home)[1])
        self._file.write_text(source)
        self.lines: list[tuple[float, str]] = []
        self._began = time.monotonic()
        self.process = subprocess.Popen(
            [*PYTHON, str(self._file), *arguments],
            env=world.environment(**environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.errors = ""
        self._threads = [
            threading.Thread(target=self._read_lines),
            threading.Thread(target=self._read_errors),
        ]
        for thread in self._threads:
            thread.start()

    def _read_lines(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append((time.monotonic() - self._began, line.rstrip("\n")))

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors = self.process.stderr.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self._finish(10)

    def _finish(self, seconds: float) -> None:
        self.process.wait(seconds)
        for thread in self._threads:
            thread.join(seconds)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()

    def output(self) -> str:
        """What it has written so far."""
        return "".join(f"{line}\n" for _, line in self.lines)

    def wait(self, seconds: float = 60) -> str:
        """Its whole output, once it has ended well."""
        try:
            self._finish(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs after {seconds} s:\n{self.output()}") from None
        assert self.process.returncode == 0, f"{self.process.returncode}: {self.errors}"
        return self.output()


def run(world: World, source: str, *arguments: str, seconds: float = 60, **env: str) -> str:
    """Run a script to its end; its output."""
    with Script(world, source, *arguments, **env) as script:
        return script.wait(seconds)
