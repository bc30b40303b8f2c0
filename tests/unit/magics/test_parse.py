"""A line's words, options and command."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfnz_notebook._calls.run.values import ports
from tfnz_notebook._calls.spec import from_here
from tfnz_notebook.errors import Misuse
from tfnz_notebook.magics.parse import Parser, uncommented, words
from tfnz_notebook.magics.registered import MAGICS


def parser(*, trailing: bool = False) -> Parser:
    made = Parser("tf_test", "Test.", command=True, trailing=trailing)
    made.add("container", metavar="CONTAINER")
    made.add("-d", "--detach", action="store_true")
    made.add("-t", "--tty", action="store_true")
    made.add("-e", "--env", action="append", default=[])
    made.add("--timeout", type=float)
    made.add("--columns")
    return made


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a b", ["a", "b"]),
        ("  a\t b  ", ["a", "b"]),
        ("'a b' \"c d\"", ["a b", "c d"]),
        ("a\\ b", ["a b"]),
        ("x'y z'w", ["xy zw"]),
        ('"a\\"b\\n"', ['a"b\\n']),
        ("''", [""]),
        ("", []),
        ("'open", ["open"]),
        ("end\\", ["end"]),
    ],
)
def test_words_are_a_shells(line: str, expected: list[str]) -> None:
    assert [word.text for word in words(line)] == expected


@given(st.text(max_size=60))
def test_words_cover_any_line(line: str) -> None:
    place = 0
    for word in words(line):
        assert place <= word.start < word.end <= len(line)
        assert not line[place : word.start].strip()
        place = word.end
    assert not line[place:].strip()


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("web ps faxu | head", "ps faxu | head"),
        ("-d web echo 'it''s'  \"two  blanks\"", "echo 'it''s'  \"two  blanks\""),
        ("-dt -e A=1 --timeout 2 web echo $HOME; exit 3", "echo $HOME; exit 3"),
        ("--timeout=2 web x -d --not-ours", "x -d --not-ours"),
        ("-- web echo it's", "echo it's"),
        ("-eA=1 web x", "x"),
        ("web", ""),
    ],
)
def test_the_command_is_as_typed(line: str, command: str) -> None:
    asked = parser().read(line)
    assert asked is not None
    assert (asked.container, asked.command) == ("web", command)


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("nginx   # a card", "nginx   "),
        ("# all of it", ""),
        ("box echo 'a # b' # c", "box echo 'a # b' "),
        ('box echo "a # b"', 'box echo "a # b"'),
        ("box echo e#f $# ${#x}", "box echo e#f $# ${#x}"),
        (r"box echo \# a", r"box echo \# a"),
        ("box echo 'a # b", "box echo 'a # b"),
    ],
)
def test_a_comment_begins_as_in_a_shell(line: str, left: str) -> None:
    assert uncommented(line) == left


def test_no_magic_takes_a_comment_for_its_own() -> None:
    asked = parser(trailing=True).read("-d box echo a b --columns us  # --timeout 3 'not this")
    assert asked is not None
    assert (asked.command, asked.columns, asked.timeout) == ("echo a b", "us", None)


def test_options_are_those_before_the_container() -> None:
    asked = parser().read("-dt -e A=1 -eB=2 --timeout 2.5 web x -t")
    assert asked is not None
    assert (asked.detach, asked.tty, asked.env, asked.timeout) == (True, True, ["A=1", "B=2"], 2.5)


@pytest.mark.parametrize(
    ("line", "command", "columns"),
    [
        ("web vmstat 1 --columns us,sy", "vmstat 1", "us,sy"),
        ("web vmstat 1 --columns=us", "vmstat 1", "us"),
        ("--columns us web vmstat 1", "vmstat 1", "us"),
        ("web --columns us vmstat 1", "vmstat 1", "us"),
        ("web --columns us", "", "us"),
        ("web tool --columns us file", "tool --columns us file", None),  # not all that follows
        ("web tool --columns", "tool --columns", None),
        ("web vmstat 1 --timeout 3 --columns us", "vmstat 1", "us"),
    ],
)
def test_options_may_follow_where_a_magic_says_so(
    line: str, command: str, columns: str | None
) -> None:
    asked = parser(trailing=True).read(line)
    assert asked is not None
    assert (asked.command, asked.columns) == (command, columns)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "CONTAINER"),
        ("--timeout x web y", "invalid float"),
        ("--nosuch web y", "nosuch"),
        ("--timeout", "expected one argument"),
        ("web --timeout 1 sleep 5", "--timeout begins no command, and options stand before"),
        ("web -d 'sleep 5'", "-d begins no command"),
        ("--det web", "--det"),  # no abbreviations: they would break with the next option
    ],
)
def test_what_is_wrong_is_misuse_and_names_the_way_to_write_it(line: str, says: str) -> None:
    with pytest.raises(Misuse, match=r"^Cannot run %tf_test: .*CONTAINER.*%tf_test\?") as caught:
        parser().read(line)
    assert says in str(caught.value)


def test_an_open_quotation_is_said_where_there_is_no_shell_to_say_it() -> None:
    plain = Parser("tf_plain", "Test.")
    plain.add("a")
    with pytest.raises(Misuse, match="quotation"):
        plain.read("'open")


def test_help_is_for_reading() -> None:
    assert parser().read("--help") is None
    assert "[command ...]" in parser().format_help().partition("\n\n")[0]


@pytest.mark.parametrize("magic", MAGICS, ids=lambda magic: magic.name)
def test_each_magic_has_help_and_takes_nonsense_calmly(magic: object) -> None:
    own: Parser = magic.parser  # type: ignore[attr-defined]
    assert f"%{own.magic}" in own.format_help()
    with pytest.raises(Misuse):
        own.read("--nonsense")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", (None, None, 80)),
        ("8080:80", (None, 8080, 80)),
        ("0.0.0.0:8080:80/tcp", ("0.0.0.0", 8080, 80)),
        ("[::1]:8080:80", ("::1", 8080, 80)),
        ("127.0.0.1::80", ("127.0.0.1", None, 80)),
    ],
)
def test_ports_as_docker_writes_them(text: str, expected: object) -> None:
    assert ports("publish", text) == [expected]


def test_a_range_of_ports() -> None:
    assert ports("publish", ["80-81", "90-91:70-71"]) == [
        (None, None, 80),
        (None, None, 81),
        (None, 90, 70),
        (None, 91, 71),
    ]


@pytest.mark.parametrize("text", ["", "x", "0", "70000", "80:x", "80/udp", "1:2:3:4x", "90-80"])
def test_ports_that_are_none(text: str) -> None:
    with pytest.raises(Misuse, match="publish"):
        ports("publish", text)


def test_variables_as_docker_takes_them() -> None:
    assert from_here(["A=1=2", "B", "C=", "NOT"], {"B": "b"}) == {"A": "1=2", "B": "b", "C": ""}
    with pytest.raises(Misuse, match="no name"):
        from_here(["=x"], {})
