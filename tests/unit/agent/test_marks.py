"""Marks: when output came, bounded however long it comes, and the order of its streams."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

from unit.agent.test_handed_in import MemoryDisk
from unit.agent.test_records import Faulty

from tfnz_notebook.agent.process.kept.marks import EXACT, FEW, MOST, SPACING, Marks

PATH = Path("/spool/p.marks")


def marks(disk: MemoryDisk | None = None) -> Marks:
    return Marks(PATH, disk or MemoryDisk())


def test_a_stream_is_marked_now_and_then_and_each_change() -> None:
    found = marks()
    for time, stream, offset in ((0, 1, 0), (1, 1, 5), (2, 2, 0), (3, 1, 9), (SPACING + 3, 1, 12)):
        found.note(stream, offset, time)
    assert found.told() == [[1, 0, 0], [2, 0, 2], [1, 9, 3], [1, 12, SPACING + 3]]
    assert found.order() == [[1, 0], [2, 0], [1, 9]]


def test_a_day_of_output_takes_no_more_than_a_minute_of_it() -> None:
    found = marks()
    for second in range(86400):
        found.note(1, second * 100, second * 1000)
    told = found.told()
    assert MOST // 4 < len(told) <= MOST
    times = [time for *_, time in told]
    assert times == sorted(times) and times[0] == 0
    assert max(b - a for a, b in itertools.pairwise(times)) <= 86400_000 // 100
    assert all(offset == time // 10 for _, offset, time in told)
    assert found.order() == [[1, 0]]


def test_changes_outlast_what_lies_between_them() -> None:
    found, rng = marks(), random.Random(5)
    changes, stream, time = [], 1, 0
    for offset in range(50_000):
        time += SPACING
        if offset == 0 or rng.random() < 0.01:
            stream = 3 - stream
            changes.append([stream, offset])
        found.note(stream, offset, time)
    assert found.order() == changes[-EXACT:]


def test_where_all_is_changes_the_last_are_there() -> None:
    found = marks()
    for offset in range(20_000):
        found.note(1 + offset % 2, offset, offset)
    assert len(found.told()) <= MOST
    assert found.order() == [[1 + offset % 2, offset] for offset in range(20_000 - EXACT, 20_000)]


def test_a_few_go_into_the_line_and_many_into_a_file() -> None:
    disk = MemoryDisk()
    found = marks(disk)
    for number in range(FEW):
        found.note(1, number, number * SPACING)
    assert found.kept() == found.told()
    assert not disk.files
    found.note(2, 0, 9999)
    assert found.kept() is None
    again = marks(disk)
    again.recall(found.kept())
    assert (again.told(), again.order()) == (found.told(), found.order())
    again.remove()
    assert not disk.files


def test_a_later_agent_goes_on_with_those_whose_output_was_in_files() -> None:
    disk = Faulty()
    found, writes = marks(disk), 0
    for number in range(10_000):
        found.note(1, number, number * SPACING)
        found.keep()
    writes = disk.number // 2  # it is opened, and written to
    assert writes < 200, "it is not written for each"
    again = marks(disk)
    again.recall(None)
    told = again.told()
    assert told == [each for each in found.told() if each[1] <= told[-1][1]][: len(told)]
    assert told[-1][2] > 9_000 * SPACING
    again.note(2, 0, 10_000 * SPACING)
    assert again.order() == [[1, told[0][1]], [2, 0]]


def test_the_file_grows_and_one_that_is_torn_is_made_anew() -> None:
    disk = MemoryDisk()
    found = marks(disk)
    sizes = []
    for number in range(5):
        for more in range(10):
            found.note(1, number * 100 + more, (number * 100 + more) * SPACING)
        found.keep()
        sizes.append(len(disk.files[PATH]))
    steps = [b - a for a, b in itertools.pairwise(sizes)]
    assert steps == [160, 160, 160, 160], "each mark once"
    disk.files[PATH] = disk.files[PATH][:-3]
    again = marks(disk)
    again.recall(None)
    assert again.told() == found.told()[:-1]
    again.note(2, 0, 999 * SPACING)
    again.keep()
    last = marks(disk)
    last.recall(None)
    assert last.told() == again.told()


def test_times_are_not_worth_failing_for() -> None:
    disk = Faulty()
    found = marks(disk)
    for number in range(100):
        found.note(1, number, number * SPACING)

    def full(number: int) -> int | None:
        raise OSError(28, "No space left on device")

    disk.wrong = full
    found.keep()
    assert found.kept() is None
    for raw in (b"", b"torn", bytes(24) + b"x", b"\xff" * 40):
        disk.files[PATH] = raw
        again = marks(disk)
        again.recall(None)
        assert again.told() == []
