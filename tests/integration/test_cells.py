"""Cells in real containers: what they say, what ends them, and who finds them again."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from integration.notebook import Notebook
from integration.polling import until
from integration.world import World

from tfnz_notebook._container.conversation import Conversation, _Turn
from tfnz_notebook.container import Container
from tfnz_notebook.errors import CommandNotFound, ProcessGone, WaitTimeout
from tfnz_notebook.interpreter import Interpreter
from tfnz_notebook.location import Location

IMAGES = Path(__file__).parents[2] / ".ci" / "images"


def test_three_kinds_of_cells(box: Container) -> None:
    python, heard = box.python(), list[bytes]()
    code = "import os, sys\nx = 6\nprint('é')\nos.system('echo from below >&2')\nx"
    result = python.run(code, data_callback=lambda p, data: heard.append(data))
    assert (result.text, result.stdout) == ("6", "é\nfrom below\n".encode())
    assert b"".join(heard) == result.stdout
    assert python.run("x * 7").text == "42"
    assert python.process is not None and python.process.command == "python cells"
    assert python.process in box.processes
    failed = python.run("def f():\n    return 1 / 0\nf()").error
    assert failed is not None and "    return 1 / 0\n" in failed.details["trace"]
    asked = python.run("input('who? ')", input_callback=lambda p, prompt, hidden: f"{prompt}me")
    assert asked.text == "'who? me'"
    bash = box.bash()
    assert bash.run("cd /tmp; x=5").returncode == 0
    result = bash.run("pwd; echo $x $BASH_VERSION; false")
    assert result.stdout.startswith(b"/tmp\n5 ") and result.returncode == 1


def test_each_end_is_one_sentence_and_the_next_cell_is_new(box: Container) -> None:
    python = box.python("ends")
    for code, says in (
        ("import os; os._exit(3)", "ended with code 3"),
        ("import os, signal; print('last'); os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("import os; os.closerange(3, 100)", "ended with code 1"),
        ("import os; os.abort()", "SIGABRT"),
    ):
        with pytest.raises(ProcessGone, match=says):
            python.run(code)
        assert python.run("6 * 7").text == "42"


def test_an_end_that_follows_an_answer_is_the_next_cells(
    box: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _Turn.done_within

    async def late(turn: _Turn, seconds: float | None) -> bool:
        done = await whole(turn, seconds)
        await asyncio.sleep(1)  # and meanwhile its end is heard
        return done

    python = box.python("follows")
    with monkeypatch.context() as patch:
        patch.setattr(_Turn, "done_within", late)
        python.run("import os, threading; threading.Timer(0.1, os._exit, [5]).start()")
    with pytest.raises(ProcessGone, match="ended with code 5"):
        python.run("1")
    assert python.run("6 * 7").text == "42"


@pytest.mark.engines("podman", "docker")
def test_limits_end_it_in_one_sentence(spawn: Callable[..., Container]) -> None:
    python = spawn(sleep=True, memory="64m").python()
    for code in (
        "held = bytearray()\nwhile True: held += bytes(range(256)) * 10000",
        "'x' * (1 << 30)",
    ):
        with pytest.raises(ProcessGone, match="killed for the container's memory limit"):
            python.run(code)
    assert python.run("1 + 1").text == "2"
    python = spawn(sleep=True, pids=30).python()
    result = python.run("import os\nwhile True:\n    os.fork()")
    assert result.error is not None and result.error.details["name"] == "BlockingIOError"
    assert python.run("1 + 1").text == "2"


def test_values_are_shown_in_order_however_many(box: Container) -> None:
    result = box.python().run("for i in range(1000): print(i, end=' '); display(i)")
    assert [each["text/plain"] for each in result.displays] == [str(i) for i in range(200)]
    assert result.left_out == ["800 values that it showed"]
    assert result.stdout == "".join(f"{i} " for i in range(1000)).encode()


@pytest.mark.engines("podman", "docker")
def test_an_image_without_python_says_what_has_one(spawn: Callable[..., Container]) -> None:
    container = spawn("busybox", sleep=True)
    with pytest.raises(CommandNotFound, match="python:3.13-slim"):
        container.python().run("1")
    assert container.bash().run("echo $((1 + 1))").stdout == b"2\n"


def test_another_kernel_goes_on_with_it(where: str, world: World) -> None:
    with Location(where, session="cells", ttl=60) as first:
        container = first.best_node().spawn_container("debian", sleep=True, name="kept")
        container.python().run("x = 5")
        container.python("busy").run("y = 6")
    with Location(where, session="cells", ttl=60) as later:
        (found,) = later.containers()
        assert found.python().run("x").text == "5"
        assert found.python("busy").run("y").text == "6"
        found.destroy()


def with_ipykernel(box: Container) -> None:
    """It is a process as the other kind is: with its log, its end, and what comes after that."""
    python, heard = box.python(), list[bytes]()
    code = "x = 6\nprint('one')\n!echo two {x}\ndisplay(3)\n%pwd\nx * 7"
    result = python.run(code, data_callback=lambda p, data: heard.append(data))
    assert (result.text, result.displays) == ("42", [{"text/plain": "3"}])
    assert result.stdout.split() == b"".join(heard).split() == [b"one", b"two", b"6"]
    assert python.process is not None
    assert b"two 6" in python.process.log()
    again = Conversation(box, "python", "default")  # another kernel's
    assert Interpreter._create(again, "python", "default", False).run("x").text == "6"
    asked = python.run("input('who? ')", input_callback=lambda p, prompt, hidden: f"{prompt}me")
    assert asked.text == "'who? me'"
    failed = python.run("def f():\n    return x / 0\nf()").error
    assert failed is not None and "ZeroDivisionError" in failed.details["trace"]
    with pytest.raises(WaitTimeout, match="it was interrupted, and its variables stay"):
        python.run("import asyncio\nawait asyncio.sleep(60)", timeout=0.5)
    python.run("exit")
    with pytest.raises(ProcessGone, match="ended with code 0"):
        python.run("x")
    with pytest.raises(ProcessGone, match="ended with code 3"):
        python.run("import os; os._exit(3)")
    assert python.run("6 * 7").text == "42"


@pytest.mark.engines("host")
def test_ipykernel_runs_them_where_it_is(spawn: Callable[..., Container]) -> None:
    """The host's is the one of these tests."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with_ipykernel(spawn(sleep=True, env={"PATH": path}))


@pytest.mark.long
@pytest.mark.engines("podman", "docker", each=True)
def test_ipykernel_runs_them_where_an_image_has_it(spawn: Callable[..., Container]) -> None:
    subprocess.run([IMAGES, "make", "jupyter"], check=True)
    with_ipykernel(spawn("jupyter", sleep=True))
    python = spawn("jupyter", sleep=True, memory="128m").python()
    with pytest.raises(ProcessGone, match="killed for the container's memory limit"):
        python.run("held = bytearray()\nwhile True: held += bytes(range(256)) * 10000")
    assert python.run("1 + 1").text == "2"


@pytest.fixture(scope="module")
def notebook(world: World, where: str) -> Iterator[Notebook]:
    with Notebook(world, where) as opened:
        opened.run(
            "from tfnz_notebook.location import Location\nlocation = Location()\n"
            "box = location.best_node().spawn_container('debian', sleep=True).wait_until_ready()"
        )
        yield opened
        opened.run("location.disconnect()")


def test_in_a_notebook_it_answers_as_any_cell(notebook: Notebook) -> None:
    code = "import sys\nprint('out')\nprint('err', file=sys.stderr)\ndisplay(1)\n1 + 1"
    cell = notebook.run(f"%%tf_python box\n{code}")
    assert notebook.text(cell) == "out\n"
    assert notebook.text(cell, "stderr") == "err\n"
    shown, value = notebook.of(cell, "display_data", "execute_result")
    assert shown.content["data"] == {"text/plain": "1"}
    assert (value.kind, value.content["data"]) == ("execute_result", {"text/plain": "2"})
    hostile = "class A:\n    def _repr_html_(self): return '<script>alert(1)</script>'\nA()"
    (value,) = notebook.of(notebook.run(f"%%tf_python box\n{hostile}"), "execute_result")
    assert value.content["data"]["text/html"].startswith('<iframe sandbox=""')


def test_tab_and_shift_tab_ask_the_containers_interpreter(notebook: Notebook) -> None:
    notebook.run("inside_not = 1")
    code = "def inside_it(one): 'Told of it.'"
    notebook.run(f"%%tf_python box\n{code}")
    assert notebook.look("complete", "%%tf_python box\nx = insi")["matches"] == ["inside_it"]
    told = notebook.look("inspect", "%%tf_python box\nx = inside_it")["data"]["text/plain"]
    assert told.startswith("Signature: inside_it(one)\nDocstring:\nTold of it.")
    assert "inside_not" in notebook.look("complete", "insi")["matches"]


def test_interrupts(notebook: Notebook) -> None:
    """Of a cell that writes without an end, and of one that heeds none: the kernel lives on."""
    flood = notebook.start("%%tf_python box\nx = 1\nwhile True: print('x' * 999)")
    until(lambda: "[more than 1 MiB" in notebook.text(flood), 30, "it has written too much")
    notebook.interrupt()
    until(lambda: notebook.of(flood, "idle"), 10, "it has ended")
    (error,) = notebook.of(flood, "error")
    assert error.content["traceback"][-1].endswith("KeyboardInterrupt")
    assert len(notebook.text(flood)) < 2 << 20
    notebook.run("%%tf_python box\nassert x == 1")
    deaf = (
        "import time\nprint('deaf')\nwhile True:\n    try: time.sleep(60)\n"
        "    except BaseException: print('heard')"
    )
    cell = notebook.start(f"%%tf_python box\n{deaf}")
    until(lambda: notebook.text(cell), 10, "it runs")
    notebook.interrupt()
    until(lambda: "heard" in notebook.text(cell), 10, "it has heard the first")
    notebook.interrupt()
    until(lambda: notebook.of(cell, "idle"), 10, "it has ended")
    (error,) = notebook.of(cell, "error")
    assert "as it was interrupted a second time" in error.content["evalue"]
    notebook.run("%%tf_python box\nassert 'x' not in globals()")
