"""A real ipykernel, driven as a notebook front end would: cells in, outputs with their cell out.

On the sockets themselves: jupyter_client's own client makes an event loop in each thread that asks
it something, and never closes it.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any, Self

import zmq
from integration.polling import until
from integration.world import World
from jupyter_client.connect import write_connection_file
from jupyter_client.session import Session


@dataclass
class Output:
    """One IOPub message that shows something, or says that a cell is done."""

    when: float
    cell: str
    kind: str
    content: dict[str, Any]


class Notebook:
    """A kernel and what it has shown so far."""

    def __init__(self, world: World, where: str) -> None:
        self._environment = world.environment(
            TFNZ_LOCATION=where, IPYTHONDIR=str(world.home / "ipython")
        )
        self._base = str(world.home / f"kernel-{time.monotonic_ns()}")
        self._key = os.urandom(16).hex()
        self.outputs: list[Output] = []
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        self._context: zmq.Context[Any] = zmq.Context()
        self._launch()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()
        until(self._answers, 60, "the kernel answers", every=0.2)
        return self

    def _launch(self) -> None:
        path, about = write_connection_file(
            f"{self._base}.json", transport="ipc", ip=self._base, key=self._key.encode()
        )
        self._session = Session(key=self._key.encode())
        self._sockets = {}
        for name, kind in (("shell", zmq.DEALER), ("control", zmq.DEALER), ("iopub", zmq.SUB)):
            socket = self._sockets[name] = self._context.socket(kind)
            socket.linger = 0
            if kind == zmq.SUB:
                socket.subscribe(b"")
            socket.connect(f"ipc://{self._base}-{about[f'{name}_port']}")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ipykernel_launcher", "-f", path], env=self._environment
        )

    def _answers(self) -> bool:
        """Whether it has run a cell whose end was heard on IOPub."""
        cell = self.start("None")
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            if self.of(cell, "idle"):
                return True
            time.sleep(0.02)
        return False

    def __exit__(self, *unused: object) -> None:
        self.shutdown()
        self._closed.set()
        self._thread.join(10)
        for socket in self._sockets.values():
            socket.close()
        self._context.term()

    def _listen(self) -> None:
        socket = self._sockets["iopub"]
        while not self._closed.is_set():
            if not socket.poll(100):
                continue
            _, message = self._session.recv(socket, 0)
            kind, content = message["msg_type"], message["content"]
            if kind == "status":
                if content["execution_state"] != "idle":
                    continue
                kind = "idle"
            cell = message["parent_header"].get("msg_id", "")
            self.outputs.append(Output(time.monotonic(), cell, kind, content))

    # -- cells

    def start(self, code: str, cell: str = "", **metadata: Any) -> str:
        """Begin to run a cell; the id of that run. ``cell``: its own, as pages tell it."""
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        metadata = {**metadata, "cellId": cell} if cell else metadata
        sent = self._session.send(
            self._sockets["shell"], "execute_request", content, metadata=metadata
        )
        return str(sent["header"]["msg_id"])

    def run(self, code: str, seconds: float = 30, cell: str = "", **metadata: Any) -> str:
        """Run a cell to its end; the id of that run. An exception in it fails."""
        run = self.start(code, cell, **metadata)
        self.wait(run, seconds)
        errors = [each.content for each in self.of(run, "error")]
        assert not errors, "\n".join(errors[0]["traceback"])
        return run

    def look(self, kind: str, code: str) -> dict[str, Any]:
        """What is known at the end of a cell: a ``complete`` or an ``inspect``."""
        content = {"code": code, "cursor_pos": len(code), "detail_level": 0}
        asked = self._session.send(self._sockets["shell"], f"{kind}_request", content)
        while True:
            assert self._sockets["shell"].poll(30_000), "the kernel does not answer"
            _, reply = self._session.recv(self._sockets["shell"], 0)
            if reply["parent_header"].get("msg_id") == asked["header"]["msg_id"]:
                return dict(reply["content"])

    def wait(self, cell: str, seconds: float = 30) -> Output:
        """Wait until a cell is done."""
        return until(lambda: self.of(cell, "idle"), seconds, "the cell is done")[0]

    # -- outputs

    def of(self, cell: str, *kinds: str) -> list[Output]:
        """What a cell has shown."""
        return [each for each in self.outputs if each.cell == cell and each.kind in kinds]

    def streams(self, cell: str) -> list[tuple[float, str]]:
        """What was printed under a cell, and when."""
        return [(each.when, each.content["text"]) for each in self.of(cell, "stream")]

    def text(self, cell: str, name: str = "stdout") -> str:
        """All that was printed under a cell."""
        found = [each.content for each in self.of(cell, "stream")]
        return "".join(content["text"] for content in found if content["name"] == name)

    # -- the kernel

    def interrupt(self) -> None:
        """The stop button."""
        self.process.send_signal(signal.SIGINT)

    def shutdown(self, *, restart: bool = False) -> None:
        """As Jupyter's servers do it: an interrupt, a request, and after five seconds a KILL."""
        if self.process.poll() is None:
            self.interrupt()
            content = {"restart": restart}
            self._session.send(self._sockets["control"], "shutdown_request", content)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
