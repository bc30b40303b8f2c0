"""A process's output with its times, as players read it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tfnz_notebook._calls import recording
from tfnz_notebook._calls.recording import asciicast


def cast(streams: Any, marks: Any, *, tty: bool = True) -> tuple[dict[str, Any], list[Any]]:
    said = asciicast(streams, marks, size=(24, 80), began=1700000000.5, title="make", tty=tty)
    head, *events = map(json.loads, said.splitlines())
    return head, events


def test_a_terminal() -> None:
    head, events = cast(
        {1: (0, "one 漢\r\ntwo".encode())}, [[1, 0, 20], [1, 5, 1500], [1, 9, 2250]]
    )
    said = {"version": 2, "width": 80, "height": 24, "title": "make"}
    assert head == said | {"timestamp": 1700000000}
    # A mark may be within a character, which comes with its last byte.
    assert events == [[0.02, "o", "one "], [1.5, "o", "漢\r\n"], [2.25, "o", "two"]]


def test_both_streams_in_their_order() -> None:
    _, events = cast(
        {1: (0, b"a\nc\n"), 2: (0, b"b\n")}, [[1, 0, 0], [2, 0, 500], [1, 2, 900]], tty=False
    )
    assert events == [[0, "o", "a\r\n"], [0.5, "o", "b\r\n"], [0.9, "o", "c\r\n"]]


def test_what_the_log_dropped_and_what_was_not_marked() -> None:
    _, events = cast({1: (10, b"rest")}, [[1, 2, 100], [1, 12, 300]])
    assert events == [[0.1, "o", "re"], [0.3, "o", "st"]]
    assert cast({1: (0, b"ab\xff\xe2")}, [])[1] == [[0, "o", "ab\ufffd"], [0, "o", "\ufffd"]]
    assert cast({1: (0, b"")}, [[1, 0, 5]])[1] == []


def test_long_pieces_are_cut() -> None:
    _, events = cast({1: (0, b"x" * (2 * recording.PIECE + 1))}, [[1, 0, 5]])
    assert [len(text) for _, _, text in events] == [recording.PIECE, recording.PIECE, 1]


WRITTEN = st.tuples(st.sampled_from([1, 2]), st.binary(min_size=1, max_size=4), st.integers(0, 9))


@given(st.lists(WRITTEN))
def test_all_of_it_is_there_and_time_goes_on(written: list[tuple[int, bytes, int]]) -> None:
    whole, now = {1: b"", 2: b""}, 0
    marks: list[list[int]] = []
    for stream, piece, later in written:
        now += later
        marks.append([stream, len(whole[stream]), now])
        whole[stream] += piece
    pieces = list(recording._pieces({n: (0, data) for n, data in whole.items()}, marks))
    for stream, data in whole.items():
        assert b"".join(piece for n, piece, _ in pieces if n == stream) == data
    times = [time for _, _, time in pieces]
    assert times == sorted(times)
