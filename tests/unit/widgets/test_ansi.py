"""Output with control sequences: what shows, in which style, and what never does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfnz_notebook.widgets.saved import ansi
from tfnz_notebook.widgets.saved.ansi import PLAIN, Parser, Style, sgr


def shown(data: bytes) -> list[str]:
    return ["".join(span.text for span in line) for line in ansi.lines(data)]


def styled(data: bytes) -> list[tuple[str, Style]]:
    return [(span.text, span.style) for line in ansi.lines(data) for span in line]


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\n\n", ["one", ""]),
        (b"no end", ["no end"]),
        (b"windows\r\nlines\r\n", ["windows", "lines"]),
        (b" 10%\r 50%\r100%\n", ["100%"]),
        (b"longer\rab\n", ["abnger"]),
        (b"longer\rab\x1b[K\n", ["ab"]),
        (b"gone\x1b[2K\rnew\n", ["new"]),
        (b"gone\x1b[2Kx\n", ["    x"]),
        (b"abcd\b\b\x1b[1K\n", ["   d"]),
        (b"ab\bc\n", ["ac"]),
        (b"\b\bab\n", ["ab"]),
        (b"a\tb\n", ["a       b"]),
        (b"12345678\tb\n", ["12345678        b"]),
        ("ümläut 漢字\n".encode(), ["ümläut 漢字"]),
        (b"bad \xff\xc3 bytes\n", ["bad \ufffd\ufffd bytes"]),
        (b"\x00\x01nul\x7f\n", ["nul"]),
    ],
)
def test_lines(data: bytes, lines: list[str]) -> None:
    assert shown(data) == lines


@pytest.mark.parametrize(
    "sequence",
    [
        b"\x1b]0;title\x07",
        b"\x1b]0;title\x1b\\",
        b"\x1b]52;c;aGVsbG8=\x07",
        b"\x1b]8;;https://evil.example\x1b\\",
        b"\x1bPq#0;2;0;0;0\x1b\\",
        b"\x1b[2J",
        b"\x1b[10;20H",
        b"\x1b[?1049h",
        b"\x1b[>4;1m",
        b"\x1b[6n",
        b"\x1b(B",
        b"\x1bc",
        b"\x1b=",
        "\x9b31H".encode(),
        "\x9d52;c;x\x9c".encode(),
    ],
)
def test_other_sequences_are_inert_and_unseen(sequence: bytes) -> None:
    assert shown(b"a" + sequence + b"b\n") == ["ab"]


@pytest.mark.parametrize("begun", [b"\x1b", b"\x1b[", b"\x1b[31", b"\x1b]52;c;aGVs", b"\x1bPq"])
def test_an_unfinished_sequence_hides_no_other_line(begun: bytes) -> None:
    assert shown(b"a" + begun + b"\nnext\n") == ["a", "next"]


def test_characters_that_turn_or_hide_text_are_shown_by_their_number() -> None:
    assert shown("a\u202eevil\u202cb\u200b\n".encode()) == ["a<U+202E>evil<U+202C>b<U+200B>"]


@pytest.mark.parametrize(
    ("codes", "style"),
    [
        ("", PLAIN),
        ("0", PLAIN),
        ("1;31", Style(fg=1, bold=True)),
        ("91;102", Style(fg=9, bg=10)),
        ("38;5;208", Style(fg=208)),
        ("48;5;17;4", Style(bg=17, underline=True)),
        ("38;2;1;2;3;1", Style(fg=(1, 2, 3), bold=True)),
        ("38:5:208", Style(fg=208)),
        ("38:2::1:2:3", Style(fg=(1, 2, 3))),
        ("38:2:1:2:3", Style(fg=(1, 2, 3))),
        ("4:3", Style(underline=True)),
        ("4:0", PLAIN),
        ("2;3;7;9", Style(dim=True, italic=True, inverse=True, strike=True)),
        ("1;2;22", PLAIN),
        ("31;39;41;49", PLAIN),
        ("38;5", PLAIN),
        ("38;5;999", PLAIN),
        ("38;2;1;2", PLAIN),
        ("38;9;31", Style(fg=1)),
        ("1234567890" * 20, PLAIN),
        ("<1", PLAIN),
    ],
)
def test_sgr(codes: str, style: Style) -> None:
    assert sgr(PLAIN, codes) == style


def test_a_style_goes_on_until_it_is_ended() -> None:
    red = Style(fg=1)
    assert styled(b"\x1b[31mred\nstill\x1b[m no\n") == [
        ("red", red),
        ("still", red),
        (" no", PLAIN),
    ]


def test_overwriting_keeps_the_style_of_what_stays() -> None:
    assert styled(b"\x1b[32mgreen\r\x1b[31mr\n") == [("r", Style(fg=1)), ("reen", Style(fg=2))]


def test_a_line_is_cut_where_nobody_reads_on() -> None:
    assert len(shown(b"x" * 100_000)[0]) == ansi.LONGEST
    assert len(shown(b"x" * 100_000 + b"\x1b[m")[0]) == ansi.LONGEST


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_pieces_make_no_difference_and_nothing_raises(data: bytes, cuts: list[int]) -> None:
    parser, found, before = Parser(), [], 0
    for cut in [*sorted(cuts), len(data)]:
        found += parser.feed(data[before:cut])
        before = max(before, cut)
    assert found + parser.close() == ansi.lines(data)
    text = "".join(span.text for line in found for span in line)
    assert not any(ord(each) < 32 or 127 <= ord(each) < 160 for each in text)
