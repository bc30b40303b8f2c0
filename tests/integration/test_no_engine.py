"""No engine, one that we may not use, and places that are none: each is told with a remedy."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest
from integration import engine_api
from integration.refusal import refused
from integration.world import World

from tfnz_notebook.errors import Misuse
from tfnz_notebook.location import Location

OPEN = """
import sys
from tfnz_notebook.errors import TfnzError, to_wire
from tfnz_notebook.location import Location
try:
    Location(*sys.argv[1:])
except TfnzError as error:
    print(type(error).__name__, error)
"""


def complaint(
    world: World, *arguments: str, prefix: tuple[str, ...] = (), **env: str
) -> tuple[str, str]:
    """Class and message of what Location(...) raises in a process of its own."""
    done = subprocess.run(
        [*prefix, sys.executable, "-c", OPEN, *arguments],
        env=world.environment(**env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kind, _, message = done.stdout.strip().partition(" ")
    return kind, message


NOWHERE = {
    "CONTAINER_HOST": "unix:///nowhere/podman.sock",
    "DOCKER_HOST": "unix:///nowhere/docker.sock",
}


@pytest.mark.parametrize("named", [(), ("podman",), ("docker",)])
def test_no_engine(own_world: Callable[..., World], named: tuple[str, ...]) -> None:
    kind, message = complaint(own_world(), *named, **NOWHERE)
    assert kind == "NoEngine"
    assert message.startswith("Cannot ")
    assert re.search(r"install|start|correct|set", message, re.IGNORECASE), message


def test_no_engine_at_all_says_what_to_install(own_world: Callable[..., World]) -> None:
    kind, message = complaint(own_world(), **NOWHERE)
    assert kind == "NoEngine"
    assert "nstall" in message, message
    assert "host" in message, "the way out that always works"


@pytest.mark.parametrize("engine", ["podman", "docker"])
def test_an_engines_socket_that_we_may_not_use(
    own_world: Callable[..., World], engine: str
) -> None:
    world = own_world()
    path = world.home / "engine.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        path.chmod(0)
        prefix: tuple[str, ...] = ()
        if os.geteuid() == 0:
            # Root may use any socket, unless it does without the capability to.
            os.chown(path, 65534, 65534)
            prefix = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
        variable = engine_api.SOCKETS[engine][0]
        kind, message = complaint(world, engine, prefix=prefix, **{variable: f"unix://{path}"})
    assert kind == "NoEngine", message
    assert message.startswith("Cannot ")
    assert "ermission" in message
    assert re.search(r"group|root|rootless|sudo|chmod", message), message


@pytest.mark.engines("podman")
def test_podman_without_its_service_is_started(
    own_world: Callable[..., World], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = own_world()
    monkeypatch.delenv("CONTAINER_HOST", raising=False)
    with Location(where) as location:
        container = location.best_node().spawn_container("debian", sleep=True)
        assert container.run_process("echo here").stdout == b"here\n"
    assert world.tfnz_agent("stop").returncode == 0
    assert not (world.runtime / "podman-service.json").exists(), "the service goes with its agent"


def test_a_place_that_is_none() -> None:
    with refused(Misuse, "Give 'podman'"):
        Location("the moon")
    with refused(Misuse, "tcp://host:2020"):
        Location("tcp://")
