"""The terminal in the cell beside JupyterLab's own: the same browser, the same page, in turns.

Times are taken inside the page: from a key's own event to what the terminal drew because of it.
Ours draws into the DOM, Lab's tells when it has drawn; both are the frame in which one sees it.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.cases import Stage
from bench.measure import Bar, Case, Series, at_most, in_turns, thousandths
from browser.cells import spawn
from browser.chromium import chromium
from browser.notebook_page import CUT, NotebookPage
from browser.servers import Server
from browser.views import Shell
from playwright.sync_api import sync_playwright

SHELL, KERNEL_IDLE, LAB = "ours, direct", "ours, comm, kernel idle", "JupyterLab's terminal"
LOOP, HELD = "ours, comm, kernel in a loop", "ours, direct, interpreter held"
#: The cells of the notebook. The third and fourth take so many seconds.
BUSY_SECONDS, HELD_SECONDS = 12, 3
CELLS = (
    spawn(),
    "shell = %tf_shell box",
    f"import time\nend = time.time() + {BUSY_SECONDS}\nwhile time.time() < end: sum(range(999))",
    f"import ctypes; ctypes.PyDLL(None).sleep({HELD_SECONDS})",
    "location.disconnect()",
)
BLOCK = "0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789 abcd"

PROBE = Path(__file__).with_suffix(".js").read_text("utf-8")


class Desk:
    """A page with both terminals."""

    def __init__(self, page: NotebookPage) -> None:
        self.page = page
        page.run(0)
        page.run(1)
        self._shell = Shell(page, 1).prompt()
        page.page.evaluate("window.jupyterapp.commands.execute('terminal:create-new')")
        self._lab = page.page.locator(".jp-Terminal").last
        self._lab.locator(".xterm-screen").wait_for()
        self._front(SHELL)
        page.page.wait_for_function("document.querySelector('.tfnz-shell .xterm-rows')")
        page.page.evaluate(PROBE)
        for which in ("lab", "ours"):
            self.focus(which)
            page.page.wait_for_function(f"/[#$] *$/.test(benchText('{which}'))")

    def _front(self, name: str) -> None:
        what = "jp-Terminal" if name == LAB else "jp-NotebookPanel"
        self.page.page.evaluate(
            """name => {
              const shell = window.jupyterapp.shell;
              for (const widget of shell.widgets('main'))
                if (widget.node.classList.contains(name) || widget.node.querySelector('.' + name))
                  shell.activateById(widget.id);
            }""",
            what,
        )

    def focus(self, which: str) -> None:
        """Bring it to the front and give it the keys."""
        self._front(LAB if which == "lab" else SHELL)
        if which == "lab":
            self._lab.locator(".xterm-screen").click()
        else:
            self._shell.focus()

    def key(self, which: str, key: str, shows: str, seconds: float = 30) -> float:
        """Seconds from a key to what it ``shows``, a regular expression over the screen."""
        page = self.page.page
        page.evaluate("([which, pattern]) => benchKey(which, pattern)", [which, shows])
        page.keyboard.press(key)
        page.wait_for_function("window.benchFound !== undefined", timeout=seconds * 1000)
        return float(page.evaluate("window.benchFound")) / 1000

    def echo(self, which: str) -> float:
        """A letter typed at the prompt; taken away again."""
        taken = self.key(which, "x", r"[#$] x$")
        self.key(which, "Backspace", r"[#$]$")
        return taken

    def line(self, which: str, text: str, shows: str, seconds: float = 120) -> float:
        """Seconds from Enter to what a line shows."""
        self.page.page.keyboard.type(text)
        return self.key(which, "Enter", shows, seconds)

    def frame(self) -> float:
        """The longest frame since the last key, in seconds."""
        return float(self.page.page.evaluate("window.benchFrame")) / 1000

    def cut(self) -> None:
        """No direct path from now on."""
        self.page.page.evaluate(CUT)


@contextmanager
def desk(stage: Stage) -> Iterator[Desk]:
    """JupyterLab with our server extension, a notebook with a shell, and Lab's terminal."""
    with (
        tempfile.TemporaryDirectory(prefix="tfnz-bench-") as home,
        sync_playwright() as driver,
        chromium(driver) as browser,
    ):
        environment = stage.world.environment(TFNZ_LOCATION="podman")
        server = Server("lab", Path(home) / "lab", environment, direct=True)
        try:
            server.write("terminals.ipynb", list(CELLS), "new")
            page = NotebookPage(browser, server, "terminals.ipynb", Path(home)).open()
            try:
                on = Desk(page)
                yield on
                on.focus("ours")
                page.run(4)
            finally:
                page.close()
                server.end_sessions("terminals.ipynb")
        finally:
            server.close()


def during(on: Desk, cell: int, measure: Callable[[], float], times: int) -> list[float]:
    """While a cell runs; as often as that allows."""
    on.focus("ours")
    on.page.start(cell)
    on.focus("ours")
    found: list[float] = []
    while on.page.busy(cell) and len(found) < times:
        found.append(measure())
    if len(found) < times and not on.page.busy(cell) and len(found) > 1:
        found.pop()  # it may have ended meanwhile
    on.page.until(lambda: not on.page.busy(cell), 30, "the cell ended")
    return found


def keystroke(stage: Stage) -> Case:
    """Keystroke to echo."""
    case = Case("keystroke to its echo on the screen", "ms")
    times = stage.rounds(40, 8)
    with desk(stage) as on:
        found: dict[str, list[float]] = {LAB: [], SHELL: []}
        for _ in range(times // 4):
            for name, which in ((LAB, "lab"), (SHELL, "ours")):
                on.focus(which)
                on.echo(which)  # the first after a change of focus is not typing
                found[name] += [on.echo(which) for _ in range(4)]
        found[HELD] = during(on, 3, partial(on.echo, "ours"), times)
        on.cut()
        on.focus("ours")
        on.echo("ours")
        found[KERNEL_IDLE] = [on.echo("ours") for _ in range(times)]
        found[LOOP] = during(on, 2, partial(on.echo, "ours"), times)
    case.series = [Series(name, values) for name, values in found.items()]
    theirs, mine = case[LAB].median, case[SHELL].median
    text = f"{SHELL}: {thousandths(mine)}, at most JupyterLab's {thousandths(theirs)} + 3 ms"
    case.bars.append(Bar(text, mine <= theirs + 0.003))
    for name, limit in ((KERNEL_IDLE, 0.060), (LOOP, 0.080), (HELD, 0.030)):
        at_most(case, name, limit, f"at most {limit * 1000:.0f} ms")
    return case


def control_c(stage: Stage) -> Case:
    """Control-C on what streams, while a cell is busy."""
    case = Case("Control-C on 'yes' to the prompt, while a cell is busy", "ms")
    times = stage.rounds(5, 2)

    def once(on: Desk) -> float:
        on.line("ours", "yes", r"y\ny\ny\ny$")
        return on.key("ours", "Control+c", r"\^C\n.*[#$]$")

    with desk(stage) as on:
        for name in ("ours, direct", "ours, comm"):
            if name.endswith("comm"):
                on.cut()
                on.focus("ours")
            case.series.append(Series(name, during(on, 2, partial(once, on), times)))
            at_most(case, name, 0.300, "at most 300 ms")
    return case


def cat(stage: Stage) -> list[Case]:
    """A large file on the screen."""
    size = stage.rounds(100, 20)
    make = f"yes '{BLOCK}' | head -c {size}000000 > /tmp/tfnz-big; clear; echo made"
    show = "cat /tmp/tfnz-big; echo; echo the''end"
    speed = Case(f"cat of {size} MB to its last line on the screen", "MB/s")
    frames = Case(f"longest frame during cat of {size} MB", "ms")
    longest: dict[str, list[float]] = {LAB: [], SHELL: [], "ours, comm": []}
    with desk(stage) as on:

        def run(name: str) -> float:
            which = "lab" if name == LAB else "ours"
            on.focus(which)
            taken = on.line(which, show, r"\ntheend\n.*[#$]$")
            longest[name].append(on.frame())
            return size / taken

        for which in ("lab", "ours"):
            on.focus(which)
            on.line(which, make, r"made\n.*[#$]$")
        rounds = stage.rounds(3, 1)
        in_turns(speed, {name: partial(run, name) for name in (LAB, SHELL)}, rounds, warm=0)
        on.cut()
        speed.series.append(Series("ours, comm", [run("ours, comm") for _ in range(rounds)]))
        on.focus("lab")
        on.line("lab", "rm /tmp/tfnz-big; clear", r"^.*[#$]$")
    mine, theirs = speed[SHELL].median, speed[LAB].median
    text = f"{SHELL}: {mine / theirs:.2f} x JupyterLab's terminal, at least 1"
    speed.bars.append(Bar(text, mine >= theirs))
    frames.series = [Series(name, values) for name, values in longest.items()]
    for name in (SHELL, "ours, comm"):
        at_most(frames, name, 0.200, "at most 200 ms")
    return [speed, frames]
