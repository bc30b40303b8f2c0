"""A shell in a cell."""

import re

import pytest
from integration.polling import Clock

from browser.cells import ASLEEP, BUSY, spawn
from browser.chromium import PATIENCE
from browser.conftest import ONE_WAY, PAIRS, TWO, Open
from browser.notebook_page import CELLS, NotebookPage
from browser.views import Shell

BOX = spawn()

#: A page that is busy: each of its frames is late.
LATE = """
(() => {
  const real = window.tfnzFrame = window.requestAnimationFrame;
  window.requestAnimationFrame = call => setTimeout(() => real(call), 100);
})()
"""
IN_TIME = "window.requestAnimationFrame = window.tfnzFrame"


def shell(page: NotebookPage, cell: int = 1) -> Shell:
    """Run what opens it, and wait for its prompt."""
    page.run(cell)
    return Shell(page, cell).prompt()


@pytest.mark.places(*ONE_WAY, long=PAIRS)
def test_a_shell_is_typed_into_and_ends(notebook: Open) -> None:
    page = notebook(BOX, "s = %tf_shell box")
    page.run(0)
    terminal = shell(page)
    terminal.enter("echo $((6*7)) $TERM", r"^42 xterm-256color$")
    terminal.enter("stty size", r"^\d+ \d+$")
    rows, columns = re.findall(r"^(\d+) (\d+)$", terminal.text(), re.MULTILINE)[-1]
    assert int(rows) == len(terminal.lines())
    assert 60 < int(columns) < 250

    # a narrower page: the program is told
    page.page.set_viewport_size({"width": 900, "height": 900})
    asks = f"until [ $(stty size | cut -d' ' -f2) -lt {columns} ]; do sleep 0.1; done"
    terminal.enter(f"{asks}; echo nar''rower", "^narrower$")
    page.picture("typed")
    terminal.enter("exit 3")
    page.wait_text(1, "exit 3")  # live, or frozen already
    page.picture("ended")


@pytest.mark.places("lab-new-direct", long=["notebook-new-direct"])
def test_colours_and_wide_characters(notebook: Open) -> None:
    page = notebook(BOX, "%tf_shell box")
    page.run(0)
    terminal = shell(page)
    terminal.enter(
        r"clear; printf '\e[38;5;208mORANGE\e[m \e[38;2;1;2;200mBLUE\e[m \e[7mINV\e[m\n'"
    )
    terminal.enter("printf '漢字かな|é|ß|🙂|\\n'", "^漢字かな.é.ß.🙂")
    colour = terminal.root.locator(".xterm-rows span", has_text=re.compile("^ORANGE$")).first
    red, green, blue = re.findall(r"\d+", colour.evaluate("e => getComputedStyle(e).color"))[:3]
    assert int(red) > int(green) > int(blue)
    # a Chinese character takes two columns
    terminal.enter(r"printf '漢字\e[6n'; read -rsd R -t 5 at; echo; echo column ${at#*;}")
    terminal.wait_text(r"^column 5$")
    page.picture("colours")


def test_full_screen_programs(notebook: Open) -> None:
    page = notebook(spawn("busybox"), "%tf_shell box /bin/sh")
    page.run(0)
    terminal = shell(page)
    terminal.enter("echo before; vi /tmp/x", r"^~$")
    terminal.type("ihello from vi")
    terminal.key("Escape")
    terminal.wait_text(r"^- /tmp/x")  # what followed within 50 ms would be a sequence of Escape's
    page.picture("vi")
    terminal.enter(":wq", "^before$")
    terminal.enter("cat /tmp/x", "^hello from vi$")
    assert "~" not in terminal.lines(), "the screen before vi is back"
    terminal.enter("seq 300 | less", r"^1$")
    terminal.type("G")
    terminal.wait_text(r"^300$")
    terminal.key("ArrowUp")
    page.picture("less")
    terminal.type("q")
    terminal.enter("clear; top", "Load average")
    page.picture("top")
    terminal.key("Control+c")
    terminal.enter("echo $((1+1))", "^2$")


@pytest.mark.places("notebook-new-direct", long=TWO)
def test_its_keys_are_its_own_and_there_is_a_way_out(notebook: Open) -> None:
    # without the terminal's own flow control, Control-S is a key like others
    page = notebook(BOX, "%tf_shell box stty -ixon -icanon -echo; cat -v", "# the last cell")
    page.run(0)
    page.run(1)
    terminal = Shell(page, 1).wait()
    terminal.focus()
    cells = page.page.locator(CELLS)
    # in command mode these would delete, insert, restart, save, find, run
    for key in ("d", "d", "b", "0", "0", "Escape", "Control+s", "Control+f", "Shift+Enter", "x"):
        terminal.key(key)
    terminal.wait_text(r"^ddb00\^\[\^S\^F\nx$")
    terminal.key("Tab")
    assert terminal.focused
    assert cells.count() == 3 and page.prompt(2) == "[ ]:"
    assert page.page.locator(".jp-Dialog").count() == 0
    page.picture("keys")

    terminal.key("Control+Alt+Escape")
    page.until(lambda: not terminal.focused, 5, lambda: "the terminal has the focus still")
    page.page.keyboard.press("b")
    page.until(lambda: cells.count() == 4, 5, lambda: f"{cells.count()} cells, not 4")


@pytest.mark.places("lab-old-direct", long=("notebook-old-direct", *TWO, *ONE_WAY))
def test_control_c_at_once_whatever_streams_and_whatever_the_kernel_does(notebook: Open) -> None:
    page = notebook(BOX, "%tf_shell box", BUSY, ASLEEP)
    page.run(0)
    terminal = shell(page)
    for number, cell in enumerate((2, 3)):
        terminal.focus()
        terminal.enter("clear; yes", "^y\ny\ny$")
        page.start(cell)
        page.until(lambda cell=cell: page.busy(cell), 5, "busy")
        terminal.focus()
        with Clock() as clock:
            terminal.key("Control+c")
            terminal.wait_text(r"\^C\n.*[#$] *$", 10)
        assert page.busy(cell), "the cell ended before Control-C was heard"
        assert clock.seconds < 5 * PATIENCE  # how fast it is, the bench measures
        terminal.enter(f"echo $((20+{number}))", f"^{20 + number}$", 5)
        assert page.busy(cell)
        page.interrupt()
        page.until(lambda cell=cell: not page.busy(cell), 10, "interrupted")


@pytest.mark.places("notebook-new-direct", long=TWO)
def test_reload_and_a_second_page_show_what_was_there(notebook: Open) -> None:
    page = notebook(BOX, "%tf_shell box")
    page.run(0)
    terminal = shell(page)
    terminal.enter("for i in $(seq 40); do echo line $i; done", "^line 40$")
    page.save()
    page.reload()
    terminal = Shell(page, 1).wait()
    terminal.wait_text("^line 40\n.*[#$] *$")
    terminal.focus()
    terminal.enter("echo $((100+1))", "^101$")

    other = notebook(again=page)
    second = Shell(other, 1).wait()
    second.wait_text("^101$")
    second.focus()
    second.enter("echo $((100+2))", "^102$")
    terminal.wait_text("^102$")
    other.picture("second")


def test_several_at_once(notebook: Open) -> None:
    page = notebook(BOX, *["%tf_shell box"] * 3)
    page.run(0)
    terminals = [shell(page, cell) for cell in (1, 2, 3)]
    for number, terminal in enumerate(terminals):
        terminal.focus()
        terminal.enter(f"echo this is $(({number}+10))", f"^this is {number + 10}$")
    for number, terminal in enumerate(terminals):
        assert terminal.text().count("this is") == 2  # the command, and what it said
        assert f"this is {number + 10}" in terminal.text()
    page.picture("three")


def test_mouse_and_paste(notebook: Open) -> None:
    page = notebook(BOX, "%tf_shell box")
    page.run(0)
    terminal = shell(page)
    terminal.enter(r"clear; printf '\e[?1000h\e[?1006h\e[?2004hready\n'; cat -v", "^ready$")
    terminal.root.locator(".xterm-screen").click(position={"x": 40, "y": 40})
    terminal.wait_text(r"\^\[\[<0;\d+;\d+M\^\[\[<0;\d+;\d+m")
    page.page.evaluate("navigator.clipboard.writeText('one\\ntwo')")
    terminal.key("Control+Shift+V")
    terminal.wait_text(r"\^\[\[200~one")
    terminal.wait_text(r"two\^\[\[201~")
    page.picture("pasted")


def test_much_output_arrives_in_order_and_complete(notebook: Open) -> None:
    page = notebook(BOX, "s = %tf_shell box")
    page.run(0)
    terminal = shell(page)
    terminal.enter("seq 1 400000; echo $((40+2)) is the end", "^42 is the end$", 60)
    shown = [int(line) for line in terminal.lines() if line.isdigit()]
    assert shown and shown == list(range(shown[0], 400001))


def test_light_and_dark(notebook: Open) -> None:
    page = notebook(BOX, "%tf_shell box")
    page.run(0)
    terminal = shell(page)

    def ground() -> int:
        screen = terminal.root.locator(".tfnz-shell-screen")
        colour = screen.evaluate("e => getComputedStyle(e).backgroundColor")
        return sum(int(part) for part in re.findall(r"\d+", colour)[:3])

    assert ground() > 600
    page.tamper(LATE, IN_TIME)
    page.dark()  # Lab hides all of itself for a frame: who had the focus has it again
    page.until(lambda: ground() < 200, 10, lambda: f"ground {ground()}")
    page.until(lambda: terminal.focused, 5, "it has the focus")
    terminal.enter("ls --color=always /", "etc")
    page.picture("dark")


@pytest.mark.places("lab-old-comm", long=["lab-new-comm"])
def test_after_a_restart_it_says_so_and_how_to_go_on(notebook: Open) -> None:
    page = notebook(BOX, "%tf_shell box")
    page.run(0)
    terminal = shell(page)
    page.restart()
    page.until(
        lambda: "tf_attach" in terminal.root.inner_text(), 30, lambda: terminal.root.inner_text()
    )
    page.picture("restarted")
