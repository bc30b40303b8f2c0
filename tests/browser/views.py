"""Our views in a cell, as a person reads and uses them."""

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator

from browser.chromium import PATIENCE
from browser.notebook_page import NotebookPage


class View:
    """One view beneath a cell: the ``index``-th of its kind there."""

    selector = ".tfnz-view"

    def __init__(self, page: NotebookPage, cell: int, index: int = 0) -> None:
        self.notebook = page
        self.root = page.outputs(cell).locator(self.selector).nth(index)

    def wait(self, seconds: float = 20) -> "Any":
        """Until it is there; returns itself."""
        self.root.wait_for(timeout=seconds * 1000 * PATIENCE)
        return self

    def status(self) -> str:
        """Its status line."""
        return " ".join(self.root.locator(".tfnz-status, .tfnz-shell-bar").inner_text().split())

    def wait_status(self, what: str, seconds: float = 20) -> None:
        """Until the status line says so; a regular expression."""
        self.until(lambda: re.search(what, self.status()), seconds, self.status, what)

    def press(self, name: str) -> None:
        """A button, by what it is called for those who cannot see it."""
        self.button(name).click()

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=re.compile(name, re.IGNORECASE)).first

    def until(
        self, ask: Callable[[], object], seconds: float, shown: Callable[[], str], what: str
    ) -> None:
        """Poll; when it fails, say what is shown instead, and what could explain it."""

        def told() -> str:
            focus = self.notebook.page.evaluate("document.activeElement?.outerHTML.slice(0, 200)")
            page = f"{self.root.count()} of it in the page, {focus!r} has the focus"
            return f"{what!r}; {page}; shown: {shown()[-1500:]!r}"

        self.notebook.until(ask, seconds, told)


class Output(View):
    """stdout and stderr of a process."""

    selector = ".tfnz-output"

    def text(self) -> str:
        """What is to be read in it, and copied."""
        return self.body.inner_text()

    @property
    def body(self) -> Locator:
        return self.root.locator(".tfnz-lines")

    def wait_text(self, what: str, seconds: float = 20) -> None:
        """Until it shows this, literally."""
        self.until(lambda: what in self.text(), seconds, self.text, what)


class Shell(View):
    """A terminal."""

    selector = ".tfnz-shell"

    def lines(self) -> list[str]:
        """The rows on its screen, as they are drawn."""
        texts = self.root.locator(".xterm-rows > div").all_inner_texts()
        return [text.replace("\xa0", " ").rstrip() for text in texts]

    def text(self) -> str:
        return "\n".join(self.lines()).rstrip("\n")

    def wait_text(self, what: str, seconds: float = 20) -> None:
        """Until a regular expression matches in what its screen shows."""
        self.until(lambda: re.search(what, self.text(), re.MULTILINE), seconds, self.text, what)

    def focus(self) -> None:
        """Click into it."""
        self.root.locator(".xterm-screen").click(position={"x": 20, "y": 8})
        self.until(lambda: self.focused, 5, lambda: "no focus", "focus")

    @property
    def focused(self) -> bool:
        return bool(self.root.evaluate("root => root.contains(document.activeElement)"))

    def type(self, text: str) -> None:
        """By keys, one after the other, into what has the focus."""
        self.notebook.page.keyboard.type(text)

    def key(self, key: str) -> None:
        self.notebook.page.keyboard.press(key)

    def enter(self, text: str, shows: str = "", seconds: float = 20) -> None:
        """Type a line; wait until what it ``shows``, a regular expression, is on the screen."""
        self.type(f"{text}\n")
        if shows:
            self.wait_text(shows, seconds)

    def prompt(self, seconds: float = 30) -> "Shell":
        """Until a shell waits for a line, and focus it."""
        self.wait(seconds)
        self.wait_text(r"[#$] *$", seconds)
        self.focus()
        return self


class Plot(View):
    """A live plot."""

    selector = ".tfnz-plot"

    def legend(self) -> str:
        return " ".join(self.root.locator(".tfnz-legend, .u-legend").all_inner_texts())

    def painted(self) -> int:
        """How many dots of its canvas are not background."""
        return int(
            self.root.locator("canvas").first.evaluate(
                """canvas => {
                  const {data} = canvas.getContext('2d')
                    .getImageData(0, 0, canvas.width, canvas.height);
                  let found = 0;
                  for (let i = 3; i < data.length; i += 4) if (data[i]) found++;
                  return found;
                }"""
            )
        )


class Card(View):
    """A container, a table, or another thing of the explorer."""

    selector = ".tfnz-explorer"

    def text(self) -> str:
        return self.root.inner_text()

    def wait_text(self, what: str, seconds: float = 20) -> None:
        self.until(lambda: re.search(what, self.text()), seconds, self.text, what)
