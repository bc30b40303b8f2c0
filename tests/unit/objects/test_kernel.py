"""In a real ipykernel: callbacks print under the cell that spawned, and wait while one is busy."""

import os
import queue
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from unit.link.scripted_agent import ScriptedAgent

jupyter_client = pytest.importorskip("jupyter_client")

SETUP = """
import sys, time
from tfnz_notebook.location import Location
location = Location('podman')
container = location.best_node().spawn_container('nginx').wait_until_ready(20)
def dc(process, data): print(data.decode(), end='', flush=True)
def tc(process, code): print('ended', code, flush=True)
"""


class Kernel:
    """A kernel, and for each cell what was printed under it."""

    def __init__(self) -> None:
        from jupyter_client.manager import KernelManager

        self._manager = KernelManager()
        assert self._manager.kernel_spec is not None
        self._manager.kernel_spec.argv[0] = sys.executable
        # Every kernel makes a history file unless told not to; tests share none.
        self._manager.start_kernel(extra_arguments=["--HistoryManager.hist_file=:memory:"])
        self.client: Any = self._manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.printed: dict[str, str] = {}
        self.idle: set[str] = set()

    def run(self, code: str, *, wait: bool = True) -> str:
        """Run a cell; its id."""
        ident = str(self.client.execute(code))
        if wait:
            self.until(lambda: ident in self.idle)
        return ident

    def until(self, met: Any, seconds: float = 30) -> None:
        """Read what the kernel says until it is true."""
        deadline = time.monotonic() + seconds
        while not met():
            left = deadline - time.monotonic()
            assert left > 0, self.printed
            try:
                message = self.client.get_iopub_msg(timeout=min(left, 0.1))
            except queue.Empty:
                continue
            cell = message["parent_header"].get("msg_id", "")
            match message["msg_type"], message["content"]:
                case "stream", content:
                    self.printed[cell] = self.printed.get(cell, "") + content["text"]
                case "error", content:
                    self.printed[cell] = self.printed.get(cell, "") + content["ename"]
                case "status", {"execution_state": "idle"}:
                    self.idle.add(cell)

    def interrupt(self) -> None:
        """As the stop button does."""
        self._manager.interrupt_kernel()

    def ask(self) -> None:
        """As a server does first that ends."""
        self.client.shutdown()

    def terminate(self) -> None:
        """As it does when that was not enough, and a Hub's own machine at once."""
        self._manager.signal_kernel(signal.SIGTERM)

    def close(self) -> None:
        """End it."""
        self.client.stop_channels()
        self._manager.shutdown_kernel(now=False)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tfnz-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def agent(place: Path) -> Iterator[ScriptedAgent]:
    made = ScriptedAgent(place)
    yield made
    made.close()


@contextmanager
def surroundings(place: Path) -> Iterator[None]:
    """What kernels find in their environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFNZ_RUNTIME", str(place))
        patch.setenv("IPYTHONDIR", str(place / "ipython"))
        patch.setenv("JUPYTER_RUNTIME_DIR", str(place / "jupyter"))
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        yield


@contextmanager
def started(place: Path) -> Iterator[Kernel]:
    """A kernel with a container."""
    with surroundings(place):
        made = Kernel()
        try:
            cell = made.run(SETUP)
            assert made.printed.get(cell, "") == ""
            yield made
        finally:
            made.close()


@pytest.fixture(scope="module")
def kernel(agent: ScriptedAgent, place: Path) -> Iterator[Kernel]:
    with started(place) as made:
        yield made


def spawned(agent: ScriptedAgent, kernel: Kernel, code: str) -> tuple[str, str]:
    """Run a cell that spawns one process: (the cell, the process)."""
    before = len(agent.named("process.spawn"))
    cell = kernel.run(code)
    message = agent.until(lambda: agent.named("process.spawn")[before:])[0]
    return cell, message.body["process"]


SPAWN = "p = container.spawn_process('x', dc, tc)"


def test_prints_appear_under_the_cell_that_spawned(agent: ScriptedAgent, kernel: Kernel) -> None:
    cell, process = spawned(agent, kernel, SPAWN)
    other = kernel.run("print('other')")
    agent.write(process, b"hello ")
    kernel.until(lambda: kernel.printed.get(cell) == "hello ")
    agent.write(process, b"again ")
    agent.end(process, 3)
    kernel.until(lambda: kernel.printed.get(cell) == "hello again ended 3\n")
    assert kernel.printed[other] == "other\n"


def test_a_busy_cell_delays_them_until_it_calls_us(agent: ScriptedAgent, kernel: Kernel) -> None:
    cell, process = spawned(agent, kernel, SPAWN)
    busy = kernel.run(
        "print('busy', flush=True)\n"
        "t = time.monotonic()\n"
        "while time.monotonic() < t + 0.5: time.sleep(0.01)\n"
        "print('still', flush=True)\n"
        "p.wait(20)\n"
        "print('done', flush=True)\n",
        wait=False,
    )
    kernel.until(lambda: "busy" in kernel.printed.get(busy, ""))
    agent.write(process, b"meanwhile ")
    agent.end(process, 0)
    kernel.until(lambda: "still" in kernel.printed[busy])
    kernel.until(lambda: busy in kernel.idle)
    assert kernel.printed[busy] == "busy\nstill\ndone\n"
    kernel.until(lambda: kernel.printed[cell] == "meanwhile ended 0\n")


def test_the_threads_mode_does_not_wait(agent: ScriptedAgent, kernel: Kernel) -> None:
    cell, process = spawned(
        agent,
        kernel,
        "live = Location('podman', callbacks='thread')\n"
        "c = live.best_node().spawn_container('nginx')\n"
        "p = c.spawn_process('x', dc, tc)\n",
    )
    busy = kernel.run(
        "print('busy', flush=True)\n"
        "while p.returncode is None: time.sleep(0.01)\n"
        "time.sleep(0.3); print('done', flush=True)",
        wait=False,
    )
    kernel.until(lambda: "busy" in kernel.printed.get(busy, ""))
    agent.write(process, b"live ")
    kernel.until(lambda: kernel.printed.get(cell) == "live ")
    assert "done" not in kernel.printed[busy]
    agent.end(process, 0)
    kernel.until(lambda: busy in kernel.idle)
    kernel.until(lambda: kernel.printed[cell] == "live ended 0\n")


def test_awaiting_in_a_cell(agent: ScriptedAgent, kernel: Kernel) -> None:
    cell, process = spawned(agent, kernel, SPAWN)
    waiting = kernel.run("print(await p)", wait=False)
    agent.write(process, b"out")
    agent.end(process, 0)
    kernel.until(lambda: waiting in kernel.idle)
    assert kernel.printed[waiting] == "b'out'\n"
    kernel.until(lambda: kernel.printed[cell] == "outended 0\n")


def test_an_error_is_shown_under_the_cell_that_spawned(
    agent: ScriptedAgent, kernel: Kernel
) -> None:
    cell, process = spawned(
        agent,
        kernel,
        "def broken(process, data): raise ZeroDivisionError('oops')\n"
        "p = container.spawn_process('x', broken, tc)",
    )
    kernel.run("pass")
    agent.write(process, b"a")
    agent.end(process, 0)
    # ipykernel sends stderr, which nobody flushes, a little later.
    kernel.until(lambda: "ended 0" in kernel.printed.get(cell, ""))
    kernel.until(lambda: "ZeroDivisionError: oops" in kernel.printed[cell])
    assert kernel.printed[cell].count("ZeroDivisionError: oops") == 1


def test_the_stop_button_ends_a_wait_and_nothing_else(agent: ScriptedAgent, kernel: Kernel) -> None:
    cell, process = spawned(agent, kernel, SPAWN)
    waiting = kernel.run("print('waiting', flush=True); p.wait()", wait=False)
    kernel.until(lambda: "waiting" in kernel.printed.get(waiting, ""))
    kernel.interrupt()
    kernel.until(lambda: waiting in kernel.idle)
    assert "KeyboardInterrupt" in kernel.printed[waiting]
    agent.write(process, b"still there ")
    agent.end(process, 0)
    kernel.until(lambda: kernel.printed.get(cell) == "still there ended 0\n")
    assert kernel.printed[kernel.run("print(p.wait(), p.stdout)")] == "0 b'still there '\n"


def test_the_end_of_the_kernel_is_the_end_of_its_sessions(
    agent: ScriptedAgent, kernel: Kernel
) -> None:
    before = len(agent.named("bye"))
    kernel.run("location.disconnect()")
    assert len(agent.named("bye")) == before + 1


#: A cell that an interrupt does not end, and that forked: the child is not the kernel.
STUBBORN = """
import os, signal
here, there = os.pipe()
child = os.fork()
if not child:
    os.write(there, b'.')
    time.sleep(100)
os.read(here, 1)  # before that Python would forget the signal: a child begins without any
os.kill(child, signal.SIGTERM)
heard = []
signal.signal(signal.SIGINT, lambda *_: heard.append(1))
print('child', -os.waitpid(child, 0)[1], flush=True)
while True:
    time.sleep(0.05)
    while heard and heard.pop():  # not in the handler, which may have interrupted a print
        print('interrupted', flush=True)
"""


@pytest.mark.parametrize("end", [Kernel.ask, Kernel.terminate], ids=["asked", "terminated"])
def test_a_kernel_that_is_made_to_end_is_the_end_of_its_sessions(
    agent: ScriptedAgent, place: Path, end: Callable[[Kernel], None]
) -> None:
    with started(place) as kernel:
        before = len(agent.named("bye"))
        cell = kernel.run(STUBBORN, wait=False)
        kernel.until(lambda: "child -15" in kernel.printed.get(cell, ""))
        kernel.interrupt()
        kernel.until(lambda: "interrupted" in kernel.printed[cell])
        assert len(agent.named("bye")) == before
        end(kernel)
        agent.until(lambda: agent.named("bye")[before:])


#: Once ipykernel looks after who started it, which it does when all that it runs first has ended.
LATER = """
import threading, time
from tfnz_notebook.location import Location
def later():
    for _ in range(3000):
        if any('Poller' in type(each).__name__ for each in threading.enumerate()):
            Location('podman').best_node().spawn_container('nginx')
            break
        time.sleep(0.01)
threading.Thread(target=later).start()
"""


def test_the_end_of_who_started_it_is_too(agent: ScriptedAgent, place: Path) -> None:
    before = [len(agent.named(name)) for name in ("container.spawn", "bye")]
    command = [sys.executable, "-m", "ipykernel_launcher", "--HistoryManager.hist_file=:memory:"]
    command.append(f"--IPKernelApp.exec_lines={LATER}")
    shell = 'JPY_PARENT_PID=$$ "$@" & wait'
    with surroundings(place):
        parent = subprocess.Popen(["sh", "-c", shell, "sh", *command], stdout=subprocess.DEVNULL)
    agent.until(lambda: agent.named("container.spawn")[before[0] :], 60)
    parent.kill()
    parent.wait()
    agent.until(lambda: agent.named("bye")[before[1] :])


def test_and_leaves_time_to_say_so(agent: ScriptedAgent, place: Path) -> None:
    with started(place) as kernel:
        before = len(agent.named("bye"))
        kernel.run("from ipykernel.parentpoller import os; os._exit(1)", wait=False)
        agent.until(lambda: agent.named("bye")[before:])
