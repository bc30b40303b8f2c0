"""A notebook in JupyterLab or Notebook 7, as a person sees it: cells, keys, menus."""

import contextlib
import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import nbformat.reader
from playwright.sync_api import BrowserContext, Locator, Page, WebSocket

from browser.chromium import PATIENCE, SIZE, Watch, picture
from browser.servers import Server

CELL_SECONDS = 60
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

# The document that this page is about, in either front-end.
PANEL = """
(() => {
  const widget = window.jupyterapp?.shell?.currentWidget;
  return widget?.context?.sessionContext ? widget : undefined;
})()
"""
KERNEL = f"({PANEL})?.context?.sessionContext?.session?.kernel"

# Whether the page has heard that it is saved. It may have something new to save at once.
SAVES = f"""
(() => {{
  window.tfnzSaved = false;
  const heard = (_, state) => {{ window.tfnzSaved ||= state.startsWith('completed'); }};
  ({PANEL}).context.saveState.connect(heard);
}})()
"""

# Before any script of the page: what sockets it opens, and a way to cut those that are ours.
SOCKETS = """
(() => {
  const Real = window.WebSocket;
  window.tfnzSockets = [];
  window.WebSocket = class extends Real {
    constructor(url, ...more) {
      if (window.tfnzCut && url.includes('/tfnz/views')) throw new Error('cut by the test');
      super(url, ...more);
      window.tfnzSockets.push(this);
    }
  };
})()
"""
CUT = """
(() => {
  window.tfnzCut = true;
  const ours = window.tfnzSockets.filter(
    each => each.url.includes('/tfnz/views') && each.readyState === 1);
  ours.forEach(each => each.close());
  return ours.length;
})()
"""


# In the page that is there, as a double click in Lab's list of files does. The answer, a widget
# with all that hangs on it, stays there: to bring it here would take ten seconds.
OPEN = "path => { window.jupyterapp.commands.execute('docmanager:open', {path}); }"
CELLS = ".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook .jp-Cell"


class Tab:
    """A tab of the browser. Lab's shows one notebook after the other, as a person's does."""

    def __init__(self, context: BrowserContext) -> None:
        self.page: Page = context.new_page()
        self.page.add_init_script(SOCKETS)
        self.watch = Watch(self.page)
        #: How many messages came to views past the kernel.
        self.direct = 0
        self.page.on("websocket", self._opened)
        #: Whether Lab is there.
        self.lab = False

    def _opened(self, socket: WebSocket) -> None:
        def received(_payload: object) -> None:
            self.direct += 1

        if "/tfnz/views" in socket.url:
            socket.on("framereceived", received)


class NotebookPage:
    """A notebook in a tab, of its own if none is given. ``cell(n)`` counts from 0."""

    def __init__(
        self,
        context: BrowserContext,
        server: Server,
        name: str,
        pictures: Path,
        tab: Tab | None = None,
    ) -> None:
        self.server, self.name, self._pictures = server, name, pictures
        self.tab = tab or Tab(context)
        self.page, self.watch = self.tab.page, self.tab.watch
        self._direct = self.tab.direct
        self._dark = self._spoiled = False
        self._undo: list[str] = []

    @property
    def direct(self) -> int:
        """How many messages came to views past the kernel."""
        return self.tab.direct - self._direct

    def open(self, *, kernel: bool = True) -> "NotebookPage":
        """Go there, and wait until the kernel is idle."""
        if self.tab.lab:
            self.page.evaluate(OPEN, self.name)
        else:
            self._go()
        self._arrived(kernel=kernel)
        return self

    def reload(self) -> None:
        """As F5: what was not saved is lost."""
        self._go()
        self._arrived(kernel=True)

    def _go(self) -> None:
        """Load the page, in a workspace that has this notebook alone."""
        place = {"lab": f"lab/workspaces/{Path(self.name).stem}/tree/", "notebook": "notebooks/"}
        url = f"{self.server.url}{place[self.server.front]}{self.name}"
        self.page.goto(f"{url}?token={self.server.token}")

    def _arrived(self, *, kernel: bool) -> None:
        self.page.wait_for_function(
            f"({PANEL})?.context?.path === {json.dumps(self.name)} && ({PANEL}).context.isReady",
            timeout=30_000 * PATIENCE,
        )
        self.page.locator(CELLS).first.wait_for()
        self.tab.lab = self.server.front == "lab"
        if kernel:
            self.wait_idle()

    def wait_idle(self, seconds: float = 40) -> None:
        """The kernel has nothing to do."""
        self.page.wait_for_function(
            f"{KERNEL}?.status === 'idle' && {KERNEL}?.connectionStatus === 'connected'",
            timeout=seconds * 1000 * PATIENCE,
        )

    def kernel_status(self) -> str:
        """What the page believes that the kernel does."""
        return str(self.page.evaluate(f"{KERNEL}?.status"))

    # -- cells

    def cell(self, number: int) -> Locator:
        """The whole cell."""
        return self.page.locator(CELLS).nth(number)

    def outputs(self, number: int) -> Locator:
        """What is beneath it."""
        return self.cell(number).locator(".jp-Cell-outputWrapper")

    def select(self, number: int) -> None:
        """Put the cell into command mode: its keys are the notebook's."""
        self.cell(number).locator(".jp-InputPrompt").first.click()

    def start(self, number: int) -> None:
        """Run a cell, and do not wait."""
        self.select(number)
        self.page.keyboard.press("Control+Enter")
        self.until(lambda: self.prompt(number) != "[ ]:", 10, f"cell {number} was started")

    def run(
        self, number: int, seconds: float = CELL_SECONDS, *, fails: bool | None = False
    ) -> None:
        """Run a cell to its end, with an error in it if it ``fails``; None: either way."""
        before = self.prompt(number)
        self.start(number)
        self.until(
            lambda: self.prompt(number) not in (before, "[*]:", "[ ]:"),
            seconds,
            lambda: f"cell {number} ended; it shows {self.text(number)[-800:]!r}",
        )
        # The reply comes on one socket, the outputs on another.
        self.wait_idle()
        errors = self.errors(number)
        assert fails in (None, bool(errors)), f"cell {number}: {errors or 'no error'}"

    def errors(self, number: int) -> list[str]:
        """The tracebacks beneath a cell; on the screen they look like any stderr."""
        return [
            ANSI.sub("", "\n".join(each["traceback"]))
            for each in self.kept(number)
            if each["output_type"] == "error"
        ]

    def run_all(self, seconds: float = CELL_SECONDS) -> None:
        """Every cell, one after the other."""
        for number in range(self.page.locator(CELLS).count()):
            self.run(number, seconds)

    def prompt(self, number: int) -> str:
        """``[ ]:``, ``[*]:`` or ``[7]:``."""
        return self.cell(number).locator(".jp-InputPrompt").first.inner_text().strip()

    def busy(self, number: int) -> bool:
        """Whether the cell runs, or waits to."""
        return self.prompt(number) == "[*]:"

    def text(self, number: int) -> str:
        """What is to be read beneath a cell."""
        return ANSI.sub("", "\n".join(self.outputs(number).all_inner_texts()))

    def wait_text(self, number: int, what: str, seconds: float = 20) -> None:
        """Until it says so."""
        self.until(
            lambda: what in self.text(number),
            seconds,
            lambda: f"cell {number} shows {what!r}; it shows {self.text(number)[-800:]!r}",
        )

    def type(self, number: int, text: str) -> None:
        """Into the cell's editor, at its end."""
        self.cell(number).locator(".cm-content").click()
        self.page.keyboard.press("Control+End")
        self.page.keyboard.type(text)

    # -- the notebook

    def save(self) -> nbformat.NotebookNode:
        """Control-S; what is then on the disk."""
        path = self.server.files / self.name
        before = path.stat().st_mtime_ns
        self.select(0)
        self.page.evaluate(SAVES)
        self.page.keyboard.press("Control+s")
        found: list[nbformat.NotebookNode] = []

        def written() -> bool:
            if path.stat().st_mtime_ns == before:
                return False
            with contextlib.suppress(nbformat.reader.NotJSONError):  # half of it
                found.append(nbformat.read(path, as_version=4))
            return bool(found)

        self.until(written, 20, "the notebook is saved")
        self.page.wait_for_function("window.tfnzSaved")
        return found[0]

    def kept(self, number: int) -> list[dict[str, Any]]:
        """The outputs of a cell as a save would write them."""
        script = f"({PANEL}).content.widgets[{number}].model.outputs?.toJSON() ?? []"
        return list(self.page.evaluate(script))

    def interrupt(self) -> None:
        """■, by its keys."""
        self.select(0)
        self.page.keyboard.press("i")
        self.page.keyboard.press("i")

    def restart(self) -> None:
        """Restart the kernel, by its keys, and say yes."""
        self.select(0)
        self.page.keyboard.press("0")
        self.page.keyboard.press("0")
        self.page.locator(".jp-Dialog .jp-mod-accept").click()
        self.page.locator(".jp-Dialog").wait_for(state="detached")
        self.wait_idle()

    def kill_kernel(self) -> None:
        """SIGKILL its process: it says goodbye to nobody.

        The front-end says so some seconds later, in a dialog that lies over the cells.
        """
        self._spoiled = True
        os.kill(self.server.kernel_pid(self.name), signal.SIGKILL)
        self.dismiss_dialog("restart")

    # -- what is seen

    def picture(self, what: str) -> Path:
        """Keep it as build/browser/<test>-<what>.png."""
        path = self._pictures.with_name(f"{self._pictures.name}-{what}.png")
        picture(self.page, path)
        return path

    def tamper(self, script: str, undo: str) -> None:
        """Change the page itself, until the notebook is closed: loading another takes seconds."""
        self._undo.append(undo)
        self.page.evaluate(script)

    def close(self) -> None:
        """The page is closed as a tab is; the theme, a setting of the user's, is as it was."""
        if self._dark:
            self.dark(on=False)
        self.page.close()

    def leave(self) -> Tab | None:
        """The notebook is closed; the tab, if it is Lab's and as it was."""
        asks = self.page.locator(".jp-Dialog").count()
        if not self.tab.lab or self._spoiled or asks or self.page.evaluate("window.tfnzCut"):
            self.close()
            return None
        for script in self._undo:
            self.page.evaluate(f"void ({script})")  # not the function that it may be
        if self._dark:
            self.dark(on=False)
        self.page.set_viewport_size(SIZE)
        self.page.evaluate(f"({PANEL})?.dispose()")
        return self.tab

    def until(
        self, ask: Callable[[], object], seconds: float, what: str | Callable[[], str]
    ) -> None:
        """Poll to a deadline, ever less often, with the page's own clock: its events are handled
        meanwhile."""
        deadline, pause = time.monotonic() + seconds * PATIENCE, 30.0
        while not ask():
            if time.monotonic() > deadline:
                said = what() if callable(what) else what
                raise AssertionError(f"not within {seconds} s: {said}")
            self.page.wait_for_timeout(pause)
            pause = min(1.25 * pause, 150)

    def dark(self, *, on: bool = True) -> None:
        """Choose a theme, as the settings menu does."""
        self._dark = on
        self.page.evaluate(
            "name => window.jupyterapp.commands.execute('apputils:change-theme', {theme: name})",
            f"JupyterLab {'Dark' if on else 'Light'}",
        )
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")
        light = "false" if on else "true"
        self.page.wait_for_function(f"document.body.dataset.jpThemeLight === '{light}'")

    def dismiss_dialog(self, what: str) -> None:
        """Wait for the front-end to say it, and take note."""
        dialog = self.page.locator(".jp-Dialog", has_text=re.compile(what, re.IGNORECASE))
        dialog.wait_for()
        dialog.get_by_role("button").last.click()
        dialog.wait_for(state="detached")

    # -- the way of the views' bytes

    def _goes_directly(self) -> None:
        """Wait until a view does: the comm may have shown it before."""
        self.until(lambda: self.direct, 10, "a view goes directly")

    def cut_direct(self) -> None:
        """Close the page's sockets to our server extension, and let none be opened again."""
        self._goes_directly()
        assert self.page.evaluate(CUT)

    def cut_direct_in(self, milliseconds: int) -> None:
        """The same, while the page is doing something else."""
        self._goes_directly()
        self.page.evaluate(f"void setTimeout(() => {{ {CUT} }}, {milliseconds})")
