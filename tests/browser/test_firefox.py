"""The README's journey in Firefox: what is seen and done there is what Chromium's tests say."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Playwright

from browser.cells import LOAD
from browser.conftest import Open
from browser.firefox import firefox
from browser.notebook_page import Tab
from browser.views import Card, Plot, Shell


@pytest.fixture(scope="module")
def browser(driver: Playwright) -> Iterator[BrowserContext]:
    with firefox(driver) as running:
        yield running


@pytest.fixture(scope="module")
def labs() -> dict[str, Tab]:
    return {}


@pytest.mark.places(long=["lab-new-direct", "notebook-new-comm"])
def test_a_card_a_plot_and_a_terminal(notebook: Open) -> None:
    page = notebook(
        f"{LOAD}\nweb = %tf_spawn nginx",
        "plot = %tf_plot web",
        "%tf_shell web",
        "%tf_run web for i in 1 2 3; do echo line $i; done; ls --color /",
        "web.spawn_process('while sleep 0.2; do echo tick $((i+=1)); done')",
    )
    page.run(0, 60)
    card = Card(page, 0).wait()
    for what in ("running", "nginx", r"CPU\s+\d", "ports", "0 B/s"):
        card.wait_text(what)
    page.run(1)
    plot = Plot(page, 1).wait()
    plot.until(lambda: plot.painted() > 500, 30, plot.legend, "lines")
    page.run(2)
    shell = Shell(page, 2).prompt()
    shell.enter("echo $((6 * 7))", "^42$")
    shell.enter("cat")
    shell.type("typed")
    shell.key("Control+c")
    shell.wait_text(r"\^C")
    page.run(3)
    page.wait_text(3, "line 3")
    page.run(4)
    page.wait_text(4, "tick 3")
    page.picture("ran")
    page.save()
    page.reload()
    for view in (Card(page, 0), Plot(page, 1), Shell(page, 2)):
        view.wait(30)
    Card(page, 0).wait_text("running")
    Shell(page, 2).wait_text("^42$")
    page.wait_text(3, "line 3")
    page.picture("again")
