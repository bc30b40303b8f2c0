"""Hostile output is harmless text, in whichever pieces it comes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfnz_notebook.magics.shown.text import SCREEN, Clean, clean

HOSTILE = {
    "clipboard": "\x1b]52;c;aGk=\x07",
    "clipboard, ended otherwise": "\x1b]52;c;aGk=\x1b\\",
    "link": "\x1b]8;;http://example.com\x07",
    "title": "\x1b]0;title\x07",
    "title reported back": "\x1b[21t",
    "question": "\x1b[c",
    "DCS": '\x1bP$q"p\x1b\\',
    "APC": "\x1b_x\x1b\\",
    "eight bits": "\x9d52;c;aGk=\x9c",
    "reset": "\x1bc",
    "charset": "\x1b(0",
    "cursor": "\x1b[2J\x1b[1;1H",
    "bell and friends": "\x07\x08\x00\x7f",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_of_text_only_colours_go_through(what: str) -> None:
    said = f"a\x1b[1;31mb{HOSTILE[what]}c\x1b[0m\r\nd\te"
    assert clean(said) == "a\x1b[1;31mbc\x1b[0m\r\nd\te"


@pytest.mark.parametrize(
    "what", ["clipboard", "clipboard, ended otherwise", "link", "title", "DCS", "APC", "eight bits"]
)
def test_a_program_on_the_screen_says_no_strings_either(what: str) -> None:
    assert Clean(SCREEN).feed(f"a{HOSTILE[what]}b".encode()) == "ab"


def test_a_program_on_the_screen_moves_its_cursor_and_asks_for_no_title() -> None:
    moves = "\x1b[2J\x1b[10;5H\x1b[?1049h\x1b7\x1b[K\x1b8\x1b(0\x08\x07\x1b=\x1b[?25l"
    assert Clean(SCREEN).feed(moves.encode()) == moves
    assert Clean(SCREEN).feed(b"\x1b[21t\x1b[5i") == ""


@pytest.mark.parametrize("what", HOSTILE)
def test_pieces_make_no_difference(what: str) -> None:
    data = f"é{HOSTILE[what]}ü\x1b[32m".encode()
    cleaner = Clean()
    said = "".join(cleaner.feed(data[i : i + 1]) for i in range(len(data)))
    assert said + cleaner.feed(b"", last=True) == "éü\x1b[32m"


@given(st.binary(max_size=200), st.integers(1, 7))
def test_whatever_comes_nothing_but_colours_is_left(data: bytes, step: int) -> None:
    cleaner = Clean()
    pieces = [cleaner.feed(data[i : i + step]) for i in range(0, len(data), step)]
    said = "".join(pieces) + cleaner.feed(b"", last=True)
    assert clean(said) == said
    assert all(c >= " " or c in "\n\r\t\x1b" for c in said)


def test_a_string_that_does_not_end_does_not_swallow_what_follows() -> None:
    cleaner = Clean()
    cleaner.feed(b"\x1b]0;" + b"x" * 10_000)
    assert cleaner.feed(b"\nstill here").endswith("\nstill here")
