"""Credit: the conversations that all languages agree on, and both halves against each other."""

from __future__ import annotations

import json
import random
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from tfnz_notebook._wire.window import Receiver, Sender
from tfnz_notebook.errors import ProtocolError

CONVERSATIONS = json.loads((Path(__file__).parent / "window.json").read_text(encoding="utf-8"))


def half(talk: dict[str, Any]) -> Receiver | Sender:
    offset, window = talk.get("offset", 0), talk.get("window", 0)
    if talk["half"] != "sender":
        return Receiver(offset, window, gaps=talk.get("gaps", True))
    return Sender(offset, talk.get("allowed", 0), window=window, most=talk.get("most"))


def hear(receiver: Receiver, name: str, *values: Any) -> dict[str, Any]:
    """What follows from an event."""
    match name:
        case "arrived":
            offset, size = values
            new, left = receiver.arrived(offset, bytes(size))
            return {"new": len(new), "left": left}
        case "take" | "take_to":
            getattr(receiver, name)(*values)
            return {"grant": receiver.grant()}
        case "skip":
            return {"left": receiver.skip(*values)}
        case "allow":
            return {"grants": receiver.granted if receiver.allow(*values) else None}
        case "acknowledge":
            return {"says": receiver.acknowledge(*values)}
    receiver.renew(*values)
    return {"granted": receiver.granted}


def say(sender: Sender, *events: list[Any]) -> dict[str, Any]:
    """The same of a sender, which sends what it may."""
    told = {}
    for name, *values in events:
        answer = getattr(sender, name)(*values)
        if name == "skip":
            told["left"] = answer
    size = sender.ready
    return {**told, "sends": [sender.send(size), size] if size else None}


@pytest.mark.parametrize("talk", CONVERSATIONS, ids=lambda talk: talk["name"])
def test_a_conversation(talk: dict[str, Any]) -> None:
    one = half(talk)
    for step in talk["steps"]:
        events = [step["do"], *([step["then"]] if "then" in step else [])]
        expected = {key: value for key, value in step.items() if key not in ("do", "then")}
        if "fault" in step:
            before = [getattr(one, name) for name in one.__slots__]
            with pytest.raises(ProtocolError):
                getattr(one, events[0][0])(*_given(events[0]))
            assert [getattr(one, name) for name in one.__slots__] == before
        elif isinstance(one, Receiver):
            assert hear(one, *step["do"]) == expected, step
        else:
            assert say(one, *events) == expected, step


def _given(event: list[Any]) -> list[Any]:
    name, *values = event
    return [values[0], bytes(values[1])] if name == "arrived" else values


def test_what_is_new_are_the_last_bytes() -> None:
    receiver = Receiver(0, 100)
    assert receiver.arrived(0, b"abcdef") == (b"abcdef", 0)
    assert receiver.arrived(3, b"defgh") == (b"gh", 0)
    assert receiver.arrived(20, b"xyz") == (b"xyz", 12)


class Stream:
    """Both halves, and a way between them on which everything takes its time."""

    def __init__(self, dice: random.Random, *, leaves_out: bool) -> None:
        self.dice = dice
        self.leaves_out = leaves_out
        self.window = dice.choice((8, 100, 1000))
        self.sender = Sender(0, self.window, most=dice.choice((None, self.window)))
        self.receiver = Receiver(0, self.window, gaps=leaves_out)
        self.data: deque[tuple[int, bytes]] = deque()
        self.grants: deque[int] = deque()
        self.kept = bytearray()
        self.sent = self.lost = 0

    def write(self) -> None:
        self.sender.add(self.dice.randrange(1, 3 * self.window))

    def leave_out(self) -> None:
        if self.leaves_out and self.sender.head > self.sender.sent:
            self.sender.skip(self.dice.randrange(self.sender.sent, self.sender.head))

    def send(self) -> None:
        if self.sender.ready:
            size = self.dice.randrange(1, self.sender.ready + 1)
            offset = self.sender.send(size)
            self.data.append((offset, bytes((offset + n) & 0xFF for n in range(size))))

    def deliver(self) -> None:
        if self.data:
            offset, chunk = self.data.popleft()
            new, left = self.receiver.arrived(offset, chunk)
            assert all(byte == (offset + n) & 0xFF for n, byte in enumerate(new))
            self.lost += left
            self.kept += new
            assert self.receiver.expected == len(self.kept) + self.lost
            assert self.receiver.expected - self.receiver.taken <= self.window

    def take(self) -> None:
        waiting = self.receiver.expected - self.receiver.taken
        if waiting:
            self.receiver.take(self.dice.randrange(1, waiting + 1))
            self.say()

    def say(self) -> None:
        if (grant := self.receiver.grant()) is not None:
            self.grants.append(grant)

    def allow(self) -> None:
        if self.grants:
            self.sender.allow(self.grants.popleft())

    def settle(self) -> None:
        """Everything arrives, everything is used up, until nothing moves."""
        before = None
        while before != (state := (self.sender.sent, self.receiver.taken, len(self.grants))):
            before = state
            for act in (self.send, self.deliver, self.take, self.allow):
                act()


@pytest.mark.parametrize("leaves_out", [False, True], ids=["everything", "elisions"])
@pytest.mark.parametrize("seed", range(50))
def test_two_halves_never_wait_for_each_other(seed: int, *, leaves_out: bool) -> None:
    dice = random.Random(seed)
    stream = Stream(dice, leaves_out=leaves_out)
    acts = [stream.write, stream.leave_out, stream.send, stream.deliver, stream.take, stream.allow]
    weights = [dice.random() for _ in acts]
    for _ in range(2000):
        dice.choices(acts, weights)[0]()
    stream.settle()
    assert stream.receiver.expected == stream.sender.sent == stream.sender.head, "all came"
