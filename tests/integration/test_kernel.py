"""In a real ipykernel: where and when callbacks print, what an interrupt does, how sessions end."""

from collections.abc import Iterator

import pytest
from integration.notebook import Notebook
from integration.polling import until
from integration.world import World

pytestmark = pytest.mark.engines("host", "podman", "docker", anywhere=True)

OPEN = """
import asyncio, time
from tfnz_notebook.location import Location
location = Location()
container = location.best_node().spawn_container("debian", sleep=True).wait_until_ready()
def show(process, data):
    print(data.decode(), end="")
def over(process, returncode):
    print(f"ended with {returncode}")
"""
COUNT = "for i in 1 2 3 4 5 6; do echo $i; sleep 0.2; done"
COUNTED = "1\n2\n3\n4\n5\n6\n"


@pytest.fixture(scope="module")
def notebook(world: World, where: str) -> Iterator[Notebook]:
    with Notebook(world, where) as opened:
        opened.run(OPEN)
        yield opened
        opened.run("location.disconnect()")


def spawn(command: str = COUNT) -> str:
    callbacks = "data_callback=show, termination_callback=over"
    return f"p = container.spawn_process({command!r}, {callbacks})"


def test_output_appears_under_the_cell_that_spawned_it(notebook: Notebook) -> None:
    first = notebook.run(spawn())
    second = notebook.run(spawn("echo the second"))
    other = notebook.run("x = 1")
    until(lambda: "ended" in notebook.text(first), 20, "it has ended")
    assert notebook.text(first) == COUNTED + "ended with 0\n"
    assert notebook.text(second) == "the second\nended with 0\n"
    assert notebook.text(other) == ""


def test_it_appears_as_it_comes(notebook: Notebook) -> None:
    # So far apart that ipykernel, which sends five times a second, does not gather them.
    cell = notebook.run(spawn(COUNT.replace("0.2", "0.5")))
    until(lambda: "ended" in notebook.text(cell), 20, "it has ended")
    whens = [when for when, _ in notebook.streams(cell)]
    assert whens[-1] - whens[0] > 0.8
    assert len(whens) >= 5


def test_a_cell_that_computes_is_not_interrupted_by_callbacks(notebook: Notebook) -> None:
    spawned = notebook.run(spawn("echo early"))
    busy = notebook.run("time.sleep(2.0); print('still mine')")
    until(lambda: "ended" in notebook.text(spawned), 20, "they came")
    early = [when for when, _ in notebook.streams(spawned)]
    mine = [when for when, _ in notebook.streams(busy)]
    # Either before the second cell began, or once it had ended; not in the middle of it. What was
    # printed before is sent up to 0.2 s later, by a thread of ipykernel's.
    assert mine
    assert not any(mine[0] - 1.2 < when < mine[0] for when in early)


def test_they_are_delivered_while_a_cell_blocks_in_a_call_of_ours(notebook: Notebook) -> None:
    spawned = notebook.run(spawn())
    blocked = notebook.run("other = container.spawn_process('sleep 1.5').wait_until_complete()")
    done = notebook.of(blocked, "idle")[0].when
    before = [text for when, text in notebook.streams(spawned) if when < done]
    assert "".join(before).startswith(COUNTED[:10]), notebook.streams(spawned)
    assert notebook.text(blocked) == ""


def test_they_are_delivered_while_a_cell_awaits(notebook: Notebook) -> None:
    spawned = notebook.run(spawn())
    awaiting = notebook.run("await asyncio.sleep(1.6); print('awaited')")
    done = notebook.of(awaiting, "idle")[0].when
    before = "".join(text for when, text in notebook.streams(spawned) if when < done)
    assert before == COUNTED + "ended with 0\n"
    assert notebook.text(awaiting) == "awaited\n"


def test_all_is_said_when_the_waiting_is_over(notebook: Notebook) -> None:
    cell = notebook.run(spawn() + "\np.wait_until_complete()\nprint('the end')")
    assert notebook.text(cell) == COUNTED + "ended with 0\nthe end\n"


def test_destroying_calls_back_before_it_returns(notebook: Notebook) -> None:
    code = spawn("sleep 1000") + "\ncontainer.destroy_process(p)\nprint('returned')"
    assert notebook.text(notebook.run(code)) == "ended with -15\nreturned\n"


def test_on_a_thread_they_print_live_while_a_cell_sleeps(notebook: Notebook) -> None:
    code = (
        "threaded = Location(callbacks='thread')\n"
        "c = threaded.best_node().spawn_container('debian', sleep=True).wait_until_ready()\n"
        f"c.spawn_process({COUNT!r}, data_callback=show, termination_callback=over)\n"
        "time.sleep(2)\nprint('slept')"
    )
    cell = notebook.run(code)
    assert notebook.text(cell) == COUNTED + "ended with 0\nslept\n"
    whens = [when for when, _ in notebook.streams(cell)]
    assert whens[-1] - whens[0] > 1.2
    assert len(whens) >= 5
    notebook.run("threaded.disconnect()")


def test_on_a_thread_they_print_under_their_cell_too(notebook: Notebook) -> None:
    notebook.run(
        "threaded = Location(callbacks='thread')\n"
        "c = threaded.best_node().spawn_container('debian', sleep=True).wait_until_ready()"
    )
    spawned = notebook.run(f"c.spawn_process({COUNT!r}, data_callback=show)")
    other = notebook.run("time.sleep(1.6)\nprint('mine')")
    assert notebook.text(spawned) == COUNTED
    assert notebook.text(other) == "mine\n"
    notebook.run("threaded.disconnect()")


def test_one_that_raises_is_reported_there_once(notebook: Notebook) -> None:
    code = (
        "def broken(process, data):\n    show(process, data)\n"
        "    if b'1' in data: raise RuntimeError('oh')\n"
        f"p = container.spawn_process({COUNT!r}, data_callback=broken)"
    )
    cell = notebook.run(code)
    notebook.run("p.wait()")
    assert notebook.text(cell) == COUNTED
    said = notebook.text(cell, "stderr")
    assert said.count("RuntimeError: oh") == 1
    assert "broken" in said


def test_nothing_is_lost_of_a_lot(notebook: Notebook) -> None:
    cell = notebook.run(spawn("seq 1 100000") + "\np.wait()")
    expected = "".join(f"{n}\n" for n in range(1, 100_001)) + "ended with 0\n"
    until(lambda: len(notebook.text(cell)) >= len(expected), 20, "all is shown")
    assert notebook.text(cell) == expected


def test_a_process_can_be_awaited_and_iterated_in_a_cell(notebook: Notebook) -> None:
    code = (
        "p = await container.aio.spawn_process('echo one; echo two')\n"
        "print(await p)\nprint([line async for line in p.lines()])"
    )
    assert notebook.text(notebook.run(code)) == "b'one\\ntwo\\n'\n[b'one', b'two']\n"


def test_an_interrupt_ends_the_waiting_and_the_process_goes_on(notebook: Notebook) -> None:
    notebook.run("p = container.spawn_process('sleep 1000')")
    waiting = notebook.start("p.wait_until_complete()")
    until(lambda: notebook.of(waiting, "execute_input"), 10, "it waits")
    notebook.interrupt()
    notebook.wait(waiting, 10)
    assert notebook.of(waiting, "error")[0].content["ename"] == "KeyboardInterrupt"
    cell = notebook.run("print(p.returncode); container.destroy_process(p); print(p.returncode)")
    assert notebook.text(cell) == "None\n-15\n"


def test_an_interrupt_of_run_process_ends_the_process(notebook: Notebook) -> None:
    running = notebook.start("container.run_process('echo up; sleep 1001', data_callback=show)")
    until(lambda: "up" in notebook.text(running), 10, "it runs")
    notebook.interrupt()
    notebook.wait(running, 10)
    assert notebook.of(running, "error")[0].content["ename"] == "KeyboardInterrupt"
    code = (
        "deadline = time.monotonic() + 10\n"
        "while any('1001' in p.command for p in container.all_processes()):\n"
        "    assert time.monotonic() < deadline\n"
    )
    notebook.run(code)


def test_the_agent_does_not_hear_an_interrupt_meant_for_a_cell(
    notebook: Notebook, world: World, where: str
) -> None:
    pid = world.agents()[where]
    sleeping = notebook.start("print('now')\nfor _ in range(300): time.sleep(0.1)")
    until(lambda: notebook.streams(sleeping), 10, "it sleeps")
    notebook.interrupt()
    notebook.wait(sleeping, 10)
    assert world.agents()[where] == pid
    notebook.run("assert container.run_process('echo fine').stdout == b'fine\\n'")


@pytest.mark.parametrize("restart", [False, True], ids=["shutdown", "restart"])
def test_a_kernels_end_is_its_sessions_end(world: World, where: str, restart: bool) -> None:
    before = world.holds(where)
    with Notebook(world, where) as notebook:
        notebook.run(OPEN)
        assert len(world.holds(where) - before) == 1
        notebook.shutdown(restart=restart)
        until(lambda: world.holds(where) <= before, 20, "its container is gone")
