"""Debian's Chromium, driven by playwright: the one without windows of its own, a tenth cheaper."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Playwright, ViewportSize

EXECUTABLE = os.environ.get("TFNZ_TEST_CHROMIUM", "/usr/bin/chromium-headless-shell")
FLAGS = [
    "--no-sandbox",  # tests may run as root, in a container that forbids namespaces
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZE: ViewportSize = {"width": 1280, "height": 900}
#: Deadlines are for a machine that has its two cores for this; one that has not may multiply them.
PATIENCE = float(os.environ.get("TFNZ_TEST_PATIENCE", "1"))
STEP_MS = 20_000 * PATIENCE

#: Said by the front-ends themselves, with or without us.
NOISE = (
    "favicon",
    "Failed to load resource",  # 404s of settings and workspaces that are not there yet
    "ResizeObserver loop",
    "(reading 'schema')",  # Notebook 7.6's own, as its settings load,
    'can\'t access property "schema"',  # and in Firefox's words
    "NetworkError when attempting to fetch resource",  # Firefox's, of what a reload cut off,
    "was interrupted while the page was loading",  # and of websockets
    "can\N{RIGHT SINGLE QUOTATION MARK}t establish a connection to the server at ws://",
    "Could not restore the debugger state",  # Lab's own, of a kernel that restarts
    "Service Worker",
    "service worker",
)


@contextmanager
def chromium(
    driver: Playwright, size: ViewportSize = SIZE, scale: float = 1
) -> Iterator[BrowserContext]:
    """A browser with a fresh profile, whose pages share what it has cached.

    A profile on disk, for what it has compiled of a page's scripts is kept in that alone: without,
    each load of JupyterLab takes a second more.
    """
    with tempfile.TemporaryDirectory(prefix="tfnz-chromium-") as made:
        context = driver.chromium.launch_persistent_context(
            Path(made) / "profile",
            executable_path=EXECUTABLE,
            headless=True,
            args=FLAGS,
            env={**os.environ, "LD_PRELOAD": _deaf(Path(made))},
            viewport=size,
            device_scale_factor=scale,
            permissions=["clipboard-read", "clipboard-write"],
        )
        try:
            context.set_default_timeout(STEP_MS)
            yield context
        finally:
            context.close()


def _deaf(made: Path) -> str:
    """A library in whose presence it does not hear of containers' network interfaces."""
    library = made / "deaf.so"
    source = Path(__file__).with_name("deaf.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return str(library)


class Watch:
    """What goes wrong in a page: uncaught errors, and what views and Lab log as errors."""

    def __init__(self, page: Page) -> None:
        self.errors: list[str] = []
        self.console: list[str] = []
        page.on("pageerror", lambda error: self._uncaught(error))
        page.on("console", self._said)
        # Leaving a notebook that was not saved asks; a test that leaves means it.
        page.on("dialog", lambda dialog: dialog.accept())

    def _uncaught(self, error: Exception) -> None:
        text = f"{error}\n{getattr(error, 'stack', '')}"
        if not any(noise in text for noise in NOISE):
            self.errors.append(f"uncaught: {text}")

    def _said(self, message: ConsoleMessage) -> None:
        self.console.append(f"{message.type}: {message.text}")
        if message.type == "error" and not any(noise in message.text for noise in NOISE):
            self.errors.append(f"console: {message.text}")


def picture(page: Page, path: Path, *, whole: bool = False) -> None:
    """Keep what is seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path, full_page=whole)
