"""The direct path: where it is, not even a held interpreter or a dead kernel stops a terminal."""

import pytest

from browser.cells import HELD, spawn
from browser.conftest import Open
from browser.views import Output, Shell

BOX = spawn()


@pytest.mark.places("lab-new-direct", long=["notebook-old-direct"])
def test_a_held_interpreter_does_not_stop_what_goes_directly(notebook: Open) -> None:
    page = notebook(
        BOX,
        "p = box.spawn_process('while sleep 0.1; do echo tick $((i+=1)); done'); p",
        "%tf_shell box",
        HELD,
    )
    for cell in (0, 1, 2):
        page.run(cell)
    output = Output(page, 1).wait()
    terminal = Shell(page, 2).prompt()
    page.start(3)
    page.until(lambda: page.busy(3), 5, "held")
    terminal.focus()
    terminal.enter("echo $((6*7))", "^42$", 4)
    last = int(output.text().split()[-1])
    output.wait_text(f"tick {last + 10}", 4)
    assert page.busy(3)
    page.picture("held")


@pytest.mark.places("lab-new-direct", long=["notebook-new-direct"])
def test_a_dead_kernel_does_not_stop_what_goes_directly(notebook: Open) -> None:
    page = notebook(BOX, "%tf_shell box")
    page.run(0)
    page.run(1)
    terminal = Shell(page, 1).prompt()
    page.kill_kernel()
    terminal.focus()
    for number in range(3):
        terminal.enter(f"echo $(({number}+40))", f"^{number + 40}$", 10)
    page.picture("alive")


@pytest.mark.places("lab-new-direct")
def test_what_the_server_forgets_the_kernel_goes_on_with(notebook: Open) -> None:
    """The websocket dies while output streams: the comm takes over, and no line is lost."""
    page = notebook(
        BOX,
        "%tf_shell box",
        "p = box.spawn_process('seq 1 100000000 | while read n; do echo $n; sleep 0.02; done'); p",
    )
    page.run(0)
    page.run(1)
    terminal = Shell(page, 1).prompt()
    page.run(2)
    output = Output(page, 2).wait()
    output.wait_text("\n20\n")
    page.cut_direct()
    output.wait_text("\n200\n", 30)
    numbers = [int(line) for line in output.text().split() if line.isdigit()]
    assert numbers == list(range(1, len(numbers) + 1))
    terminal.focus()
    terminal.enter("echo $((6*7))", "^42$", 10)
    page.picture("changed-over")


@pytest.mark.places("lab-new-direct")
def test_what_is_typed_while_the_websocket_dies_arrives_once(notebook: Open) -> None:
    """The keys that have no answer are said again over the comm, and known again by their names."""
    page = notebook(BOX, "%tf_shell box")
    page.run(0)
    page.run(1)
    terminal = Shell(page, 1).prompt()
    typed = "".join(f"{number}," for number in range(22))
    terminal.enter("echo ready", "^ready$")
    page.cut_direct_in(40)
    terminal.enter(f"echo {typed}", f"^{typed}$")
    assert "Cannot tell" not in page.page.content()
    assert page.page.evaluate("window.tfnzCut"), "it died meanwhile"
    page.picture("typed-over")


@pytest.mark.places("lab-new-comm", "lab-new-direct")
def test_views_go_the_way_that_is_there(notebook: Open) -> None:
    page = notebook(BOX, "p = box.spawn_process('echo hello; sleep 300'); p")
    page.run(0)
    page.run(1)
    Output(page, 1).wait().wait_text("hello")
    if page.server.direct:  # which may come after what the comm has shown
        page.until(lambda: page.direct, 10, "it goes directly")
    else:
        assert not page.direct
