"""What is saved is what was seen: at any moment, in whatever way the page came to it.

A notebook with each kind of view is saved after each of: it ran, it was reloaded, its views were
scrolled out of sight, in a second tab, without our server extension. Then everything ends, and it
is saved again. Each file, read without a kernel, must have what the logs had at that moment.
"""

import json
import re
from typing import Any

import pytest

from browser.cells import spawn
from browser.conftest import Open
from browser.notebook_page import NotebookPage
from browser.views import Card, Output, Plot, Shell

#: Two streams in turns; a word that the test puts there; until it says that it is over.
SCRIPT = (
    "for i in 1 2 3; do echo out $i; sleep 0.05; echo err $i >&2; sleep 0.05; done; "
    "until test -e /tmp/over; do test -e /tmp/word && cat /tmp/word && rm /tmp/word; sleep 0.05; "
    "done; echo the end"
)
FIRST = ["out 1", "err 1", "out 2", "err 2", "out 3", "err 3"]
COUNT = "n=0; until test -e /tmp/over; do echo $((n+=1)); sleep 0.1; done"
COUNTED = f"rows = box.spawn_process({COUNT!r})\nplot = rows.plot(); plot"
SHOWN, FILLED = "shown = %tf_shell box", "\n" * 120
OVER = "box.put('/tmp/over', b'')\n%tf_run box true"
CELLS = (spawn(), f"p = box.spawn_process({SCRIPT!r}); p", SHOWN, COUNTED, "box", FILLED, OVER)
OUTPUT, SHELL, PLOT, CARD, LONG, END = range(1, 7)


def text(cell: Any) -> str:
    """What a reader without a kernel and without JavaScript has of a cell."""
    found = ("".join(each.get("data", {}).get("text/plain", "")) for each in cell.outputs)
    return "\n".join(filter(None, found))


def html(cell: Any) -> str:
    return "\n".join("".join(each.get("data", {}).get("text/html", "")) for each in cell.outputs)


def say(page: NotebookPage, word: str) -> None:
    """Have the process write it, and the shell, whatever is in sight."""
    page.page.evaluate(
        """async code => {
          const { sessionContext } = window.jupyterapp.shell.currentWidget.context;
          const { kernel } = sessionContext.session;
          const { content } = await kernel.requestExecute({ code, silent: true }).done;
          if (content.status !== 'ok') throw new Error(content.evalue);
        }""",
        f"box.put('/tmp/word', {word!r}.encode() + b'\\n')\n"
        f"shown.stdin(b'echo {word[:2]}\\'\\'{word[2:]}\\n')\n"
        "import time\n"
        f"while {word!r}.encode() not in p.log() or {word!r}.encode() not in shown.log():"
        " time.sleep(0.02)",
    )


@pytest.mark.places("lab-new-direct", long=["lab-new-comm", "notebook-new-direct"])
def test_saved_at_any_moment_it_is_what_the_logs_had(notebook: Open) -> None:
    page = notebook(*CELLS)
    for cell in range(CARD + 1):
        page.run(cell)
    Output(page, OUTPUT).wait().wait_text("err 3")
    Shell(page, SHELL).wait().wait_text(r"[#$] *$")
    Plot(page, PLOT).wait()
    Card(page, CARD).wait().wait_text("running")
    said: list[str] = []

    def saved(how: str, at: NotebookPage) -> None:
        said.append(f"after-{how}")
        say(at, said[-1])
        written = at.save()
        lines = text(written.cells[OUTPUT]).splitlines()
        assert lines[: len(FIRST)] == FIRST, how
        assert lines[len(FIRST) : -1] == said, how
        assert "running when last seen" in lines[-1], how
        assert re.search(rf"^{said[-1]}$", text(written.cells[SHELL]), re.MULTILINE), how
        assert said[-1] in html(written.cells[SHELL]) and said[-1] in html(written.cells[OUTPUT])
        assert "data:image/png" in html(written.cells[PLOT]), how
        assert "running" in text(written.cells[CARD]), how

    saved("run", page)
    page.reload()
    Output(page, OUTPUT).wait().wait_text(said[-1])
    saved("reload", page)
    page.cell(END).scroll_into_view_if_needed()

    def rests() -> bool:
        """Nobody sees it, and it is sent nothing more."""
        said.append(f"unseen-{len(said)}")
        say(page, said[-1])
        return said[-1] not in Output(page, OUTPUT).text()

    page.until(rests, 20, "a view out of sight rests")
    saved("scrolled away", page)
    second = notebook(again=page)
    Output(second, OUTPUT).wait().wait_text(said[-1])
    saved("second tab", second)

    second.run(END)
    for cell in (OUTPUT, PLOT):
        second.until(
            lambda cell=cell: "widget-view" not in json.dumps(second.kept(cell)), 30, "over"
        )
    last = second.save()
    lines = text(last.cells[OUTPUT]).splitlines()
    assert lines[:-1] == [*FIRST, *said, "the end"]
    assert "exit 0" in lines[-1] and "last seen" not in lines[-1]
    assert any("image/png" in each.get("data", {}) for each in last.cells[PLOT].outputs)
