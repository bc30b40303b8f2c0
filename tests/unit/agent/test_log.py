"""Logs: whatever is appended is read back, from memory or from files, within the quota."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tfnz_notebook.agent.process import log as logs
from tfnz_notebook.agent.process.log import PENDING, TAIL, Log
from tfnz_notebook.errors import LogGone


def everything(log: Log, offset: int = 0, limit: int = 1 << 20) -> bytes:
    found = bytearray()
    while True:
        start, chunk = log.read(offset + len(found), limit)
        if not chunk:
            return bytes(found)
        assert start == offset + len(found)
        found += chunk


def adopted(path: Path) -> Log:
    """What a later agent makes of the files that are there."""
    beside = path.parent.glob(f"{path.name}.*")
    return Log.adopt(path, [(int(each.suffix[1:]), each.stat().st_size) for each in beside])


def test_small_output_never_touches_the_disk(tmp_path):
    log = Log(tmp_path / "p.out")
    log.append(0, b"hello ")
    log.append(6, b"world")
    assert everything(log) == b"hello world"
    assert (log.head, log.spooled) == (11, 0)
    assert list(tmp_path.iterdir()) == []


def test_what_is_spooled_is_what_may_be_acknowledged(tmp_path):
    log = Log(tmp_path / "deep" / "p.out")
    log.append(0, b"a" * (PENDING - 1))
    assert log.spooled == 0
    log.append(PENDING - 1, b"bc")
    assert log.spooled == PENDING + 1
    [segment] = (tmp_path / "deep").iterdir()
    assert segment.read_bytes() == b"a" * (PENDING - 1) + b"bc"
    assert segment.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("seed", range(20))
def test_any_chunks_read_back_from_any_offset(tmp_path, seed):
    rng = random.Random(seed)
    whole = rng.randbytes(3 * PENDING + rng.randrange(PENDING))
    log = Log(tmp_path / "p.out", segment=100_000)
    at = 0
    while at < len(whole):
        size = rng.choice([1, 7, 100, 4096, 65536, 262144])
        log.append(at, whole[at : at + size])
        at = min(at + size, len(whole))
        if rng.random() < 0.1:
            offset = rng.randrange(at)
            assert (
                log.read(offset, 5000)[1]
                == whole[offset : offset + 5000][: len(log.read(offset, 5000)[1])]
            )
    for offset in (0, 1, len(whole) // 2, len(whole) - 1, len(whole), len(whole) + 5):
        assert everything(log, offset, rng.randrange(1, 200_000)) == whole[offset:]


@pytest.mark.parametrize("retain", ["tail", "all"])
def test_a_gap_moves_the_base_and_is_passed_over_where_the_oldest_may_go(tmp_path, retain):
    log = Log(tmp_path / "p.out", retain=retain)
    log.append(0, b"abc")
    log.append(100, b"xyz")
    assert (log.base, log.head) == (100, 103)
    assert log.read(100, 10) == (100, b"xyz")
    if retain == "tail":
        assert log.read(0, 10) == (100, b"xyz")
        return
    for offset in (0, 99):
        with pytest.raises(LogGone, match="before byte 100 was lost.*Read from there"):
            log.read(offset, 10)


def test_memory_is_bounded_whatever_is_written(tmp_path):
    log = Log(tmp_path / "p.out")
    for index in range(64):
        log.append(index * 65536, bytes(65536))
    assert sum(len(chunk) for _, chunk in log._chunks) <= TAIL + PENDING


def test_byte_by_byte_costs_few_objects(tmp_path):
    log = Log(tmp_path / "p.out")
    for index in range(20_000):
        log.append(index, b"x")
    assert len(log._chunks) <= 20_000 // 4096 + 2


def test_at_the_quota_nothing_more_is_acknowledged(tmp_path):
    log = Log(tmp_path / "p.out", quota=1 << 20)
    at = 0
    while at < 2 << 20:
        log.append(at, bytes(65536))
        at += 65536
    assert log.spooled <= (1 << 20) + PENDING
    assert "quota" in log.trouble
    assert len(everything(log)) == 2 << 20  # the guest's window bounds it in real life


def test_tail_drops_the_oldest_and_says_how_much(tmp_path):
    log = Log(tmp_path / "p.out", retain="tail", quota=1 << 20)
    whole = random.Random(1).randbytes(8 << 20)
    for at in range(0, len(whole), 65536):
        log.append(at, whole[at : at + 65536])
    assert log.spooled > len(whole) - PENDING
    assert 0 < log.base <= len(whole) - (1 << 19)
    held = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert held <= (1 << 20) + (1 << 18)
    offset, _ = log.read(0, 1)
    assert offset == log.base
    assert everything(log, log.base) == whole[log.base :]


def test_a_full_disk_is_back_pressure_not_an_error(tmp_path, monkeypatch):
    log = Log(tmp_path / "p.out")
    real, full = os.write, True

    def write(descriptor: int, chunk: memoryview) -> int:
        if full:
            raise OSError(28, "No space left on device")
        return real(descriptor, chunk)

    monkeypatch.setattr(logs.os, "write", write)
    log.append(0, b"a" * PENDING)
    assert (log.spooled, log.trouble) == (0, "No space left on device")
    assert everything(log) == b"a" * PENDING
    full = False
    log.append(PENDING, b"b")
    assert (log.spooled, log.trouble) == (PENDING + 1, "")
    assert everything(log) == b"a" * PENDING + b"b"


def test_a_later_agent_finds_what_was_spooled(tmp_path):
    whole = random.Random(2).randbytes(3 * PENDING + 17)
    first = Log(tmp_path / "p.out", segment=100_000)
    for at in range(0, len(whole), 50_000):
        first.append(at, whole[at : at + 50_000])
    again = adopted(tmp_path / "p.out")
    assert again.base == 0
    assert again.head == again.spooled == first.spooled
    again.append(again.head, whole[again.head :])
    again.append(len(whole), b"more" * PENDING)
    assert everything(again) == whole + b"more" * PENDING


def test_what_a_later_agent_does_not_find_is_lost_and_not_passed_over(tmp_path):
    log = Log.adopt(tmp_path / "p.out", [])  # its folder could not be read
    log.append(PENDING, b"what the guest had")
    with pytest.raises(LogGone, match="Cannot read the log from byte 0"):
        log.read(0, 100)
    assert everything(log, PENDING) == b"what the guest had"
    recalled = Log.recalled(log.path, log.segments(), (log.path, 0))
    with pytest.raises(LogGone):
        recalled.read(0, 100)


def test_adoption_stops_at_a_hole(tmp_path):
    (tmp_path / "p.out.0").write_bytes(b"abc")
    (tmp_path / "p.out.5").write_bytes(b"xyz")
    log = adopted(tmp_path / "p.out")
    assert (log.base, log.head) == (0, 3)


def test_discard_leaves_nothing(tmp_path):
    log = Log(tmp_path / "p.out")
    log.append(0, bytes(PENDING))
    log.discard()
    assert list(tmp_path.iterdir()) == []


def test_what_an_agent_had_reserved_is_given_back_by_the_next(tmp_path):
    log = Log(tmp_path / "p.out")
    log.append(0, bytes(PENDING))
    [segment] = tmp_path.iterdir()
    reserved = segment.stat().st_blocks
    adopted(tmp_path / "p.out")
    assert segment.stat().st_blocks <= max(reserved - 1, PENDING // 512)
    assert segment.stat().st_size == PENDING


def test_what_is_in_the_pack_is_read_from_there_and_goes_on_in_files_of_its_own(tmp_path):
    first = Log(tmp_path / "p.out")
    first.append(0, b"little")
    assert first.loose and first.whole() == b"little"
    pack = tmp_path / "small.0"
    pack.write_bytes(b"others'" + first.whole() + b"others'")
    first.lies(pack, 7)
    first.settled()
    assert everything(first) == b"little"
    assert (first.loose, first.spooled, first.segments()) == (False, 6, [0, -6])
    again = adopted(tmp_path / "p.out")
    assert again.head == 0, "its files say nothing of that"
    known = Log.recalled(tmp_path / "p.out", [0, -6], (pack, 7))
    assert (everything(known), known.eof) == (b"little", True)
    more = Log.adopt(tmp_path / "p.out", [], before=known)
    more.append(6, bytes(PENDING))
    assert more.segments() == [0, -6, PENDING]
    assert everything(more) == b"little" + bytes(PENDING)
    more.discard()
    assert list(tmp_path.iterdir()) == [pack]


@pytest.mark.parametrize("lost", ["removed", "cut", "dropped"])
def test_what_should_be_there_and_is_not_is_said(tmp_path, lost):
    log = Log(tmp_path / "p.out", segment=PENDING)
    for at in range(0, 8 * PENDING, PENDING):
        log.append(at, bytes(PENDING))
    first = tmp_path / "p.out.0"
    if lost == "removed":
        first.unlink()
    elif lost == "cut":
        os.truncate(first, 100)
        assert log.read(0, 1000) == (0, bytes(100))
    else:
        log.dropped = "it was Sunday"
    words = {"removed": "No such file", "cut": "shorter than it was", "dropped": "it was Sunday"}
    with pytest.raises(LogGone, match=f"^Cannot read the log: .*{words[lost]}.*\\. .+\\.$"):
        log.read(500, 1000)
    if lost != "dropped":
        assert log.read(PENDING, 10) == (PENDING, bytes(10)), "the rest is there"


def test_once_nothing_follows_no_memory_is_used(tmp_path):
    log = Log(tmp_path / "p.out")
    log.append(0, b"x" * PENDING + b"y")
    assert log.spool()
    log.eof = True
    log.settled()
    assert not log._chunks
    assert log.read(PENDING - 1, 5) == (PENDING - 1, b"xy")
