"""An agent that listens on TCP, as on another machine, and a client that it knows."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from integration.polling import until
from integration.world import World


def free_port() -> int:
    """One on which nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def acquaint(server: World, client: World, port: int) -> None:
    """Make both key pairs; each has the other's public key."""
    assert server.tfnz_agent("keygen", "--server").returncode == 0
    assert client.tfnz_agent("keygen").returncode == 0
    assert server.tfnz_agent("authorize", str(client.config / "client.key")).returncode == 0
    known = client.config / "known"
    known.mkdir()
    shutil.copy(server.config / "server.key", known / f"127.0.0.1_{port}.key")


def serve(server: World, where: str, port: int) -> "subprocess.Popen[str]":
    """An agent on that port; its log is in the server's home."""
    with (server.home / "agent.log").open("wb") as log:
        agent = subprocess.Popen(
            [
                *(sys.executable, "-m", "tfnz_notebook.agent", "serve", "--log-level", "debug"),
                *("--where", where, "--bind", f"tcp://127.0.0.1:{port}"),
            ],
            env=server.environment(),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert agent.stdout is not None
    agent.stdout.readline()  # that it serves, or the end
    return agent


@dataclass
class Remote:
    """A running remote agent and its address; the world is the client's."""

    server: World
    client: World
    port: int
    pid: int

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def log(self) -> str:
        """What the agent has logged."""
        return (self.server.home / "agent.log").read_text()

    def logs(self, *words: str) -> str:
        """The first line of its log that has all of the words, once there is one."""

        def found() -> str:
            fitting = (line for line in self.log().splitlines() if all(w in line for w in words))
            return next(fitting, "")

        until(found, 20, f"a line with {words}")
        return found()


@contextmanager
def serving(server: World, client: World, where: str) -> Iterator[Remote]:
    """The two, until the end of the block."""
    port = free_port()
    acquaint(server, client, port)
    agent = serve(server, where, port)
    assert agent.poll() is None
    try:
        yield Remote(server, client, port, agent.pid)
    finally:
        agent.terminate()
        agent.communicate(timeout=20)
