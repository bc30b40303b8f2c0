"""Magics, as they are typed into cells."""

import pytest

from browser.cells import LOAD, spawn
from browser.conftest import OTHER_WAY, Open
from browser.views import Output, Shell

BOX = spawn()
CAUGHT = "trap 'echo caught; exit 7' INT; while sleep 0.1; do echo tick $((i+=1)); done"


@pytest.mark.places("lab-old-comm", long=["lab-new-comm", "notebook-old-direct", *OTHER_WAY])
def test_run_waits_streams_and_is_interrupted(notebook: Open) -> None:
    page = notebook(
        BOX,
        f"r = %tf_run box {CAUGHT}",
        "r.returncode",
        "%tf_run box trap '' INT; echo stubborn; sleep 300",
    )
    page.run(0)
    page.start(1)
    view = Output(page, 1).wait()
    view.wait_text("tick 5")
    assert page.busy(1)
    page.picture("running")
    page.interrupt()
    page.until(lambda: not page.busy(1), 15, "interrupted once")
    page.wait_text(1, "caught")
    page.wait_text(1, "exit 7")

    page.start(3)
    page.wait_text(3, "stubborn")
    page.interrupt()
    page.until(lambda: page.busy(3), 3, "it goes on")
    page.interrupt()
    page.until(lambda: not page.busy(3), 15, lambda: f"killed; {page.text(3)}")
    page.wait_text(3, "SIGKILL")
    page.picture("interrupted")


@pytest.mark.places("lab-old-comm", long=["notebook-old-comm"])
def test_an_old_kernel_hears_the_page_while_its_cell_waits(notebook: Open) -> None:
    """ipykernel 6 has no subshells: what is typed and clicked takes the control channel."""
    page = notebook(BOX, "r = %tf_run -i box while read line; do echo got $line; done; echo over")
    page.run(0)
    page.start(1)
    view = Output(page, 1).wait()
    view.root.get_by_role("textbox").first.click()
    for word in ("first", "second"):
        page.page.keyboard.type(word)
        page.page.keyboard.press("Enter")
        view.wait_text(f"got {word}")
    assert page.busy(1)
    assert page.kernel_status() == "busy", "the page takes the kernel for idle"
    page.picture("typed")
    view.press("end of input|eof|end stdin")
    page.until(lambda: not page.busy(1), 15, "the input's end ends it")
    page.wait_text(1, "over")
    page.wait_text(1, "exit 0")


def test_results_errors_and_interpolation(notebook: Open) -> None:
    page = notebook(
        BOX,
        "word = 'hello'\np = %tf_run box echo $word {6*7}",
        "p.stdout",
        "%tf_run box echo out; echo bad >&2; exit 5",
        "q = %tf_run --check=no box exit 6",
        "q.returncode",
        "%tf_run --timeout 1 box sleep 60",
        "%%tf_run box python3\nimport os\nprint('python', os.getpid() > 0, '$word')",
        "%%tf_spawn debian\necho in a sandbox; exit 0",
        "d = %tf_run -d box sleep 1; echo later",
        "%tf_run -t box test -t 0 && echo a terminal",
    )
    page.run(0)
    page.run(1)
    page.wait_text(1, "hello 42")
    page.run(2)
    page.wait_text(2, r"b'hello 42\n'")
    page.run(3, fails=True)
    page.wait_text(3, "exit 5")
    (error,) = page.errors(3)
    assert "5" in error and "bad" in error
    assert len(error.splitlines()) < 12, error
    page.run(4)
    page.run(5)
    page.wait_text(5, "6")
    page.run(6, fails=True)
    page.wait_text(6, "timed out")
    page.run(7)
    page.wait_text(7, "python True $word")
    page.run(8)
    page.wait_text(8, "in a sandbox")
    page.run(9)
    page.wait_text(9, "later")
    page.run(10)
    page.wait_text(10, "a terminal")
    page.picture("ran")


BAD = {
    "%tf_run nosuchcontainer ls": "nosuchcontainer",
    "%tf_spawn": "IMAGE",
    "%tf_spawn --pull never nosuchimage": "nosuchimage",
    "%tf_signal box NOSUCHSIGNAL": "NOSUCHSIGNAL",
    "%tf_shell nosuchcontainer": "nosuchcontainer",
    "%tf_connect nosuchplace": "nosuchplace",
    "%tf_run --nosuchflag box ls": "nosuchflag",
    "%tf_get box /no/such/file": "/no/such/file",
    "%tf_logs nosuchcontainer": "nosuchcontainer",
    "%tf_run": "CONTAINER",
}


def test_bad_input_is_told_in_one_sentence(notebook: Open) -> None:
    page = notebook(BOX, *BAD)
    page.run(0)
    for number, (line, what) in enumerate(BAD.items(), 1):
        page.run(number, fails=None)
        page.wait_text(number, what)
        shown = page.text(number)
        assert len(shown.splitlines()) < 15, f"{line}\n{shown}"
        assert "SystemExit" not in shown and "site-packages" not in shown, shown
    page.picture("bad")


@pytest.mark.places("lab-new-direct", long=["notebook-new-direct"])
def test_tab_completes(notebook: Open) -> None:
    page = notebook(
        BOX, "%tf_run b", "%tf_spawn --na", "%tf_get box /etc/host", "%tf_signal box TE"
    )
    page.run(0)
    for number, what in enumerate(("box", "--name", "/etc/hosts", "TERM"), 1):
        page.type(number, "")
        page.page.keyboard.press("Tab")
        page.until(
            lambda n=number, w=what: (
                w in page.cell(n).locator(".cm-content").inner_text()
                or w in " ".join(page.page.locator(".jp-Completer").all_inner_texts())
            ),
            10,
            lambda n=number: page.cell(n).locator(".cm-content").inner_text(),
        )
        page.picture(f"tab-{number}")
        page.page.keyboard.press("Escape")


def test_help_and_files(notebook: Open, tmp_path: object) -> None:
    page = notebook(
        BOX,
        "import pathlib; pathlib.Path('mine.txt').write_text('from here');",
        "%tf_put box mine.txt /tmp/theirs.txt",
        "%tf_run box cat /tmp/theirs.txt",
        "%tf_get box /etc/passwd got.txt",
        "print(pathlib.Path('got.txt').read_text()[:5])",
        "%tf_spawn?",
        "%tf_logs box",
        "%tf_stop box",
    )
    for cell in range(7):
        page.run(cell)
    page.wait_text(3, "from here")
    page.wait_text(5, "root:")
    for cell in (7, 8):
        page.run(cell)
    page.picture("files")


def test_terminal_programs_with_run_t(notebook: Open) -> None:
    page = notebook(f"{LOAD}\nbox = %tf_spawn -z busybox", "%tf_run -d -t box top")
    page.run(0, 60)
    page.run(1)
    view = Shell(page, 1).wait()
    view.wait_text("Load average")
    view.focus()
    view.key("q")
    page.wait_text(1, "exit 0")
