"""Faults on purpose, on Podman or on Docker, with processes whose every line is checked.

Each test has a world of its own (directories, owner, agent), so that it may kill what it likes,
and is followed by a look for anything that it left: a container, a process, a file, a socket, a
network, a mount. The bytes that were checked are counted; the suite says how many at its end.
"""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults.check import TOTAL
from faults.scene import Scene, close
from integration.conftest import ENGINES, NOWHERE, by_turns, pytest_collection_modifyitems
from integration.world import World

__all__ = ["pytest_collection_modifyitems"]

HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "together: one test drives all engines at once")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "where" not in metafunc.fixturenames:
        return
    chosen = [name for name in ("podman", "docker") if name in ENGINES]
    if chosen and metafunc.definition.get_closest_marker("together"):
        marks = [getattr(pytest.mark, name) for name in chosen]
        params = [pytest.param("+".join(chosen), marks=marks)]
    else:
        params = by_turns(metafunc, chosen)
    metafunc.parametrize("where", params or [NOWHERE], indirect=True, scope="module")


@pytest.fixture(autouse=True)
def _counted(request: pytest.FixtureRequest) -> Iterator[None]:
    before = TOTAL.bytes
    yield
    request.node.user_properties.append(("bytes checked", TOTAL.bytes - before))


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Say a number that a bar is about; it is printed at the end of the run."""
    return lambda line: request.node.user_properties.append(("measured", line))


@pytest.fixture(scope="session")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The writer, a static program that runs in any image."""
    made = tmp_path_factory.mktemp("writer") / "writer"
    compiler = shutil.which("musl-gcc") or "cc"
    flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-static"]
    subprocess.run([compiler, *flags, "-o", made, HERE / "writer.c"], check=True)
    return made


@pytest.fixture(scope="module")
def where(request: pytest.FixtureRequest) -> str:
    """The engine's name; the names of all, joined by ``+``, for who is marked ``together``."""
    return str(request.param)


class Stage:
    """Makes worlds with a scene for each engine: ``stage("podman+docker", VARIABLE="value")``."""

    def __init__(self, writer: Path, patch: pytest.MonkeyPatch) -> None:
        self._writer, self._patch = writer, patch
        self._made: list[list[Scene]] = []

    def __call__(self, where: str, **settings: str) -> list[Scene]:
        world = World(**settings)
        self._made.append([Scene(world, name, self._writer) for name in where.split("+")])
        self.enter(self._made[-1])
        return self._made[-1]

    def enter(self, scenes: list[Scene]) -> None:
        """Make their world the one in which this process opens locations."""
        for other in self._made:
            for name in other[0].world.settings:
                if name.startswith("TFNZ_"):
                    self._patch.delenv(name, raising=False)
        scenes[0].world.enter(self._patch)

    def close(self) -> None:
        """The end of all of them; fails if something is left."""
        for scenes in self._made:
            self.enter(scenes)
            close(scenes)


@pytest.fixture
def stage(writer: Path) -> Iterator[Stage]:
    """Worlds for one test."""
    with pytest.MonkeyPatch.context() as patch:
        made = Stage(writer, patch)
        yield made
        made.close()


@pytest.fixture(scope="module")
def stages(writer: Path) -> Iterator[Stage]:
    """Worlds for the tests of a module."""
    with pytest.MonkeyPatch.context() as patch:
        made = Stage(writer, patch)
        yield made
        made.close()


@pytest.fixture
def scenes(stage: Stage, where: str) -> list[Scene]:
    """One scene an engine, in one world."""
    return stage(where)


@pytest.fixture
def scene(scenes: list[Scene]) -> Scene:
    """The scene of a test that is run for each engine."""
    (only,) = scenes
    return only
