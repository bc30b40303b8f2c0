"""Interpreters of a scripted agent, which say what a test wants."""

import ast
import json
from collections.abc import Callable
from typing import Any

from unit.link.scripted_agent import ScriptedAgent

Played = Callable[["Puppet", dict[str, Any]], None]


class Puppet:
    """Plays the interpreters of an agent: ``plays`` is called with each question."""

    def __init__(self, agent: ScriptedAgent, plays: Played) -> None:
        self.agent = agent
        self.plays = plays
        self.questions: list[dict[str, Any]] = []
        self.process = ""
        self._cell, self._number = "", 0
        self._heard: dict[str, bytes] = {}
        agent.answers["process.stdin"] = self._stdin

    def _stdin(self, agent: ScriptedAgent, message: Any) -> Any:
        self.process = message.body["process"]
        data = self._heard.get(self.process, b"") + (message.payload or b"")
        *lines, self._heard[self.process] = data.split(b"\n")
        for line in lines:
            if line.startswith(b"{'do'"):
                asked = ast.literal_eval(line.decode())
                self.questions.append(asked)
                if asked["do"] == "hello":
                    self.say(is_="ready", nonce=asked["nonce"], version="3")
                    continue
                if asked["do"] == "run":
                    self._cell, self._number = asked["cell"], 0
                    self.write(self.mark(0))
                self.plays(self, asked)
        return {}, None

    def mark(self, number: int) -> bytes:
        return f"\x1b_tfnz:{self._cell}:{number}\x1b\\".encode()

    def write(self, data: bytes) -> None:
        self.agent.write(self.process, data)

    def say(self, **told: Any) -> None:
        self.raw(json.dumps(told).encode())

    def raw(self, said: bytes) -> None:
        for at in range(0, len(said), 4000):
            piece, last = said[at : at + 4000], at + 4000 >= len(said)
            self.agent.write(
                self.process, b"\x1b_tfnz%s%s\x1b\\" % (b"." if last else b"+", piece), 2
            )

    def told(self, what: str, **more: Any) -> None:
        self._number += 1
        self.write(self.mark(self._number))
        self.say(is_=what, cell=self._cell, number=self._number, **more)

    def done(self, text: str | None = None, **more: Any) -> None:
        value = None if text is None else {"data": {"text/plain": text}, "left": []}
        self.told("done", **{"value": value, "error": None, **more})


def echo(puppet: Puppet, asked: dict[str, Any]) -> None:
    """The value of a cell is the cell."""
    puppet.done(asked["code"])
