"""The output view alone in a browser: what is read, copied, found and done in it."""

import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from integration import polling
from playwright.sync_api import BrowserContext, Page, Route

from browser.chromium import Watch

PAGE = Path(__file__).with_name("output_page.html")
#: The clipboard is for secure pages only.
ADDRESS = "https://tfnz.test/"
FROM_END = "e => Math.round(e.scrollHeight - e.scrollTop - e.clientHeight)"


class View:
    """The view in its page, and the process behind it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.lines = page.locator(".tfnz-lines")
        self.scroller = page.locator(".tfnz-scroll")
        self.status = page.locator(".tfnz-status")

    def show(self, **options: object) -> "View":
        self.page.evaluate("options => { window.done = show(options) }", options)
        return self

    def write(self, text: str, stream: int = 1) -> None:
        self.page.evaluate("([text, stream]) => write(text, stream)", [text, stream])

    def text(self) -> str:
        return str(self.lines.evaluate("e => e.textContent"))

    def wait(self, what: str) -> None:
        polling.until(lambda: what in self.text(), 15, f"{what!r} in {self.text()[-300:]!r}")

    def wait_status(self, what: str) -> None:
        polling.until(lambda: re.search(what, self.says()), 15, f"{what!r} in {self.says()!r}")

    def says(self) -> str:
        return " ".join(self.status.inner_text().split())

    def heads(self, kind: str) -> list[dict[str, Any]]:
        return list(self.page.evaluate("kind => heads.filter(h => h.t === kind)", kind))

    def frames(self, count: int = 2) -> None:
        """So many animation frames later."""
        self.page.evaluate(
            """async count => {
              for (let i = 0; i < count; i++) await new Promise(requestAnimationFrame);
            }""",
            count,
        )

    def settled(self) -> None:
        """Nothing that was written waits to be drawn: all credit has been given."""
        last = -1
        for _ in range(100):
            now = len(self.heads("credit"))
            if now == last:
                return
            last = now
            self.page.evaluate("() => new Promise(done => setTimeout(done, 250))")
        raise AssertionError("it never settles")


@pytest.fixture
def view(browser: BrowserContext) -> Iterator[View]:
    """A page in which no view is shown yet."""
    code = (resources.files("tfnz_notebook.widgets") / "static" / "output.js").read_text("utf-8")

    def serve(route: Route) -> None:
        if route.request.url.endswith(".js"):
            route.fulfill(body=code, content_type="text/javascript")
        else:
            route.fulfill(body=PAGE.read_text("utf-8"), content_type="text/html")

    browser.route(f"{ADDRESS}**", serve)
    page = browser.new_page()
    watch = Watch(page)
    page.set_viewport_size({"width": 900, "height": 700})
    page.goto(ADDRESS)
    page.wait_for_function("window.ready")
    yield View(page)
    page.close()
    browser.unroute(f"{ADDRESS}**")
    assert watch.errors == []


def test_the_frame_is_there_before_anything_is_known(view: View) -> None:
    took = view.page.evaluate(
        """async () => {
          const began = performance.now();
          show();
          await new Promise(requestAnimationFrame);
          return performance.now() - began;
        }"""
    )
    assert took < 300
    assert view.status.is_visible()
    view.wait_status("running demo")


def test_what_is_marked_is_copied_as_it_was_written(view: View) -> None:
    view.show()
    text = "".join(f"line {n}\twith a tab\n" for n in range(250)) + "\n\nthe end\n"
    view.write(text)
    view.write("\x1b[31mred\x1b[m and plain\n")
    view.wait("red and plain")
    view.lines.evaluate("e => getSelection().selectAllChildren(e)")
    view.page.keyboard.press("Control+c")
    copied = view.page.evaluate("navigator.clipboard.readText()")
    assert copied.rstrip("\n") == text + "red and plain"


def test_the_browsers_search_finds_it_and_is_not_pulled_back(view: View) -> None:
    view.show()
    view.write("".join(f"line {n}\n" for n in range(300)) + "needle\n")
    view.write("".join(f"line {n}\n" for n in range(300, 600)))
    view.wait("line 599")
    view.settled()
    assert view.scroller.evaluate(FROM_END) <= 4
    assert view.page.evaluate("window.find('needle')")
    # What its search box does with what it found; find() only marks it.
    view.scroller.evaluate(
        "e => { e.scrollTop += getSelection().getRangeAt(0).getBoundingClientRect().top - 100 }"
    )
    view.page.get_by_role("button", name="Follow").wait_for()
    top = view.scroller.evaluate("e => e.scrollTop")
    view.write("more\n")
    view.wait("more")
    view.frames()
    assert view.scroller.evaluate("e => e.scrollTop") == top > 0


def test_a_reader_who_scrolled_up_keeps_what_is_read_whatever_comes(view: View) -> None:
    view.show()
    view.write("".join(f"line {n}\n" for n in range(1000)))
    view.wait("line 999")
    view.settled()
    view.scroller.hover()
    view.page.mouse.wheel(0, -3000)
    follow = view.page.get_by_role("button", name="Follow")
    follow.wait_for()
    top = view.scroller.evaluate("e => e.scrollTop")
    for n in range(9):  # to just above what it keeps, each part drawn before the next one comes
        view.write(f"flood {n} {'x' * 60}\n" * 500)
        view.wait(f"flood {n} ")
    for n in range(9, 20):
        view.write(f"flood {n} {'x' * 60}\n" * 2000)
    view.frames(10)
    assert view.scroller.evaluate("e => e.scrollTop") == top
    assert "line 0\n" in view.text()
    assert "flood 19" not in view.text(), "it asks for no more than it can keep"
    follow.click()
    view.wait("flood 19")
    view.settled()
    assert view.scroller.evaluate(FROM_END) <= 4
    assert re.search(r"[\d.]+ [KM]iB above: process.log\(\)", view.page.inner_text(".tfnz-above"))
    assert re.search(r"[\d.]+ [KM]iB not shown here: process.log\(\)", view.text())
    assert follow.is_hidden()


def test_out_of_sight_it_asks_for_nothing_and_catches_up_after(view: View) -> None:
    view.page.evaluate("() => { document.body.style.height = '9000px' }")
    view.show()
    view.write("before\n")
    view.wait("before")
    view.settled()
    view.page.evaluate("scrollTo(0, 5000)")
    last = 0

    def unseen() -> bool:
        nonlocal last
        last += 1
        view.write(f"unseen {last}\n")
        view.frames(4)
        return f"unseen {last}" not in view.text()

    polling.until(unseen, 15, "it stops drawing")
    before = len(view.heads("credit"))
    for n in range(10):
        view.write(f"{n} " * 100_000)
    view.frames(10)
    assert len(view.heads("credit")) == before
    view.write("\nthe latest\n")
    view.page.evaluate("scrollTo(0, 0)")
    view.wait("the latest")


def test_its_height_grows_to_its_bound_and_never_shrinks(view: View) -> None:
    view.show(rows=10)
    box = view.page.locator(".tfnz-output")
    heights = [box.evaluate("e => e.offsetHeight")]
    for n in range(30):
        view.write(f"line {n}\n")
        view.wait(f"line {n}\n")
        view.frames(1)
        heights.append(box.evaluate("e => e.offsetHeight"))
    assert heights == sorted(heights)
    assert len(set(heights[12:])) == 1, "it scrolls from its tenth line on"
    view.write("y\n" * 200_000)
    view.page.locator(".tfnz-above").wait_for()
    assert box.evaluate("e => e.offsetHeight") == heights[-1], "nor does what is above move it"


@pytest.mark.parametrize(
    ("code", "more", "words", "state"),
    [
        (0, {}, "exit 0", "ok"),
        (3, {}, "exit 3", "bad"),
        (-15, {}, r"killed by SIGTERM \(15\)", "bad"),
        (-9, {"timed_out": True}, "timed out", "bad"),
        (-9, {"oom": True}, "out of memory", "bad"),
    ],
)
def test_how_it_ended_in_words(
    view: View, code: int, more: dict[str, object], words: str, state: str
) -> None:
    view.show()
    view.write("last words, no newline")
    view.page.evaluate("([code, more]) => end(code, more)", [code, more])
    view.wait_status(f"^{words} demo 3.25 s · 22 B$")
    assert view.status.get_attribute("data-state") == state
    view.wait("last words, no newline")
    assert view.page.get_by_role("button").filter(visible=True).count() == 0


def test_stop_kill_and_a_line_for_stdin(view: View) -> None:
    view.show()
    view.wait_status("running")
    view.page.get_by_role("button", name="Stop").click()
    view.page.get_by_role("button", name="Kill").click()
    assert [(h["signal"], h["tree"]) for h in view.heads("signal")] == [
        ("TERM", True),
        ("KILL", True),
    ]
    line = view.page.get_by_role("textbox")
    assert not line.is_visible()
    view.page.get_by_role("button", name="line for stdin").click()
    assert line.evaluate("e => e === document.activeElement")
    heard = "() => { window.heard = 0; document.addEventListener('keydown', () => heard++) }"
    view.page.evaluate(heard)
    view.page.keyboard.type("ä b")
    view.page.keyboard.press("Enter")
    view.page.keyboard.press("ArrowUp")
    assert line.input_value() == "ä b"
    view.page.get_by_role("button", name="Send").click()
    view.page.get_by_role("button", name="EOF").click()
    polling.until(lambda: view.heads("eof"), 5, "its end")
    assert [h["text"] for h in view.heads("stdin")] == ["ä b\n", "ä b\n"]
    assert view.page.evaluate("heard") == 0, "the notebook hears no key"
    assert line.is_disabled()


def test_a_dead_kernel_and_a_lost_process_are_told(view: View) -> None:
    view.show()
    view.write("kept\n")
    view.wait("kept")
    view.page.evaluate("die()")
    view.wait_status(r"not connected demo .*%tf_attach")
    assert view.page.get_by_role("button", name="Stop").is_disabled()
    assert view.text() == "kept\n"


def test_gone_and_errors_are_told(view: View) -> None:
    view.show()
    view.wait_status("running")
    tell = "head => say({...head, view: [...views.keys()][0]})"
    view.page.evaluate(tell, {"t": "error", "doing": "signal", "text": "Cannot signal: <b>no</b>."})
    view.wait_status("Cannot signal: <b>no</b>")
    view.page.evaluate(tell, {"t": "closed", "reason": "gone", "text": "It was destroyed."})
    view.wait_status("^gone .*It was destroyed")


def test_the_static_twin_is_hidden_while_the_view_is_there(view: View) -> None:
    twin = view.page.get_by_text("the static twin")
    assert twin.is_visible()
    view.show(key="k1")
    polling.until(lambda: not twin.is_visible(), 5, "hidden")
    view.page.evaluate("done()")
    assert twin.is_visible()
    assert view.page.locator(".tfnz-output").count() == 0
    polling.until(lambda: view.heads("close"), 5, "it says so")


#: At each frame: how high the cell's outputs are, of which the twin is one; a copy of the notebook
#: is open beside it.
LOOK = """
() => {
  const [twin, cells] = document.querySelectorAll('.tfnz-static-k1, #cells');
  const area = document.createElement('div');
  twin.before(area);
  area.append(cells, twin);
  for (const each of [cells, twin]) {
    const child = area.appendChild(document.createElement('div'));
    child.className = 'jp-OutputArea-child';
    child.append(each);
  }
  const copy = document.body.appendChild(document.createElement('div'));
  copy.append(document.createElement('div'), area.lastChild.cloneNode(true));
  window.heights = new Set();
  const look = () => { heights.add(area.offsetHeight); requestAnimationFrame(look); };
  look();
}
"""


def test_nothing_jumps_when_it_takes_its_twins_place(view: View) -> None:
    view.page.evaluate(LOOK)
    view.write("one\ntwo\n")
    view.write("bad\n", 2)
    twin, copy = view.page.get_by_text("the static twin").all()
    view.show(key="k1")
    polling.until(lambda: not twin.is_visible(), 5, "hidden")
    assert copy.is_visible(), "the copy has no view"
    assert "one" in view.text() and "bad" in view.text()
    view.frames()
    assert view.page.evaluate("heights.size") == 2, "the twin's height, and the view's"


def test_light_and_dark_while_it_is_shown(view: View) -> None:
    view.show()
    view.write("\x1b[34mblue\x1b[m\n")
    view.wait("blue")
    colour = "e => getComputedStyle(e).color"
    blue = view.page.get_by_text("blue")
    light = blue.evaluate(colour)
    view.page.evaluate("() => document.body.setAttribute('data-jp-theme-light', 'false')")
    polling.until(lambda: blue.evaluate(colour) != light, 5, "another blue")


def test_ten_megabytes_without_a_line_do_not_freeze_the_page(view: View) -> None:
    view.show()
    view.page.evaluate(
        """() => {
          window.worst = 0;
          let last = performance.now();
          const tick = now => {
            window.worst = Math.max(window.worst, now - last);
            last = now;
            requestAnimationFrame(tick);
          };
          requestAnimationFrame(tick);
          const piece = new Uint8Array(1 << 20).fill(120);
          let left = 10;
          const more = () => { if (left-- > 0) { write(piece); setTimeout(more, 30); } };
          more();
        }"""
    )
    polling.until(lambda: "10 MiB" in view.says(), 60, "all of it")
    view.settled()
    assert view.page.evaluate("worst") < 1500
    assert len(view.text()) < 1_100_000
    view.write("\nafter\n")
    view.wait("after")
