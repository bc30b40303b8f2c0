"""Bulk into a container whose guest is slow: bounded on its way, behind nothing that is urgent."""

from __future__ import annotations

import asyncio
import os
import stat
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from unit.agent.live import LiveAgent, container, live_agent, process, until

from tfnz_notebook._link.link import Link
from tfnz_notebook._wire.guest import WINDOW_IN, WINDOW_WIDE, Feature, Frame, Tag, Type
from tfnz_notebook.agent.container.dial import Dial
from tfnz_notebook.agent.container.files.transfers import Transfer, begin_put
from tfnz_notebook.agent.container.guest import Guest
from tfnz_notebook.agent.container.inflow import PIECE
from tfnz_notebook.engines.fake.stream import WRITE_HIGH, FakeStream
from tfnz_notebook.errors import ContainerGone, FileError, ProtocolError

MANY = 12
#: Beside the bulk: pings that learn what has arrived, requests, and one frame too many.
SMALL = PIECE + (64 << 10)


@pytest.fixture
async def agent(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LiveAgent]:
    async with live_agent(monkeypatch) as live:
        yield live


def stream(agent: LiveAgent) -> FakeStream:
    """The connection to the one container's guest."""
    (held,) = agent.engine.world.containers.values()
    assert held.guest is not None and held.guest.stream is not None
    return held.guest.stream


def said(link: Link, name: str, body: dict[str, object], payload: bytes) -> asyncio.Task[object]:
    return asyncio.create_task(link.request(name, body, payload))


async def test_what_waits_for_a_slow_guest_is_bounded(agent: LiveAgent) -> None:
    link = await agent.kernel()
    box = await container(link)
    cats = [(await process(link, box, "cat"))[0] for _ in range(MANY)]
    line = stream(agent)
    line.slow = True
    bulk = [os.urandom(WINDOW_IN) for _ in range(MANY)]
    writes = [
        said(link, "process.stdin", {"process": cat}, each)
        for cat, each in zip(cats, bulk, strict=True)
    ]
    puts = [
        said(
            link,
            "file.put",
            {"container": box, "transfer": uuid.uuid4().hex, "path": f"/tmp/{n}", "last": True},
            each,
        )
        for n, each in enumerate(bulk)
    ]
    await until(lambda: not line.writable)
    await link.request("ping", {})  # everything has come to the agent
    assert line.unread < WRITE_HIGH + SMALL
    before = line.unread
    resized = {"process": cats[0], "rows": 5, "columns": 40}
    await link.request("process.resize", resized)
    assert line.unread > before, "what is urgent does not wait for room"
    assert not any(task.done() for task in (*writes, *puts))

    line.slow = False
    async with asyncio.timeout(30):
        await asyncio.gather(*writes, *puts)
    files = agent.engine.world.containers[next(iter(agent.engine.world.containers))].files
    for n, (cat, each) in enumerate(zip(cats, bulk, strict=True)):
        assert files.contents()[f"/tmp/{n}"] == each
        await link.request("process.close_stdin", {"process": cat})
        found = agent.service.sessions.anywhere(cat)[1]
        await until(lambda found=found: found.ended)
        assert found.logs[0].read(0, WINDOW_IN) == (0, each)


async def test_who_waits_to_write_hears_when_the_connection_breaks(agent: LiveAgent) -> None:
    link = await agent.kernel()
    box = await container(link)
    cat, _ = await process(link, box, "cat")
    line = stream(agent)
    line.slow = True
    whole = os.urandom(2 * WINDOW_IN)
    write = said(link, "process.stdin", {"process": cat}, whole)
    body = {"container": box, "transfer": "t", "path": "/tmp/f", "last": True}
    put = said(link, "file.put", body, whole)
    await until(lambda: not line.writable)
    await link.request("ping", {})
    line.broke(OSError("cut"))
    with pytest.raises(ContainerGone, match="the connection to the container broke"):
        await asyncio.wait_for(put, 10)
    await asyncio.wait_for(write, 10)
    await link.request("process.close_stdin", {"process": cat})
    found = agent.service.sessions.anywhere(cat)[1]
    await until(lambda: found.ended)
    size, got = found.logs[0].head, b""
    while len(got) < size:
        got += found.logs[0].read(len(got), size)[1]
    assert got == whole, "once, whole, over two connections"


class Line:
    """A guest that takes frames, or has no room."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.writable = True
        self.features = Feature(0)
        self.waiting: list[object] = []

    def can(self, feature: Feature) -> bool:
        return feature in self.features

    def open(self, owner: object) -> int:
        return 2

    def expect(self, answer: object) -> None:
        pass

    def send(self, frame: bytes) -> None:
        self.frames.append(frame)

    def when_writable(self, go_on: object) -> None:
        self.waiting.append(go_on)

    def stop_waiting(self, go_on: object) -> None:
        self.waiting.clear()

    def free(self, number: int) -> None: ...


class Nobody:
    def event(self, name: str, body: dict[str, object], payload: bytes | None = None) -> None: ...


async def test_a_kernel_sends_what_it_has_credit_for_in_its_place() -> None:
    line = Line()
    dial = Dial(cast("Guest", line), Nobody(), 1, "127.0.0.1", 80, 0)
    dial.data(0, bytes(WINDOW_IN))
    for offset in (WINDOW_IN, WINDOW_IN + 1):
        with pytest.raises(ProtocolError):
            dial.data(offset, b"x")
    assert len(line.frames) == 1 + WINDOW_IN // PIECE
    dial.close()
    before = len(line.frames)
    dial.data(0, b"late")
    dial.eof()
    assert len(line.frames) == before


class Kernel:
    """What it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, object]]] = []

    def event(self, name: str, body: dict[str, object], payload: bytes | None = None) -> None:
        self.told.append((name, body))


def connected(kind: int) -> Frame:
    return Frame(Type.STAT, 2, fields=((Tag.KIND, kind),) if kind else ())


#: What a guest says of a connection, and what its kernel hears of that.
SAYS = [Frame(Type.DATA, 2, 1, (0,), b"data"), Frame(Type.EOF, 2, 1, (4,)), Frame(Type.GONE, 2)]
PAST = ["pipe", "dial.credit", "pipe.eof", "dial.closed"]
BY_US = ["dial.credit", "data", "eof", "dial.closed"]


@pytest.mark.parametrize(
    ("asked", "kind", "hears"),
    [
        (True, stat.S_IFIFO, PAST),  # with DATA that is not to be believed
        (True, 0, BY_US),  # it could not be opened there, or the guest is from before
        (True, stat.S_IFREG, BY_US),
        (False, stat.S_IFIFO, BY_US),  # a lie
    ],
)
async def test_what_comes_may_go_past_us(
    tmp_path: Path, asked: bool, kind: int, hears: list[str]
) -> None:
    pipe, kernel = tmp_path / "a.pipe", Kernel()
    pipe.touch()
    dial = Dial(cast("Guest", Line()), kernel, 1, "127.0.0.1", 80, 1000, pipe if asked else None)
    for frame in (connected(kind), *SAYS):
        dial.frame(frame)
    assert [name for name, _ in kernel.told] == hears
    assert all(body["reader"] == 1 for _, body in kernel.told)
    if hears is PAST:
        assert kernel.told[0][1]["path"] == str(pipe)
        assert kernel.told[2][1]["offset"] == 4
    assert pipe.exists() is not asked, "no name is left"


@pytest.mark.parametrize(
    ("wide", "window"),
    [(False, WINDOW_IN), (True, WINDOW_WIDE)],
    ids=["one from before", "one that takes more"],
)
async def test_an_upload_goes_as_far_as_its_guest_takes_it(wide: bool, window: int) -> None:
    line = Line()
    line.features = Feature.WIDE if wide else Feature.SETUP
    transfer = Transfer(cast("Guest", line), "put", "/f")
    begin_put(transfer, None, None, parents=False)
    upload = asyncio.create_task(transfer.upload(bytes(window + 1)))
    await asyncio.sleep(0)
    assert len(line.frames) == 1 + window // PIECE, "PUT, and what may be on its way"
    transfer.abort()
    with pytest.raises(FileError):
        await upload
