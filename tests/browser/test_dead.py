"""What is left when there is no kernel: a saved notebook, an exported page, an untrusted one."""

import json
from pathlib import Path

import nbformat
import pytest
from nbconvert import HTMLExporter
from playwright.sync_api import BrowserContext

from browser.cells import spawn
from browser.chromium import picture
from browser.conftest import PICTURES, TWO, Open
from browser.notebook_page import NotebookPage
from browser.views import Output, Shell, View

BOX = spawn()
LIMIT = 100_000
ENDED = "p = box.spawn_process('seq 1 20000; echo oops >&2; exit 3'); p"
RUNNING = "q = box.spawn_process('echo still here; sleep 300'); q"
TERMINAL = "t = box.spawn_process('printf \"\\\\033[32mgreen\\\\033[m shell\"', tty=True); t"
PLOT = "r = box.spawn_process('vmstat 1 4'); plot = r.plot(); plot"


def frozen(page: NotebookPage, cell: int) -> None:
    """Until nothing in the cell needs a kernel."""

    def asked() -> bool:
        outputs = page.kept(cell)
        return bool(outputs) and "widget-view" not in json.dumps(outputs)

    page.until(asked, 30, f"cell {cell} is frozen")


@pytest.mark.places("lab-new-comm", long=TWO)
def test_a_saved_notebook_shows_the_last_state_without_its_kernel(
    notebook: Open, browser: BrowserContext
) -> None:
    page = notebook(BOX, ENDED, RUNNING, TERMINAL, PLOT)
    page.run_all()
    page.wait_text(1, "exit 3")
    Output(page, 2).wait().wait_text("still here")
    for cell in (1, 3, 4):
        frozen(page, cell)
    page.picture("before")

    def refreshed() -> bool:
        return "still here" in json.dumps(page.kept(2))

    page.until(refreshed, 30, "the static twin of what runs")
    written = page.save()
    assert "widgets" not in written.metadata
    for cell in written.cells:
        assert len(json.dumps(cell)) < LIMIT
    assert any("image/png" in each.get("data", {}) for each in written.cells[4].outputs)

    # nobody trusts it: another name, no signature, and a kernel that knows nothing of it
    strange = page.server.files / f"untrusted-{page.name}"
    for cell in written.cells:
        cell.metadata.pop("trusted", None)
    written.cells[0].source += "\n# from elsewhere"
    nbformat.write(written, strange)
    page.server.end_sessions(page.name)
    other = NotebookPage(browser, page.server, strange.name, PICTURES / f"dead-{page.server.front}")
    try:
        other.open(kernel=False)
        for cell, said in ((1, ["20000", "oops", "exit 3"]), (2, ["still here"]), (3, ["green"])):
            for what in said:
                other.wait_text(cell, what)
        plot = other.outputs(4).locator("img").first
        plot.wait_for()
        assert plot.evaluate("e => e.naturalWidth") > 300
        other.picture("untrusted")
        plot.scroll_into_view_if_needed()
        other.picture("untrusted-plot")
    finally:
        other.close()
        page.server.end_sessions(strange.name)

    html, _ = HTMLExporter().from_notebook_node(written)
    shown = browser.new_page()
    try:
        shown.route("**/*", lambda route: route.abort())  # nothing from the network
        shown.set_content(html)
        text = shown.locator("body").inner_text()
        for what in ("20000", "oops", "exit 3", "still here", "green shell"):
            assert what in text
        picture(shown, Path(f"{PICTURES}/exported-{page.server.front}.png"), whole=True)
    finally:
        shown.close()


def test_a_process_that_ends_is_frozen_where_it_was(notebook: Open) -> None:
    script = "seq 1 5; until test -e /tmp/go; do sleep 0.1; done; echo the end"
    page = notebook(BOX, f"p = box.spawn_process({script!r}); p", "box.put('/tmp/go', b'')")
    page.run(0)
    page.run(1)
    view = Output(page, 1).wait()
    view.wait_text("5")
    page.picture("live")
    before = view.root.bounding_box()
    assert before
    page.run(2)
    frozen(page, 1)
    page.wait_text(1, "the end")
    page.wait_text(1, "exit 0")
    page.picture("frozen")
    children = page.outputs(1).locator(".jp-OutputArea-child")
    boxes = [children.nth(n).bounding_box() for n in range(children.count())]
    tops = [box["y"] for box in boxes if box and box["height"] > 20]
    assert len(tops) == 1, "one picture, not two"
    assert abs(tops[0] - before["y"]) < 30


def test_killed_with_its_kernel_it_shows_what_was_last_known(notebook: Open) -> None:
    page = notebook(BOX, RUNNING, "%tf_shell box")
    page.run(0)
    page.run(1)
    Output(page, 1).wait().wait_text("still here")
    page.run(2)
    terminal = Shell(page, 2).prompt()
    terminal.enter("echo $((40+2)) in the shell", "^42 in the shell$")
    page.until(lambda: "42 in the shell" in json.dumps(page.kept(2)), 40, "the twin")
    page.kill_kernel()
    written = page.save()
    assert "still here" in json.dumps(written.cells[1].outputs)
    assert View(page, 1).root.count() in (0, 1)
    page.picture("killed")
