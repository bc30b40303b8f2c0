"""The byte stream: a guest answers on it, nothing is lost or doubled, and it holds back."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import pytest
from contract.talk import Process, Talk, dial, talking

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Stream as Which
from tfnz_notebook._wire.guest import Tag, Type
from tfnz_notebook.errors import ContainerGone

if TYPE_CHECKING:
    from contract.conftest import Place


async def test_guest_says_hello(place: Place, box: str) -> None:
    talk = await dial(place.engine, box)
    hello = await talk.hello()
    assert hello.integer(Tag.VERSION_MIN) <= wire.VERSION <= hello.integer(Tag.VERSION)
    assert len(hello.raw(Tag.BOOT)) == 16
    assert hello.integer(Tag.SLEEPING) == 1
    if place.contained:
        assert hello.integer(Tag.PID) == 1
    talk.stream.close()
    await talk.until(lambda: talk.closed == [None])


async def test_echo(talk: Talk) -> None:
    assert await talk.run("echo", "hello", "wörld") == (0, "hello wörld\n".encode(), b"")


async def test_exit_code_and_stderr(talk: Talk) -> None:
    assert await talk.run("sh", "-c", "echo bad >&2; exit 3") == (3, b"", b"bad\n")


async def test_many_bytes_are_the_same_bytes(talk: Talk) -> None:
    process = talk.spawn("head", "-c", "10485760", "/dev/zero")
    assert await process.end() == 0
    assert hashlib.sha256(process.out).digest() == hashlib.sha256(bytes(10 << 20)).digest()


async def test_stdin_travels_whole(talk: Talk) -> None:
    sent = bytes(range(256)) * 8192  # 2 MiB, eight windows
    process = talk.spawn("cat")
    at = 0
    while at < len(sent):
        await process.until(lambda at=at: at - process.taken < wire.WINDOW_IN)
        size = min(wire.MAX_DATA, len(sent) - at, wire.WINDOW_IN - (at - process.taken))
        process.stdin(sent[at : at + size], at)
        at += size
    process.stdin_ends(at)
    assert await process.end() == 0
    assert process.out == sent


async def test_many_processes_at_once(talk: Talk) -> None:
    processes = [talk.spawn("echo", str(number)) for number in range(100)]
    for number, process in enumerate(processes):
        assert await process.end() == 0
        assert process.out == f"{number}\n".encode()


async def test_reconnect_resumes_where_it_was(place: Place, box: str) -> None:
    async with talking(place.engine, box) as talk:
        process = talk.spawn("cat", meta="who")
        process.stdin(b"first ")
        await process.until(lambda: process.out == b"first ")
        process.held = True  # what comes now is received, and not acknowledged
        process.stdin(b"second ", 6)
        await process.until(lambda: process.out == b"first second ")
        channel = process.channel
    async with talking(place.engine, box) as talk:
        known = talk.on(channel)
        inventory = next(frame for frame in known.frames if frame.type is Type.PROC)
        assert inventory.text(Tag.META) == "who"
        assert inventory.integer(Tag.OUT_BASE) == 6
        assert inventory.integer(Tag.OUT_HEAD) == 13
        assert inventory.integer(Tag.IN_OFFSET) == 13
        known.output[Which.OUT] += b"first "
        known.acknowledge(Which.OUT)
        known.acknowledge(Which.ERR)
        known.stdin(b"third", 13)
        known.stdin_ends(18)
        assert await known.end() == 0
        assert known.out == b"first second third"


async def test_cut_in_the_middle_loses_nothing(place: Place, box: str) -> None:
    size = 4 << 20
    received = bytearray()
    channel = None
    for _ in range(20):
        talk = await dial(place.engine, box)
        await talk.hello()
        if channel is None:
            process = talk.spawn("head", "-c", str(size), "/dev/zero")
            channel = process.channel
        else:
            process = talk.on(channel)
            process.output[Which.OUT] += received
            process.acknowledge(Which.OUT)
            process.acknowledge(Which.ERR)
        enough = min(size, len(received) + 300_000)
        await process.until(lambda p=process, e=enough: len(p.out) >= e)
        received = bytearray(process.out)
        talk.stream.close()
        if len(received) == size:
            break
    assert len(received) == size


async def test_newest_connection_wins(place: Place, box: str) -> None:
    first = await dial(place.engine, box)
    await first.hello()
    async with talking(place.engine, box) as second:
        await first.until(lambda: bool(first.closed))
        assert (await second.run("echo", "new"))[1] == b"new\n"


async def test_pause_stops_and_resume_goes_on(place: Place, talk: Talk, box: str) -> None:
    process = talk.spawn("head", "-c", "20000000", "/dev/zero")
    await process.until(lambda: len(process.out) > 0)
    talk.stream.pause()
    calls = talk.calls
    for _ in range(5):  # the loop and the engine do other things meanwhile
        await place.engine.inspect(box)
    assert talk.calls == calls
    talk.stream.resume()
    assert await process.end() == 0
    assert len(process.out) == 20_000_000


async def test_writer_is_held_back(place: Place, talk: Talk) -> None:
    talk.stream.pause()  # PONGs pile up, until the guest reads no more PINGs
    pings = wire.fixed(Type.PING, wire.CONNECTION, 7) * 4096
    count = 0
    waiting = asyncio.ensure_future(asyncio.sleep(0))
    async with asyncio.timeout(30):
        while waiting.done() or not count:  # what is on the way may yet make room once more
            while talk.stream.writable:
                talk.send(pings)
                count += 4096
                await asyncio.sleep(0)
            waiting = asyncio.ensure_future(talk.stream.drain())
            await asyncio.wait([waiting], timeout=0.2)
    talk.stream.resume()
    async with asyncio.timeout(30):
        await waiting
    assert talk.stream.writable

    def pongs() -> int:
        return sum(frame.type is Type.PONG for frame in talk.connection)

    # On the way to a cluster's guest there is room for 50 MiB, which are millions of answers; other
    # frames may be among them.
    patience = 90 if "kube" in place.kind else 30
    await talk.until(lambda: len(talk.connection) >= count and pongs() >= count, patience)
    assert pongs() == count


async def test_closed_is_said_once_when_the_container_ends(place: Place, box: str) -> None:
    talk = await dial(place.engine, box)
    await talk.hello()
    await place.engine.remove(box)
    await talk.until(lambda: bool(talk.closed))
    talk.stream.close()
    talk.stream.write(b"into the void")
    await talk.stream.drain()
    assert len(talk.closed) == 1


async def test_garbage_ends_the_connection_alone(place: Place, box: str) -> None:
    talk = await dial(place.engine, box)
    await talk.hello()
    talk.send(b"\xff" * 64)
    await talk.until(lambda: bool(talk.closed))
    async with talking(place.engine, box) as again:
        assert (await again.run("echo", "alive"))[1] == b"alive\n"


async def test_no_stream_without_a_running_container(place: Place) -> None:
    ref = await place.create()
    with pytest.raises(ContainerGone):
        await dial(place.engine, ref)
    await place.engine.remove(ref)
    with pytest.raises(ContainerGone):
        await dial(place.engine, ref)


async def test_adopted_by_a_fresh_agent(place: Place, box: str) -> None:
    async with talking(place.engine, box) as talk:
        process = talk.spawn("sleep", "1000", meta="mine")
        await process.first(Type.SPAWNED)
        channel = process.channel
    fresh = await place.second()
    found = await fresh.find({})
    assert [entry.ref for entry in found] == [box]
    assert found[0].state.status == "running"
    async with talking(fresh, box) as talk:
        assert talk.on(channel).frames[0].text(Tag.META) == "mine"
        assert _signal(talk.on(channel), 9)
        await talk.on(channel).until(lambda: talk.on(channel).status == -9)


def _signal(process: Process, number: int) -> bool:
    process.talk.send(wire.fixed(Type.SIGNAL, process.channel, 1, number, wire.Target.TREE))
    return True
