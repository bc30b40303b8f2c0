"""What does not fit in one message: requests that go ahead in pieces, answers in pages."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import msgpack
import pytest
from unit.agent.live import LiveAgent, container, live_agent, process, until

from tfnz_notebook._link.link import Link
from tfnz_notebook._link.reader import Reader
from tfnz_notebook._wire import link as wire
from tfnz_notebook._wire import operations
from tfnz_notebook._wire.operations import MAX_AHEAD, MAX_BODY, MAX_CHUNK
from tfnz_notebook.agent import large
from tfnz_notebook.agent.clients import Client
from tfnz_notebook.engines.base import Stored
from tfnz_notebook.engines.fake.guest import FakeGuest
from tfnz_notebook.errors import AgentError, ProtocolError, TooLarge


@pytest.fixture
async def agent(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LiveAgent]:
    async with live_agent(monkeypatch) as made:
        yield made


def of(agent: LiveAgent, link: Link) -> Client:
    """The agent's side of a link."""
    return next(c for c in agent.service.server.clients.values() if c.name == link.client)


def watched(link: Link) -> list[list[Any]]:
    """What it says from now on, each held to the bound; the heads of it."""
    assert link._line is not None
    said: list[list[Any]] = []
    send = link._line.send

    def look(parts: list[bytes]) -> None:
        assert len(parts[0]) <= MAX_BODY
        assert len(parts) == 1 or len(parts[1]) <= MAX_CHUNK
        said.append(msgpack.unpackb(parts[0]))
        send(parts)

    link._line.send = look  # type: ignore[method-assign]
    return said


# -- requests


async def test_a_container_with_large_files_and_a_large_environment(agent: LiveAgent) -> None:
    link = await agent.kernel()
    said = watched(link)
    files = {f"/srv/{number}": bytes([number]) * (1 << 20) for number in range(10)}
    env = {f"NAME_{number}": "x" * 60_000 for number in range(30)}
    spec = {"image": "debian", "sleep": True, "env": env}
    ident = uuid.uuid4().hex
    body = {"container": ident, "spec": spec}
    await link.request("container.spawn", body, msgpack.packb(files))
    await until(lambda: link.known.containers[ident]["state"] == "running")
    [held] = agent.service.sessions.get(link.session or "").containers.values()
    assert held.spec.files == files
    assert held.spec.env == env
    assert [name for _, _, name, _ in said] == ["ahead"] * 24 + ["container.spawn"]
    assert not of(agent, link).large._pieces, "nothing is kept"


async def test_a_process_with_large_arguments(agent: LiveAgent) -> None:
    link = await agent.kernel()
    where = await container(link)
    said = watched(link)
    words = ["\u00fc" * 60_000] * 30
    env = [f"NAME_{number}=" + "x" * 100_000 for number in range(10)]
    body = {"container": where, "command": ["echo", *words], "text": "echo", "env": env}
    ident = uuid.uuid4().hex
    await link.request("process.spawn", {**body, "process": ident, "last": True})
    await until(lambda: (link.known.process(ident) or {}).get("ended"))
    assert (link.known.process(ident) or {})["out"] == 30 * 120_001
    assert [name for _, _, name, _ in said] == ["ahead"] * 9 + ["process.spawn"]


async def test_a_large_process_is_read_on_after_a_break(agent: LiveAgent) -> None:
    link = await agent.kernel()
    body = {"container": await container(link), "command": ["count", "2000"], "text": "count"}
    env = [f"NAME_{number}=" + "x" * 100_000 for number in range(12)]
    got = bytearray()
    over = asyncio.Event()
    reader = Reader(link, "a" * 32, 1, 0, got.extend, lambda error: over.set(), window=3000)
    readers = [[1, reader.number, reader.credit]]
    wanted = {**body, "process": reader.process, "env": env, "readers": readers}
    await link.request("process.spawn", wanted)
    await until(lambda: got)
    link._broke("as a test wants it")
    reader.taken(len(got))
    while not over.is_set():
        size = len(got)
        await asyncio.sleep(0.002)
        reader.taken(len(got) - size)
    assert bytes(got) == b"".join(b"line %d\n" % number for number in range(2000))


async def test_a_question_of_megabytes(agent: LiveAgent) -> None:
    link = await agent.kernel()
    ident, _ = await process(link, await container(link), "cat")
    question = b"0123456789abcde\n" * (3 << 16)
    reply = await link.request("process.ask", {"process": ident, "timeout": 20}, question)
    assert (reply.body["out_from"], reply.body["out"]) == (0, 3 << 20)


@pytest.mark.parametrize(
    ("name", "most"), [("container.spawn", MAX_AHEAD), ("process.spawn", 8 << 20)]
)
async def test_what_is_too_large_even_so_is_not_begun(
    agent: LiveAgent, name: str, most: int
) -> None:
    link = await agent.kernel()
    where = await container(link)
    said = watched(link)
    body = {"container": where, "spec": {"env": {"A": "x" * most}}}
    if name == "process.spawn":
        body = {"container": where, "process": "0" * 32, "command": ["x"] * 9, "text": "x"}
        body |= {"env": ["x" * 1000] * 9000}
    with pytest.raises(TooLarge, match=r"^Cannot spawn a .*: it takes .* at most .* go\. Put"):
        await link.request(name, body)
    assert not said
    assert link.up


@pytest.mark.parametrize(("told", "most"), [(0, "1 MiB"), (3 << 20, "3 MiB"), (1 << 40, "6 MiB")])
async def test_arguments_beyond_what_a_container_takes_fail_their_call_alone(
    agent: LiveAgent, monkeypatch: pytest.MonkeyPatch, told: int, most: str
) -> None:
    """A guest of before, which does not say what it takes; one that says; one that boasts."""
    monkeypatch.setattr(FakeGuest, "arguments", told)
    link = await agent.kernel()
    where = await container(link)
    ident, _ = await process(link, where, "cat")
    before = link._line
    with pytest.raises(TooLarge, match=f"^Cannot start a process: .* 6.07 MiB, and at most {most}"):
        await process(link, where, "echo", *["x" * 60_000] * 106)
    assert link._line is before, "the link has not noticed"
    reply = await link.request("process.ask", {"process": ident, "timeout": 5}, b"b\n")
    assert reply.body["out"] == 2
    guest = agent.service.sessions.anywhere(ident)[0].guest
    assert guest is not None
    assert len(guest._channels) == 1, "no channel is left behind"


async def test_pieces_that_an_agent_lost_are_said_again(agent: LiveAgent) -> None:
    link = await agent.kernel()
    ident = uuid.uuid4().hex
    said = watched(link)
    body = {"container": ident, "spec": {"image": "debian", "sleep": True}}
    files = {"/big": bytes(20 << 20)}
    asking = asyncio.create_task(link.request("container.spawn", body, msgpack.packb(files)))
    await until(lambda: len(said) > 10)
    await agent.stop()
    await agent.start()
    await asyncio.wait_for(asking, 20)
    [held] = agent.service.sessions.get(link.session or "").containers.values()
    assert held.spec.files == files


async def test_a_request_whose_answer_was_lost_is_made_once(agent: LiveAgent) -> None:
    """The pieces have been used up when it is said again."""
    link = await agent.kernel()
    ident = uuid.uuid4().hex
    body = {"container": ident, "spec": {"image": "debian", "sleep": True}}
    send = agent.service.server.send
    lost: list[str] = []

    def lose(identity: bytes, message: wire.Message) -> bool:
        if message.name == "container.spawn" and not lost:
            lost.append(message.name)
            link._broke("test")
            return True
        return send(identity, message)

    agent.service.server.send = lose  # type: ignore[method-assign]
    payload = msgpack.packb({"/big": bytes(2 << 20)})
    await asyncio.wait_for(link.request("container.spawn", body, payload), 20)
    assert lost
    assert list(link.known.containers) == [ident]


async def test_an_agent_keeps_little_of_what_nobody_asks_for(
    agent: LiveAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = await agent.kernel()
    there = of(agent, link).large
    for name in ("a" * 32, "b" * 32):  # the second takes the first one's place
        await link.request("ahead", {"ahead": name, "offset": 0}, bytes(MAX_CHUNK))
    assert len(there._pieces) == MAX_CHUNK
    for body in ({"ahead": "a" * 32, "offset": MAX_CHUNK}, {"ahead": "b" * 32, "offset": 7}):
        with pytest.raises(AgentError) as refusal:
            await link.request("ahead", body, b"x")
        assert refusal.value.details == {"lost": True}
    monkeypatch.setattr(operations, "MAX_AHEAD", MAX_CHUNK + 5)
    with pytest.raises(TooLarge):
        await link.request("ahead", {"ahead": "b" * 32, "offset": MAX_CHUNK}, b"123456")
    assert not there._pieces
    monkeypatch.setattr(large, "KEPT", 0.01)
    await link.request("ahead", {"ahead": "c" * 32, "offset": 0}, b"x")
    await until(lambda: not there._pieces)


@pytest.mark.parametrize(
    "whole", [b"", b"\xc1", msgpack.packb([1, 2]), msgpack.packb([{"spec": 7}, None])]
)
async def test_nonsense_that_came_ahead_is_refused(agent: LiveAgent, whole: bytes) -> None:
    link = await agent.kernel()
    body = {"container": "c" * 32, "spec": {}, "ahead": "d" * 32}
    await link.request("ahead", {"ahead": "d" * 32, "offset": 0}, whole)
    with pytest.raises(ProtocolError):
        await link.request("container.spawn", body)
    with pytest.raises(AgentError, match="did not arrive"):
        await link.request("container.spawn", body)
    assert link.up


# -- answers


async def test_each_listing_comes_in_pages(
    agent: LiveAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "PAGE", 1000)
    link = await agent.kernel()
    where = await container(link)
    names = [f"v{number:03}" for number in range(100)]
    for name in names:
        await link.request("volume.create", {"name": name})
    made = [(await process(link, where, "true"))[0] for _ in range(20)]

    stored = [Stored(name, (name,)) for name in names]

    async def images() -> list[Stored]:
        return stored

    agent.engine.images = images  # type: ignore[method-assign]
    said = watched(link)
    volumes = (await link.request("volume.list", {})).body["volumes"]
    assert sorted(told["name"] for told in volumes) == names
    told = (await link.request("image.list", {})).body["images"]
    assert [info["id"] for info in told] == names
    assert len((await link.request("node.list", {})).body["nodes"]) == 1
    told = (await link.request("process.list", {"container": where})).body["processes"]
    assert [info["process"] for info in told] == made
    told = (await link.request("process.info", {"processes": made})).body["processes"]
    assert [info["process"] for info in told] == made
    assert len([name for _, _, name, _ in said if name == "more"]) > 5
    assert not of(agent, link).large._left, "nothing is kept"


async def test_a_directory_of_many_entries(agent: LiveAgent) -> None:
    link = await agent.kernel()
    names = [f"a-file-of-many-with-number-{number:06}" for number in range(10_000)]
    files = msgpack.packb({f"/many/{name}": b"" for name in names})
    body = {"container": uuid.uuid4().hex, "spec": {"image": "debian", "sleep": True}}
    await link.request("container.spawn", body, files)
    said = watched(link)
    body = {"container": body["container"], "path": "/many"}
    entries = (await link.request("file.list", body)).body["entries"]
    assert sorted(entry["name"] for entry in entries) == names
    assert [name for _, _, name, _ in said].count("more") >= 3


async def test_pages_that_an_agent_lost_are_asked_for_again(
    agent: LiveAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "PAGE", 1000)
    link = await agent.kernel()
    where = await container(link)
    made = [(await process(link, where, "true"))[0] for _ in range(20)]
    await until(lambda: link.known.ended.get(where) == 20)
    broken: list[int] = []
    send = link._line.send  # type: ignore[union-attr]

    def cut(parts: list[bytes]) -> None:
        send(parts)
        if b"more" in parts[0] and not broken:
            broken.append(1)
            link._broke("test")

    link._line.send = cut  # type: ignore[method-assign,union-attr]
    told = (await link.request("process.list", {"container": where})).body["processes"]
    assert [info["process"] for info in told] == made
    assert broken


async def test_an_agent_keeps_few_listings(
    agent: LiveAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "PAGE", 1)
    link = await agent.kernel()
    where = await container(link)
    for _ in range(2):
        await process(link, where, "true")
    there = of(agent, link).large
    for _ in range(2 * large.MAX_LISTINGS):
        await link._once("process.list", {"container": where}, None)
    assert len(there._left) == large.MAX_LISTINGS
    with pytest.raises(AgentError) as refusal:
        await link.request("more", {"more": 1})
    assert refusal.value.details == {"lost": True}
    there.close()
    monkeypatch.setattr(large, "KEPT", 0.01)
    await link._once("process.list", {"container": where}, None)
    await until(lambda: not there._left)


async def test_an_answer_that_is_too_large_fails_its_call_alone(agent: LiveAgent) -> None:
    link = await agent.kernel()

    async def images() -> list[Stored]:
        return [Stored("x" * (MAX_BODY + 1))]

    agent.engine.images = images  # type: ignore[method-assign]
    before = link._line
    with pytest.raises(TooLarge, match="Cannot list images: it takes"):
        await link.request("image.list", {})
    assert link._line is before
    assert (await link.request("node.list", {})).body["nodes"]
