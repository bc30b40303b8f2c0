"""Output with control sequences: what shows, in which style, and what never does.

``_frontend/test/output/ansi.test.ts`` holds the pages to the same examples.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vectors import TEXT

from tfnz_notebook.widgets.saved import ansi
from tfnz_notebook.widgets.saved.ansi import PLAIN, Parser, Span, Style, sgr


def shown(data: bytes) -> list[str]:
    return ["".join(span.text for span in line) for line in ansi.lines(data)]


def as_told(span: Span) -> list[Any]:
    """A span as the examples have it."""
    told: dict[str, Any] = {}
    for name, value in span.style._asdict().items():
        if isinstance(value, tuple):
            told[name] = "#" + "".join(f"{part:02x}" for part in value)
        elif value is not None and value is not False:
            told[name] = value
    return [span.text, told]


def test_examples() -> None:
    for given_, expected in TEXT["ansi"]:
        data = given_.encode() if isinstance(given_, str) else bytes.fromhex(given_["hex"])
        found = [[as_told(span) for span in line] for line in ansi.lines(data)]
        assert found == expected, data


def test_a_style_of_more_than_128_characters_is_none() -> None:
    assert sgr(PLAIN, "1;" * 63 + "31") == Style(fg=1, bold=True)
    assert sgr(PLAIN, "1;" * 64 + "31") == PLAIN
    assert shown(b"a\x1b[" + b"1;" * 5000 + b"mb\n") == ["ab"]


def test_a_line_is_cut_where_nobody_reads_on() -> None:
    assert len(shown(b"x" * 100_000)[0]) == ansi.LONGEST
    assert len(shown(b"x" * 100_000 + b"\x1b[m")[0]) == ansi.LONGEST
    assert len(shown("漢".encode() * 100_000)[0]) == ansi.LONGEST // 2
    assert shown(b"\x1b[999999999Gx")[0] == " " * ansi.WIDEST + "x"


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_pieces_make_no_difference_and_nothing_raises(data: bytes, cuts: list[int]) -> None:
    parser, found, before = Parser(), [], 0
    for cut in [*sorted(cuts), len(data)]:
        found += parser.feed(data[before:cut])
        before = max(before, cut)
    found += parser.close()
    assert [line.spans() for line in found] == ansi.lines(data)
    text = "".join(span.text for line in found for span in line.spans())
    assert not any(ord(each) < 32 or 127 <= ord(each) < 160 for each in text.replace("\t", ""))


WRITTEN = ["a", "bc", "漢", "🚀", "\u0301", "\t", "\r", "\b", "\x1b[K", "\x1b[1K", "\x1b[5G"]


@given(st.lists(st.sampled_from(WRITTEN), min_size=1, max_size=12))
def test_the_fast_way_and_the_slow_are_one(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert ansi.lines(text.encode()) == ansi.lines(f"\x1b[m{text}".encode())


@pytest.mark.parametrize("written", ["漢字", "e\u0301", "👩\u200d👧"])
def test_a_line_written_anew_is_as_if_it_were_the_first(written: str) -> None:
    assert shown(f"漢\tx🚀\r\x1b[K{written}".encode()) == shown(written.encode())


def test_bars_of_several_lines_are_written_over() -> None:
    bars = b"one 1%\ntwo 1%\n\x1b[2Aone 50%\ntwo 50%\n\x1b[1A\x1b[2K\x1b[1Adone\n\nafter\n"
    assert shown(bars) == ["done50%", "", "after"]
    far = b"".join(b"%d\n" % n for n in range(200)) + b"\x1b[999Atop\x1b[999Blast"
    found = shown(far)
    assert found[200 - ansi.REACH] == "top" and found[200] == "   last" and found[0] == "0"
    assert shown(b"a\nb\x1b[F1\x1b[E2") == ["1", "2"]
