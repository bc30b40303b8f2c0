"""What stays of output: safe, small, in the order in which it came."""

import html.parser
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vectors import STILLS, stills

from tfnz_notebook.widgets.saved import frozen
from tfnz_notebook.widgets.saved.ansi import PLAIN, Style
from tfnz_notebook.widgets.status import Status

HOSTILE = (
    b"<script>alert(1)</script>\n<img src=x onerror=alert(1)>\n</pre></div><b>out</b>\n"
    b"<a href='data:text/html,x'>x</a> javascript:alert(1) &lt;\n\x1b]8;;https://evil.example\x07link"
    b'\x1b]8;;\x07 \x1b]52;c;aGVsbG8=\x07"\' style="x"\n$(formula)$ \\(more\\)\n'
)


class Tags(html.parser.HTMLParser):
    """What a browser would make of it."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.text = ""
        self.feed(markup)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(data: bytes, **more: object) -> Tags:
    found = Tags(frozen.markup(frozen.rows([(1, data)]), **more))  # type: ignore[arg-type]
    assert not found.open
    return found


def test_hostile_output_is_text() -> None:
    status = Status("bad", "<b>", "<i>")
    found = parsed(HOSTILE, status=status, title="<script>$x$</script>\u202e")
    assert found.tags <= {"div", "pre", "span"} and found.attributes <= {"class", "style"}
    assert "<script>alert(1)</script>" in found.text and "<b>" in found.text
    assert "evil.example" not in found.text and "aGVsbG8" not in found.text
    assert "<U+202E>" in found.text


@given(st.binary(max_size=200))
def test_nothing_gets_out_of_the_text(data: bytes) -> None:
    found = parsed(b"\x1b[1;31m" + data)
    assert found.tags <= {"div", "pre", "span"} and found.attributes <= {"class", "style"}


def test_output_is_in_elements_that_math_leaves_alone() -> None:
    markup = frozen.markup(frozen.rows([(1, b"echo $HOME $PATH\n")]))
    assert re.search(r"<pre[^>]*>echo \$HOME \$PATH\n</pre>", markup)


def test_stderr_is_told_apart_and_in_order() -> None:
    rows = frozen.rows([(1, b"a\nb"), (2, b"oops\n"), (1, b"c\n"), (2, b"end")])
    said = [("".join(s.text for s in row.spans), row.stderr) for row in rows]
    assert said == [("a", False), ("oops", True), ("bc", False), ("end", True)]
    markup = frozen.markup(rows)
    assert len(re.findall(rf"<span [^>]*{re.escape(frozen.BAD)}[^>]*>oops\n</span>bc", markup)) == 1


def test_weaving() -> None:
    streams = {1: (0, b"aabbcc"), 2: (0, b"XXYY")}
    order = [(1, 0), (2, 0), (1, 2), (2, 2), (1, 4)]
    assert frozen.weave(streams, order) == [
        (1, b"aa"),
        (2, b"XX"),
        (1, b"bb"),
        (2, b"YY"),
        (1, b"cc"),
    ]


def test_weaving_the_end_of_what_was_written() -> None:
    streams = {1: (3, b"bcc"), 2: (2, b"YY")}
    order = [(1, 0), (2, 0), (1, 2), (2, 2), (1, 4)]
    assert frozen.weave(streams, order) == [(1, b"b"), (2, b"YY"), (1, b"cc")]


def test_weaving_without_an_order() -> None:
    assert frozen.weave({1: (0, b"a"), 2: (0, b"b")}, []) == [(1, b"a"), (2, b"b")]
    assert frozen.weave({1: (0, b"ab"), 2: (0, b"X")}, [(2, 0), (1, 1)]) == [
        (1, b"a"),
        (2, b"X"),
        (1, b"b"),
    ]


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(min_size=1, max_size=3))), st.data())
def test_weaving_gives_back_what_came(
    written: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    whole = {1: b"", 2: b""}
    order: list[tuple[int, int]] = []
    joined: list[tuple[int, bytes]] = []
    for stream, piece in written:
        if not order or order[-1][0] != stream:
            order.append((stream, len(whole[stream])))
            joined.append((stream, b""))
        joined[-1] = (stream, joined[-1][1] + piece)
        whole[stream] += piece
    streams = {stream: (0, text) for stream, text in whole.items()}
    assert frozen.weave(streams, order) == joined
    known = order[data.draw(st.integers(0, len(order))) :]  # the first ones were forgotten
    for stream, text in whole.items():
        pieces = frozen.weave(streams, known)
        assert b"".join(piece for n, piece in pieces if n == stream) == text


def test_a_cell_stays_small() -> None:
    worst = b"".join(b"\x1b[38;2;1;2;%dm<\x1b[m&" % (n % 256) for n in range(20_000))
    lines = b"\n".join(worst[at : at + 900] for at in range(0, len(worst), 900))
    alternating = [(1 + n % 2, b"line %d\n" % n) for n in range(5000)]
    single = [b"y\n" * 100_000, worst, lines, b"<>&" * 100_000, "漢\n".encode() * 10_000]
    for pieces in (alternating, *([(2, data[-frozen.TAIL :])] for data in single)):
        rows = frozen.rows(pieces)
        markup, text = frozen.markup(rows, 12_300_000), frozen.plain(rows, 12_300_000)
        assert len(markup.encode()) + len(text.encode()) < 80_000, pieces[0]
        assert len(markup.encode()) > 2_500
        assert "MiB above: process.log() has all of it" in markup
        assert "MiB above: process.log() has all of it" in text


def test_what_the_log_dropped_is_said() -> None:
    rows = frozen.rows([(1, b"the last\n")])
    for found in (
        frozen.plain(rows, 12_300_000, gone=3_100_000),
        frozen.markup(rows, 12_300_000, gone=3_100_000),
    ):
        said = "11.7 MiB above, the first 2.96 MiB of it dropped: process.log() has the rest"
        assert said in found


def test_all_of_a_short_output_is_there() -> None:
    rows = frozen.rows([(1, b"one\n\ntwo\n")])
    assert frozen.plain(rows, 0, "exit 0") == "one\n\ntwo\n[exit 0]"
    markup = frozen.markup(rows)
    assert ">one\n\ntwo\n</pre>" in markup and "above" not in markup


def test_no_output_is_a_status_line_alone() -> None:
    markup = frozen.markup([], status=Status("ok", "exit 0", "3 ms · 0 B"), title="true")
    assert "<pre" not in markup and "exit 0" in markup


@pytest.mark.parametrize(
    ("style", "css"),
    [
        (PLAIN, ""),
        (Style(fg=1), f"color:{frozen.PALETTE[1]}"),
        (Style(fg=0), f"color:{frozen.PALETTE[0]}"),
        (Style(fg=0, bg=2), f"color:{frozen.FIXED[0]};background:{frozen.FIXED[2]}"),
        (Style(fg=16), "color:#000000"),
        (Style(fg=231), "color:#ffffff"),
        (Style(fg=110), "color:#87afd7"),
        (Style(fg=255), "color:#eeeeee"),
        (Style(bg=(1, 2, 255)), "color:#fff;background:#0102ff"),
        (Style(underline=True, strike=True), "text-decoration:underline line-through"),
        (Style(strike=True, bold=True), "font-weight:bold;text-decoration:line-through"),
    ],
)
def test_styles(style: Style, css: str) -> None:
    assert frozen.css(style) == css


def test_inverse_exchanges_the_colours() -> None:
    assert frozen.css(Style(fg=(1, 1, 1), bg=(2, 2, 2), inverse=True)) == (
        "color:#020202;background:#010101"
    )
    assert "var(--jp-layout-color1" in frozen.css(Style(inverse=True))


def test_pages_make_the_same_of_what_they_show() -> None:
    """``still.test.ts`` holds them to these; ``tests/vectors/stills.py`` writes them."""
    assert STILLS["templates"] == frozen.TEMPLATES
    for case in STILLS["cases"]:
        assert stills.still(case) == {name: case[name] for name in ("text", "html")}
