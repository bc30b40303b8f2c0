"""What interpreters say: in any pieces, in order, and refused where it is none of it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfnz_notebook._wire import cells
from tfnz_notebook._wire.cells import Answers, Order, Said, Text
from tfnz_notebook.errors import ProtocolError

CELL = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32
DONE = {"is_": "done", "cell": CELL, "number": 2, "value": None, "error": None, "code": None}
DONE["taken"] = None
SHOW = {"is_": "show", "cell": CELL, "number": 1, "value": {"data": {"a": "b"}, "left": []}}
SHOW |= {"place": None, "again": None}
#: Text, marks, what is nearly one, and what terminals obey.
PIECES = st.lists(
    st.sampled_from(
        [
            *(
                b"text",
                b"\x1b",
                b"\x1b_",
                b"\x1b_tfnz:",
                b"\x1b_tfnz:e\x1b\\",
                b"\x1b_tfnz:o\x1b\\",
            ),
            *(
                b"\x1b_tfnz:%s:7\x1b\\" % CELL.encode(),
                b"\x1b[31m",
                b"\x1b\\",
                b"\n",
                b"\xff",
                b"e:",
            ),
        ]
    )
)


def framed(told: object, size: int = 2048) -> bytes:
    said = told if isinstance(told, bytes) else json.dumps(told).encode()
    pieces = [said[at : at + size] for at in range(0, len(said), size)] or [b""]
    signs = [b"+"] * (len(pieces) - 1) + [b"."]
    return b"".join(
        b"\x1b_tfnz%s%s\x1b\\" % (sign, piece) for sign, piece in zip(signs, pieces, strict=True)
    )


def joined(said: list[Said]) -> list[Said]:
    """Neighbours of one stream as one."""
    found: list[Said] = []
    for each in said:
        last = found[-1] if found else None
        if last and not each.cell and not last.cell and each.stream == last.stream:
            found[-1] = last._replace(data=last.data + each.data)
        else:
            found.append(each)
    return found


@given(PIECES, st.lists(st.integers(1, 9)))
def test_text_is_the_same_in_any_pieces(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pieces)
    whole = Text().feed(data, last=True)
    text, said, rest = Text(), [], data
    for cut in cuts:
        said += text.feed(rest[:cut])
        rest = rest[cut:]
    said += text.feed(rest, last=True)
    assert joined(said) == joined(whole)


def test_marks_are_no_text() -> None:
    data = b"a\x1b_tfnz:e\x1b\\b\x1b_tfnz:o\x1b\\c\x1b_tfnz:%s:3\x1b\\d" % CELL.encode()
    said = Text().feed(data)
    assert said == [
        Said(1, b"a"),
        Said(2, b"b"),
        Said(1, b"c"),
        Said(0, b"", CELL, 3),
        Said(1, b"d"),
    ]


def test_text_waits_for_the_end_of_a_mark_and_no_longer() -> None:
    text = Text()
    assert text.feed(b"a\x1b_tfnz:") == [Said(1, b"a")]
    assert text.feed(b"?") == [Said(1, b"\x1b_tfnz:?")]
    assert text.feed(b"\x1b") == []
    assert text.feed(b"[1m") == [Said(1, b"\x1b[1m")]


@given(st.integers(1, 5000), st.integers(1, 60), st.binary(max_size=20))
def test_answers_are_the_same_in_any_pieces(size: int, cut: int, stray: bytes) -> None:
    stray = stray.replace(b"\x1b", b"")
    data = framed(SHOW, min(size, 4096)) + stray + framed(DONE, min(size, 4096))
    answers, told = Answers(), []
    for at in range(0, len(data), cut):
        told += answers.feed(data[at : at + cut])
    assert told == [SHOW, DONE]
    assert answers.stray == stray


def test_what_is_no_answer_is_kept_for_who_wonders() -> None:
    answers = Answers()
    assert answers.feed(b"\x1b" * 5000 + b"x" * 5000 + b"\x1b" * 10 + framed(DONE)[:30]) == []
    assert answers.feed(framed(DONE)[30:]) == [DONE]
    assert len(answers.stray) == cells.MOST_STRAY


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (b"", "no JSON"),
        (b"nonsense", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"9" * 5000, "no JSON"),
        ([], "no such answer"),
        ({}, "no such answer"),
        ({"is_": ["done"]}, "no such answer"),
        ({"is_": "quit"}, "no such answer"),
        ({**DONE, "cell": 5}, "cell of the answer done is no str"),
        ({**DONE, "number": True}, "number of the answer done is no int"),
        ({**DONE, "code": "0"}, "code of the answer done"),
        ({**DONE, "value": "2"}, "value of the answer done"),
        ({**DONE, "value": {"data": [], "left": []}}, "no data by type"),
        ({**DONE, "value": {"data": {}}}, "no data by type"),
        ({**DONE, "value": {"data": {}, "left": [["a", 1]] * 65}}, "no data by type"),
        ({**DONE, "taken": {"a": "b"}}, "neither JSON, bytes nor a table"),
        ({**DONE, "taken": {"a": ["pickle", "b"]}}, "neither JSON, bytes nor a table"),
        ({**DONE, "taken": {"a": ["bytes", "no base64!"]}}, "no base64"),
        ({**SHOW, "value": None}, "value of the answer show"),
        ({"is_": "ask", "cell": CELL, "number": 1, "prompt": "", "hidden": 1}, "hidden"),
    ],
)
def test_an_answer_that_is_none_is_refused(told: Any, says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        Answers().feed(framed(told, 4000))


def test_an_answer_has_an_end() -> None:
    answers, piece = Answers(), b"\x1b_tfnz+%s\x1b\\" % (b"x" * 4096)
    for _ in range(cells.MOST // 4096):
        answers.feed(piece)
    with pytest.raises(ProtocolError, match="more than"):
        answers.feed(piece)


def test_fields_that_nobody_knows_are_dropped_and_the_rest_has_its_type() -> None:
    error = {"name": "E", "text": 5, "more": "x"}
    value = {"data": {"a": {"b": 1}}, "left": [["image/png", 5], ["x"], "y", ["z", True]]}
    (told,) = Answers().feed(framed({**DONE, "error": error, "value": value, "new": 1}))
    assert told["error"] == {"name": "E", "text": "5", "trace": ""}
    assert told["value"] == {"data": {"a": {"b": 1}}, "left": [("image/png", 5)]}
    assert set(told) == set(DONE)


def mark(number: int, cell: str = CELL) -> Said:
    return Said(0, b"", cell, number)


def test_text_and_answers_are_put_in_order() -> None:
    order = Order(CELL, 1000)
    assert order.text(Said(1, b"before it began")) == []
    assert order.answer(SHOW) == []
    assert order.text(mark(0, OTHER)) == []
    assert order.text(mark(0)) == []
    assert order.text(Said(1, b"a")) == [Said(1, b"a")]
    assert order.text(mark(1)) == [SHOW]
    assert order.text(mark(2)) == []
    assert order.text(Said(1, b"behind it")) == [] and order.waits
    assert order.answer({**DONE, "cell": OTHER}) == []
    assert order.answer(DONE) == [DONE, Said(1, b"behind it")] and not order.waits


def test_a_cell_may_have_begun_where_the_one_before_ended() -> None:
    order = Order(CELL, 100, begun=True)
    assert order.text(Said(1, b"x")) == [Said(1, b"x")]
    order = Order(CELL, 100, begun=True)
    assert order.text(mark(0)) == [] and order.text(Said(1, b"x")) == [Said(1, b"x")]
    order = Order(CELL, 100, begun=True)  # but another's comes first
    assert order.text(mark(0, "b" * 32)) == order.text(Said(1, b"of the other")) == []
    assert order.text(mark(0)) == [] and order.text(Said(1, b"x")) == [Said(1, b"x")]
    assert order.text(mark(0, "b" * 32)) == order.text(Said(1, b"of the other")) == []


def test_a_mark_or_an_answer_alone_holds_up_no_other() -> None:
    order = Order(CELL, 1000)
    order.text(mark(0))
    assert order.text(mark(1)) == order.text(Said(1, b"a")) == []
    assert order.answer(DONE) == [Said(1, b"a")]  # so the first has none
    assert order.text(mark(3)) == [DONE]  # whose mark was lost
    assert order.text(Said(1, b"b")) == []
    assert order.give_up() == [Said(1, b"b")] and not order.waits


def test_beyond_its_bound_nothing_is_waited_for() -> None:
    order = Order(CELL, 100)
    order.text(mark(0))
    assert order.answer(SHOW) == []
    assert order.text(Said(1, b"x" * 150)) == [Said(1, b"x" * 100), SHOW]
    assert order.text(Said(1, b"y")) == []
    assert order.answer(DONE) == [DONE]
    small = Order(CELL, 100)
    small.text(mark(0))
    taken = [small.text(Said(1 + n % 2, b"x")) for n in range(10)]  # each costs, as it were, 32
    assert sum(map(len, taken)) <= 4 and small.full


def test_marks_that_do_not_come() -> None:
    order = Order(CELL, 100)
    assert order.answer(DONE) == [] and order.waits
    assert order.give_up() == [DONE] and not order.waits


def test_answers_that_are_far_ahead_are_said_to_be() -> None:
    order = Order(CELL, 100)
    for number in range(cells.MOST_WAITING):
        order.answer({**SHOW, "number": number + 1})
    assert not order.crowded
    order.answer({**SHOW, "number": cells.MOST_WAITING + 1})
    assert order.crowded
    order.text(mark(0))
    assert len(order.text(mark(1))) == 1 and not order.crowded
