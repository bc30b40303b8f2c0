"""A program of containers, run here, and spoken to as a container's is; in no container."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, Self

from tfnz_notebook._container import conversation
from tfnz_notebook._wire.cells import Answers, Order, Said, Text

MOST = 1 << 20
#: Any from 3.8 on; and any that has ipykernel.
PYTHON = os.environ.get("TFNZ_PYTHON", sys.executable)
IPYKERNEL = os.environ.get("TFNZ_IPYKERNEL", sys.executable)


class Driven:
    """``python``, ``ipykernel`` or ``bash``, as its context would start and ask it."""

    def __init__(
        self, kind: str, argv: list[str] | None = None, env: dict[str, str] | None = None
    ) -> None:
        self.kind = kind
        self.program = conversation._PROGRAMS["bash" if kind == "bash" else "python"]()
        if kind == "python":  # as where there is no ipykernel
            *words, size, _ = self.program.argv
            code = self.program.before[: int(size)]
            self.program = self.program._replace(argv=[*words, size, "0"], before=code)
        argv = argv or self.program.argv
        if kind != "bash":
            python = PYTHON if kind == "python" else IPYKERNEL
            argv = [python if each == "python3" else each for each in argv]
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            env=os.environ | (env or {}),
        )
        assert self.process.stdout
        assert self.process.stderr
        self._streams = {self.process.stdout.fileno(): 1, self.process.stderr.fileno(): 2}
        self._text, self.answers = Text(), Answers()
        self.asked = ""
        self._count = 0
        if self.program.before:
            self.say(self.program.before)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        for each in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert each
            each.close()

    def say(self, data: bytes) -> None:
        assert self.process.stdin
        while data:
            data = data[self.process.stdin.write(data) :]

    def interrupt(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)

    def heard(self) -> list[tuple[int, bytes]]:
        """What has come of its streams; empty when both have ended."""
        found = []
        for each in select.select(list(self._streams), [], [], 20)[0]:
            if data := os.read(each, 1 << 16):
                found.append((self._streams[each], data))
            else:
                del self._streams[each]
        return found

    def start(self, code: str, name: str = "", **variables: Any) -> Order:
        """Ask for a cell."""
        self._count += 1
        cell = f"{self._count:032x}"
        self.say(self.program.run(cell, code, name, **variables))
        return Order(cell, MOST)

    def finish(
        self, order: Order, when: Callable[[bytes], None] = lambda _text: None, answer: str = ""
    ) -> list[Said | dict[str, Any]]:
        """What it says, in order; the last is that it is done, unless it has ended.

        ``when`` is told all text so far; ``answer`` is what is typed where it asks.
        """
        said: list[Said | dict[str, Any]] = []
        deadline = time.monotonic() + 30
        while not (said and isinstance(said[-1], dict) and said[-1]["is_"] == "done"):
            assert time.monotonic() < deadline, said
            heard = self.heard()
            if not self._streams:
                break
            for stream, data in heard:
                if stream == 1:
                    new = [each for text in self._text.feed(data) for each in order.text(text)]
                else:
                    new = [each for told in self.answers.feed(data) for each in order.answer(told)]
                for each in new:
                    if isinstance(each, dict) and each["is_"] == "ask":
                        assert self.program.answer
                        self.say(self.program.answer(each["cell"], answer))
                said += new
            when(text_of(said))
        return said

    def run(self, code: str, **more: Any) -> tuple[bytes, dict[str, Any]]:
        """(all its text, the last that it said)."""
        said = self.finish(self.start(code), **more)
        assert isinstance(said[-1], dict), said
        return text_of(said), said[-1]

    def look(self, do: str, text: str, interrupt: bool = False) -> dict[str, Any]:
        """What it finds between cells."""
        assert self.program.look
        self.say(self.program.look(do, "a nonce", text))
        while interrupt:
            self.interrupt()
            interrupt = not select.select(list(self._streams), [], [], 0.05)[0]
        while True:
            for stream, data in self.heard():
                for told in self.answers.feed(data) if stream == 2 else ():
                    if told["is_"] == "found":  # and no cell's that a test has left
                        return told

    def value(self, code: str) -> Any:
        """The value of a cell, as text."""
        text, done = self.run(code)
        assert done["error"] is None, (text, done)
        return None if done["value"] is None else done["value"]["data"]["text/plain"]


def text_of(said: list[Said | dict[str, Any]], stream: int | None = None) -> bytes:
    """What it wrote."""
    return b"".join(
        each.data for each in said if isinstance(each, Said) and stream in (None, each.stream)
    )


def unstyled(text: str) -> str:
    """Without the colours that IPython has for it."""
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def stopped(driven: Driven, when: bytes) -> Callable[[bytes], None]:
    """Interrupts it once, when it has written that."""
    left = [when]

    def look(text: bytes) -> None:
        if left and left[0] in text:
            left.clear()
            driven.interrupt()

    return look
