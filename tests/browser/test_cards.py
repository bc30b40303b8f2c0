"""Objects show themselves; tables and controls."""

import pytest

from browser.cells import LOAD, spawn
from browser.conftest import Open
from browser.views import Card, Output, Shell

BOX = spawn()

# At each frame: where the controls of cards are in them, by control.
LOOK = """
(() => {
  const places = new Map();
  let on = true;
  const look = () => {
    for (const each of document.querySelectorAll('.tfnz-explorer .tfnz-status button')) {
      const card = each.closest('.tfnz-explorer').getBoundingClientRect();
      const {left, top, width} = each.getBoundingClientRect();
      if (!width) continue;
      if (!places.has(each)) places.set(each, new Set());
      places.get(each).add(`${left - card.left} ${top - card.top} ${width}`);
    }
    if (on) requestAnimationFrame(look);
  };
  look();
  window.tfnzLook = (more) => {
    on = more;
    return [...places.values()].map(each => [...each]);
  };
})()
"""


def test_a_container_shows_itself_and_is_controlled(notebook: Open) -> None:
    page = notebook(
        f"{LOAD}\nweb = %tf_spawn nginx", "web", "location = web.location; location", "web.node"
    )
    page.page.evaluate(LOOK)
    page.run(0, 60)
    card = Card(page, 0).wait()
    for what in ("running", "nginx", r"CPU\s+\d", "ports", "0 B/s"):
        card.wait_text(what)
    places = page.page.evaluate("tfnzLook(false)")
    assert len(places) == 4 and all(len(each) == 1 for each in places), "a control moved"
    page.picture("card")
    page.run(0, 60)  # again: what its cell made is replaced
    page.wait_text(0, "replaced web")
    Card(page, 0).wait().wait_text("running")
    page.picture("replaced")
    for cell in (1, 2, 3):
        page.run(cell)
        Card(page, cell).wait()
    there = Card(page, 2).root.locator("td.tfnz-c-name")
    page.until(lambda: there.count() == 1, 15, lambda: str(there.all_inner_texts()))
    page.picture("objects")
    Card(page, 1).press("destroy")
    # it asks first, in the card
    page.until(lambda: Card(page, 1).button("destroy now").is_visible(), 5, "it asks first")
    Card(page, 1).press("destroy now")
    page.wait_text(1, "destroyed", 30)
    page.wait_text(0, "destroyed", 30)


def test_a_card_that_is_stopped_and_destroyed_keeps_what_it_showed(notebook: Open) -> None:
    page = notebook(f"{LOAD}\nbox = %tf_spawn -d debian sh -c 'seq 1 3; sleep 1000'", "box")
    page.run(0, 60)
    page.run(1)
    card = Card(page, 1).wait()
    card.wait_text("sleep 1000")
    card.press("show the end")
    card.wait_text("1\n2\n3")
    page.picture("open")
    card.press("^stop .* main process")
    card.wait_text("SIGTERM")
    Card(page, 0).wait_text("1\n2\n3")  # it grows with its last words; the other had them open
    page.picture("stopped")
    assert not card.root.get_by_role("alert").is_visible(), "what was asked for was done"
    live = card.root.bounding_box()
    card.press("^destroy ")
    card.press("destroy now")
    frozen = page.outputs(1).locator(".jp-OutputArea-output > .mathjax_ignore > div").first
    page.until(lambda: frozen.is_visible() and "destroyed" in frozen.inner_text(), 30, "frozen")
    for what in ("sleep 1000", "SIGTERM", "1\n2\n3"):
        assert what in frozen.inner_text()
    page.picture("destroyed")
    still = frozen.bounding_box()
    assert live and still
    for key in ("x", "y", "width", "height"):  # nothing jumps at the end
        assert abs(live[key] - still[key]) <= 1, (live, still)  # type: ignore[literal-required]


@pytest.mark.places("lab-new-direct")
def test_a_paused_container_looks_paused(notebook: Open) -> None:
    page = notebook(BOX, "box", "box.pause()", "box.unpause()")
    page.run(0, 60)
    page.run(1)
    card = Card(page, 1).wait()
    card.wait_text("running")
    page.run(2)
    card.wait_text("paused")
    page.picture("paused")
    page.run(3)
    card.wait_text("running")


@pytest.mark.places("lab-new-direct", long=["notebook-new-direct"])
def test_a_table_of_what_runs(notebook: Open) -> None:
    page = notebook(BOX, "%tf_ps", "p = box.spawn_process('sleep 4321');", "%tf_top")
    page.run(0)
    page.run(1)
    table = Card(page, 1).wait()
    table.wait_text("debian")
    page.run(2)
    table.wait_text("sleep 4321")
    page.picture("ps")
    page.run(3)
    Card(page, 3).wait().wait_text(r"\d+(\.\d+)? ?%")
    page.picture("top")
    table.root.get_by_role("row", name="sleep 4321").get_by_role("button").last.click()
    table.until(
        lambda: (
            "sleep 4321" not in table.text() or "SIG" in table.text() or "signal" in table.text()
        ),
        15,
        table.text,
        "it was ended",
    )
    page.picture("ended")


def test_open_shows_a_port(notebook: Open) -> None:
    page = notebook(f"{LOAD}\nweb = %tf_spawn nginx", "t = %tf_open web 80", "t")
    page.run(0, 60)
    page.run(1)
    card = Card(page, 1).wait()
    frame = card.root.frame_locator("iframe").first
    frame.get_by_text("Welcome to nginx").first.wait_for()
    assert "allow-top-navigation" not in (
        card.root.locator("iframe").first.get_attribute("sandbox") or ""
    )
    page.picture("open")
    page.run(2)
    Card(page, 2).wait().wait_text("80")


def test_a_container_that_fails_says_why(notebook: Open) -> None:
    page = notebook(
        f"{LOAD}\n%tf_spawn --pull never no-such-image",
        "%tf_spawn debian sh -c 'echo why >&2; exit 4'",
    )
    page.run(0, 60, fails=True)
    assert "no-such-image" in page.text(0)
    page.run(1, 60, fails=None)
    page.wait_text(1, "why")
    page.wait_text(1, "exit 4")
    page.picture("failed")


@pytest.mark.docker
def test_the_same_on_docker(notebook: Open) -> None:
    page = notebook(
        f"{LOAD}\n%tf_connect docker\nbox = %tf_spawn -z debian",
        "%tf_run box echo on docker",
        "%tf_shell box",
    )
    page.run(0, 90)
    Card(page, 0).wait().wait_text("running")
    page.run(1)
    page.wait_text(1, "on docker")
    page.run(2)
    terminal = Shell(page, 2).prompt()
    terminal.enter("echo $((6*7))", "^42$")
    page.picture("docker")


@pytest.mark.long  # what two kernels know of one container, tests without a page prove
def test_two_kernels_on_one_container(notebook: Open) -> None:
    connect = f"{LOAD}\n%tf_connect podman --session shared-by-two"
    first = notebook(
        connect,
        "%tf_spawn -z --name tfnz-shared debian\nimport tfnz_notebook",
        "p = %tf_run -d tfnz-shared while sleep 0.2; do echo tick $((i+=1)); done",
    )
    first.run(0)
    first.run(1, 60)
    first.run(2)
    Output(first, 2).wait().wait_text("tick 2")
    second = notebook(
        connect, "%tf_attach", "%tf_attach shared-by-two tfnz-shared", "%tf_stop tfnz-shared"
    )
    second.run(0)
    second.run(1)
    second.wait_text(1, "tfnz-shared")
    second.run(2)
    second.wait_text(2, "tick 1")
    second.picture("attached")
    second.run(3)
    Output(first, 2)
    first.wait_text(2, "SIG", 30)
