"""In a real ipykernel: views move and freeze under their own cell, whatever the kernel is doing."""

import os
import queue
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import KernelManager
from unit.link.scripted_agent import ScriptedAgent

from tfnz_notebook._wire.view import VERSION

VIEW = "application/vnd.jupyter.widget-view+json"
SETUP = """
%load_ext tfnz_notebook
import time
from tfnz_notebook.location import Location
from tfnz_notebook.widgets import bundle
bundle.code = lambda kind: "// a page is not needed"
location = Location('podman')
container = location.best_node().spawn_container('nginx').wait_until_ready(20)
"""


class Kernel:
    """A kernel, and what a page hears from it."""

    def __init__(self) -> None:
        self._manager = KernelManager()
        assert self._manager.kernel_spec is not None
        self._manager.kernel_spec.argv[0] = sys.executable
        self._manager.start_kernel(extra_arguments=["--HistoryManager.hist_file=:memory:"])
        self.client: Any = self._manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.heard: list[dict[str, Any]] = []

    def run(self, code: str, *, wait: bool = True, **more: Any) -> str:
        """Run a cell; its id."""
        ident = str(self.client.execute(code, **more))
        if wait:
            self.until(lambda: self.idle(ident))
            assert not self.of("error", ident), self.of("error", ident)
        return ident

    def idle(self, cell: str) -> bool:
        return any(m["content"]["execution_state"] == "idle" for m in self.of("status", cell))

    def of(self, kind: str, cell: str | None = None) -> list[dict[str, Any]]:
        return [
            each
            for each in self.heard
            if each["msg_type"] == kind and cell in (None, each["parent_header"].get("msg_id"))
        ]

    def until(self, met: Callable[[], Any], seconds: float = 60) -> Any:
        """Listen until it is true."""
        deadline = time.monotonic() + seconds
        while not (found := met()):
            left = deadline - time.monotonic()
            assert left > 0, [each["msg_type"] for each in self.heard[-20:]]
            try:
                self.heard.append(self.client.get_iopub_msg(timeout=min(left, 0.1)))
            except queue.Empty:
                continue
        return found

    def say(self, model: str, *heads: dict[str, Any], channel: str = "shell") -> str:
        """As a view in a page does."""
        content = {"method": "custom", "content": {"v": VERSION, "m": heads}}
        message = self.client.session.msg("comm_msg", {"comm_id": model, "data": content})
        getattr(self.client, f"{channel}_channel").send(message)
        return str(message["header"]["msg_id"])

    def heads(self) -> list[dict[str, Any]]:
        """What views were told."""
        sent = [each["content"]["data"] for each in self.of("comm_msg")]
        return [
            head
            for each in sent
            if each.get("method") == "custom"
            for head in each["content"].get("m", ())
        ]

    def close(self) -> None:
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


@pytest.fixture(scope="module")
def kernel(agent: ScriptedAgent, place: Path) -> Iterator[Kernel]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFNZ_RUNTIME", str(place))
        patch.setenv("IPYTHONDIR", str(place / "ipython"))
        patch.setenv("JUPYTER_RUNTIME_DIR", str(place / "jupyter"))
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        made = Kernel()
        made.run(SETUP)
        yield made
        made.close()


def spawned(agent: ScriptedAgent, kernel: Kernel, code: str = "p", **more: Any) -> tuple[str, str]:
    """A cell that shows a new process: (the cell, the process)."""
    before = len(agent.named("process.spawn"))
    cell = kernel.run(f"p = container.spawn_process('x')\n{code}", **more)
    return cell, agent.named("process.spawn")[before].body["process"]


def test_a_cell_shows_a_view_and_its_twin_once(agent: ScriptedAgent, kernel: Kernel) -> None:
    cell, _ = spawned(agent, kernel)
    shown = [each["content"] for each in kernel.of("display_data", cell)]
    assert [VIEW in each["data"] for each in shown] == [True, False]
    assert all(each["transient"]["display_id"] for each in shown)
    assert not kernel.of("execute_result", cell)
    cell, _ = spawned(agent, kernel, "get_ipython().run_cell('p'); p")
    assert len(kernel.of("display_data", cell)) == 2


@pytest.fixture
def readers(agent: ScriptedAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for views, which say how much from where it begins."""

    def reader_open(message: Any) -> Any:
        body = message.body
        head = agent.processes[body["process"]].streams[body["stream"]].head
        ScriptedAgent._reader_open(agent, message)
        agent.readers[agent._identity, body["reader"]].credit = 1 << 20
        return {"offset": 0, "head": head}, None

    monkeypatch.setattr(agent, "_reader_open", reader_open)


@pytest.mark.usefixtures("readers")
def test_bytes_come_and_it_freezes_while_another_cell_is_busy(
    agent: ScriptedAgent, kernel: Kernel
) -> None:
    cell, process = spawned(agent, kernel)
    kernel.run("from tfnz_notebook.widgets.channel.hub import hub; h = hub()")
    answer = kernel.run("print(h.model_id)")
    model = kernel.until(lambda: kernel.of("stream", answer))[0]["content"]["text"].strip()
    view = "f" * 16
    kernel.say(model, {"t": "open", "view": view, "subject": f"process:{process}", "mode": "tail"})
    mine = lambda kind: [  # noqa: E731
        each for each in kernel.heads() if each["t"] == kind and each["view"] == view
    ]
    kernel.until(lambda: mine("opened"))
    busy = kernel.run("print('busy', flush=True)\nwhile p.returncode is None: pass", wait=False)
    kernel.until(lambda: kernel.of("stream", busy))
    agent.write(process, b"under way\n")
    kernel.until(lambda: mine("data"))
    assert not kernel.idle(busy)
    agent.end(process, 0)
    kernel.until(lambda: len(kernel.of("update_display_data", cell)) == 2)
    twin, final = (each["content"] for each in kernel.of("update_display_data", cell))
    ids = [each["content"]["transient"]["display_id"] for each in kernel.of("display_data", cell)]
    assert [final["transient"]["display_id"], twin["transient"]["display_id"]] == ids
    assert "under way" in final["data"]["text/html"] and VIEW not in final["data"]
    assert twin["data"]["text/plain"] == ""
    kernel.until(lambda: kernel.idle(busy))


def test_without_a_page_there_is_no_widget(agent: ScriptedAgent, kernel: Kernel) -> None:
    opened = len(kernel.of("comm_open"))
    cell, process = spawned(agent, kernel, allow_stdin=False)
    (shown,) = kernel.of("display_data", cell)
    assert set(shown["content"]["data"]) == {"text/plain", "text/html"}
    assert len(kernel.of("comm_open")) == opened
    agent.write(process, b"later\n")
    agent.end(process, 0)
    after = kernel.run("p.wait()", allow_stdin=False)
    (update,) = kernel.of("update_display_data", after)
    assert "later" in update["content"]["data"]["text/plain"]
    assert update["content"]["transient"] == shown["content"]["transient"]


@pytest.mark.usefixtures("readers")
def test_the_control_channel_is_heard_in_a_busy_cell(agent: ScriptedAgent, kernel: Kernel) -> None:
    kernel.run("from tfnz_notebook.widgets.channel.hub import hub; hub().close(); h = hub()")
    answer = kernel.run("print(h.model_id)")
    model = kernel.until(lambda: kernel.of("stream", answer))[0]["content"]["text"].strip()
    opened = [each["content"] for each in kernel.of("comm_open")]
    (state,) = [each["data"]["state"] for each in opened if each["comm_id"] == model]
    assert state["control"] is True

    _, process = spawned(agent, kernel)
    view = "c" * 16
    mine = lambda kind: [  # noqa: E731
        each for each in kernel.heads() if each["t"] == kind and each["view"] == view
    ]
    busy = kernel.run("print('busy', flush=True)\nwhile p.returncode is None: pass", wait=False)
    kernel.until(lambda: kernel.of("stream", busy))
    opening = {"t": "open", "view": view, "subject": f"process:{process}", "mode": "tail"}
    said = kernel.say(model, opening, channel="control")
    kernel.until(lambda: mine("opened"))
    agent.write(process, b"under way\n")
    kernel.until(lambda: mine("data"))
    # what is not ours is answered as ever, in order, after ours
    asked = kernel.client.session.msg("kernel_info_request", {})
    kernel.client.control_channel.send(asked)
    reply = kernel.client.control_channel.get_msg(timeout=30)
    assert reply["msg_type"] == "kernel_info_reply"
    kernel.until(lambda: kernel.idle(asked["header"]["msg_id"]))
    assert not kernel.of("status", said), "a page would take the kernel for idle"
    assert not kernel.idle(busy)
    agent.end(process, 0)
    kernel.until(lambda: kernel.idle(busy))
    answer = kernel.run("h.close(); print(vars(h._comm.kernel).keys())")
    assert "process_control" not in kernel.of("stream", answer)[0]["content"]["text"]
