"""A scripted agent in a runtime directory of the test's own, and a location that found it."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.link.scripted_agent import ScriptedAgent

from tfnz_notebook._link.agents import starter
from tfnz_notebook.container import Container
from tfnz_notebook.location import Location

#: What says which engine is meant.
NAMED = ("DOCKER_HOST", "DOCKER_CONTEXT", "CONTAINER_HOST", "TFNZ_LOCATION")
NO_AGENT = """
import json
error = {"class": "NoEngine", "message": "Unit tests start no agent.", "details": {}}
print(json.dumps({"error": error}))
"""


@pytest.fixture(autouse=True, scope="module")
def _nothing_of_the_users() -> Iterator[None]:
    """No engine is named, and no agent of the user's is found."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as state:
        for name in NAMED:
            patch.delenv(name, raising=False)
        patch.setenv("TFNZ_STATE", state)
        patch.setenv("DOCKER_CONFIG", state)
        yield


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Short enough for a socket's path, which pytest's own directories are not."""
    path = Path(tempfile.mkdtemp(prefix="tfnz-"))
    monkeypatch.setenv("TFNZ_RUNTIME", str(path))
    monkeypatch.setenv("TFNZ_STATE", str(path / "state"))
    monkeypatch.setenv("TFNZ_CONFIG", str(path / "config"))
    for name in NAMED:
        monkeypatch.delenv(name, raising=False)
    # A link that looks for its agent while the scripted one is away must not start a real one.
    monkeypatch.setattr(starter, "AGENT", ("-c", NO_AGENT))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def agent(runtime: Path) -> Iterator[ScriptedAgent]:
    made = ScriptedAgent(runtime)
    yield made
    made.close()


@pytest.fixture
def location(agent: ScriptedAgent) -> Iterator[Location]:
    with Location("podman") as opened:
        yield opened


@pytest.fixture
def container(location: Location) -> Container:
    return location.node("first").spawn_container("nginx").wait_until_ready(10)
