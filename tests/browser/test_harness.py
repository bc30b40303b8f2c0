"""The harness itself: without it, a view that is not there might pass for one that is quiet."""

import pytest

from browser.conftest import Open, Place

VERSIONS = {"new": range(7, 100), "old": [6]}


@pytest.mark.places("notebook-old-direct", long=["lab-old-comm"])
def test_a_cell_runs_in_the_kernel_that_was_asked_for(notebook: Open, place: Place) -> None:
    page = notebook("import ipykernel; print(ipykernel.version_info[0])", "1/0", "input()")
    page.run(0)
    assert int(page.text(0)) in VERSIONS[place.kernel]
    page.run(1, fails=True)
    page.start(2)
    page.cell(2).locator(".jp-Stdin-input").wait_for()  # it takes the focus when it comes
    page.interrupt()
    page.wait_text(2, "KeyboardInterrupt")
    page.picture("ran")
    page.restart()
    page.reload()
    page.run(0)


FETCH = """() => {
  const told = window.told = {loaded: 0, failed: 0};
  const load = () => fetch('/api?' + Math.random())
    .then(() => told.loaded += 1, () => told.failed += 1)
    .then(() => window.loaded || setTimeout(load, 5));
  load();
}"""


def test_the_page_does_not_mind_containers_that_come_and_go(notebook: Open) -> None:
    page = notebook(
        "from tfnz_notebook.location import Location\nnode = Location().best_node()",
        "for _ in range(4):\n"
        "    box = node.spawn_container('busybox', sleep=True).wait_until_ready()\n"
        "    node.destroy_container(box)",
    )
    page.run(0)
    page.tamper(FETCH, "delete window.loaded")
    page.run(1)
    told = page.page.evaluate("window.loaded = true; window.told")
    assert told["loaded"] > 0 and told["failed"] == 0
