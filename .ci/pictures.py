"""Takes the README's pictures, of the real thing: ``python .ci/pictures.py OUTPUT_DIRECTORY``.

Opens notebooks in JupyterLab in Debian's Chromium, runs their cells on the first engine that
answers, and keeps what is seen: the notebook, without the page around it, in few colours.
"""

import re
import sys
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import BrowserContext, ViewportSize, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from browser.chromium import chromium
from browser.notebook_page import NotebookPage
from browser.servers import Server
from browser.views import Card, Plot, Shell
from integration.world import World

#: CSS pixels; what a README shows, and twice as sharp displays do.
SIZE: ViewportSize = {"width": 980, "height": 1400}
SCALE = 1.5
MOST_BYTES = 150_000
#: Seconds until a plot has something to show.
PLOTTED = 42

LOAD = "%load_ext tfnz_notebook"
PLOT = (
    f"{LOAD}\n%tf_ps",  # the agent is there, and the next cell need not say that it starts
    "web = %tf_spawn nginx",
    """\
load = web.spawn_process('for n in $(seq 9); do sleep 3; timeout $n yes >/dev/null; done')
plot = %tf_plot web --columns cpu --window 40""",
    """\
import time
time.sleep(60)  # the cell is busy; the views go on""",
)
SHELL = (
    f"""\
{LOAD}
web = %tf_spawn nginx
load = web.spawn_process('while :; do head -c 99999999 /dev/urandom | gzip -9 >/dev/null; done')""",
    """\
web.spawn_process('nginx -t && for i in 3 2 1; do echo reload in $i; sleep 1; done; '
                  'nginx -s reload')""",
    "shell = %tf_shell web",
)


def _bare(page: NotebookPage) -> None:
    """Nothing but the notebook: no side bar, no status bar, no shadow of the last cell."""
    page.page.evaluate("window.jupyterapp.shell.collapseLeft()")
    page.page.add_style_tag(
        content=".jp-SideBar, .jp-NotebookPanel-footer, .jp-Notebook-footer, #jp-bottom-panel,"
        "#jp-main-statusbar, .jp-Collapser, .jp-cell-menu, .jp-Toolbar.jp-cell-toolbar"
        "{ display: none !important } .jp-Cell { padding-bottom: 10px !important }"
    )


def _keep(page: NotebookPage, cells: range, path: Path) -> None:
    """The cells as one picture, small enough for a page that is read over a telephone."""
    page.page.evaluate("document.activeElement?.blur()")
    boxes = [page.cell(number).bounding_box() for number in cells]
    top = min(box["y"] for box in boxes if box)
    bottom = max(box["y"] + box["height"] for box in boxes if box)
    left = min(box["x"] for box in boxes if box)
    right = max(box["x"] + box["width"] for box in boxes if box)
    clip = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    picture = Image.open(BytesIO(page.page.screenshot(clip=clip))).convert("RGB")
    path.parent.mkdir(parents=True, exist_ok=True)
    for colours in (256, 128, 64, 32):
        picture.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= MOST_BYTES:
            break
    print(f"{path}: {picture.width} x {picture.height}, {path.stat().st_size // 1000} kB")


def _plot(page: NotebookPage, path: Path) -> None:
    for cell in range(3):
        page.run(cell)
    Card(page, 1).wait().wait_text("running")
    plot = Plot(page, 2).wait()

    def rows() -> int:
        found = re.search(r"(\d+) rows", plot.root.inner_text())
        return int(found[1]) if found else 0

    page.start(3)
    page.until(lambda: rows() >= PLOTTED, 3 * PLOTTED, "there is something to see")
    _keep(page, range(1, 4), path / "plot.png")
    page.interrupt()


def _shell(page: NotebookPage, path: Path) -> None:
    for cell in range(3):
        page.run(cell)
    shell = Shell(page, 2).prompt()
    shell.enter("htop", r"gzip -9")
    shell.wait_text(r"[1-9][\d.]*%\]")
    page.wait_text(1, "exit 0")
    _keep(page, range(1, 3), path / "shell.png")
    shell.type("q")


def _take(
    context: BrowserContext, server: Server, cells: list[str], scene: Callable[..., None], out: Path
) -> None:
    name = f"{scene.__name__.strip('_')}.ipynb"
    server.write(name, cells)
    page = NotebookPage(context, server, name, out / name)
    try:
        page.open()
        _bare(page)
        scene(page, out)
    finally:
        page.close()
        server.end_sessions(name)


def main(out: Path) -> None:
    """Take all."""
    world = World(TFNZ_SESSION_GRACE="5")
    with (
        tempfile.TemporaryDirectory() as home,
        sync_playwright() as driver,
        chromium(driver, SIZE, SCALE) as context,
    ):
        server = Server("lab", Path(home), world.environment(), direct=True)
        try:
            _take(context, server, [*PLOT], _plot, out)
            _take(context, server, [*SHELL], _shell, out)
        finally:
            server.close()
            world.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
