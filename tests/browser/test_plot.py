"""Live plots."""

import re

import pytest

from browser.cells import spawn
from browser.conftest import Open
from browser.views import Plot

BOX = spawn()
JSON = (
    "i=0; while sleep 0.1; do i=$((i+1)); "
    'echo "{\\"load\\": $((i%7)), \\"deep\\": {\\"x\\": $i}}"; done'
)


def test_vmstat_is_plotted_live_and_stays_as_a_picture(notebook: Open) -> None:
    page = notebook(BOX, "plot = %tf_plot box vmstat 1 6 --columns us,sy,id", "plot.data.tail(2)")
    page.run(0)
    page.run(1)
    view = Plot(page, 1).wait()
    page.until(lambda: view.painted() > 500, 10, "something is drawn")
    for column in ("us", "sy", "id"):
        assert re.search(rf"\b{column}\b", view.root.inner_text())
    assert "%" in view.root.inner_text()
    page.picture("live")
    image = page.outputs(1).locator("img").first
    page.until(image.is_visible, 30, "the picture in its place")
    page.until(lambda: image.evaluate("e => e.naturalWidth") > 300, 10, "its picture")
    page.picture("ended")
    page.run(2)
    page.wait_text(2, "us")


@pytest.mark.places("lab-new-direct", long=["notebook-new-direct"])
def test_a_plot_survives_a_reload_and_says_what_it_could_not_read(notebook: Open) -> None:
    script = "echo no json at all; " + JSON
    page = notebook(
        BOX,
        f"p = box.spawn_process({script!r})\n"
        "plot = p.plot('jsonl', columns=['load', 'deep.x'])\n"
        "plot",
    )
    page.run(0)
    page.run(1)
    view = Plot(page, 1).wait()
    page.until(lambda: view.painted() > 500, 10, "something is drawn")
    assert "deep.x" in view.root.inner_text()
    page.until(
        lambda: re.search(r"1 line", view.root.inner_text()), 10, lambda: view.root.inner_text()
    )
    page.save()
    page.reload()
    view = Plot(page, 1).wait()
    page.until(lambda: view.painted() > 500, 10, "it is drawn again")
    view.press("pause")
    page.picture("paused")
    view.press("resume|play|continue|go on|pause")


def test_statistics_of_a_container(notebook: Open) -> None:
    page = notebook(
        BOX,
        "plot = box.plot(every=0.2); plot",
        "box.spawn_process('while sleep 0.1; do head -c 9m /dev/zero |wc -c; done >/dev/null');",
        "box.plot(columns='memory,pids', every=0.2)",
    )
    page.run_all()
    view, other = Plot(page, 1).wait(), Plot(page, 3).wait()
    page.until(lambda: view.painted() > 500, 20, "something is drawn")
    page.picture("statistics")
    chart = view.root.locator(".tfnz-plot-chart")
    chart.focus()
    for key in ("ArrowLeft", "ArrowLeft"):
        chart.press(key)
    spoken = view.root.locator(".tfnz-spoken")
    page.until(lambda: re.search(r"\d: cpu .*, memory ", spoken.inner_text()), 5, "it is spoken")
    assert re.search(r"rows?\. cpu .*; memory ", chart.get_attribute("aria-label") or "")
    view.root.get_by_role("button", name="Table").click()
    page.until(view.root.locator("table tbody tr").count, 10, "the numbers")
    other.root.get_by_role("button", name="Link").click()
    chart.press("ArrowLeft")
    at = other.root.locator(".tfnz-plot-at")
    page.until(at.inner_text, 5, "the pointer in the other one")
    page.picture("linked")
    page.dark()
    page.picture("dark")


def test_what_is_not_there_is_named(notebook: Open) -> None:
    page = notebook(
        BOX,
        "%tf_plot box vmstat 1 2 --columns us,nothere",
        "%tf_plot box vmstat 1 2 --parser nosuchparser",
        "box.spawn_process('echo 1').plot('nosuchparser')",
        "%tf_plot box vmsat 1",
    )
    page.run(0)
    for cell in (2, 3):
        page.run(cell, fails=True)
        assert "nosuchparser" in page.text(cell)
        assert "vmstat" in page.text(cell), "it says which there are"
    page.run(1, fails=None)
    page.wait_text(1, "nothere")
    page.run(4)
    page.wait_text(4, "It ended with 127")
    page.wait_text(4, "vmsat: not found")
    page.picture("errors")
