"""Writes to stdin have names: said again, to this agent or to the next, they happen once."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tfnz_notebook.agent.disk import File, RealDisk
from tfnz_notebook.agent.process import writes
from tfnz_notebook.agent.process.writes import Write, Writes


def test_a_write_is_known_by_its_name(tmp_path):
    found = Writes(tmp_path / "c")
    assert found.find("p", "k") is None
    found.note("p", "k", Write(5, 10, 1, 2))
    assert found.find("p", "k") == Write(5, 10, 1, 2)
    assert found.find("p", "k").got is None, "it is under way here"
    assert found.find("q", "k") is None
    found.note("p", "", Write(15, 1))
    assert found.find("p", "") is None, "of an older kernel, that names none"


@pytest.mark.parametrize(("received", "got"), [(0, 0), (5, 0), (9, 4), (15, 10), (99, 10)])
def test_a_later_agent_knows_how_much_of_it_arrived(tmp_path, received, got):
    Writes(tmp_path).note("p", "k", Write(5, 10))
    again = Writes(tmp_path)
    assert again.adopt("p", received) is False
    assert again.find("p", "k").got == got


def test_what_an_agent_settled_stays_so_for_those_after_it(tmp_path):
    Writes(tmp_path).note("p", "lost", Write(0, 10))
    second = Writes(tmp_path)
    second.adopt("p", 4)
    second.note("p", "other", Write(4, 20))  # somebody else's, in the place of what was lost
    third = Writes(tmp_path)
    third.adopt("p", 24)
    assert third.find("p", "lost").got == 4, "those bytes were another's"
    assert third.find("p", "other").got == 20


def test_what_was_written_to_one_of_another_life_is_not_known_to_the_next(tmp_path):
    first = Writes(tmp_path)
    first.begin("p")
    first.note("p", "k", Write(0, 10))
    first.note("q", "k", Write(0, 10))
    first.close("p")
    second = Writes(tmp_path)
    second.begin("p")
    for found in (second, Writes(tmp_path)):
        assert found.find("p", "k") is None
        assert found.adopt("p", 5) is False
        assert found.find("q", "k") == Write(0, 10)
    second.note("p", "k", Write(0, 20))
    third = Writes(tmp_path)
    third.adopt("p", 20)
    assert third.find("p", "k").got == 20


def test_an_end_that_was_asked_for_is_remembered(tmp_path):
    first = Writes(tmp_path)
    first.close("p")
    again = Writes(tmp_path)
    assert again.adopt("p", 0) is True
    assert again.adopt("q", 0) is False


def test_no_byte_of_a_write_is_on_disk_and_others_cannot_read_it(tmp_path):
    found = Writes(tmp_path / "c")
    found.note("p", "my name", Write(0, 6))
    [file] = (tmp_path / "c").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert b"my name" not in file.read_bytes()


def test_old_generations_go_and_recent_writes_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(writes, "GENERATION", 10 * writes._RECORD.size)
    found = Writes(tmp_path)
    for number in range(95):
        found.note("p", str(number), Write(number, 1))
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert size <= 20 * writes._RECORD.size
    again = Writes(tmp_path)
    assert again.find("p", "94") == Write(94, 1)
    assert again.find("p", "85") == Write(85, 1)
    assert again.find("p", "1") is None
    assert len(found._known[writes._digest("p")]) <= 20


def test_what_is_awaited_is_known_however_many_come_after_it(tmp_path, monkeypatch):
    monkeypatch.setattr(writes, "GENERATION", 10 * writes._RECORD.size)
    first = Writes(tmp_path)
    first.note("p", "settled", Write(0, 100))
    found = Writes(tmp_path)
    found.adopt("p", 60)
    awaiting = contextlib.ExitStack()
    for each in ("settled", "sent", "not noted"):
        awaiting.enter_context(found.awaited("p", each))
    found.note("p", "sent", Write(60, 40))
    found.close("p")
    for number in range(95):
        found.note("q", str(number), Write(number, 1))
    assert found.find("p", "settled").got == 60
    again = Writes(tmp_path)
    assert again.adopt("p", 70) is True
    assert again.find("p", "settled") == Write(0, 100, got=60)
    assert again.find("p", "sent") == Write(60, 40, got=10)

    found.over("p")
    awaiting.close()
    for number in range(95):
        found.note("q", str(number), Write(number, 1))
    assert Writes(tmp_path).adopt("p", 70) is False


def test_many_that_are_awaited_are_not_written_again_at_each_write(tmp_path, monkeypatch):
    monkeypatch.setattr(writes, "GENERATION", 10 * writes._RECORD.size)
    found = Writes(tmp_path)
    awaiting = contextlib.ExitStack()
    for number in range(50):
        awaiting.enter_context(found.awaited("p", str(number)))
        found.note("p", str(number), Write(number, 1))
    sizes = []
    for number in range(10):
        found.note("q", str(number), Write(number, 1))
        sizes.append(sum(path.stat().st_size for path in tmp_path.iterdir()) // writes._RECORD.size)
    assert len({*sizes}) >= 9 and max(sizes) <= 2 * (50 + 10)
    again = Writes(tmp_path)
    again.note("q", "later", Write(0, 1))
    assert again.find("p", "0") == Write(0, 1)
    awaiting.close()


def test_a_record_cut_short_spoils_no_other(tmp_path):
    Writes(tmp_path).note("p", "whole", Write(1, 1))
    with (tmp_path / "stdin").open("ab") as file:
        file.write(b"torn")
    again = Writes(tmp_path)
    again.note("p", "later", Write(2, 1))
    third = Writes(tmp_path)
    assert third.find("p", "whole") == Write(1, 1)
    assert third.find("p", "later") == Write(2, 1)


@pytest.mark.parametrize("seed", range(30))
def test_whoever_repeats_after_any_death_writes_each_byte_once(tmp_path, seed):
    """Agents die at random moments; each write is repeated by its kernel until it is answered."""
    rng = random.Random(seed)
    arrived = bytearray()
    wanted = [rng.randbytes(rng.randrange(1, 50)) for _ in range(20)]
    found = Writes(tmp_path)
    for key, payload in enumerate(wanted):
        while True:
            known = found.find("p", str(key))
            got = known.got if known is not None and known.got is not None else 0
            found.note("p", str(key), Write(len(arrived) - got, len(payload)))
            sent = payload[got:]
            if rng.random() < 0.5:  # the agent dies, and some of it had arrived
                arrived += sent[: rng.randrange(len(sent) + 1)]
                found.discard()
                found = Writes(tmp_path)
                found.adopt("p", len(arrived))
                continue
            arrived += sent
            break
    found.discard()
    assert bytes(arrived) == b"".join(wanted)


class Full(RealDisk):
    """No room for anything."""

    def extend(self, path: Path) -> File:
        raise OSError(28, "No space left on device")


def test_a_full_disk_does_not_keep_anybody_from_writing(tmp_path):
    found = Writes(tmp_path, Full())
    found.note("p", "k", Write(0, 5))
    assert found.find("p", "k") == Write(0, 5)


class Short(RealDisk):
    """No more than 40 bytes at once."""

    def extend(self, path: Path) -> File:
        file = super().extend(path)
        append = file.append
        file = cast("Any", SimpleNamespace(size=file.size, cut=file.cut, close=file.close))
        file.append = lambda data: append(data[:40])
        return file


def test_a_record_that_was_written_in_part_spoils_none_that_follows(tmp_path):
    Writes(tmp_path).note("p", "before", Write(0, 1))
    Writes(tmp_path, Short()).note("p", "part", Write(1, 1))
    found = Writes(tmp_path)
    found.note("p", "after", Write(2, 1))
    again = Writes(tmp_path)
    known = [again.find("p", key) for key in ("before", "part", "after")]
    assert known == [Write(0, 1), None, Write(2, 1)]


def test_what_is_known_of_processes_that_came_and_went_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(writes, "GENERATION", 10 * writes._RECORD.size)
    found = Writes(tmp_path)
    for number in range(95):
        found.close(f"process {number}")
        found.over(f"process {number}")
        assert found.find(f"process {number}", "k") is None
    assert len(found._known) <= 20
    assert found.adopt("process 94", 0) is True
