"""Processes that ended, as kernels and views meet them at a whole agent."""

from __future__ import annotations

import asyncio
import gc
import shutil
import tracemalloc
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from unit.agent.live import LiveAgent, container, live_agent, process, until

from tfnz_notebook._link import spooled
from tfnz_notebook._link.link import Link
from tfnz_notebook._link.reader import Chunks, read
from tfnz_notebook._link.views.stream import Stream
from tfnz_notebook.agent.clients import UNSEEN
from tfnz_notebook.agent.process.kept.ended import Ended
from tfnz_notebook.errors import LogGone, ProcessGone


@pytest.fixture
async def agent(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LiveAgent]:
    async with live_agent(monkeypatch) as made:
        yield made


#: As much as does not stay in memory.
LINES = 40_000


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def ended(link: Link, where: str, *command: str) -> str:
    ident, _ = await process(link, where, *command)
    await until(lambda: (link.known.process(ident) or {}).get("ended"))
    return ident


def spool(agent: LiveAgent, where: str) -> Path:
    return agent.service.sessions.spool / where


async def test_who_reads_what_is_not_there_any_more_is_told_and_does_not_wait(agent: LiveAgent):
    link = await agent.kernel()
    where = await container(link)
    little = await ended(link, where, "count", "1")
    much = await ended(link, where, "count", str(LINES))
    assert await read(link, little, 1, 0, 7) == b"line 0\n"
    chunks = Chunks(link, much, 1, 0)
    await chunks.reader.open()
    assert (await chunks.next()).startswith(b"line 0\nline 1\n")
    chunks.close()
    shutil.rmtree(spool(agent, where))
    for ident in (little, much):
        with pytest.raises(LogGone, match="^Cannot read the log.*No such file"):
            await read(link, ident, 1, 0, 7)
        chunks = Chunks(link, ident, 1, 0)
        await chunks.reader.open()
        with pytest.raises(LogGone, match="^Cannot read the log.*No such file"):
            await asyncio.wait_for(chunks.next(), 10)
    assert (await link.request("process.info", {"processes": [little]})).body["processes"]


async def test_much_is_read_where_it_lies_or_comes_all_the_same(
    agent: LiveAgent, monkeypatch: pytest.MonkeyPatch
):
    link = await agent.kernel()
    where = await container(link)
    ident = await ended(link, where, "count", str(LINES))
    whole = b"".join(b"line %d\n" % number for number in range(LINES))
    sizes: list[int] = []

    def counted(path: str, at: int, size: int) -> bytes:
        sizes.append(size)
        return real(path, at, size)

    async def all_of_it(link: Link) -> bytes:
        chunks, got = Chunks(link, ident, 1, 0), bytearray()
        await chunks.reader.open()
        while piece := await asyncio.wait_for(chunks.next(), 10):
            got += piece
        assert not chunks.elided
        return bytes(got)

    real = spooled.read
    monkeypatch.setattr(spooled, "read", counted)
    assert await all_of_it(link) == whole
    assert sum(sizes) == len(whole)

    def blind(path: str, at: int, size: int) -> bytes:
        sizes.append(size)
        raise FileNotFoundError(path)

    sizes.clear()
    monkeypatch.setattr(spooled, "read", blind)
    # It may have been the log's end that took the files, so it is told of them some more times;
    # and then not even who reads it from the start.
    for _ in range(2):
        assert await all_of_it(link) == whole
        assert len(sizes) == UNSEEN
    await agent.stop()
    await agent.start()
    assert await all_of_it(link) == whole
    assert len(sizes) == 2 * UNSEEN, "another agent, another hello"


async def test_a_view_of_it_is_closed_with_the_reason(agent: LiveAgent):
    link = await agent.kernel()
    where = await container(link)
    ident = await ended(link, where, "count", str(LINES))
    shutil.rmtree(spool(agent, where))
    dropped: list[tuple[str, str]] = []
    view = SimpleNamespace(send=lambda *_, **__: None, drop=lambda *why: dropped.append(why))
    stream = Stream(link, cast("Any", view), ident, 1, keep=1000, whole=True)
    await stream.open(0, 1 << 20)
    stream.live()
    await until(lambda: dropped)
    ((reason, text),) = dropped
    assert reason == "gone"
    assert text == "The agent has lost this output: No such file or directory."


async def test_the_next_agent_knows_them_and_what_they_wrote(agent: LiveAgent):
    link = await agent.kernel()
    where = await container(link)
    idents = [await ended(link, where, "echo", str(number)) for number in range(5)]
    idents.append(await ended(link, where, "count", str(LINES)))
    before = (await link.request("process.info", {"processes": idents})).body
    ends = {each["process"]: each["out"] for each in before["processes"]}
    wrote = [await read(link, ident, 1, 0, ends[ident]) for ident in idents]
    await agent.stop()
    await agent.start()
    assert (await link.request("process.info", {"processes": idents})).body == before
    assert [await read(link, ident, 1, 0, ends[ident]) for ident in idents] == wrote
    with pytest.raises(LogGone, match=r"Cannot read the log from byte 2 to 3"):
        await read(link, idents[0], 1, 0, 3)
    body = {"process": idents[0], "signal": 15, "target": 0}
    with pytest.raises(ProcessGone, match=r"^Cannot signal: the process has ended with code 0\."):
        await link.request("process.signal", body)
    body = {"process": idents[-1], "stream": 1, "offset": 0, "limit": 0}
    told = (await link.request("log.read", {**body, "order": True, "times": True})).body
    assert told["order"] == [[1, 0]]
    assert told["times"][0][:2] == [1, 0]
    assert told["head"] == len(wrote[-1])


async def test_they_cost_the_agent_a_line_and_no_descriptor(agent: LiveAgent):
    link = await agent.kernel()
    where = await container(link)
    (session,) = list(agent.service.sessions)
    known = session.containers[where].processes

    async def made(count: int) -> None:
        for _ in range(count):
            ident = uuid.uuid4().hex
            body = {"container": where, "process": ident, "command": ["echo", "x" * 5000]}
            await link.request("process.spawn", {**body, "text": "echo", "env": [], "last": True})
        await until(lambda: not known.live)
        gc.collect()

    await made(20)
    before = descriptors()
    tracemalloc.start()
    try:
        first, _ = tracemalloc.get_traced_memory()
        await made(200)
        last, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert all(isinstance(each, Ended) for each in known.values())
    assert descriptors() == before
    assert (last - first) / 200 < 2048, "the engine in memory and the kernel's own counted, too"
    assert len(list(spool(agent, where).iterdir())) <= 4
