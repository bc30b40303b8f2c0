"""docker-py in a process of its own: lines of JSON ``{"op": ...}`` in, the answers out.

Runs in the peers' environment, knows nothing of tfnz_notebook, and times what it does itself, so
that neither its imports nor its threads weigh on what it is compared with. Usage: peer.py SOCKET
"""

import concurrent.futures
import hashlib
import json
import socket
import sys
import time
from typing import Any

import docker

LABEL = {"io.tfnz.bench": "peer"}
SLEEP = ["/bin/sleep", "100000"]


class Peer:
    """What docker-py does, one method an ``op``; each gives a dictionary."""

    def __init__(self, path: str) -> None:
        self.client = docker.DockerClient(base_url=f"unix://{path}", timeout=120, max_pool_size=100)
        self.made: list[Any] = []
        self.fleet: list[Any] = []

    def version(self) -> dict[str, Any]:
        return {"docker-py": docker.__version__, "engine": self.client.version()["Version"]}

    def container(self, image: str) -> dict[str, Any]:
        """A container that sleeps, to run things in."""
        made = self.client.containers.create(image, SLEEP, labels=LABEL)
        self.made.append(made)
        made.start()
        return {"id": made.id}

    def exec_true(self) -> dict[str, Any]:
        began = time.perf_counter()
        code, _ = self.made[0].exec_run(["/bin/true"])
        seconds = time.perf_counter() - began
        assert code == 0
        return {"seconds": seconds}

    def gather(self, image: str, count: int) -> dict[str, Any]:
        """So many containers that sleep."""
        for _ in range(count):
            self.fleet.append(self.client.containers.create(image, SLEEP, labels=LABEL))
            self.fleet[-1].start()
        return {}

    def exec_everywhere(self) -> dict[str, Any]:
        """``exec_run`` in all of them at once, a thread each."""
        with concurrent.futures.ThreadPoolExecutor(len(self.fleet)) as pool:
            began = time.perf_counter()
            codes = list(pool.map(lambda each: each.exec_run(["/bin/true"])[0], self.fleet))
            seconds = time.perf_counter() - began
        assert codes == [0] * len(self.fleet)
        return {"seconds": seconds}

    def dismiss(self) -> dict[str, Any]:
        """Remove them."""
        while self.fleet:
            self.fleet.pop().remove(force=True, v=True)
        return {}

    def stream(self, command: list[str]) -> dict[str, Any]:
        """The output of a command, chunk by chunk; hashed after the clock has stopped."""
        began = time.perf_counter()
        chunks = list(self.made[0].exec_run(command, stream=True).output)
        seconds = time.perf_counter() - began
        digest = hashlib.sha256()
        for chunk in chunks:
            digest.update(chunk)
        return {"seconds": seconds, "sha256": digest.hexdigest()}

    def create_and_start(
        self, image: str, host_config: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Create and start a container, run echo in it; how long until each was done."""
        api = self.client.api
        began = time.perf_counter()
        made = api.create_container(image, SLEEP, labels=LABEL, host_config=host_config)
        try:
            api.start(made)
            started = time.perf_counter() - began
            run = api.exec_create(made, ["/bin/echo", "hello"])
            said = next(iter(api.exec_start(run, stream=True)))
            output = time.perf_counter() - began
            assert said == b"hello\n"
        finally:
            api.remove_container(made, force=True, v=True)
        return {"started": started, "output": output}

    def echo_open(self) -> dict[str, Any]:
        """A terminal with cat behind it."""
        api = self.client.api
        run = api.exec_create(self.made[0].id, ["/bin/cat"], stdin=True, tty=True)
        self.raw = api.exec_start(run, tty=True, socket=True)
        # On Unix sockets docker-py gives a SocketIO around the socket.
        self.terminal: socket.socket = getattr(self.raw, "_sock", self.raw)
        return {}

    def echo(self) -> dict[str, Any]:
        began = time.perf_counter()
        self.terminal.sendall(b"x")
        said = self.terminal.recv(64)
        seconds = time.perf_counter() - began
        assert said == b"x", said
        return {"seconds": seconds}

    def echo_close(self) -> dict[str, Any]:
        self.terminal.sendall(b"\n\x04")
        self.raw.close()
        return {}

    def close(self) -> dict[str, Any]:
        """Remove what was made."""
        self.dismiss()
        while self.made:
            self.made.pop().remove(force=True, v=True)
        return {}


def main() -> None:
    """Answer until stdin ends."""
    peer = Peer(sys.argv[1])
    try:
        for line in sys.stdin:
            asked = json.loads(line)
            try:
                answer = getattr(peer, asked.pop("op"))(**asked)
            except Exception as error:  # noqa: BLE001 - whatever it is, the bench has to hear it
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), flush=True)
    finally:
        peer.close()


if __name__ == "__main__":
    main()
