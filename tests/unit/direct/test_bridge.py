"""What is behind a websocket, with a whole agent in memory and no server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from unit.agent.live import LiveAgent, container, live_agent, process, until

from tfnz_notebook._link import link as link_module
from tfnz_notebook._wire import view as wire
from tfnz_notebook.direct.bridge import Bridge
from tfnz_notebook.errors import AgentError, LinkClosed, Misuse, ProtocolError

VIEW = "ab" * 8


@pytest.fixture
async def agent(monkeypatch):
    async with live_agent(monkeypatch) as made:
        yield made


class Page:
    """A bridge, and what it delivered."""

    def __init__(self, ident: str, ticket: str, agent: str = "fake") -> None:
        self.heads: list[dict[str, Any]] = []
        self.streams = {1: b"", 2: b""}
        self.ends = 0
        self.bridge = Bridge(agent, ident, ticket, self._deliver, self._ended)

    def _deliver(self, message: bytes) -> None:
        assert not self.ends, "the end was the last thing"
        head, payload = wire.unpack(message)
        assert isinstance(head, dict)
        self.heads.append(head)
        if head["t"] == "data":
            had = self.streams[head["stream"]][: head["offset"]]
            assert head["offset"] == len(had)
            self.streams[head["stream"]] = had + payload

    def _ended(self) -> None:
        self.ends += 1

    @property
    def info(self) -> dict[str, Any]:
        """The state as it was told last."""
        told: dict[str, Any] = next((h["info"] for h in reversed(self.heads) if "info" in h), {})
        return told

    def say(self, kind: str, payload: bytes = b"", **fields: Any) -> None:
        self.bridge.received(wire.pack({"t": kind, "view": VIEW, **fields}, payload))

    async def hear(self, kind: str) -> dict[str, Any]:
        """The last message of that type, once there is one."""
        found: dict[str, Any] = await until(
            lambda: next((head for head in reversed(self.heads) if head["t"] == kind), None)
        )
        return found


async def opened(ident: str, ticket: str, mode: str = "all") -> Page:
    page = Page(ident, ticket)
    await page.bridge.open()
    page.say("open", subject="as the kernel calls it", mode=mode, window=1 << 20)
    await page.hear("opened")
    return page


async def test_a_view_behind_it_reads_writes_and_sees_the_end(agent: LiveAgent):
    kernel = await agent.kernel()
    page = await opened(*await process(kernel, await container(kernel), "cat"))
    page.say("stdin", b"hello\n", offset=7)
    assert (await page.hear("ack"))["upto"] == 13
    page.say("eof", offset=13)
    await until(lambda: any(head["t"] == "eof" for head in page.heads))
    await until(lambda: page.info.get("state") == "ended")
    assert page.streams[1] == b"hello\n"
    assert page.info["container"] == "box"
    page.bridge.close()
    page.bridge.close()
    await until(lambda: len(agent.service.server.clients) == 1)
    assert page.ends == 0, "it was the page that ended it"


async def test_no_byte_is_lost_or_doubled_when_the_agent_is_replaced(agent: LiveAgent):
    kernel = await agent.kernel()
    page = await opened(*await process(kernel, await container(kernel), "count", "3000"))
    expected = b"".join(b"line %d\n" % number for number in range(3000))
    for part in (1, 2):
        await until(lambda part=part: len(page.streams[1]) > part * len(expected) // 4)
        await agent.stop()
        await agent.start()
    await until(lambda: len(page.streams[1]) >= len(expected))
    assert page.streams[1] == expected
    page.bridge.close()


async def test_what_is_said_again_over_another_carrier_is_written_once(agent: LiveAgent):
    kernel = await agent.kernel()
    ident, ticket = await process(kernel, await container(kernel), "cat")
    words = [b"cd /tmp\n", b"rm -r x\n", b"exit\n"]
    places = [(sum(map(len, words[:n])), word) for n, word in enumerate(words)]
    before, after = await opened(ident, ticket), await opened(ident, ticket)
    for at, word in places[:2]:
        before.say("stdin", word, offset=at)
    for at, word in places:  # none of them was answered, as far as the page knows
        after.say("stdin", word, offset=at)
    await until(lambda: any(head.get("upto") == 21 for head in after.heads))
    await agent.stop()
    await agent.start()
    third = await opened(ident, ticket)
    for at, word in places[1:]:
        third.say("stdin", word, offset=at)
    third.say("stdin", b"whoami\n", offset=21)
    third.say("eof", offset=28)
    await until(lambda: third.info.get("state") == "ended")
    ended = {"t": "ack", "view": VIEW, "upto": 28, "eof": True}
    await until(lambda: ended in third.heads)
    for page in (before, after, third):
        await until(lambda page=page: page.streams[1] == b"".join(words) + b"whoami\n")
        page.bridge.close()


async def test_input_without_an_answer_is_bounded(agent: LiveAgent):
    kernel = await agent.kernel()
    page = await opened(*await process(kernel, await container(kernel), "cat"))
    whole = bytes(range(256)) * (wire.INPUT // 256)
    page.say("stdin", whole, offset=0)
    page.say("stdin", b"x", offset=wire.INPUT)
    error = await page.hear("error")
    assert (error["offset"], error["doing"]) == (wire.INPUT, "write to stdin")
    await until(lambda: any(head["t"] == "ack" for head in page.heads))
    page.say("stdin", b"y", offset=wire.INPUT)
    await until(lambda: page.streams[1] == whole + b"y")
    page.bridge.close()


async def test_a_process_that_is_gone_is_told_to_the_view(agent: LiveAgent):
    kernel = await agent.kernel()
    where = await container(kernel)
    ident, ticket = await process(kernel, where, "cat")
    page = await opened(ident, ticket)
    await kernel.request("container.destroy", {"container": where})
    assert (await page.hear("closed"))["reason"] == "gone"
    late = Page(ident, ticket)
    await late.bridge.open()
    late.say("open", subject="x")
    assert late.heads[-1]["reason"] == "gone"
    assert "destroyed" in late.heads[-1]["text"]
    late.bridge.close()
    page.bridge.close()
    assert page.ends == late.ends == 0


async def test_an_agent_that_is_gone_for_good_ends_it(agent: LiveAgent, monkeypatch):
    monkeypatch.setattr(link_module, "NO_AGENT", 0.2)
    monkeypatch.setattr(link_module, "RETRY", (0.01, 0.05))
    kernel = await agent.kernel()
    page = await opened(*await process(kernel, await container(kernel), "cat"))
    kernel._end(LinkClosed("It is dead."))
    await agent.stop()
    assert (await page.hear("closed"))["reason"] == "link"
    await until(lambda: page.ends)
    assert page.ends == 1
    page.bridge.close()
    await agent.start()


async def test_who_is_refused(agent: LiveAgent):
    kernel = await agent.kernel()
    ident, ticket = await process(kernel, await container(kernel), "cat")
    with pytest.raises(AgentError, match="not one for it"):
        await Page(ident, "0" * 64).bridge.open()
    with pytest.raises(LinkClosed, match="does not run here"):
        await Page(ident, ticket, "other").bridge.open()
    with pytest.raises(Misuse, match="not an agent's name"):
        Page(ident, ticket, "../fake")
    assert len(agent.service.server.clients) == 1


async def test_a_page_that_goes_while_the_agent_answers_leaves_nothing(agent: LiveAgent):
    kernel = await agent.kernel()
    ident, ticket = await process(kernel, await container(kernel), "cat")
    page = Page(ident, ticket)
    opening = asyncio.create_task(page.bridge.open())
    await asyncio.sleep(0)
    page.bridge.close()
    await opening
    await until(lambda: len(agent.service.server.clients) == 1)


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\0",
        b"\xff\xff\xff\xff",
        b"\x02\0\0\0{",
        b"\x01\0\0\0{",
        b"\x02\0\0\0\xff\xfe",
        b"x" * 99,
    ],
)
async def test_what_is_no_message_is_a_protocol_error(agent: LiveAgent, garbage: bytes):
    kernel = await agent.kernel()
    page = await opened(*await process(kernel, await container(kernel), "cat"))
    with pytest.raises(ProtocolError):
        page.bridge.received(garbage)
    page.bridge.close()


@pytest.mark.parametrize(
    "head",
    [
        *(None, [], 7, "open", {}, {"t": "open"}, {"t": 7, "view": VIEW}, {"t": "x", "view": VIEW}),
        *({"t": "open", "view": []}, {"t": "open", "view": "\ud800" * 16, "subject": "x"}),
        {"t": "open", "view": VIEW, "subject": "\ud800", "mode": "\ud800"},
        {"t": "signal", "view": VIEW, "signal": "\ud800"},
        {"t": "signal", "view": VIEW, "signal": "NOPE"},
        {"t": "resize", "view": VIEW, "rows": 1 << 40, "columns": 1},
        {"t": "credit", "view": VIEW, "stream": 9, "upto": 1 << 52},
        {"t": "credit", "view": VIEW, "stream": 1, "upto": 1e300},
        {"t": "do", "view": VIEW, "action": "x", "args": {}},
        {"t": "stdin", "view": VIEW},
        {"t": "hello", "version": 1, "agent": "a", "process": "b", "ticket": "c"},
    ],
)
async def test_heads_that_are_not_in_the_protocol_hurt_nobody(agent: LiveAgent, head: object):
    kernel = await agent.kernel()
    page = await opened(*await process(kernel, await container(kernel), "cat"))
    text = json.dumps(head).encode()
    page.bridge.received(len(text).to_bytes(4, "little") + text)
    page.say("open", subject="x", mode="all", window=1 << 20)
    page.say("stdin", b"alive\n", offset=0)
    await until(lambda: b"alive\n" in page.streams[1])
    page.bridge.close()


async def test_a_view_that_comes_late_is_told_which_stream_came_after_which(agent: LiveAgent):
    """What a process wrote before comes stream by stream."""
    kernel = await agent.kernel()
    script = "; sleep 0.1; ".join(["echo out", "echo err >&2"] * 2) + "; cat"
    shell = ("/bin/sh", "-c", script)
    page = await opened(*await process(kernel, await container(kernel), *shell), mode="tail")
    await until(lambda: page.streams == {1: b"out\n" * 2, 2: b"err\n" * 2})
    page.say("open", subject="", **{"from": {"1": 0, "2": 0}}, mode="tail", window=1 << 20)
    await until(lambda: [head["t"] for head in page.heads].count("opened") == 2)
    assert (await page.hear("opened"))["order"] == [[2, 0], [1, 4], [2, 4]]
    page.say("open", subject="", **{"from": {"1": 4, "2": 4}}, mode="tail", window=1 << 20)
    await until(lambda: [head["t"] for head in page.heads].count("opened") == 3)
    assert (await page.hear("opened"))["order"] == [[2, 4]]
