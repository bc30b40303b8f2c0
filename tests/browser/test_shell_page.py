"""The terminal's view alone in a browser: what a process may do to it, and how views share one."""

import re
import time
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from integration import polling
from playwright.sync_api import BrowserContext, Page, Position, Route, expect

from browser.chromium import Watch

PAGE = Path(__file__).with_name("shell_page.html")
#: A terminal is as high as what was written in it: its first character.
TOP: Position = {"x": 20, "y": 8}
#: The clipboard is for secure pages only.
ADDRESS = "https://tfnz.test/"

#: What programs ask a terminal: each is answered as if it had been typed.
QUESTIONS = {
    "DA1": "\x1b[c",
    "DA2": "\x1b[>c",
    "status": "\x1b[5n",
    "cursor": "\x1b[6n",
    "cursor, DEC": "\x1b[?6n",
    "mode": "\x1b[?2004$p",
    "mode, ANSI": "\x1b[4$p",
    "colour": "\x1b]4;1;?\x07",
    "foreground": "\x1b]10;?\x07",
    "background": "\x1b]11;?\x1b\\",
    "cursor's colour": "\x1b]12;?\x07",
}
#: What would reach out of it, or put the process's own words into its stdin.
HOSTILE = {
    "title": "\x1b]0;echo owned\x07\x1b]2;echo owned\x07",
    "report title": "\x1b]2;echo owned\x07\x1b[21t",
    "report icon's title": "\x1b[20t",
    "window": "".join(
        f"\x1b[{each}t" for each in ("3;0;0", "4;9;9", "8;9;9", "9;1", *range(11, 20))
    ),
    "clipboard": "\x1b]52;c;ZWNobyBvd25lZA==\x07\x1b]52;c;?\x07",
    "link": "\x1b]8;;javascript:alert(1)\x07click\x1b]8;;\x07",
    "DECRQSS": '\x1bP$q"p\x1b\\\x1bP$qm\x1b\\\x1bP$qr\x1b\\',
    "XTGETTCAP": "\x1bP+q544e\x1b\\",
    "picture": "\x1b]1337;File=inline=1:R0lGODlhAQABAAAAACw=\x07",
    "sixel": "\x1bPq#0;2;0;0;0#0~~@@vv@@~~@@~~$\x1b\\",
    "notice": "\x1b]9;owned\x07\x1b]777;notify;owned;owned\x07",
    "markup": "<img src=x onerror=alert(1)><script>alert(1)</script>",
    "answerback": "\x05",
}


@pytest.fixture
def opened(browser: BrowserContext) -> Iterator[Callable[[], Page]]:
    """Opens pages without any view."""
    code = (resources.files("tfnz_notebook.widgets") / "static" / "shell.js").read_text("utf-8")

    def serve(route: Route) -> None:
        if route.request.url.endswith(".js"):
            route.fulfill(body=code, content_type="text/javascript")
        else:
            route.fulfill(body=PAGE.read_text("utf-8"), content_type="text/html")

    browser.route(f"{ADDRESS}**", serve)
    made: list[tuple[Page, Watch]] = []

    def open_page() -> Page:
        page = browser.new_page()
        made.append((page, Watch(page)))
        page.set_viewport_size({"width": 900, "height": 700})
        page.goto(ADDRESS)
        page.wait_for_function("window.ready")
        return page

    yield open_page
    for page, _ in made:
        page.close()
    browser.unroute(f"{ADDRESS}**")
    assert [error for _, watch in made for error in watch.errors] == []


@pytest.fixture
def page(opened: Callable[[], Page]) -> Page:
    return opened()


def until(ask: Callable[[], object]) -> None:
    polling.until(ask, 15, "what the test waits for")


def show(page: Page, log: str = "", *, start: int = 0, where: str = "one", name: str = "k") -> None:
    """Draw a view of the kernel ``name``, made with this log if it is new."""
    page.evaluate(
        """([log, start, where, name]) => {
          window[name] ??= new Kernel(log, start);
          window[`end_${where}`] = show(where, window[name]);
        }""",
        [log, start, where, name],
    )
    page.wait_for_function(f"{name}.of('open').length > 0")


def write(page: Page, text: str, name: str = "k") -> None:
    page.evaluate(f"text => {name}.write(text)", text)


def rows(page: Page, where: str = "one") -> str:
    found = page.locator(f"#{where} .xterm-rows > div").all_inner_texts()
    return "\n".join(row.replace("\xa0", " ").rstrip() for row in found).rstrip("\n")


def wait_rows(page: Page, what: str, where: str = "one") -> None:
    until(lambda: re.search(what, rows(page, where), re.MULTILINE))


def stdin(page: Page, name: str = "k") -> str:
    return str(page.evaluate(f"{name}.stdin()"))


def of(page: Page, kind: str, name: str = "k") -> list[dict[str, Any]]:
    return list(page.evaluate(f"{name}.of('{kind}')"))


def settled(page: Page, where: str = "one", name: str = "k") -> None:
    """All that was written has been taken in: its terminal has drawn a word of our own."""
    word = f"settled-{time.monotonic_ns()}"
    write(page, f"\x1b[0m\r\n{word}\r\n", name)
    wait_rows(page, word, where)


# --- what it says when it opens ------------------------------------------------------------------


def test_it_opens_with_its_true_size_and_says_when_that_changes(page: Page) -> None:
    show(page, "hello\r\n")
    (head,) = of(page, "open")
    assert (head["mode"], head["rows"]) == ("all", 24)
    wait_rows(page, "hello")
    # as many columns as fit, and the characters fill them
    write(page, "x" * head["columns"] + "|")
    wait_rows(page, r"^\|$")
    page.evaluate("document.getElementById('one').style.width = '400px'")
    until(lambda: of(page, "resize"))
    last = of(page, "resize")[-1]
    assert last["rows"] == 24 and abs(last["columns"] - head["columns"] * 4 / 7) < 6
    grip = page.locator("#one .tfnz-shell-grip")
    grip.focus()
    page.keyboard.press("ArrowDown")
    until(lambda: of(page, "resize")[-1]["rows"] == 25)


def test_a_view_without_room_asks_for_nothing_until_it_has_some(page: Page) -> None:
    page.evaluate("document.getElementById('one').parentElement.style.display = 'none'")
    page.evaluate("window.k = new Kernel('hello'); void show('one', k)")
    page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
    assert of(page, "open") == []
    page.evaluate("document.getElementById('one').parentElement.style.display = ''")
    wait_rows(page, "hello")
    assert of(page, "open")[0]["columns"] > 60


# --- questions, and hostile sequences ------------------------------------------------------------


def test_questions_are_answered_live_and_not_in_a_replay(page: Page) -> None:
    show(page, "".join(QUESTIONS.values()) + "after")
    wait_rows(page, "after")
    settled(page)
    assert stdin(page) == ""
    for name, question in QUESTIONS.items():
        before = len(stdin(page))
        write(page, question)
        until(lambda before=before: len(stdin(page)) > before)
        assert stdin(page)[before:].startswith("\x1b"), name


def test_focus_is_not_reported_for_a_replay_and_is_for_a_change(page: Page) -> None:
    show(page, "\x1b[?1004hready\r\n")
    wait_rows(page, "ready")
    assert stdin(page) == ""
    page.locator("#one .xterm-screen").click(position=TOP)
    until(lambda: stdin(page) == "\x1b[I")
    page.keyboard.press("Control+Alt+Escape")
    until(lambda: stdin(page) == "\x1b[I\x1b[O")


@pytest.mark.parametrize("live", [True, False], ids=["live", "replayed"])
def test_hostile_sequences_do_nothing(page: Page, live: bool) -> None:
    page.evaluate("navigator.clipboard.writeText('mine')")
    title, size = page.title(), page.viewport_size
    show(page, "" if live else "\r\n".join(HOSTILE.values()))
    if live:
        page.locator("#one .xterm-screen").click(position=TOP)
    for name, sequence in HOSTILE.items():
        if live:
            write(page, sequence)
        settled(page)
        assert stdin(page) == "", name
        assert (page.title(), page.viewport_size, page.url) == (title, size, ADDRESS), name
    assert page.evaluate("navigator.clipboard.readText()") == "mine"
    inside = page.locator("#one")
    assert inside.locator("a, img, script, iframe, canvas").count() == 0
    assert "javascript:" not in inside.inner_html()
    assert "echo owned" not in rows(page)
    write(page, f"\x1b[2J\x1b[H{HOSTILE['markup']}")
    wait_rows(page, r"^<img src=x onerror=alert\(1\)><script>")  # as text


def test_a_link_is_text(page: Page) -> None:
    show(page, "\x1b]8;;javascript:alert(1)\x07click me\x1b]8;;\x07\r\n")
    wait_rows(page, "click me")
    page.locator("#one .xterm-screen").hover(position={"x": 20, "y": 8})
    page.locator("#one .xterm-screen").click(position={"x": 20, "y": 8})
    settled(page)
    word = page.locator("#one .xterm-rows span", has_text="click me").first
    assert "underline" not in word.evaluate("e => getComputedStyle(e).textDecorationLine")
    assert word.evaluate("e => getComputedStyle(e).cursor") != "pointer"


def test_an_address_is_a_link_that_a_click_opens(page: Page) -> None:
    page.evaluate("() => { window.open = (...given) => (window.opened ??= []).push(given); }")
    show(page, "see https://example.com/a?b=1, and javascript:alert(1)\r\n")
    wait_rows(page, "example")
    screen = page.locator("#one .xterm-screen")
    screen.hover(position={"x": 100, "y": 8})
    box = page.locator("#one .tfnz-shell-screen")
    until(lambda: box.get_attribute("title") == "https://example.com/a?b=1")
    assert page.evaluate("window.opened") is None
    screen.click(position={"x": 100, "y": 8})
    until(lambda: page.evaluate("window.opened"))
    address, where, how = page.evaluate("window.opened[0]")
    assert (address, where, how) == ("https://example.com/a?b=1", "_blank", "noopener,noreferrer")
    screen.hover(position={"x": 320, "y": 8})
    until(lambda: not box.get_attribute("title"))


# --- replay --------------------------------------------------------------------------------------


def test_a_log_that_begins_in_the_middle_is_shown_from_its_first_line_break(page: Page) -> None:
    log = "漢" + "\x1b[1;31mred and cut\r\n" + "\x1b[mfirst whole line\r\nsecond"
    start = 1  # inside the character
    show(page, log, start=start)
    wait_rows(page, "second")
    assert rows(page).splitlines()[:2] == ["first whole line", "second"]


def test_a_full_screen_program_is_made_to_draw_again_after_a_replay(page: Page) -> None:
    show(page, "\x1b[?1049h\x1b[2J\x1b[Hold picture")
    wait_rows(page, "old picture")
    until(lambda: len(of(page, "resize")) == 2)
    sizes = [each["rows"] for each in of(page, "resize")]
    assert sizes == [23, 24]


def test_a_shell_is_left_alone_after_a_replay(page: Page) -> None:
    show(page, "$ ls\r\na b c\r\n$ ")
    wait_rows(page, r"\$ *$")
    settled(page)
    assert of(page, "resize") == []


# --- keys ----------------------------------------------------------------------------------------


def test_keys_reach_the_process_and_nothing_else(page: Page) -> None:
    page.evaluate(
        """() => {
          window.leaked = [];
          for (const type of ['keydown', 'keypress', 'keyup', 'paste', 'copy']) {
            document.addEventListener(type, event => leaked.push(`${type} ${event.key}`));
          }
        }"""
    )
    show(page)
    page.locator("#one .xterm-screen").click(position=TOP)
    for key in (
        *("a", "Escape", "Control+c", "Control+s", "Shift+Enter", "Tab", "Shift+Tab", "ArrowUp"),
        *("Control+Enter", "Backspace", "Alt+x", "F5"),
    ):
        page.keyboard.press(key)
    page.keyboard.insert_text("é")
    expected = "a\x1b\x03\x13\r\t\x1b[Z\x1b[A\r\x7f\x1bx\x1b[15~é"
    until(lambda: stdin(page) == expected)
    page.evaluate("navigator.clipboard.writeText('one\\ntwo')")
    page.keyboard.press("Control+Shift+V")
    until(lambda: stdin(page) == f"{expected}one\rtwo")
    assert page.evaluate("leaked") == []
    assert page.evaluate("document.activeElement.tagName") == "TEXTAREA"
    assert "leaves the terminal" in page.locator("#one .tfnz-status").inner_text()

    page.keyboard.press("Control+Alt+Escape")
    assert page.evaluate("document.activeElement.className") == "jp-Cell"
    page.keyboard.press("x")
    assert page.evaluate("leaked.length") > 0
    assert stdin(page) == f"{expected}one\rtwo"


def test_what_is_selected_is_copied_and_control_c_is_the_process_s_else(page: Page) -> None:
    """As in JupyterLab's own terminal."""
    show(page, "some words")
    wait_rows(page, "some words")
    copied = "navigator.clipboard.readText()"
    for keys, word, x in (("Control+c", "some", 12), ("Control+Shift+C", "words", 60)):
        page.evaluate("navigator.clipboard.writeText('mine')")
        page.locator("#one .xterm-screen").dblclick(position={"x": x, "y": 8})
        page.keyboard.press(keys)
        until(lambda word=word: page.evaluate(copied) == word)  # type: ignore[misc]
        assert stdin(page) == ""
    page.keyboard.press("Control+c")
    until(lambda: stdin(page) == "\x03")
    page.evaluate("navigator.clipboard.writeText('pasted')")
    page.keyboard.press("Control+v")
    until(lambda: stdin(page) == "\x03pasted")


def test_it_is_found_and_selected(page: Page) -> None:
    show(page, "".join(f"line {n} 漢 word\r\n" for n in range(40)))
    wait_rows(page, "line 39")
    page.locator("#one .xterm-screen").click(position=TOP)
    page.keyboard.press("Control+Shift+F")
    page.keyboard.type("WORD")
    said = page.locator("#one .tfnz-shell-search [role=status]")
    until(lambda: said.inner_text() == "40 of 40")
    page.keyboard.press("Enter")
    until(lambda: said.inner_text() == "39 of 40")
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Shift+Enter")
    until(lambda: said.inner_text() == "1 of 40")
    wait_rows(page, "^line 0 ")
    page.keyboard.press("Escape")
    page.keyboard.type("x")
    until(lambda: stdin(page) == "x")


def test_who_does_not_see_it_has_its_lines_and_hears_what_comes(page: Page) -> None:
    show(page, "first line\r\nsecond line\r\n")
    wait_rows(page, "second line")
    read = page.locator("#one .xterm-accessibility")
    assert not read.count(), "it costs each line, and nobody asked"
    page.keyboard.press("Tab")
    ask = page.get_by_role("button", name="Read the terminal out")
    assert ask.evaluate("e => e.clientWidth") == 1
    page.keyboard.press("Tab")  # the cell is first
    assert ask.evaluate("e => e === document.activeElement && e.clientWidth > 100"), "seen by then"
    page.keyboard.press("Enter")
    expect(page.get_by_role("listitem").filter(has_text="second line")).to_be_visible()
    page.keyboard.press("Tab")
    write(page, "what comes\r\n")
    expect(read.locator("[aria-live=assertive]")).to_contain_text("what comes")
    show(page, where="two", name="other")
    expect(page.locator("#two .xterm-accessibility")).to_be_attached()
    page.get_by_role("button", name="Read the terminal out").first.press("Enter")
    expect(page.locator(".xterm-accessibility")).to_have_count(0)


# --- height --------------------------------------------------------------------------------------


def test_a_finger_scrolls_it_and_brings_the_keyboard(page: Page) -> None:
    show(page, "".join(f"line {number}\r\n" for number in range(100)))
    wait_rows(page, "^line 99$")
    devices = page.context.new_cdp_session(page)
    devices.send("Emulation.setTouchEmulationEnabled", {"enabled": True})

    def finger(*ys: int) -> None:
        """Down at the first, along the others, and away."""
        kinds = ["touchStart", *["touchMove"] * (len(ys) - 1), "touchEnd"]
        for kind, y in zip(kinds, (*ys, None), strict=True):
            points = [] if y is None else [{"x": 200, "y": y}]
            devices.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    finger(100, 130, 200, 250)
    until(lambda: "line 95" not in rows(page))
    assert "line 85" in rows(page)  # no further than the finger went
    finger(250, 220, 100, 50)
    wait_rows(page, "^line 99$")
    finger(200)
    until(lambda: page.evaluate("document.activeElement.tagName") == "TEXTAREA")
    page.keyboard.insert_text("ls")  # as keyboards on screens do, without keys
    until(lambda: stdin(page) == "ls")
    write(page, "\x1b[?1049ha full-screen program")
    wait_rows(page, "a full-screen program")
    finger(250, 220, 190)
    until(lambda: "\x1b[B" in stdin(page))


def test_it_is_as_high_as_what_was_written_and_stays_so(page: Page) -> None:
    show(page, "".join(f"{n}\r\n" for n in range(11)))
    wait_rows(page, "^10$")

    def seen() -> float:
        script = """e => {
          const cell = parseFloat(e.querySelector('.xterm-screen').style.height) / 24;
          return (e.clientHeight - 8) / cell;
        }"""
        return float(page.locator("#one .tfnz-shell-screen").evaluate(script))

    until(lambda: abs(seen() - 11) < 0.1)
    write(page, "\x1b[H\x1b[Jone line")
    wait_rows(page, "^one line$")
    assert abs(seen() - 11) < 0.1
    write(page, "\x1b[20;1Hfurther down")
    until(lambda: abs(seen() - 20) < 0.1)
    write(page, "\x1b[?1049hall of it")
    until(lambda: abs(seen() - 24) < 0.1)
    assert of(page, "resize") == [], "the process has the same terminal all the while"


def test_a_paste_is_bracketed_when_the_program_wants_that(page: Page) -> None:
    show(page)
    write(page, "\x1b[?2004h")
    settled(page)
    page.locator("#one .xterm-screen").click(position=TOP)
    lines = "\n".join(f"line {number}" for number in range(5000))
    page.evaluate("text => navigator.clipboard.writeText(text)", lines)
    page.keyboard.press("Control+Shift+V")
    until(lambda: stdin(page).endswith("\x1b[201~"))
    assert stdin(page) == f"\x1b[200~{lines}\x1b[201~".replace("\n", "\r")


# --- several views -------------------------------------------------------------------------------


def test_of_two_views_the_one_turned_to_sets_the_size_and_answers(page: Page) -> None:
    show(page)
    first = of(page, "open")[0]
    show(page, where="two")
    until(lambda: len(of(page, "open")) == 2)
    second = of(page, "open")[1]
    assert "rows" not in second, "a second view takes no size away"
    write(page, "x" * first["columns"] + "|\r\n")
    wait_rows(page, r"^\|$")
    wait_rows(page, r"^\|$", "two")  # exactly that size, though it has less room
    write(page, "\x1b[c")
    until(lambda: stdin(page))
    settled(page, "two")
    assert [each["view"] for each in of(page, "stdin")] == [first["view"]]

    page.locator("#two .xterm-screen").click(position=TOP)
    until(lambda: of(page, "resize"))
    told = of(page, "resize")[-1]
    assert told["view"] == second["view"] and told["columns"] < first["columns"]
    write(page, "\r\n" + "y" * told["columns"] + "|\r\n")
    wait_rows(page, r"^y+\n\|$")
    write(page, "\x1b[c")
    until(lambda: len(of(page, "stdin")) == 2)
    settled(page)
    assert of(page, "stdin")[1]["view"] == second["view"]

    page.evaluate("end_two()")  # closed: who is left has it
    until(lambda: of(page, "resize")[-1]["view"] == first["view"])
    assert of(page, "resize")[-1]["columns"] == first["columns"]


def test_two_pages_agree_as_two_views_of_a_page_do(opened: Callable[[], Page]) -> None:
    one, two = opened(), opened()
    show(one)
    show(two)
    # Should the second not have heard of the first in time, the first has the last word.
    until(lambda: one.evaluate("k.info.columns") == of(one, "open")[0]["columns"])
    two.bring_to_front()
    two.locator("#one .xterm-screen").click(position=TOP)
    until(lambda: of(two, "resize"))
    write(one, "\x1b[c")
    settled(one)
    assert stdin(one) == ""
    two.close()
    write(one, "\x1b[c")
    until(lambda: stdin(one))


# --- flow and end --------------------------------------------------------------------------------


def test_credit_follows_what_was_taken_in(page: Page) -> None:
    line = "0123456789abcdef" * 4 + "\r\n"
    show(page, line * 40_000)  # 2.6 MB, five times the largest window
    wait_rows(page, "abcdef")
    page.wait_for_function("[...k.views.values()][0].at === k.log.length")
    given = [each["upto"] for each in of(page, "credit")]
    assert given == sorted(given) and given[-1] <= page.evaluate("k.log.length") + 512 * 1024
    write(page, "the end")
    wait_rows(page, "the end")


def test_input_is_over_after_all_output(page: Page) -> None:
    show(page, "bye\r\n")
    wait_rows(page, "bye")
    page.evaluate("k.state({state: 'ended', returncode: 3, ran: 65, out: k.log.length + 6})")
    write(page, "last\r\n")
    wait_rows(page, "^last$")
    page.locator("#one .xterm-screen").click(position=TOP)
    settled(page)
    page.keyboard.type("ls\n")
    settled(page)
    assert stdin(page) == ""
    assert "exit 3" in page.locator("#one .tfnz-status").inner_text()
    assert "exit 3" not in rows(page), "the terminal has what the process wrote"


def test_dark_and_light_are_followed_live(page: Page) -> None:
    show(page, "word")
    wait_rows(page, "word")
    seen = "document.querySelector('#one .xterm-scrollable-element')"
    ground = f"getComputedStyle({seen}).backgroundColor"
    light = page.evaluate(ground)
    page.evaluate("document.body.setAttribute('data-jp-theme-light', 'false')")
    until(lambda: page.evaluate(ground) != light)
    beneath = "getComputedStyle(document.querySelector('.xterm-viewport')).backgroundColor"
    assert page.evaluate(beneath) == "rgba(0, 0, 0, 0)", "its edge shows where pixels are no whole"
    page.evaluate("document.body.setAttribute('data-jp-theme-light', 'true')")
    until(lambda: page.evaluate(ground) == light)
    write(page, "\x1b[2mdim \x1b[31mred\x1b[m")
    words = page.locator(".xterm-dim")
    until(lambda: words.count() == 2)
    inks = words.evaluate_all("all => all.map(e => getComputedStyle(e).webkitTextFillColor)")
    assert all(ink.endswith("/ 0.7)") for ink in inks), f"{inks}: as in outputs, and as it is saved"


def test_hidden_for_a_moment_it_has_the_focus_again_and_takes_it_from_nobody(page: Page) -> None:
    show(page, "word")
    wait_rows(page, "word")
    screen = page.locator("#one .xterm-screen")
    screen.click()
    # As Lab does when its theme changes, with a frame that is late.
    hide = """how => new Promise(done => {
      const cell = document.getElementById('one').parentElement;
      cell.style.display = 'none';
      setTimeout(() => { cell.style.display = ''; done(); }, 100);
      if (how) document.addEventListener('focusout', () => document.getElementById(how).focus());
    })"""
    page.evaluate(hide, "")
    until(lambda: page.evaluate("document.activeElement.tagName") == "TEXTAREA")
    page.keyboard.type("typed")
    until(lambda: stdin(page) == "typed")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<input id=other>')")
    page.evaluate(hide, "other")
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    page.keyboard.type("elsewhere")
    assert page.locator("#other").input_value() == "elsewhere"
    assert stdin(page) == "typed"
