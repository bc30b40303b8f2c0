"""The harness itself: without it, a view that is not there might pass for one that is quiet."""

import pytest
from browser.conftest import Open, Place

VERSIONS = {"new": range(7, 100), "old": [6]}


@pytest.mark.places("lab-old-comm", "notebook-old-direct")
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
