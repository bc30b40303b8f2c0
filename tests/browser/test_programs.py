"""Programs that take the whole screen, in a shell in a cell: vim, less, htop, tmux."""

from browser.cells import spawn
from browser.chromium import SIZE
from browser.conftest import Open
from browser.notebook_page import NotebookPage
from browser.views import Shell


def saved(page: NotebookPage, terminal: Shell) -> list[str]:
    """The screen, as the notebook has it once it is saved."""
    page.save()
    twin = page.outputs(1).locator("[class*=tfnz-static-] pre").evaluate("e => e.textContent")
    rows = [row.rstrip() for row in str(twin).removesuffix("\n").split("\n")]
    terminal.focus()
    return rows


def test_vim_less_htop_and_tmux(notebook: Open) -> None:
    page = notebook(spawn(), "%tf_shell box")
    page.run(0)
    page.run(1)
    terminal = Shell(page, 1).prompt()

    terminal.enter("echo before; vim.tiny /tmp/text", r"^~$")
    terminal.type("ihello from vim")
    terminal.key("Escape")
    page.picture("vim")
    # In a page that has become narrow what is saved is what is seen, row by row.
    page.page.set_viewport_size({"width": 700, "height": 900})

    def as_seen() -> bool:
        rows = saved(page, terminal)
        return "hello from vim" in rows and rows == terminal.lines()

    page.until(as_seen, 20, terminal.text)
    page.page.set_viewport_size(SIZE)
    terminal.enter(":wq", "^before$")
    terminal.enter("cat /tmp/text", "^hello from vim$")
    assert "~" not in terminal.lines(), "the screen before vim is back"

    terminal.enter("seq 300 | less", "^1$")
    terminal.type("G")
    terminal.wait_text("^300$")
    terminal.type("q")

    terminal.enter("clear; htop", "Load average")
    terminal.wait_text("F10Quit|F10 Quit")
    page.picture("htop")
    terminal.key("F10")
    terminal.wait_text(r"^root@\S+:\S*# ?$")

    terminal.enter("tmux new -s one", r"^\[one\]|\[one\] ")
    terminal.enter("echo in tmux $((40 + 2))", "^in tmux 42")
    terminal.key("Control+b")
    terminal.type('"')  # two panes, one above the other
    terminal.wait_text(r"^─{9}[\s\S]*^root@\S+:\S*#")
    terminal.enter("echo below", "^below")
    page.picture("tmux")
    terminal.enter("tmux kill-server", r"\[(server )?exited\]")
