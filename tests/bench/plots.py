"""Our plot beside a page that has nothing but uPlot: five lines, ten rows a second, one browser.

What is measured is the CPU time of the browser's renderers and of its GPU process while one of the
pages is open and nothing else is.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from bench.cases import Stage
from bench.measure import Bar, Case, in_turns
from browser.chromium import chromium
from playwright.sync_api import BrowserContext, Page, sync_playwright

from tfnz_notebook._wire.view import VERSION
from tfnz_notebook.widgets.bundle import code

ROOT = Path(__file__).resolve().parents[2]
UPLOT = ROOT / "tfnz_notebook" / "_frontend" / "node_modules" / "uplot" / "dist"
SCRIPT = Path(__file__).with_suffix(".js").read_text("utf-8")
#: Seconds that a page settles, and that are measured.
SETTLE, MEASURED = 3.0, 8.0

BARE, OURS, BLANK = "a bare uPlot page", "ours", "an empty page"


def _bare(page: Page) -> None:
    page.add_style_tag(content=(UPLOT / "uPlot.min.css").read_text("utf-8"))
    page.add_script_tag(content=(UPLOT / "uPlot.iife.min.js").read_text("utf-8"))
    page.evaluate("bare(document.querySelector('#box'))")


def _ours(page: Page) -> None:
    words = "([code, v]) => ours(document.querySelector('#box'), code, v)"
    page.evaluate(words, [code("plot"), VERSION])


def _cpu() -> float:
    """Seconds that renderers and the GPU process of this process's browsers have taken."""
    used = 0.0
    for each in psutil.Process(os.getpid()).children(recursive=True):
        try:
            if {"--type=renderer", "--type=gpu-process"} & set(each.cmdline()):
                times = each.cpu_times()
                used += times.user + times.system
        except psutil.Error:
            continue
    return used


def percent(browser: BrowserContext, begin: Callable[[Page], None]) -> float:
    """Of one core, while such a page is open."""
    page = browser.new_page()
    try:
        page.set_content('<body style="margin:0"><div id="box" style="width:960px"></div>')
        page.add_script_tag(content=SCRIPT)
        begin(page)
        if begin is not _nothing:
            page.wait_for_selector("canvas")
        time.sleep(SETTLE)
        before, since = _cpu(), time.monotonic()
        time.sleep(MEASURED)
        return 100 * (_cpu() - before) / (time.monotonic() - since)
    finally:
        page.close()


def _nothing(_page: Page) -> None:
    pass


def plots(stage: Stage) -> Case:
    """A plot of five series at 10 Hz."""
    return compare(stage.rounds(5, 2))


def compare(rounds: int) -> Case:
    """So many rounds, and the bar."""
    case = Case("CPU of the browser, plot of 5 series at 10 Hz", "%")
    with sync_playwright() as driver, chromium(driver) as browser:
        contestants = {
            BARE: lambda: percent(browser, _bare),
            OURS: lambda: percent(browser, _ours),
            BLANK: lambda: percent(browser, _nothing),
        }
        in_turns(case, contestants, rounds, warm=0)
    ratio = case[OURS].median / case[BARE].median
    case.bars.append(Bar(f"ours: {ratio:.2f} x a bare uPlot page, at most 1.2", ratio <= 1.2))
    return case


if __name__ == "__main__":
    print(*compare(int(sys.argv[1]) if len(sys.argv) > 1 else 3).lines(), sep="\n")
