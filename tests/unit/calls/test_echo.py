"""What a terminal echoes is dropped; what only looks like it stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfnz_notebook._calls import echo

PASTE_OFF = b"\x1b[?2004l\r"
PASTE_ON = b"\x1b[?2004h"


@pytest.mark.parametrize(
    ("reply", "typed", "left"),
    [
        # the line discipline
        (b"ls\r\na  b\r\n", b"ls\n", b"a  b\r\n"),
        (b"ls\r\n", b"ls\n", b""),
        (b"a\r\nb\r\nout\r\n", b"a\nb\n", b"out\r\n"),
        (b"^C\r\n$ ", b"\x03\n", b"\r\n$ ".removeprefix(b"\r\n")),
        (b"x\ty\r\nout", b"x\ty\n", b"out"),
        (b"no newline", b"no newline", b""),
        # readline: bracketed paste, wrapping at the last column, both kinds of terminal
        (b"ps x\r\n" + PASTE_OFF + b"PID\r\n" + PASTE_ON, b"ps x\n", b"PID\r\n" + PASTE_ON),
        (PASTE_ON + b"ps\r\n" + PASTE_OFF + b"PID\r\n", b"ps\n", b"PID\r\n"),
        (b"echo aa \rbb\r\n" + PASTE_OFF + b"aabb\r\n", b"echo aabb\n", b"aabb\r\n"),
        (b"echo aaaa\rbbbb\r\nout", b"echo aaaabbbb\n", b"out"),
        (b"echo a  \rb\r\nout", b"echo a b\n", b"out"),
        (b"e\x1b[Kcho\x1b[1m hi\r\nhi\r\n", b"echo hi\n", b"hi\r\n"),
        (b"\x1b]0;title\x07ls\r\nout", b"ls\n", b"out"),
        # nothing of it there, or only some
        (b"answer\r\n", b"question\n", b"answer\r\n"),
        (b"", b"ls\n", b""),
        (b"l", b"ls\n", b"l"),
        (b"lsof\r\n", b"ls\n", b"lsof\r\n"),
        (b"ls is a command\r\n", b"ls\n", b"ls is a command\r\n"),
        (b"a\r\nout of a\r\n$ b\r\nout of b\r\n", b"a\nb\n", b"out of a\r\n$ b\r\nout of b\r\n"),
        (PASTE_ON + b"$ ", b"ls\n", PASTE_ON + b"$ "),
        (b" indented answer\r\n", b"\n", b" indented answer\r\n"),
        (b"answer", b"", b"answer"),
        # an echoed empty line
        (b"\r\nout", b"\n", b"out"),
        # the answer repeats the question
        (b"hello\r\nhello\r\n", b"hello\n", b"hello\r\n"),
    ],
)  # fmt: skip
def test_only_the_echo_goes(reply: bytes, typed: bytes, left: bytes) -> None:
    assert echo.drop(reply, typed) == left


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_what_is_left_is_an_end_of_the_reply(reply: bytes, typed: bytes) -> None:
    assert reply.endswith(echo.drop(reply, typed))


@given(st.text(alphabet="abc -/$'\"", min_size=1, max_size=60), st.binary(max_size=100))
def test_a_plain_echo_goes_whole_and_nothing_more(line: str, answer: bytes) -> None:
    if answer.startswith(b"\x1b"):
        answer = b"." + answer
    typed = line.encode() + b"\n"
    assert echo.drop(line.encode() + b"\r\n" + answer, typed) == answer


def test_a_long_hostile_reply_takes_no_long_time() -> None:
    reply = b"\x1b[0m" * 200_000 + b" \r" * 100_000
    assert echo.drop(reply, b"x" * 1000 + b"\n") == reply
