"""The conversations about credit that the guest has a half in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Stream

if TYPE_CHECKING:
    from guest.harness import Agent, Guest, Process

VECTORS = Path(__file__).parents[1] / "unit" / "wire" / "window.json"
TALKS = [talk for talk in json.loads(VECTORS.read_text(encoding="utf-8")) if "guest" in talk]
#: Bytes in one frame.
PIECE = 32 << 10


def talks(*kinds: str) -> pytest.MarkDecorator:
    found = [talk for talk in TALKS if talk["guest"] in kinds]
    assert len(found) == len(kinds)
    return pytest.mark.parametrize("talk", found, ids=lambda talk: talk["guest"])


@talks("pipe", "terminal")
def test_output_is_sent_as_far_as_it_may(guest: Guest, talk: dict[str, Any]) -> None:
    agent = guest.agent(auto_ack=False)
    process = agent.sh("read size; exec head -c $size /dev/zero", tty=talk["guest"] == "terminal")
    for step in talk["steps"]:
        match step["do"]:
            case ["add", size]:
                process.write(b"%d\n" % size)
            case ["acknowledge", offset]:
                process.ack(offset=offset)
            case ["rewind"]:
                acked, channel = process.acked[Stream.OUT], process.channel
                agent = guest.agent(auto_ack=False)
                agent.adopt(channel, stream_offsets={channel: (acked, 0)})
                process = agent.channel(channel)
        if "fault" in step:
            agent.until_closed()
            return
        offset, size = step["sends"] or (process.head(), 0)
        assert process.head() == offset
        _sends(agent, process, offset + size)
    raise AssertionError("each ends with a fault")


def _sends(agent: Agent, process: Process, upto: int) -> None:
    """All up to there, and no byte more."""
    agent.until(lambda: process.head() >= upto)
    agent.sync()
    assert process.head() == upto


@talks("read", "unread")
def test_input_is_taken_as_far_as_it_may_come(guest: Guest, talk: dict[str, Any]) -> None:
    agent = guest.agent()
    process = agent.spawn("cat") if talk["guest"] == "read" else agent.spawn("sleep", "1000")
    new = taken = 0
    for step in talk["steps"]:
        match step["do"]:
            case ["arrived", offset, size]:
                for at in range(offset, offset + size, PIECE):
                    piece = bytes(min(PIECE, offset + size - at))
                    agent.send(wire.data(process.channel, Stream.IN, at, piece))
                if "fault" in step:
                    agent.until_closed()
                    return
                new += step["new"]
            case ["take", size]:
                taken += size
                agent.until(lambda taken=taken: process.taken >= taken)
                agent.sync()
                assert process.taken == taken
        if talk["guest"] == "read":
            _sends(agent, process, new)
    raise AssertionError("each ends with a fault")
