"""One agent after another: what was said to the first is not done again by the second."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from unit.agent.live import LiveAgent, container, live_agent, process, until

from tfnz_notebook._link.link import Link
from tfnz_notebook._wire import link as wire
from tfnz_notebook._wire.link import Message
from tfnz_notebook.agent.process.stdin import Stdin
from tfnz_notebook.errors import AgentError, ProcessGone


@pytest.fixture
async def agent(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LiveAgent]:
    async with live_agent(monkeypatch) as live:
        yield live


async def said(
    link: Link, name: str, body: dict[str, Any], payload: bytes | None = None
) -> Message:
    """Ask under a name of the test's own; the link would choose a new one each time."""
    message = wire.request(next(link._idents), name, body, payload)
    return await link._ask(message, wire.encode(message))


async def written(link: Link, ident: str, count: int) -> bytes:
    """The log, once it has so many bytes."""
    body = {"process": ident, "stream": 1, "offset": 0, "limit": 1 << 20}
    while True:
        payload = (await link.request("log.read", body)).payload or b""
        if len(payload) >= count:
            return payload
        await asyncio.sleep(0.002)


async def test_a_write_that_is_said_again_is_written_once(agent: LiveAgent) -> None:
    link = await agent.kernel()
    ident, _ = await process(link, await container(link), "cat")
    body = {"process": ident, "write": "mine"}
    for _ in range(2):
        await said(link, "process.stdin", body, b"once\n")
    await agent.stop()
    await agent.start()
    await link.request("ping", {})
    await said(link, "process.stdin", body, b"once\n")
    await said(link, "process.stdin", {**body, "write": "another"}, b"twice\n")
    assert await written(link, ident, 11) == b"once\ntwice\n"


async def test_writes_keep_their_order_when_the_link_is_mended(
    agent: LiveAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = await agent.kernel()
    ident, _ = await process(link, await container(link), "cat")
    writes: list[asyncio.Task[Message]] = []

    def write(word: bytes) -> None:
        body = {"process": ident}
        writes.append(asyncio.create_task(link.request("process.stdin", body, word)))

    up = link._up.set

    def is_up() -> None:  # said while the link comes up, after those that wait for it
        write(b"three ")
        up()

    monkeypatch.setattr(link._up, "set", is_up)
    link._broke("test")
    for word in (b"one ", b"two "):
        write(word)
    await until(lambda: len(writes) == 3)
    await asyncio.wait_for(asyncio.gather(*writes), 10)
    assert await written(link, ident, 14) == b"one two three "


async def test_a_question_that_is_said_again_has_the_first_ones_answer(agent: LiveAgent) -> None:
    link = await agent.kernel()
    ident, _ = await process(link, await container(link), "cat")
    body = {"process": ident, "write": "mine", "settle": True, "timeout": 10}
    first = await said(link, "process.ask", body, b"question\n")
    await agent.stop()
    await agent.start()
    await link.request("ping", {})
    second = await said(link, "process.ask", body, b"question\n")
    assert second.body == first.body
    assert (first.body["out_from"], first.body["out"]) == (0, 9)


async def test_an_answer_outlives_its_process(agent: LiveAgent) -> None:
    link = await agent.kernel()
    ident, _ = await process(link, await container(link), "cat")
    body = {"process": ident, "write": "mine", "timeout": 10}
    await said(link, "process.ask", body, b"question\n")
    await link.request("process.close_stdin", {"process": ident})
    await until(lambda: agent.service.sessions.anywhere(ident)[1].ended)
    await agent.stop()
    await agent.start()
    await link.request("ping", {})
    answer = (await said(link, "process.ask", body, b"question\n")).body
    assert (answer["reason"], answer["out_from"], answer["out"]) == ("ended", 0, 9)
    with pytest.raises(ProcessGone):
        await said(link, "process.ask", {**body, "write": "new"}, b"question\n")


async def test_an_end_of_stdin_is_not_forgotten(agent: LiveAgent) -> None:
    link = await agent.kernel()
    ident, _ = await process(link, await container(link), "cat")
    found = agent.service.sessions.anywhere(ident)[1]
    found.writes.close(ident)  # it was asked for, and nothing of it has left this agent
    await agent.stop()
    await agent.start()
    await until(lambda: agent.service.sessions.anywhere(ident)[1].ended)


async def test_an_end_of_stdin_that_came_with_the_spawn_is_not_forgotten(
    agent: LiveAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = await agent.kernel()
    box, ident = await container(link), uuid.uuid4().hex
    body = {"container": box, "process": ident, "command": ["cat"], "text": "cat", "env": []}
    with monkeypatch.context() as patch:  # the spawn arrives, and nothing of what follows it
        patch.setattr(Stdin, "close", lambda _: None)
        await link.request("process.spawn", {**body, "last": True})
    await agent.stop()
    await agent.start()
    await until(lambda: agent.service.sessions.anywhere(ident)[1].ended)


async def test_an_agent_that_is_to_end_finishes_what_is_half_done(agent: LiveAgent) -> None:
    link = await agent.kernel()
    go_on, create = asyncio.Event(), agent.engine.create

    async def slowly(*args: Any) -> str:
        await go_on.wait()
        return await create(*args)

    agent.engine.create = slowly  # type: ignore[method-assign]
    ident = await container(link)
    ending = asyncio.create_task(agent.service._drain())
    done, _ = await asyncio.wait({ending}, timeout=0.05)
    assert not done
    go_on.set()
    await asyncio.wait_for(ending, 10)
    info = (await link.request("container.info", {"container": ident})).body["info"]
    assert info["state"] == "running"


async def test_versions_without_one_in_common_are_both_named(
    agent: LiveAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Link._hello

    def hello(link: Link) -> dict[str, Any]:
        return {**real(link), "version": 9, "version_min": 8, "package": "7.7"}

    monkeypatch.setattr(Link, "_hello", hello)
    with pytest.raises(AgentError, match=r"of 7\.7 and speak 8 to 9. Install the same version"):
        await agent.kernel()
