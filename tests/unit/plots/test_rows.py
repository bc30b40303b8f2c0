"""The rows of a plot."""

import math
import struct
from threading import Thread

from tfnz_notebook.plots import rows
from tfnz_notebook.plots.rows import Rows


def unpacked(stretch: tuple[int, int, bytes]) -> list[tuple[float, ...]]:
    _, width, cells = stretch
    return list(struct.iter_unpack(f"<{width}d", cells))


def test_rows_are_numbered_and_sliced() -> None:
    made = Rows()
    for number in range(5):
        assert made.append(float(number), {"a": number * 10.0, "b": -1.0})
    assert (len(made), made.first, made.end, made.columns) == (5, 0, 5, ["a", "b"])
    assert unpacked(made.stretch(1, 3)) == [(1, 10, -1), (2, 20, -1)]
    assert made.stretch(1, 3)[:2] == (1, 3)
    assert unpacked(made.stretch(4, 99)) == [(4, 40, -1)]
    assert made.stretch(9, 99) == (9, 3, b"")
    assert list(made.column("a")) == [0, 10, 20, 30, 40]
    assert list(made.column(None, 3)) == [3, 4]
    assert made.since(2.5) == 3
    assert (made.last("a"), made.last(None)) == (40, 4)
    assert math.isnan(made.last("nothing"))


def test_a_column_that_comes_later_has_no_values_before() -> None:
    made = Rows()
    made.append(0, {"a": 1})
    made.append(1, {"b": 2, "a": math.inf})
    made.append(2, {})
    before, there, after = unpacked(made.stretch(0, 9))
    assert before[:2] == (0, 1) and math.isnan(before[2])
    assert there[2] == 2 and math.isnan(there[1]), "infinity is no number to draw"
    assert math.isnan(after[1]) and math.isnan(after[2])
    assert made.last("b") == 2, "the newest that is a number"


def test_the_oldest_rows_go() -> None:
    made = Rows(most=80)
    for number in range(1000):
        made.append(float(number), {"a": float(number)})
        assert len(made) <= 90
    assert made.end == 1000
    assert made.first >= 900
    assert made.stretch(0, 1000)[0] == made.first
    assert made.column("a")[0] == made.first
    assert made.since(-1) == made.first


def test_wide_rows_are_fewer_and_columns_bounded() -> None:
    made = Rows()
    names = {f"c{n}": float(n) for n in range(rows.MOST_COLUMNS)}
    assert made.append(0, names)
    assert not made.append(1, names | {"one more": 1.0})
    assert len(made.columns) == rows.MOST_COLUMNS
    assert len(unpacked(made.stretch(0, 2))) == 2
    for number in range(rows.MOST_CELLS // made.width * 9 // 8 + 2):
        made.append(number + 2.0, {})
    assert len(made) * made.width <= rows.MOST_CELLS * 9 // 8


def test_rows_of_before_are_spread_evenly() -> None:
    made = Rows()
    for _ in range(4):
        made.append(0, {"a": 1.0})
    made.spread(0, 100.0, 108.0)
    assert list(made.column(None)) == [102, 104, 106, 108]


def test_reading_while_another_thread_appends() -> None:
    made = Rows(most=200)
    over = False

    def fill() -> None:
        number = 0
        while not over:
            number += 1
            made.append(float(number), {f"c{number // 500 % 7}": float(number)})

    thread = Thread(target=fill)
    thread.start()
    try:
        for _ in range(300):
            first, width, cells = made.stretch(0, 1 << 60)
            numbers = [row[0] for row in struct.iter_unpack(f"<{width}d", cells)]
            assert numbers == [float(first + 1 + at) for at in range(len(numbers))]
    finally:
        over = True
        thread.join(20)


def test_a_reader_waits_for_nobody_and_sees_what_it_began_with() -> None:
    """A lock could be held by a thread that a forked child does not have."""
    made = Rows(most=80)
    made.append(1.0, {"a": 2.0})
    state = made._state
    for number in range(200):
        made.append(number + 2.0, {"a": 3.0, "b": 4.0})
    assert (state.first, [*state.places], list(state.cells)) == (0, ["a"], [1, 2])
    assert made.first > 0
    made.rename({"a": "c"})
    assert made.columns == ["c", "b"] and made.last("c") == 3
