"""A terminal without a page shows what xterm.js does, cell by cell.

``tests/vectors/screens.json`` has what real programs wrote into a terminal (vim, htop, less, top,
a progress bar, ls, CJK and emoji, 200 columns, narrow ones), and what xterm.js shows of it, which
``_frontend/test/shell/screens.test.ts`` holds the pages to, and records with ``RECORD=1 node
test.mjs screens`` in ``_frontend``.
"""

from __future__ import annotations

import base64
import re
from itertools import zip_longest
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from unit.widgets.test_ansi import as_told
from vectors import SCREENS

from tfnz_notebook._base import widths
from tfnz_notebook.widgets.saved import screen

ROOT = Path(__file__).resolve().parents[3]


def cells(row: list[list[Any]] | None) -> list[tuple[str, Any]]:
    return [(character, style) for text, style in row or [] for character in text]


def test_every_cell_of_every_program(subtests: Any) -> None:
    for each in SCREENS:
        with subtests.test(each["name"]):
            output = base64.b64decode(each["output"])
            found = screen.draw(output, each["rows"], each["columns"])
            told = [[as_told(span) for span in line] for line in found.lines]
            differ = [
                (y, x, ours, theirs)
                for y, rows in enumerate(zip_longest(told, each["screen"]))
                for x, (ours, theirs) in enumerate(zip_longest(*map(cells, rows)))
                if ours != theirs
            ]
            assert not differ


def test_characters_are_as_wide_as_in_pages() -> None:
    source = (ROOT / "tfnz_notebook/_frontend/src/text/widths.ts").read_text()
    for name in ("ZERO", "WIDE"):
        found = re.search(rf"const {name} = `(.*?)`", source, re.DOTALL)
        assert found and found[1].split() == getattr(widths, name).split()


def text(data: bytes, rows: int = 4, columns: int = 10) -> list[str]:
    found = screen.draw(data, rows, columns)
    return ["".join(span.text for span in line) for line in found.lines]


def test_a_screen_and_what_scrolled_off_it() -> None:
    assert text(b"".join(b"%d\r\n" % n for n in range(9)), rows=3) == [*map(str, range(9))]


def test_the_alternate_screen_comes_and_goes() -> None:
    vim = b"$ vim\r\n\x1b[?1049h\x1b[2J\x1b[Hinside vim"
    assert text(vim, columns=20) == ["inside vim"]
    assert text(vim + b"\x1b[?1049l$ done", columns=20) == ["$ vim", "$ done"]


def test_absurd_sizes_are_bounded() -> None:
    for size in (0, 10**9):
        assert "".join(text(b"x", size, size)).strip() == "x"


def test_rows_that_were_in_use() -> None:
    """A view grows with them, and keeps its height."""
    used = {
        b"": 0,
        b"a\r\nb\r\n": 2,
        b"a\r\nb\r\n\x1b[H\x1b[2J": 2,
        b"\n" * 5: 4,
        b"\x1b[?1049h": 4,
    }
    for data, rows in used.items():
        assert screen.draw(data, 4, 10).used == rows, data


def test_a_log_that_begins_in_the_middle() -> None:
    assert screen.beginning(b"1;31mrest\nwhole\n") == b"whole\n"
    assert screen.beginning(b"9m rest\x1b[Hpicture") == b"\x1b[Hpicture"
    picture = b"\x1b[Hpicture" * 4096
    assert screen.beginning(b"rest" + picture + b"\n") == picture + b"\n"
    assert screen.beginning(b"\x84" * 18000 + b"a") == b"a"
    assert screen.beginning(b"rest") == b""


def test_hardly_anything_is_drawn_for_a_repeat_of_billions() -> None:
    assert len(text(b"x\x1b[999999999b")) <= 1004


def test_what_xterm_would_stumble_over_is_not_done() -> None:
    assert text(b"one\x1b[4;10Hx\x1b[1J\r\x1b[1Aon") == ["one", "", "on", "         x"]
    assert text(b"one\x1b[4;8Hx\x1b[1J\r\x1b[1Aon") == ["", "", "on"]


def test_what_xterm_drops_is_dropped() -> None:
    assert text("\ufeffbo\ufeffm".encode() + b"\xff\xc3!") == ["bom!"]


@given(st.binary(max_size=300))
def test_no_output_breaks_a_screen(data: bytes) -> None:
    for each in (data, re.sub(rb"[\x80-\xff]", b"\x1b[", data)):
        assert not any(ord(character) < 32 for line in text(each, 3, 7) for character in line)
