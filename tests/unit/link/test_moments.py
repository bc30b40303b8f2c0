"""What comes between two steps of whoever waits for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from unit.link.wired import linked, turns

from tfnz_notebook._link import link as link_module
from tfnz_notebook._link import spooled
from tfnz_notebook._link.link import Link
from tfnz_notebook._link.reader import Chunks
from tfnz_notebook.errors import LinkClosed, Misuse, ProcessError, ProcessGone

BODY: dict[str, Any] = {"container": "c", "process": "p", "command": ["x"], "text": "x", "env": []}


def info(returncode: int | None = None) -> dict[str, Any]:
    return {
        "process": "p",
        "container": "c",
        "returncode": returncode,
        "ended": returncode is not None,
    }


async def test_an_end_right_behind_the_answer_holds() -> None:
    link, peer = await linked()
    asking = asyncio.create_task(link.process("p"))
    await turns()
    (asked,) = peer.asked("process.info")
    peer.answer(asked, processes=[info()], all=True)  # it runs ...
    peer.changed(info(3))  # ... and has ended before who asked could look
    assert (await asking)["returncode"] == 3
    await link.close(0)


async def test_an_answer_over_another_connection_is_newer_than_what_was_told_before() -> None:
    link, peer = await linked()
    asking = asyncio.create_task(link.process("p"))
    await turns()
    peer.changed(info())
    peer.cut()
    await turns(50)
    (_, again) = peer.asked("process.info")
    peer.answer(again, processes=[info(3)], all=True)  # it ended meanwhile, and nobody could tell
    assert (await asking)["returncode"] == 3
    await link.close(0)


async def test_what_follows_bytes_that_do_not_lie_there_waits_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Link, "local", True)
    link, peer = await linked()
    chunks = Chunks(link, "p", 1, 0)
    opening = asyncio.create_task(chunks.reader.open())
    await turns()
    (asked,) = peer.asked("reader.open")
    number = asked.body["reader"]
    peer.answer(asked, offset=0)  # and all of this before who asked could look
    peer.tell("lies", reader=number, offset=0, path="/nowhere", at=0, size=6)
    peer.tell("data", b"behind", reader=number, offset=6)
    peer.tell("eof", reader=number, offset=12)
    await opening
    await turns()
    assert [each.body for each in peer.asked("unseen")] == [{"reader": number}]
    (_, again) = peer.asked("reader.open")
    number = again.body["reader"]
    assert again.body["offset"] == 0
    peer.answer(again, offset=0)
    peer.tell("data", b"beforebehind", reader=number, offset=0)
    peer.tell("eof", reader=number, offset=12)
    assert [await chunks.next(), await chunks.next()] == [b"beforebehind", b""]
    assert not chunks.elided
    await link.close(0)


async def test_an_agent_of_another_machine_has_no_file_of_this_one_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spooled, "read", lambda *_: pytest.fail("it was opened"))
    link, peer = await linked()
    chunks = Chunks(link, "p", 1, 0)
    opening = asyncio.create_task(chunks.reader.open())
    await turns()
    (asked,) = peer.asked("reader.open")
    peer.answer(asked, offset=0)
    await opening
    peer.tell("lies", reader=asked.body["reader"], offset=0, path="/etc/passwd", at=0, size=6)
    await turns(50)
    assert len(peer.asked("hello")) == 2, "the link was broken off, and made anew"
    assert not any(hello.body["files"] for hello in peer.asked("hello"))
    assert not chunks.waiting
    await link.close(0)


@pytest.mark.parametrize("late", [False, True])
async def test_an_answer_to_who_was_cancelled_is_undone_once(late: bool) -> None:
    link, peer = await linked()
    undone: list[str] = []
    undo = lambda: undone.append("it")  # noqa: E731  # as partials are
    asking = asyncio.create_task(link.request("process.spawn", BODY, undo=undo))
    await turns()
    (asked,) = peer.asked("process.spawn")
    asking.cancel()
    if late:
        await turns()
    peer.answer(asked, info=info())
    await turns()
    assert (undone, asking.cancelled(), link._pending) == (["it"], True, {})
    await link.close(0)


async def test_an_answer_at_the_moment_of_the_cancel_is_undone_once() -> None:
    link, peer = await linked()
    undone: list[str] = []
    asking = asyncio.create_task(
        link.request("process.spawn", BODY, undo=lambda: undone.append("it"))
    )
    await turns()
    peer.answer(peer.asked("process.spawn")[0], info=info())
    asking.cancel()
    await turns()
    assert (undone, asking.cancelled(), link._pending) == (["it"], True, {})
    await link.close(0)


async def test_what_was_refused_or_never_said_has_nothing_to_undo() -> None:
    link, peer = await linked()
    undone: list[str] = []
    undo = lambda: undone.append("it")  # noqa: E731  # as partials are
    asking = asyncio.create_task(link.request("process.spawn", BODY, undo=undo))
    await turns()
    asking.cancel()
    peer.refuse(peer.asked("process.spawn")[0], Misuse("Cannot spawn it: no. Do not."))
    await turns()
    peer.away = True
    peer.cut()
    asking = asyncio.create_task(link.request("process.spawn", BODY, undo=undo))
    await turns()
    asking.cancel()
    await turns()
    assert (undone, link._pending, len(peer.asked("process.spawn"))) == ([], {}, 1)
    await link.close(0)


async def test_one_that_was_cancelled_is_not_said_again_but_undone() -> None:
    link, peer = await linked()
    undone: list[str] = []
    asking = asyncio.create_task(
        link.request("process.spawn", BODY, undo=lambda: undone.append("it"))
    )
    await turns()
    asking.cancel()
    await turns()
    peer.cut()  # whether it was done, nobody knows
    await turns(50)
    assert (undone, len(peer.asked("hello")), len(peer.asked("process.spawn"))) == (["it"], 2, 1)
    await link.close(0)


async def test_reading_that_begins_while_the_link_is_down_goes_on_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link_module, "PATIENCE", 0.01)
    monkeypatch.setattr(link_module, "RETRY", (0.05, 0.05))
    link, peer = await linked()
    peer.away = True
    peer.cut()
    chunks = Chunks(link, "p", 1, 0)
    await chunks.reader.open()  # longer than its request has patience
    assert not peer.asked("reader.open")
    peer.away = False
    arrived = asyncio.create_task(chunks.arrived())
    while not peer.asked("reader.open"):
        await asyncio.sleep(0.001)
    (asked,) = peer.asked("reader.open")
    peer.answer(asked, offset=0, head=5)
    peer.tell("data", b"hello", reader=asked.body["reader"], offset=0)
    await arrived
    assert chunks.take() == b"hello"
    await link.close(0)


async def test_a_reader_that_was_open_is_opened_once_more_after_a_break() -> None:
    link, peer = await linked()
    chunks = Chunks(link, "p", 1, 0)
    chunks.reader.begin()
    await turns()
    peer.tell("data", b"one", reader=peer.asked("reader.open")[0].body["reader"], offset=0)
    peer.cut()  # its request is not answered yet
    await turns(50)
    first, second = peer.asked("reader.open")
    assert second.body["offset"] == 3
    assert first.body["reader"] != second.body["reader"]
    peer.answer(second, offset=3, head=6)
    peer.tell("data", b"two", reader=second.body["reader"], offset=3)
    assert await chunks.next() == b"onetwo"
    await link.close(0)


async def test_a_stream_that_cannot_be_read_on_ends_with_its_cause() -> None:
    link, peer = await linked()
    chunks = Chunks(link, "p", 1, 0)
    chunks.reader.begin()
    await turns()
    (asked,) = peer.asked("reader.open")
    peer.answer(asked, offset=0, head=100)
    peer.tell("data", b"hello", reader=asked.body["reader"], offset=0)
    peer.tell("dial.closed", reader=asked.body["reader"], errno=2)
    assert await chunks.next() == b"hello"
    with pytest.raises(ProcessError, match="beyond byte 5: .*No such file"):
        await chunks.next()
    await link.close(0)


async def test_reading_of_what_is_gone_ends_and_so_does_reading_at_the_end_of_the_link() -> None:
    link, peer = await linked()
    gone, cut = Chunks(link, "p", 1, 0), Chunks(link, "q", 1, 0)
    for each in (gone, cut):
        each.reader.begin()
    await turns()
    peer.refuse(peer.asked("reader.open")[0], ProcessGone("Cannot read: it is gone. Spawn."))
    with pytest.raises(ProcessGone):
        await gone.next()
    waiting = asyncio.create_task(cut.next())
    await turns()
    await link.close(0)
    with pytest.raises(LinkClosed):
        await waiting
