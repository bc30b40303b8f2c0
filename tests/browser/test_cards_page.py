"""Cards and tables alone in a browser: how high they are, and how many rows of them there are."""

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Route
from unit.widgets.explorer import told

from browser.chromium import Watch
from tfnz_notebook.widgets.explorer import facts
from tfnz_notebook.widgets.explorer import page as stills

HTML = Path(__file__).with_name("cards_page.html")
ADDRESS = "https://tfnz.test/"
BASE = {"where": "podman", "connected": True, "now": 2000.0, "session": "s", "more": 0}


@pytest.fixture
def page(browser: BrowserContext) -> Iterator[Page]:
    code = (resources.files("tfnz_notebook.widgets") / "static/explorer.js").read_text("utf-8")

    def serve(route: Route) -> None:
        if route.request.url.endswith(".js"):
            route.fulfill(body=code, content_type="text/javascript")
        else:
            route.fulfill(body=HTML.read_text("utf-8"), content_type="text/html")

    browser.route(f"{ADDRESS}**", serve)
    page = browser.new_page()
    watch = Watch(page)
    page.goto(ADDRESS)
    page.wait_for_function("window.ready")
    yield page
    page.close()
    browser.unroute(f"{ADDRESS}**")
    assert watch.errors == []


def container(ident: str, **more: Any) -> dict[str, Any]:
    ran = [told.process(ident, ident, pid=7), told.process(ident, f"{ident}p", returncode=1)]
    return facts.container(told.container(ident, name=f"box-{ident}", **more), ran)


def table(kind: str, *containers: dict[str, Any]) -> dict[str, Any]:
    return {**BASE, "kind": kind, "containers": list(containers)}


def test_a_still_is_as_high_as_its_view(page: Page) -> None:
    states = ("pulling", "starting", "running", "paused", "unresponsive", "destroyed")
    infos = [
        {**BASE, **container("a", state=s), "kind": "container", "engine": "x"} for s in states
    ]
    two = (container("a"), container("b", state="exited", returncode=3))
    infos += [table("ps", *two), table("top", *two), table("ps"), table("top")]
    for info in infos:
        live, still = page.evaluate("([i, s]) => show(i, s)", [info, stills.draw(info)])
        assert live == still, (info["kind"], info.get("state"))


#: What of a row's facts is seen, and whether any of it is clipped.
SEEN = """
() => [...document.querySelectorAll('div')].filter(row => row.style.height === '24px').map(row => {
  const facts = [...row.children].filter(each => each.offsetTop < row.offsetTop + 12);
  const parts = facts.flatMap(each => [...each.children]);
  const clipped = parts.some(each => each.scrollWidth > each.clientWidth);
  return [facts.map(each => each.textContent).join(' '), clipped];
})
"""


def test_in_a_narrow_page_a_stills_facts_are_whole_or_not_there(page: Page) -> None:
    info = {**BASE, **container("a", engine_id="b" * 64), "kind": "container", "engine": "x"}
    info["engine_name"] = "tfnz-" + "c" * 32
    for width, named in ((800, True), (290, False)):
        page.set_content(f"<div style='width: {width}px'>{stills.draw(info)}</div>")
        (uses, _), (seen, clipped) = page.evaluate(SEEN)[:2]
        assert not clipped and seen.startswith("id" + "b" * 12), seen
        assert uses.startswith("CPU") and ("tfnz-" in seen) == named


def test_of_many_containers_those_are_in_the_page_that_are_seen(page: Page) -> None:
    many = table("ps", *(container(f"{n:032x}") for n in range(200)))
    page.evaluate("([i, s]) => show(i, s)", [many, ""])
    rows = page.locator(".tfnz-row")
    assert rows.count() < 50
    scroller = page.locator(".tfnz-scroller")
    assert scroller.evaluate("e => e.scrollHeight") == 24 * (1 + 3 * 200)
    scroller.evaluate("e => e.scrollTop = e.scrollHeight")
    rows.get_by_text(f"box-{199:032x}", exact=True).first.wait_for()
    assert rows.count() < 50
