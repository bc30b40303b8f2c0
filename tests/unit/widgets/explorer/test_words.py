"""Names made harmless, numbers made readable, columns made straight."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfnz_notebook.widgets.explorer import words

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("web", "web"),
        ("grüße 漢字", "grüße 漢字"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("\udcff", r"\udcff"),
        (None, ""),
    ],
)
def test_a_name_is_one_line_without_control_characters(given: object, shown: str) -> None:
    assert words.plain(given) == shown


@given(st.text(alphabet=st.characters(), max_size=300), st.integers(2, 80))
def test_no_text_gets_through_as_more_than_text(text: str, most: int) -> None:
    shown = words.plain(text, most)
    assert not CONTROL.search(shown)
    assert len(shown) <= most
    assert not CONTROL.search(words.last_lines(text.encode("utf-8", "replace")).replace("\n", ""))


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        (b"one\ntwo\r\n", "one\ntwo"),
        (b"10 %\r50 %\r100 %\n", "100 %"),
        (b"\x1b[1;31mred\x1b[0m\n", "red"),
        (b"\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b", "ab"),
        (b"\x1bP1;2q~~~\x1b\\c", "c"),
        (b"half \xc3", "half �"),
        (b"bell \x07", r"bell \x07"),
        (b"", ""),
    ],
)
def test_the_end_of_a_log(log: bytes, shown: str) -> None:
    assert words.last_lines(log) == shown


def test_only_the_last_lines_of_it() -> None:
    log = b"".join(b"%d\n" % i for i in range(100))
    assert words.last_lines(log, 2) == "98\n99"
    assert len(words.last_lines(b"x" * 100_000)) == 4000


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0 B"), (999, "999 B"), (1024, "1.0 KiB"), (268435456, "256 MiB"), (1 << 50, "1024 TiB")],
)
def test_sizes(number: int, shown: str) -> None:
    assert words.size(number) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-3, "0 s"), (59.9, "59 s"), (60, "1 min"), (7500, "2 h 05 min"), (90000, "1 d 1 h")],
)
def test_durations(seconds: float, shown: str) -> None:
    assert words.duration(seconds) == shown


@pytest.mark.parametrize(
    ("code", "shown"), [(None, "running"), (0, "exit 0"), (-15, "SIGTERM"), (-99, "signal 99")]
)
def test_endings(code: int | None, shown: str) -> None:
    assert words.ending(code) == shown


def test_columns_are_aligned_also_with_wide_characters() -> None:
    drawn = words.table(("NAME", "N"), [("漢字", "1"), ("abcdef", "22")], right=(1,))
    assert drawn == "NAME     N\n漢字     1\nabcdef  22"


def test_the_widest_columns_give_way() -> None:
    row = ("a" * 80, "b" * 60, "c")
    lines = words.table(("A", "B", "C"), [row], width=60).split("\n")
    assert max(map(words.wide, lines)) <= 60
    assert lines[1].count("…") == 2 and lines[1].endswith("  c")
