"""Stdin: the window is kept, nothing is lost or sent twice, also over a broken connection."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from tfnz_notebook._wire.guest import WINDOW_IN, Decoder, Type
from tfnz_notebook.agent.process.stdin import HELD, Stdin
from tfnz_notebook.errors import ProcessGone


class Wire:
    """A guest that takes what the window allows and can be cut off."""

    def __init__(self) -> None:
        self.decoder = Decoder()
        self.received = bytearray()
        self.eof: int | None = None
        self.acked = 0
        self.cut = False

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
        stdin.taken(wire.acked)
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
        if not wire.cut:
            wire.acked = rng.randint(wire.acked, len(wire.received))
            stdin.taken(wire.acked)
    assert bytes(wire.received) == whole


async def test_writers_wait_while_too_much_is_held():
    wire = Wire()
    stdin = Stdin(wire)
    stdin.write(bytes(HELD + WINDOW_IN))
    waiting = asyncio.create_task(stdin.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    wire.acked = WINDOW_IN
    stdin.taken(WINDOW_IN)
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
