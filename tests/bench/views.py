"""Output views in a real page: a flood, twenty at once, and how soon they are drawn."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from bench.cases import Stage
from bench.measure import Bar, Case, Series, at_most
from browser.cells import spawn
from browser.chromium import chromium
from browser.notebook_page import NotebookPage
from browser.servers import Server
from browser.views import Output
from integration.beside import Beside
from playwright.sync_api import sync_playwright

#: What writes so many megabytes, as fast as a shell's tools can, and then a line to look for.
FLOOD = "yes 0123456789abcdefghijklmnopqrstuvwxyz | head -c {size}000000; echo; echo the end"
VIEWS, MEASURED = 20, 10.0
TICK = "while sleep 0.1; do echo a line of an ordinary length, as a program writes it; done"

#: From a cell's first output to the frame in which a view is drawn.
PAINT = """
const seen = window.benchPaint = {};
new MutationObserver(() => {
  const now = performance.now();
  const output = document.querySelector('.jp-OutputArea-child');
  if (output && seen.output === undefined) seen.output = now;
  const view = document.querySelector('.tfnz-view');
  if (view && view.textContent && seen.view === undefined)
    requestAnimationFrame(() => { seen.view ??= performance.now(); });
}).observe(document.body, {childList: true, subtree: true, characterData: true});
"""


@contextmanager
def notebook(stage: Stage, *cells: str, where: str = "podman") -> Iterator[NotebookPage]:
    """JupyterLab with our server extension on a notebook; the last cell has been run at the end."""
    with (
        tempfile.TemporaryDirectory(prefix="tfnz-bench-") as home,
        sync_playwright() as driver,
        chromium(driver) as browser,
    ):
        environment = stage.world.environment(TFNZ_LOCATION=where)
        server = Server("lab", Path(home) / "lab", environment, direct=True)
        try:
            server.write("views.ipynb", [*cells, "location.disconnect()"], "new")
            page = NotebookPage(browser, server, "views.ipynb", Path(home)).open()
            try:
                page.run(0)
                yield page
                page.run(len(cells))
            finally:
                page.close()
                server.end_sessions("views.ipynb")
        finally:
            server.close()


def _renderers() -> list[psutil.Process]:
    found = []
    for each in psutil.Process(os.getpid()).children(recursive=True):
        try:
            if "--type=renderer" in each.cmdline():
                found.append(each)
        except psutil.Error:
            continue
    return found


def _mib(process: psutil.Process) -> float:
    return float(process.memory_full_info().uss) / (1 << 20)


class Peak(Beside):
    """The most memory that a kernel and the page took beyond what they had; in MiB."""

    period = 0.2

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self._kernel = psutil.Process(kernel)
        self._page = max(_renderers(), key=_mib)
        self._before = _mib(self._kernel)
        self.kernel = self.page = 0.0

    def look(self) -> None:
        self.kernel = max(self.kernel, _mib(self._kernel) - self._before)
        self.page = max(self.page, _mib(self._page))


def flood(stage: Stage) -> list[Case]:
    """A gigabyte that somebody looks at, beside one that nobody does."""
    size = stage.rounds(1000, 200)
    speed = Case(f"{size} MB from a process, seen in an output view", "s")
    memory = Case("most memory meanwhile", "MiB")
    command = FLOOD.format(size=size)
    unseen = f"p = box.spawn_process({command!r}); p.wait(); print(round(p._info['ran'], 3))"
    seen = f"p = box.spawn_process({command!r}); p"
    with notebook(stage, spawn(), unseen, seen, "print(round(p._info['ran'], 3))") as page:
        values: dict[str, list[float]] = {"nobody looks": [], "in a view": []}
        peaks: dict[str, list[float]] = {"the kernel, more than before": [], "the page": []}
        whole = True
        for _ in range(stage.rounds(3, 1)):
            page.run(1, 300)
            values["nobody looks"].append(float(page.text(1).split()[-1]))
            with Peak(page.server.kernel_pid(page.name)) as peak:
                page.run(2)
                # On a line of its own: the command, which is shown too, has these words.
                page.until(lambda: "\nthe end" in page.text(2), 300, "all of it is shown")
            page.wait_text(2, "exit 0")
            whole = whole and "\nthe end" in page.text(2)
            page.run(3)
            values["in a view"].append(float(page.text(3).split()[-1]))
            peaks["the kernel, more than before"].append(peak.kernel)
            peaks["the page"].append(peak.page)
    speed.series = [Series(name, found) for name, found in values.items()]
    ratio = speed["in a view"].median / speed["nobody looks"].median
    speed.bars.append(Bar(f"full speed: {ratio:.2f} x the time that it takes unseen", ratio <= 1.1))
    speed.bars.append(Bar("the end is shown", whole))
    memory.series = [Series(name, found) for name, found in peaks.items()]
    for name, limit in (("the kernel, more than before", 50.0), ("the page", 200.0)):
        found = memory[name].median
        memory.bars.append(Bar(f"{name}: {found:.0f} MiB, at most {limit:.0f}", found <= limit))
    return [speed, memory]


def twenty_views(stage: Stage) -> Case:
    """Twenty views, ten lines a second each."""
    case = Case(f"CPU of one core, {VIEWS} output views at 10 lines/s", "%")
    cells = [f"box.spawn_process({TICK!r})"] * VIEWS
    with notebook(stage, spawn(), *cells) as page:
        for number in range(1, VIEWS + 1):
            page.run(number)
        Output(page, VIEWS).wait().wait_text("a line")
        kernel = psutil.Process(page.server.kernel_pid(page.name))
        browser = of_the_browser()
        found: dict[str, list[float]] = {"the browser": [], "the kernel": []}
        for _ in range(stage.rounds(3, 1)):
            time.sleep(2)
            before, since = _cpu([kernel]), time.monotonic()
            found["the browser"].append(used(browser))
            passed = time.monotonic() - since
            found["the kernel"].append(100 * (_cpu([kernel]) - before) / passed)
    case.series = [Series(name, values) for name, values in found.items()]
    for name, limit in (("the browser", 30.0), ("the kernel", 10.0)):
        median = case[name].median
        case.bars.append(Bar(f"{name}: {median:.1f} %, below {limit:.0f} %", median < limit))
    return case


def of_the_browser() -> list[psutil.Process]:
    """Its processes, all of them."""
    children = psutil.Process(os.getpid()).children(recursive=True)
    return [each for each in children if "chrom" in each.name()]


def used(processes: list[psutil.Process]) -> float:
    """What they take of one core, in %."""
    before, since = _cpu(processes), time.monotonic()
    time.sleep(MEASURED)
    return 100 * (_cpu(processes) - before) / (time.monotonic() - since)


def _cpu(processes: list[psutil.Process]) -> float:
    used = 0.0
    for each in processes:
        try:
            times = each.cpu_times()
        except psutil.Error:
            continue
        used += times.user + times.system
    return used


def paint(stage: Stage) -> list[Case]:
    """From an output to its view, and a page that is loaded again."""
    first = Case("first paint of a view, from the cell's output on", "ms")
    again = Case("views drawn after a reload, from the notebook's cells on", "s")
    kinds = {
        "output": f"box.spawn_process({TICK!r})",
        "shell": "box.spawn_shell()",
        "plot": "plot = %tf_plot box vmstat 1",
        "card": "box",
    }
    with notebook(stage, spawn(), *(2 * list(kinds.values()))) as page:
        for number, name in enumerate(2 * list(kinds), 1):
            page.page.evaluate(
                "document.querySelectorAll('.tfnz-view').forEach(e => e.className = 'seen')"
            )
            page.page.evaluate(PAINT.replace(".jp-OutputArea-child", _output(number)))
            page.run(number)
            page.page.wait_for_function("window.benchPaint.view")
            told = page.page.evaluate("window.benchPaint")
            if name not in first:
                first.series.append(Series(name, []))
            first[name].values.append((told["view"] - told["output"]) / 1000)
        for name in kinds:
            at_most(first, name, 0.300, "at most 300 ms")
        again.series = [Series("8 views", [])]
        page.save()
        for _ in range(stage.rounds(3, 1)):
            page.page.reload()
            page.page.locator(".jp-Notebook .jp-Cell").first.wait_for()
            since = time.monotonic()
            page.page.wait_for_function(
                "[...document.querySelectorAll('.tfnz-view')].filter(e => e.textContent).length"
                f" >= {2 * len(kinds)}",
                timeout=60_000,
            )
            again["8 views"].values.append(time.monotonic() - since)
            page.wait_idle()
        at_most(again, "8 views", 2.0, "at most 2 s")
    return [first, again]


def _output(cell: int) -> str:
    """The selector of a cell's first output; a notebook's cells are numbered from 0 in its page."""
    return f'.jp-Cell[data-windowed-list-index="{cell}"] .jp-OutputArea-child'
