"""Real engines through the public object model, in a world of the tests' own.

``$TFNZ_TEST_ENGINES`` (default: host, podman, docker) says on which; one that is listed and does
not answer fails its tests. A test that is about containers proper says so with
``@pytest.mark.engines("podman", "docker")``.

What the engines can do is proven on each of them by tests/contract. Here each test runs on one of
them, the engines taking turns by the tests' names; its runs on the others are marked ``long``.
``@pytest.mark.engines(..., each=True)`` is for what may well differ between them, and
``anywhere=True`` for a file that shares what takes long to make: all of it runs on one.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from integration.world import World
from turns import turn

from tfnz_notebook.container import Container
from tfnz_notebook.location import Location
from tfnz_notebook.node import Node

KNOWN = ("host", "podman", "docker")
ENGINES = os.environ.get("TFNZ_TEST_ENGINES", ",".join(KNOWN)).replace(",", " ").split()
NOWHERE = "nowhere"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "where" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("engines")
    able = [name for name in ENGINES if name in (marker.args if marker else KNOWN)]
    params = by_turns(metafunc, able) or [NOWHERE]
    metafunc.parametrize("where", params, indirect=True, scope="session")


def by_turns(metafunc: pytest.Metafunc, able: list[str]) -> list[Any]:
    """These engines as parameters: those whose turn it is not are ``long``."""
    marker = metafunc.definition.get_closest_marker("engines")
    wish = marker.kwargs if marker else {}
    now = able
    if able and not wish.get("each"):
        now = [turn(metafunc, able, whole_file=bool(wish.get("anywhere")))]
    return [
        pytest.param(
            name, marks=[getattr(pytest.mark, name), *([] if name in now else [pytest.mark.long])]
        )
        for name in able
    ]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, rather than skip, what none of the chosen engines can do."""
    there, left_out = [], []
    for item in items:
        callspec = getattr(item, "callspec", None)
        params = callspec.params if callspec else {}
        (left_out if params.get("where") == NOWHERE else there).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = there


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """The world that tests share; at the end nothing may be left of it."""
    made = World()
    yield made
    left = made.close()
    assert not left, "left behind:\n" + "\n".join(left)


@pytest.fixture(scope="module", autouse=True)
def entered(world: World) -> Iterator[None]:
    """For one file at a time: the next one may be of other tests, which have another world."""
    with pytest.MonkeyPatch.context() as patch:
        world.enter(patch)
        yield


@pytest.fixture
def own_world(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., World]]:
    """Makes a world for one test that kills agents or needs settings of its own."""
    made: list[World] = []

    def make(**settings: str) -> World:
        made.append(World(**settings))
        made[-1].enter(monkeypatch)
        return made[-1]

    yield make
    left = [what for world in made for what in world.close()]
    assert not left, "left behind:\n" + "\n".join(left)


@pytest.fixture(scope="session")
def where(request: pytest.FixtureRequest, world: World) -> str:
    """The engine's name."""
    assert request.param in KNOWN, f"unknown engine {request.param!r} in $TFNZ_TEST_ENGINES"
    return str(request.param)


@pytest.fixture(scope="module")
def location(where: str) -> Iterator[Location]:
    with Location(where) as opened:
        yield opened


@pytest.fixture(scope="module")
def node(location: Location) -> Node:
    return location.best_node()


@pytest.fixture(scope="module")
def box(node: Node) -> Iterator[Container]:
    """A sleeping Debian with bash, ps and python3, for tests that leave no trace in it."""
    container = node.spawn_container("debian", sleep=True).wait_until_ready()
    yield container
    node.destroy_container(container)


@pytest.fixture
def spawn(node: Node) -> Iterator[Callable[..., Container]]:
    """As node.spawn_container; what it made is destroyed when the test ends."""
    made: list[Container] = []

    def spawn_container(image: str = "debian", **options: Any) -> Container:
        made.append(node.spawn_container(image, **options))
        return made[-1]

    yield spawn_container
    left = {container.id for container in node.all_containers()}
    for container in made:
        if container.id in left:
            node.destroy_container(container)
