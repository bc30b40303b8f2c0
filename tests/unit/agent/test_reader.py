"""Readers and flows: credit is kept, order is kept, the end is told once."""

from __future__ import annotations

import asyncio
import errno
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tfnz_notebook._link import spooled
from tfnz_notebook._wire.guest import WINDOW_OUT
from tfnz_notebook._wire.operations import MAX_CHUNK, MAX_LYING
from tfnz_notebook._wire.window import MOST
from tfnz_notebook.agent.process.log import PENDING, QUOTA, Log
from tfnz_notebook.agent.process.output import Output
from tfnz_notebook.agent.process.reader import GATHER, MUCH, Flow, Reader
from tfnz_notebook.errors import ProtocolError


class Recorder:
    """A client that writes down its events."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int, bytes]] = []

    def event(self, name, body, payload=None):
        assert body["reader"] == 1
        self.events.append((name, body["offset"], payload or b""))

    def data(self) -> bytes:
        return b"".join(payload for name, _, payload in self.events if name == "data")


def test_a_reader_stops_at_its_credit_and_goes_on(tmp_path):
    log, sink = Log(tmp_path / "p.out"), Recorder()
    reader = Reader(sink, 1, log, 0, 4)
    log.append(0, b"abcdefgh")
    reader.pump()
    assert sink.events == [("data", 0, b"abcd")]
    reader.grant(2)
    reader.grant(100)
    assert sink.events[1:] == [("data", 4, b"efgh")]


def test_the_end_is_told_once_and_after_everything(tmp_path):
    log, sink = Log(tmp_path / "p.out"), Recorder()
    log.append(0, b"abc")
    log.eof = True
    reader = Reader(sink, 1, log, 0, 2)
    reader.pump()
    assert [name for name, *_ in sink.events] == ["data"]
    reader.grant(3)
    reader.pump()
    assert [name for name, *_ in sink.events] == ["data", "data", "eof"]
    assert sink.events[-1][1] == 3


@pytest.mark.parametrize("keep", [None, 100])
def test_a_hole_is_no_end_and_no_next_byte(tmp_path, keep):
    log, told = Log(tmp_path / "p.out"), []
    sink = SimpleNamespace(event=lambda name, body, payload=None: told.append((name, body)))
    reader = Reader(sink, 1, log, 0, 100, keep=keep)
    log.append(0, b"ab")
    reader.pump()
    log.append(10, b"xyz")
    log.eof = True
    reader.pump()
    if keep is None:
        assert told[1:] == [("dial.closed", {"reader": 1, "errno": errno.EIO})]
    else:  # which wants the newest, and is told where that begins
        assert told[1:] == [
            ("data", {"reader": 1, "offset": 10}),
            ("eof", {"reader": 1, "offset": 13}),
        ]


def test_a_reader_that_keeps_little_goes_on_with_the_newest(tmp_path):
    log, sink = Log(tmp_path / "p.out"), Recorder()
    reader = Reader(sink, 1, log, 0, 4, keep=3)
    log.append(0, b"ab")
    reader.pump()
    log.append(2, b"cdefghij")
    reader.pump()
    assert sink.events == [("data", 0, b"ab"), ("data", 7, b"hi")]
    log.append(10, b"klmnop")
    reader.pump()  # without credit it stays where it is
    assert len(sink.events) == 2
    reader.grant(100)
    log.eof = True
    reader.pump()
    assert sink.events[2:] == [("data", 13, b"nop"), ("eof", 16, b"")]


def test_a_reader_skips_what_was_dropped(tmp_path):
    log, sink = Log(tmp_path / "p.out", retain="tail"), Recorder()
    log.append(1000, b"late")
    Reader(sink, 1, log, 0, 5000).pump()
    assert sink.events == [("data", 1000, b"late")]


def test_chunks_stay_under_the_limit(tmp_path):
    log, sink = Log(tmp_path / "p.out"), Recorder()
    whole = random.Random(3).randbytes(3 * MAX_CHUNK)
    for at in range(0, len(whole), 100_000):
        log.append(at, whole[at : at + 100_000])
    Reader(sink, 1, log, 0, len(whole)).pump()
    assert sink.data() == whole
    assert max(len(payload) for *_, payload in sink.events) <= MAX_CHUNK


class Seer(Recorder):
    """A client that sees the log's files, and reads at once what it is told of."""

    def event(self, name: str, body: dict[str, Any], payload: bytes | None = None) -> None:
        if name == "lies":
            assert 0 < body["size"] <= MAX_LYING
            payload = spooled.read(body["path"], body["at"], body["size"])
        super().event(name, body, payload)

    @property
    def told(self) -> list[tuple[str, int, int]]:
        """What came: its kind, its offset, its size."""
        return [(name, offset, len(payload)) for name, offset, payload in self.events]


def seeing(
    path: Path, upto: int = 1 << 40, *, quota: int = QUOTA, **how: Any
) -> tuple[Output, Reader, Seer]:
    """An output that is in files by now, and who has read that from there."""
    output, sink = Output(Log(path / "p.out", quota=quota, **how), lambda _: None), Seer()
    reader = Reader(sink, 1, output.log, 0, upto, files=True)
    output.add(reader)
    output.data(0, WHOLE[:PENDING])
    return output, reader, sink


WHOLE = random.Random(5).randbytes(4 << 20)


async def test_of_much_is_told_where_it_lies(tmp_path):
    output, _, sink = seeing(tmp_path, segment=1_500_000)
    for at in range(PENDING, 3 << 20, PENDING):
        output.data(at, WHOLE[at : at + PENDING])
    await asyncio.sleep(3 * GATHER)
    output.end()
    names = [name for name, *_ in sink.told]
    assert set(names[:-1]) == {"lies"} and names[-1] == "eof"
    assert b"".join(payload for *_, payload in sink.events) == WHOLE[: 3 << 20]
    assert len(names) < 8, "they are told of together"


async def test_little_is_sent_at_once_and_in_its_turn(tmp_path):
    output, _, sink = seeing(tmp_path)
    await asyncio.sleep(3 * GATHER)
    output.data(PENDING, b"little")
    assert sink.told == [("lies", 0, PENDING), ("data", PENDING, 6)]
    output.data(PENDING + 6, b"x" * MUCH)
    output.data(PENDING + 6 + MUCH, b"behind it")
    assert len(sink.told) == 2, "it waits for more"
    await asyncio.sleep(3 * GATHER)
    assert sink.told[2:] == [("lies", PENDING + 6, MUCH + 9)]


async def test_their_credit_is_kept(tmp_path):
    output, reader, sink = seeing(tmp_path, 100_000)
    await asyncio.sleep(3 * GATHER)
    assert sink.told == [("lies", 0, 100_000)]
    reader.grant(100_010)
    assert sink.told[1:] == [("data", 100_000, 10)]
    output.end()
    reader.grant(1 << 30)
    assert sink.told[2:] == [("lies", 100_010, PENDING - 100_010), ("eof", PENDING, 0)]


async def test_what_no_file_takes_is_sent(tmp_path):
    output, _, sink = seeing(tmp_path, quota=PENDING + 10)
    output.data(PENDING, WHOLE[PENDING : PENDING + MUCH])
    await asyncio.sleep(3 * GATHER)
    assert sink.told == [("lies", 0, PENDING), ("data", PENDING, MUCH)]
    assert output.log.trouble


async def test_what_waits_is_in_files_as_soon_as_it_is_told_of(tmp_path):
    acknowledged: list[int] = []
    output, _, sink = seeing(tmp_path)
    output._acknowledge = acknowledged.append
    output.data(PENDING, WHOLE[PENDING : PENDING + MUCH])
    assert not acknowledged
    await asyncio.sleep(3 * GATHER)
    assert acknowledged == [PENDING + MUCH], "the guest may forget it"
    assert sink.told == [("lies", 0, PENDING + MUCH)]


async def test_what_is_dropped_meanwhile_is_left_out_and_nothing_else(tmp_path):
    output, _, sink = seeing(tmp_path, retain="tail", quota=PENDING)
    for number, at in enumerate(range(PENDING, len(WHOLE), 100_000)):
        output.data(at, WHOLE[at : at + 100_000])
        if number % 7 == 0:
            await asyncio.sleep(2 * GATHER)
    output.end()
    assert all(WHOLE[at : at + len(payload)] == payload for _, at, payload in sink.events)
    offsets = [offset for _, offset, _ in sink.told]
    assert offsets == sorted(offsets) and offsets[-1] == len(WHOLE)
    assert sum(size for *_, size in sink.told) < len(WHOLE)


async def test_a_log_that_goes_is_sent(tmp_path):
    output, _, sink = seeing(tmp_path)
    output.discard()
    assert sink.told == [("data", 0, PENDING)]
    assert sink.data() == WHOLE[:PENDING]
    await asyncio.sleep(3 * GATHER)
    assert len(sink.told) == 1


async def test_who_holds_the_process_back_does_so_where_it_reads_files(tmp_path):
    acknowledged: list[int] = []
    output = Output(Log(tmp_path / "p.out"), acknowledged.append)
    output.add(Reader(Seer(), 1, output.log, 0, 1 << 30, files=True, hold=True))
    output.data(0, WHOLE[:PENDING])
    before = acknowledged[-1]
    await asyncio.sleep(3 * GATHER)
    assert before < PENDING and acknowledged[-1] == PENDING


def test_a_flow_tells_its_source_what_was_taken_by_quarters_and_at_the_end():
    sink, taken = Recorder(), []
    flow = Flow(sink, 1, 3, taken.append, window=8)
    flow.feed(0, b"ab")
    flow.feed(2, b"cdef")
    assert taken == [2]
    flow.end()
    assert taken == [2, 3]
    flow.grant(100)
    assert taken == [2, 3, 6]
    assert sink.data() == b"abcdef"
    assert sink.events[-1] == ("eof", 6, b"")


def test_passing_over_what_was_dropped_costs_no_credit(tmp_path):
    log, sink = Log(tmp_path / "p.out", retain="tail"), Recorder()
    log.append(1000, b"abcdef")
    reader = Reader(sink, 1, log, 0, 4)
    reader.pump()
    assert sink.events == [("data", 1000, b"abcd")]
    reader.grant(1006)
    assert sink.data() == b"abcdef"


def test_a_reader_without_credit_stays_where_it_is(tmp_path):
    """What was dropped meanwhile lies beyond any grant that is on its way: both would wait."""
    log, sink = Log(tmp_path / "p.out", retain="tail"), Recorder()
    log.append(0, b"abcd")
    reader = Reader(sink, 1, log, 0, 4)
    reader.pump()
    log.append(1000, b"efgh")
    reader.pump()
    assert reader.offset == 4
    reader.grant(6)  # of what came before the elision
    assert sink.events[1:] == [("data", 1000, b"ef")]
    reader.grant(1010)
    log.eof = True
    reader.pump()
    assert sink.data() == b"abcdefgh"
    assert sink.events[-1] == ("eof", 1004, b"")


def test_no_credit_fills_the_memory(tmp_path):
    log, sink = Log(tmp_path / "p.out"), Recorder()
    for at in range(0, MOST + WINDOW_OUT, WINDOW_OUT):
        log.append(at, bytes(WINDOW_OUT))
    reader = Reader(sink, 1, log, 0, 1 << 62)
    reader.pump()
    assert reader.offset == MOST
    reader.grant(1 << 62)
    assert reader.offset == log.head


def test_a_flow_takes_what_the_guest_may_send_in_its_place():
    flow = Flow(Recorder(), 1, 0, [].append)
    flow.feed(0, bytes(WINDOW_OUT))
    for offset in (WINDOW_OUT, WINDOW_OUT + 1):
        with pytest.raises(ProtocolError):
            flow.feed(offset, b"x")
    flow.grant(WINDOW_OUT // 4)
    flow.feed(WINDOW_OUT, bytes(WINDOW_OUT // 4))
