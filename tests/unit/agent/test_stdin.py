"""Stdin: the window is kept, nothing is lost or sent twice, also over a broken connection."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from tfnz_notebook._wire.guest import WINDOW_IN, Decoder, Type
from tfnz_notebook.agent.process.stdin import HELD, Stdin
from tfnz_notebook.errors import ProcessGone, ProtocolError


class Wire:
    """A guest that takes what the window allows, can be slow and can be cut off."""

    def __init__(self) -> None:
        self.decoder = Decoder()
        self.received = bytearray()
        self.eof: int | None = None
        self.acked = 0
        self.cut = False
        self.writable = True
        self.waiting: list[Callable[[], None]] = []

    def when_writable(self, go_on: Callable[[], None]) -> None:
        if go_on not in self.waiting:
            self.waiting.append(go_on)

    def stop_waiting(self, go_on: Callable[[], None]) -> None:
        self.waiting = [other for other in self.waiting if other != go_on]

    def flow(self) -> None:
        self.writable = True
        while self.waiting:
            self.waiting.pop(0)()

    def barrier(self, reached: Callable[[], None]) -> None:
        if not self.cut:
            reached()

    def send(self, raw: bytes) -> None:
        if self.cut:
            return
        for frame in self.decoder.feed(raw):
            if frame.type is Type.EOF:
                self.eof = frame.values[0]
                continue
            offset = frame.values[0]
            assert offset <= len(self.received), "a gap closes the connection"
            assert offset + len(frame.data) <= self.acked + WINDOW_IN
            self.received += frame.data[len(self.received) - offset :]


def test_bytes_arrive_whole_within_the_window():
    wire = Wire()
    stdin = Stdin(wire)
    whole = random.Random(4).randbytes(5 * WINDOW_IN + 3)
    stdin.write(whole)
    stdin.close()
    while wire.eof is None:
        assert wire.acked < len(wire.received)
        wire.acked = len(wire.received)
        stdin.acknowledged(wire.acked)
    assert bytes(wire.received) == whole
    assert wire.eof == len(whole)


@pytest.mark.parametrize("seed", range(20))
def test_a_broken_connection_loses_and_repeats_nothing(seed):
    rng = random.Random(seed)
    wire = Wire()
    stdin = Stdin(wire)
    whole = rng.randbytes(2_000_000)
    at = 0
    while at < len(whole) or wire.acked < len(whole):
        size = rng.randrange(1, 100_000)
        stdin.write(whole[at : at + size])
        at = min(at + size, len(whole))
        if rng.random() < 0.2:
            wire.cut = not wire.cut
            if not wire.cut:
                wire.acked = len(wire.received)
                stdin.resumed(len(wire.received))
        wire.writable = rng.random() < 0.7
        if wire.writable:
            wire.flow()
        if not wire.cut:
            wire.acked = rng.randint(wire.acked, len(wire.received))
            stdin.acknowledged(wire.acked)
    assert bytes(wire.received) == whole


async def test_writers_wait_while_too_much_is_held():
    wire = Wire()
    stdin = Stdin(wire)
    stdin.write(bytes(HELD + WINDOW_IN))
    waiting = asyncio.create_task(stdin.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    wire.acked = WINDOW_IN
    stdin.acknowledged(WINDOW_IN)
    await asyncio.wait_for(waiting, 5)


async def test_nobody_waits_for_a_process_that_has_ended():
    stdin = Stdin(Wire())
    stdin.write(bytes(2 * HELD))
    waiting = asyncio.create_task(stdin.room())
    await asyncio.sleep(0)
    stdin.release()
    await asyncio.wait_for(waiting, 5)


def test_writing_after_close_is_an_error():
    stdin = Stdin(Wire())
    stdin.close()
    with pytest.raises(ProcessGone, match="it was closed"):
        stdin.write(b"x")


def test_bulk_waits_for_a_connection_with_room():
    wire = Wire()
    stdin = Stdin(wire)
    wire.writable = False
    stdin.write(b"one ")
    stdin.write(b"two")
    stdin.close()
    assert wire.received == b""
    assert len(wire.waiting) == 1
    wire.flow()
    assert (wire.received, wire.eof) == (b"one two", 7)
    wire.writable = False
    stdin.refused()
    assert wire.waiting == []


def test_what_was_never_sent_cannot_have_been_taken():
    wire = Wire()
    stdin = Stdin(wire)
    stdin.write(b"four")
    stdin.acknowledged(4)
    for said in (stdin.acknowledged, stdin.resumed):
        with pytest.raises(ProtocolError):
            said(5)
    assert stdin.received == 4
