"""Names made harmless, logs made short, columns made straight, words quoted."""

import re
import shlex
import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from vectors import TEXT

from tfnz_notebook._base import text

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def test_a_name_is_one_line_without_control_characters() -> None:
    found = [[said, most, text.one_line(said, most)] for said, most, _ in TEXT["one_line"]]
    assert found == TEXT["one_line"]


def test_the_end_of_a_log() -> None:
    found = [
        [log, lines, most, text.last_words(log.encode(), lines=lines, most=most)]
        for log, lines, most, _ in TEXT["last_words"]
    ]
    assert found == TEXT["last_words"]
    assert text.last_words(b"half \xc3") == "half \ufffd"
    assert len(text.last_words(b"x" * 100_000)) == 4000


@given(st.text(alphabet=st.characters(), max_size=300), st.integers(2, 80))
def test_no_text_gets_through_as_more_than_text(said: str, most: int) -> None:
    line = text.one_line(said, most)
    assert not CONTROL.search(line)
    assert len(line) <= most
    words = text.last_words(said.encode("utf-8", "replace"), most=most)
    assert not CONTROL.search(words.replace("\n", ""))
    assert len(words) <= most


def test_columns_are_those_of_a_terminal() -> None:
    assert [[said, text.width(said)] for said, _ in TEXT["columns"]] == TEXT["columns"]


def test_what_is_too_long_is_clipped() -> None:
    assert [[said, most, text.clip(said, most)] for said, most, _ in TEXT["clip"]] == TEXT["clip"]


@given(st.text(max_size=60), st.integers(1, 30))
def test_what_is_clipped_fits(said: str, most: int) -> None:
    clipped = text.clip(said, most)
    assert text.width(clipped) <= most
    assert len(clipped) <= 4 * most + 1
    assert said.startswith(clipped.removesuffix("…"))


def test_what_takes_no_column_has_an_end_too() -> None:
    assert text.clip("a" + "\u0301" * 1000, 10) == "a" + "\u0301" * 39 + "…"


def test_tables() -> None:
    for head, rows, right, most, drawn in TEXT["table"]:
        assert text.table(head, rows, right=right, most=most) == drawn


def test_the_widest_columns_give_way() -> None:
    row = ("a" * 80, "漢" * 30, "c")
    lines = text.table(("A", "B", "C"), [row], most=60).split("\n")
    assert max(map(text.width, lines)) <= 60
    assert lines[1].count("…") == 2 and lines[1].endswith("  c")


def test_words_are_quoted_as_one_would_type_them() -> None:
    found = [[words, text.command_line(words)] for words, _ in TEXT["command_line"]]
    assert found == TEXT["command_line"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=5))
def test_a_shell_reads_what_was_meant(words: list[str]) -> None:
    line = text.command_line(words)
    assert shlex.split(line) == words
    bare = [each for each in words if text.quoted(each) == each]
    assert not any(unicodedata.category(c)[0] in "ZC" for each in bare for c in each)
