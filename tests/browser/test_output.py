"""A process's output beneath its cell."""

import re

import pytest

from browser.cells import ASLEEP, BUSY, spawn
from browser.conftest import OTHER_WAY, PAIRS, Open
from browser.views import Output

BOX = spawn()


@pytest.mark.places("lab-new-direct", long=(*OTHER_WAY, *PAIRS))
def test_output_streams_while_a_cell_computes_and_survives_a_reload(notebook: Open) -> None:
    page = notebook(
        BOX,
        "p = box.spawn_process('i=0; while sleep 0.2; do echo tick $((i+=1)); done'); p",
        BUSY,
        ASLEEP,
    )
    page.run(0)
    page.run(1)
    view = Output(page, 1).wait()
    view.wait_text("tick 3")
    view.wait_status("running")
    for busy in (2, 3):
        page.start(busy)
        page.until(lambda busy=busy: page.busy(busy), 5, "busy")
        last = int(re.findall(r"tick (\d+)", view.text())[-1])
        view.wait_text(f"tick {last + 10}")
        assert page.busy(busy)
        page.picture(f"busy-{busy}")
        page.interrupt()
        page.until(lambda busy=busy: not page.busy(busy), 10, "interrupted")

    page.save()
    page.reload()
    view = Output(page, 1).wait()
    view.wait_text("tick 1\ntick 2\n")
    last = int(re.findall(r"tick (\d+)", view.text())[-1])
    view.wait_text(f"tick {last + 5}")
    numbers = [int(each) for each in re.findall(r"tick (\d+)", view.text())]
    assert numbers == list(range(1, len(numbers) + 1)), "each line once, in order"
    view.press("stop")
    page.wait_text(1, "SIGTERM", 20)
    page.picture("stopped")


def test_what_it_looks_like(notebook: Open) -> None:
    script = (
        r"printf 'plain \033[31mred\033[m \033[1mbold\033[m \033[38;5;34mgreen\033[m\n';"
        r"echo to stderr >&2; printf 'half a \342'; sleep 0.2; printf '\202\254 sign\n';"
        r"for i in 10 50 100; do printf '\rprogress %3d%%' $i; sleep 0.1; done; echo;"
        r"printf 'bad \377 byte\n'; printf 'a\tb\n'; printf 'abc\b\bX\n'; sleep 300"
    )
    page = notebook(BOX, f"p = box.spawn_process({script!r}); p")
    page.run(0)
    page.run(1)
    view = Output(page, 1).wait()
    view.wait_text("aXc")
    lines = view.text().splitlines()
    assert "plain red bold green" in lines
    assert "to stderr" in lines
    assert "half a € sign" in lines
    assert "progress 100%" in lines and "progress  50%" not in view.text()
    assert "bad \ufffd byte" in lines

    def look(text: str, what: str) -> str:
        found = view.body.get_by_text(text, exact=True).last
        return str(found.evaluate(f"e => getComputedStyle(e).{what}"))

    assert look("red", "color") != look("green", "color")
    assert int(look("bold", "fontWeight")) >= 600
    page.picture("light")
    page.dark()
    page.picture("dark")

    # what is marked with the mouse is what is copied
    view.body.get_by_text("to stderr").last.dblclick(position={"x": 60, "y": 8})
    page.page.keyboard.press("Control+c")
    assert page.page.evaluate("navigator.clipboard.readText()").strip() == "stderr"


def test_following_and_scrolling_back(notebook: Open) -> None:
    page = notebook(
        BOX, "p = box.spawn_process('seq 1 300; while sleep 0.1; do echo more $((i+=1)); done'); p"
    )
    page.run(0)
    page.run(1)
    view = Output(page, 1).wait()
    view.wait_text("more 3")
    scroller = view.root.locator(".tfnz-scroll")
    from_end = "e => e.scrollHeight - e.scrollTop - e.clientHeight"
    page.until(lambda: scroller.evaluate(from_end) < 5, 5, "it follows")
    scroller.hover()
    page.page.mouse.wheel(0, -2000)
    page.until(lambda: scroller.evaluate(from_end) > 500, 5, "it stays where it was scrolled to")
    top = scroller.evaluate("e => e.scrollTop")
    last = int(re.findall(r"more (\d+)", view.text())[-1])
    view.wait_text(f"more {last + 5}")
    assert abs(scroller.evaluate("e => e.scrollTop") - top) < 2
    page.picture("paused")
    view.press("follow")
    page.until(lambda: scroller.evaluate(from_end) < 5, 5, "it follows again")


@pytest.mark.places("lab-new-direct", long=["notebook-new-direct"])
def test_a_line_for_stdin(notebook: Open) -> None:
    page = notebook(BOX, "%tf_run -d -i box while read line; do echo got $line; done; echo the end")
    page.run(0)
    page.run(1)
    view = Output(page, 1).wait()
    line = view.root.get_by_role("textbox").first
    line.click()
    page.page.keyboard.type("d d b 0 0")
    page.page.keyboard.press("Enter")
    view.wait_text("got d d b 0 0")
    page.page.keyboard.type("again")
    page.page.keyboard.press("Enter")
    view.wait_text("got again")
    page.picture("typed")
    view.press("end of input|eof|end stdin")
    page.wait_text(1, "the end")
    page.wait_text(1, "exit 0")


def test_much_is_bounded_and_says_what_is_above(notebook: Open) -> None:
    page = notebook(BOX, "p = box.spawn_process('seq 1 3000000; echo; echo the end; sleep 300'); p")
    page.run(0)
    page.run(1)
    view = Output(page, 1).wait()
    view.wait_text("the end", 60)
    assert re.search(r"\d+(\.\d+)? MiB above", view.root.inner_text()), view.root.inner_text()[:300]
    assert "process.log()" in view.root.inner_text()
    numbers = [int(line) for line in view.text().splitlines() if line.isdigit()]
    assert numbers[-1] == 3000000
    assert numbers == list(range(numbers[0], 3000001))
    page.picture("bounded")


#: The longest time from one frame to the next, in ms.
FRAMES = """() => {
  window.worst = 0;
  let last = performance.now();
  const tick = now => {
    if (window.worst === undefined) return;
    window.worst = Math.max(window.worst, now - last);
    last = now;
    requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
}"""


def test_what_is_no_text_does_not_freeze_the_page(notebook: Open) -> None:
    commands = "head -c 10000000 /dev/zero | tr '\\0' x", "head -c 3000000 /dev/urandom"
    shown = [
        f"p = box.spawn_process({command + '; echo; echo the end; sleep 300'!r}); p"
        for command in commands
    ]
    page = notebook(BOX, *shown)
    page.run(0)
    page.tamper(FRAMES, "delete window.worst")
    for number in range(1, len(commands) + 1):
        page.run(number)
        view = Output(page, number).wait()
        view.wait_text("the end", 60)
        page.picture(f"shown-{number}")
    assert page.page.evaluate("window.worst") < 2000


@pytest.mark.places("lab-new-comm", long=["notebook-new-comm"])
def test_twenty_views_and_a_reload_with_eight(notebook: Open) -> None:
    count = 20
    page = notebook(
        BOX,
        "from IPython.display import display\n"
        f"ps = [box.spawn_process(f'while sleep 0.5; do echo view {{n}} $((i+=1)); done')"
        f" for n in range({count})]\n"
        "for p in ps[:8]: display(p)",
        "for p in ps[8:]: display(p)",
    )
    page.run(0)
    page.run(1)
    page.run(2)
    for n in range(8):
        Output(page, 1, n).wait().wait_text(f"view {n} 2")
    last = Output(page, 2, count - 9).wait()
    last.root.scroll_into_view_if_needed()
    last.wait_text(f"view {count - 1} 2")
    page.save()
    page.reload()
    for n in range(8):
        view = Output(page, 1, n).wait()
        view.wait_text(f"view {n} 3")
        assert f"view {n} 1\n" in view.text()
    page.picture("eight")
