"""The saved notebooks as those see them who got them by mail: in Lab without a kernel, as HTML."""

from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from nbconvert import HTMLExporter
from nbformat.sign import NotebookNotary
from notebooks.shown import NOTEBOOKS, PICTURES, SHOWN
from playwright.sync_api import BrowserContext, Locator

from browser.chromium import picture
from browser.conftest import PICTURES as KEPT
from browser.conftest import Place
from browser.notebook_page import CELLS, PANEL, NotebookPage
from browser.servers import Server

# By the server and in the browser that others use.
WHERE = "lab-new-direct"
pytestmark = [pytest.mark.places(WHERE), pytest.mark.usefixtures("place")]

EMPTY = "empty.ipynb"
#: Tall enough for the longest: what is not in view, Lab does not draw.
TALL = 6000
# In a new tab, as a double click does, but that no kernel is started for it. The answer, a widget
# with all that hangs on it, stays there: to bring it here would take ten seconds.
OPEN = """path => {
  const kernelPreference = {shouldStart: false, canStart: false};
  window.jupyterapp.commands.execute('docmanager:open', {path, kernelPreference});
}"""
ARRIVED = f"path => ({PANEL})?.context.path === path && ({PANEL}).context.isReady"
TRUSTED = f"""({PANEL}).content.widgets.every(
  each => each.model.type !== 'code' || each.model.trusted
)"""


@pytest.fixture(scope="module")
def lab(browser: BrowserContext, server: Callable[[Place], Server]) -> Iterator[NotebookPage]:
    """A page of a JupyterLab that has never seen these notebooks.

    Of these tests alone: in one in which widgets were shown without a kernel, Jupyter's own code
    fails at the next kernel.
    """
    at = server(Place.named(WHERE))
    at.write(EMPTY, [""])
    page = NotebookPage(browser, at, EMPTY, KEPT / "saved")
    try:
        page.page.set_viewport_size({"width": 1100, "height": TALL})
        yield page.open(kernel=False)
    finally:
        page.close()
        at.end_sessions(EMPTY)


def check(stem: str, cells: dict[str, Locator]) -> None:
    """That the text and the pictures of each cell are seen in it."""
    for ident, phrases in SHOWN[stem].items():
        text = " ".join(cells[ident].inner_text().split())
        missing = [each for each in phrases if " ".join(each.split()) not in text]
        assert not missing, f"{ident} does not show {missing}; it shows {text[-600:]!r}"
    for (of, ident), number in PICTURES.items():
        if of == stem:
            shown = cells[ident].locator("img")
            widths = shown.evaluate_all("all => all.map(each => each.naturalWidth)")
            assert len(widths) == number and min(widths) > 300


def outputs(saved: nbformat.NotebookNode, cells: Locator) -> dict[str, Locator]:
    """What is beneath each cell of code."""
    return {
        cell.id: cells.nth(number).locator(".jp-Cell-outputWrapper")
        for number, cell in enumerate(saved.cells)
        if cell.cell_type == "code"
    }


#: What came by mail is trusted by nobody; of what is trusted, the one with most kinds of output.
SEEN = [
    pytest.param(
        path,
        trusted,
        id=f"{path.stem}-{'trusted' if trusted else 'untrusted'}",
        marks=[pytest.mark.long] * (trusted and path.stem != "04-live-vmstat"),
    )
    for trusted in (False, True)
    for path in NOTEBOOKS
]


@pytest.mark.parametrize(("path", "trusted"), SEEN)
def test_lab_shows_a_saved_notebook_without_a_kernel(
    path: Path, trusted: bool, lab: NotebookPage
) -> None:
    saved = nbformat.read(path, as_version=4)
    what = "trusted" if trusted else "untrusted"
    name = f"{path.stem}-{what}.ipynb"
    if trusted:
        NotebookNotary(data_dir=str(lab.server.home / "data")).sign(saved)
    else:
        saved.cells[0].source += "\n"  # another text: no signature fits it
    nbformat.write(saved, lab.server.files / name)
    page = lab.page
    page.evaluate(OPEN, name)
    try:
        page.wait_for_function(ARRIVED, arg=name)
        shown = outputs(saved, page.locator(CELLS))
        shown[next(reversed(SHOWN[path.stem]))].wait_for()
        lab.picture(f"{path.stem}-{what}")
        check(path.stem, shown)
        assert page.evaluate(TRUSTED) is trusted
        assert not lab.server.sessions(name), "nothing runs"
    finally:
        page.evaluate(f"({PANEL})?.dispose()")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nbconvert_shows_a_saved_notebook(path: Path, browser: BrowserContext) -> None:
    saved = nbformat.read(path, as_version=4)
    html, _ = HTMLExporter().from_notebook_node(saved)
    page = browser.new_page()
    try:
        page.route("**/*", lambda route: route.abort())  # nothing from the network
        page.set_content(html)
        check(path.stem, outputs(saved, page.locator(".jp-Cell")))
        picture(page, KEPT / f"saved-{path.stem}-html.png", whole=True)
    finally:
        page.close()
