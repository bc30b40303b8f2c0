"""Real front-ends in a real browser over real containers.

A test gets ``notebook``, opens one with the cells it needs, and does what a person does. It runs at
one place, a front-end with a kernel and a way for the views' bytes, unless ``@pytest.mark.places``
names others; those that it names as ``long`` are for ``make test-long``. Pictures are kept in
build/browser; an uncaught error in a page fails its test.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from integration.polling import until
from integration.world import World
from playwright.sync_api import BrowserContext, Playwright, sync_playwright

from browser.chromium import PATIENCE, chromium
from browser.notebook_page import NotebookPage, Tab
from browser.servers import ROOT, Server

PICTURES = ROOT / "build" / "browser"
#: Seconds that what a killed kernel had outlives it; two minutes outside of tests.
GRACE = 20


@dataclass(frozen=True)
class Place:
    """A front-end (lab, notebook), a kernel (new, old) and a way (direct, comm)."""

    front: str
    kernel: str
    way: str

    @classmethod
    def named(cls, name: str) -> "Place":
        return cls(*name.split("-"))


#: Both front-ends, both ways, with the newest kernel.
TWO = ("lab-new-comm", "notebook-new-direct")
#: Every setting once, one way and the other; and each pair of settings once.
ONE_WAY = ("lab-old-comm", "notebook-new-direct")
OTHER_WAY = ("lab-new-direct", "notebook-old-comm")
PAIRS = ("lab-new-direct", "lab-old-comm", "notebook-new-comm", "notebook-old-direct")


def pytest_configure(config: pytest.Config) -> None:
    told = "places(*names, long=()): front-kernel-way, where a test is run"
    config.addinivalue_line("markers", told)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "place" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("places")
        names = marker.args if marker else ("lab-new-comm",)
        long = {*(marker.kwargs.get("long", ()) if marker else ())} - {*names}
        metafunc.parametrize(
            "place",
            [
                pytest.param(Place.named(name), id=name, marks=[pytest.mark.long] * (name in long))
                for name in (*names, *sorted(long))
            ],
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(
                pytest.mark.timeout(240 * PATIENCE)
            )  # a page, a server and a kernel each start


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Iterator[None]:
    """Let fixtures know how the test went."""
    report = yield
    item.stash.setdefault(FAILED, False)
    item.stash[FAILED] |= report.failed
    return report


FAILED = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """Agents and containers of these tests alone; at the end nothing may be left of it."""
    made = World(TFNZ_LOCATION="podman", TFNZ_SESSION_GRACE=str(GRACE))
    yield made
    left = made.close()
    assert not left, "left behind:\n" + "\n".join(left)


@pytest.fixture(scope="session")
def server(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Place], Server]]:
    """A server of each kind, started when first asked for."""
    running: dict[tuple[str, str], Server] = {}

    def running_at(place: Place) -> Server:
        kind = (place.front, place.way)
        if kind not in running:
            home = tmp_path_factory.mktemp("-".join(kind))
            direct = place.way == "direct"
            running[kind] = Server(place.front, home, world.environment(), direct=direct)
        return running[kind]

    yield running_at
    for each in running.values():
        each.close()
    # Jupyter kills a kernel that is busy when it is shut down: its session ends with its grace.
    for engine in ("podman", "docker"):
        until(lambda e=engine: not world.holds(e), 3 * GRACE, "all containers go")  # type: ignore[misc]


@pytest.fixture(scope="package")
def driver() -> Iterator[Playwright]:
    """One for the tests of this room: its loop must have ended before those of others."""
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="package")
def browser(driver: Playwright) -> Iterator[BrowserContext]:
    with chromium(driver) as running:
        yield running


@pytest.fixture(scope="package")
def labs(browser: BrowserContext) -> dict[str, Tab]:
    """A tab by its server's address: Lab takes seconds to load, and a test opens a notebook in it
    that other tests have left."""
    return {}


#: Opens a notebook of these cells and waits for its kernel; more pages on it: ``again=page``.
Open = Callable[..., NotebookPage]


@pytest.fixture
def notebook(
    request: pytest.FixtureRequest,
    browser: BrowserContext,
    labs: dict[str, Tab],
    server: Callable[[Place], Server],
    place: Place,
) -> Iterator[Open]:
    """Notebooks of the test's own, closed and their kernels ended with it."""
    test = re.sub(r"[^\w.-]+", "-", request.node.name).strip("-").removeprefix("test_")
    pages: list[NotebookPage] = []

    def opened(*cells: str, again: NotebookPage | None = None, kernel: bool = True) -> NotebookPage:
        at = server(place)
        if again is None:
            name = f"{test[:60]}-{len(pages)}.ipynb"
            at.write(name, list(cells), place.kernel)
        else:
            name = again.name
        page = NotebookPage(browser, at, name, PICTURES / test, labs.pop(at.url, None))
        pages.append(page)
        return page.open(kernel=kernel)

    yield opened
    wrong = []
    for number, page in enumerate(pages):
        failed = request.node.stash.get(FAILED, False)
        if failed:
            page.picture(f"FAILED-{number}")
            print("\n".join(page.watch.console[-40:]))
        wrong += page.watch.errors
        if failed or page.watch.errors:
            page.close()
        elif (tab := page.leave()) and labs.setdefault(page.server.url, tab) is not tab:
            tab.page.close()
    for name in {page.name for page in pages}:
        server(place).end_sessions(name)
    assert not wrong, "errors in the page:\n" + "\n".join(wrong)
