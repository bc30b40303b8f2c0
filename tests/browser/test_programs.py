"""Programs that take the whole screen, in a shell in a cell: vim, less, htop, tmux."""

from browser.cells import spawn
from browser.conftest import Open
from browser.views import Shell


def test_vim_less_htop_and_tmux(notebook: Open) -> None:
    page = notebook(spawn(), "%tf_shell box")
    page.run(0)
    page.run(1)
    terminal = Shell(page, 1).prompt()

    terminal.enter("echo before; vim.tiny /tmp/text", r"^~$")
    terminal.type("ihello from vim")
    terminal.key("Escape")
    page.picture("vim")
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
