"""All views in one page: nothing that axe-core finds fault with, and nothing out of reach."""

from collections.abc import Callable

import pytest

from browser.cells import spawn
from browser.conftest import Open
from browser.notebook_page import NotebookPage
from browser.servers import ROOT
from browser.views import Card, Output, Plot, Shell

AXE = ROOT / "tfnz_notebook/_frontend/node_modules/axe-core/axe.min.js"
COLOURS = r"\033[31mred \033[32mgreen \033[33myellow \033[34mblue\033[m\n"
WRITES = f"r'printf \"{COLOURS}\"; echo why >&2; {{}}'"
CELLS = (
    spawn(),
    "box",
    "%tf_ps",
    "%tf_top",
    "box.location",
    "box.node",
    "box.attach_tunnel(80)",
    f"p = box.spawn_process({WRITES.format('cat')}); p",
    "%tf_shell box",
    "%tf_plot box vmstat 1",
    f"q = box.spawn_process({WRITES.format('exit 3')}); q",
    "%tf_spawn debian sh -c 'echo why >&2; exit 4'",
)

#: Its findings in what is ours: in views, and in what takes their place.
FAULTS = """
async () => {
  const include = [['.jp-Notebook .tfnz-view'], ['.jp-Notebook .mathjax_ignore']];
  const {violations} = await axe.run({include}, {resultTypes: ['violations']});
  return violations.flatMap(({id, nodes}) => nodes.map(each =>
    `${id}: ${each.html.slice(0, 200)} ${each.failureSummary}`));
}
"""
#: Controls that are cut off, and names that cannot be read.
CUT = """
() => [...document.querySelectorAll('.jp-Notebook .tfnz-view')].flatMap(view => {
  const inside = view.getBoundingClientRect();
  const cut = [...view.querySelectorAll('button, input, select')].filter(each => {
    const {left, right, width} = each.getBoundingClientRect();
    if (getComputedStyle(each).clipPath !== 'none') return false; // seen when it has the focus
    return width && (left < inside.left || right > inside.right + 0.5 || width < 12);
  });
  const unread = [...view.querySelectorAll('td.tfnz-c-name, .tfnz-explorer .tfnz-strong')]
    .filter(each => each.clientWidth < Math.min(each.scrollWidth, 40));
  return [...cut, ...unread].map(each => `${view.className}: ${each.outerHTML.slice(0, 200)}`);
})
"""


def shown(page: NotebookPage) -> None:
    """Every view is drawn: each is, once it has been seen."""
    for number in range(len(CELLS)):
        page.cell(number).scroll_into_view_if_needed()
    page.page.wait_for_function("document.fonts.status === 'loaded'")


@pytest.mark.places("lab-new-direct")
def test_views_are_for_everybody(notebook: Open) -> None:
    page = notebook(*CELLS)
    drawn: dict[int, Callable[[], object]] = {
        1: lambda: Card(page, 1).wait().wait_text("running"),
        3: lambda: Card(page, 3).wait().wait_text(r"\d+(\.\d+)? ?%"),
        7: lambda: Output(page, 7).wait().wait_text("blue"),
        8: lambda: Shell(page, 8).prompt(),
        9: lambda: Plot(page, 9).wait(),
        10: lambda: page.wait_text(10, "exit 3"),
        11: lambda: page.wait_text(11, "exit 4"),
    }
    for number in range(len(CELLS)):
        page.run(number, 60, fails=None)
        drawn.get(number, lambda: None)()
    page.cell(2).scroll_into_view_if_needed()
    Card(page, 2).root.locator(".tfnz-open", has_text="printf").first.click()
    Card(page, 2).wait_text("blue")
    page.page.add_script_tag(path=AXE)
    try:
        for theme in ("light", "dark"):
            page.dark(on=theme == "dark")
            shown(page)
            page.picture(theme)
            assert page.page.evaluate(FAULTS) == [], theme
        page.page.evaluate("jupyterapp.commands.execute('application:toggle-left-area')")
        for width in (800, 390):  # 1280 at 150 % is 853
            page.page.set_viewport_size({"width": width, "height": 900})
            shown(page)
            Shell(page, 8).focus()
            page.cell(2).scroll_into_view_if_needed()
            page.until(lambda: not page.page.evaluate(CUT), 5, lambda: page.page.evaluate(CUT))
            page.picture(str(width))
    finally:
        page.page.evaluate("jupyterapp.commands.execute('application:toggle-left-area')")
