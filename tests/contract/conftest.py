"""One suite over every engine: who is tested, and that nothing is left behind.

``TFNZ_TEST_ENGINES`` (a comma list of fake, host, docker, podman) names those that must be there:
one that is missing fails. Without it, those that answer are tested, and the others are skipped.
``TFNZ_TEST_KUBERNETES`` (a kubeconfig) and ``TFNZ_TEST_NAMESPACE`` name the cluster, without which
its tests are not there at all: it is ``make test-cluster`` that has one. The cluster in memory
(``kubernetes+fake``, tests/apiserver) is always there, with real guests.

A guest in a container is reached by its socket, or by the engine's exec where that cannot be. What
that makes no difference to says ``@pytest.mark.either_way``: by exec it is ``long``. Of the others
each takes one way on Docker and the other on Podman, by turns; what that leaves is ``long``. Both
are asked for; ``TFNZ_TEST_TRANSPORT`` names the one that these engines have to take by themselves,
and then all do.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from apiserver.cluster import Cluster
from contract import cluster
from contract.talk import Talk, talking
from turns import turn

from tfnz_notebook import engines
from tfnz_notebook.engines.base import ContainerSpec, Engine, Image, PullPolicy
from tfnz_notebook.engines.fake.engine import FakeEngine
from tfnz_notebook.engines.launch import binary as guest_binary
from tfnz_notebook.errors import TfnzError

#: Those of this machine's own engines, and those that real containers run in.
MACHINE = ("docker+socket", "docker+exec", "podman+socket", "podman+exec")
CLUSTER = ("kubernetes", "kubernetes+fake")
CONTAINERS = (*MACHINE, *CLUSTER)
KINDS = ("fake", "host", *CONTAINERS)
#: What one test takes and the next leaves.
TURNS = (("docker+socket", "podman+exec"), ("docker+exec", "podman+socket"))
#: A user's Podman: its containers share no network, and have no cgroups of version 1.
USERS = ("podman+socket",) if os.geteuid() else ()
BARE = () if Path("/sys/fs/cgroup/cgroup.controllers").exists() else USERS


def named(
    kinds: tuple[str, ...], *, either_way: bool = False, long: tuple[str, ...] = ()
) -> list[object]:
    """The kinds as parameters, each under its engine's marker."""

    def marks(kind: str) -> list[pytest.MarkDecorator]:
        engine, _, way = kind.partition("+")
        return [
            *([] if "fake" in (engine, way) else [getattr(pytest.mark, engine)]),
            *([pytest.mark.long] if kind in long or (either_way and way == "exec") else []),
        ]

    return [pytest.param(kind, marks=marks(kind)) for kind in kinds]


def taken(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Those whose transport is the one that is taken, where that is not asked for."""
    own = os.environ.get("TFNZ_TEST_TRANSPORT", "")
    return tuple(kind for kind in kinds if kind not in MACHINE or kind.endswith(own))


def pytest_configure(config: pytest.Config) -> None:
    """The suite's own markers."""
    config.addinivalue_line("markers", "only(kinds, long=()): these engines have what it needs")
    config.addinivalue_line("markers", "cgroups: it is about what a container's cgroup does")
    config.addinivalue_line("markers", "same_machine: it needs the engine's files or processes")
    told = "either_way: how the guest is reached makes no difference to it"
    config.addinivalue_line("markers", told)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``place`` runs on every engine; ``@pytest.mark.parametrize`` narrows it, with a reason."""
    if "place" not in metafunc.fixturenames:
        return
    only = metafunc.definition.get_closest_marker("only")
    kinds = only.args[0] if only is not None else KINDS
    if cluster.KUBECONFIG not in os.environ:
        kinds = tuple(kind for kind in kinds if kind != "kubernetes")
    either_way = metafunc.definition.get_closest_marker("either_way") is not None
    long = only.kwargs.get("long", ()) if only is not None else ()
    if not either_way and {*MACHINE} <= {*kinds} and "TFNZ_TEST_TRANSPORT" not in os.environ:
        long = (*long, *turn(metafunc, TURNS))
    kinds = taken(kinds)
    if metafunc.definition.get_closest_marker("cgroups") is not None:
        kinds = tuple(kind for kind in kinds if kind not in BARE)
    made = named(kinds, either_way=either_way, long=long)
    metafunc.parametrize("place", made, indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What only a real cluster has is not there without one, rather than skipped."""
    here = Path(__file__).parent
    items[:] = [
        item
        for item in items
        if not (item.name.endswith("[NOTSET]") and item.path.is_relative_to(here))
    ]


@dataclass
class Place:
    """An engine under test and what was made there."""

    kind: str
    engine: Engine
    runtime: Path
    owner: str
    again: Callable[..., Engine]
    #: The cluster that is in this process.
    there: Cluster | None = None
    count: int = 0
    others: list[Engine] = field(default_factory=list)

    def directories(self) -> list[Path]:
        """What containers have on this machine."""
        return [*self.runtime.glob("guests/*/*"), *self.runtime.glob("host/*")]

    @property
    def contained(self) -> bool:
        """There are real containers."""
        return self.kind in CONTAINERS

    async def second(self, **options: object) -> Engine:
        """Another engine object on the same engine, as a fresh agent makes one; opened."""
        other = self.again(**options)
        await other.open()
        self.others.append(other)
        return other

    async def image(self, name: str = "busybox") -> Image:
        # A cluster's node may have dropped one that nobody used for a while; it gets it again.
        pull: PullPolicy = "missing" if self.kind in CLUSTER else "never"
        return await self.engine.ensure_image(name, pull, lambda progress: None)

    def spec(self, image: str = "busybox", **options: object) -> ContainerSpec:
        self.count += 1
        options.setdefault("sleep", "command" not in options)
        return ContainerSpec(id=f"{self.owner}-{self.count}", image=image, **options)  # type: ignore[arg-type]

    async def create(self, image: str = "busybox", **options: object) -> str:
        return await self.engine.create(self.spec(image, **options), await self.image(image))

    async def run(self, image: str = "busybox", **options: object) -> str:
        """A started container; sleeping, unless a command is given."""
        ref = await self.create(image, **options)
        await self.engine.start(ref)
        return ref


@pytest.fixture
def short() -> Iterator[Path]:
    """A private directory whose path leaves room for a socket's name."""
    path = Path(tempfile.mkdtemp(prefix="tfnz-c-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
async def place(request: pytest.FixtureRequest, short: Path) -> AsyncIterator[Place]:
    """The engine, open; afterwards everything that this owner made is gone."""
    async with AsyncExitStack() as stack:
        in_memory = request.param == "kubernetes+fake"
        there = await stack.enter_async_context(Cluster()) if in_memory else None
        yield await stack.enter_async_context(placed(request.param, short, there))


@asynccontextmanager
async def placed(kind: str, short: Path, there: Cluster | None) -> AsyncIterator[Place]:
    owner = f"t{uuid.uuid4().hex[:10]}"
    fake = FakeEngine(owner=owner)

    def again(*, owner: str = owner, runtime: Path = short) -> Engine:
        if kind == "fake":
            return FakeEngine(owner=owner, world=fake.world)
        if kind in CLUSTER:
            guest = guest_binary.locate()
            return cluster.engine(runtime=runtime, guest=guest, owner=owner, there=there)
        asked = kind.partition("+")[0] if own is not None and kind in MACHINE else kind
        return engines.create(asked, runtime=runtime, guest=guest_binary.locate(), owner=owner)

    wanted, own = os.environ.get("TFNZ_TEST_ENGINES"), os.environ.get("TFNZ_TEST_TRANSPORT")
    try:
        engine = fake if kind == "fake" else again()
        await engine.open()
    except TfnzError as error:
        if wanted is not None and kind.partition("+")[0] in wanted.split(","):
            pytest.fail(f"{kind} must be there (TFNZ_TEST_ENGINES={wanted}): {error}")
        pytest.skip(f"{kind} is not there: {error}")
    place = Place(kind, engine, short, owner, again, there)
    try:
        if own is not None and kind in MACHINE:
            assert engine.about()["transport"].partition(" ")[0] == own
        yield place
        left = await _clear(engine)
        for other in place.others:
            await _clear(other)
            await other.close()
        assert not left
        if kind in CLUSTER:
            await cluster.nothing_is_left(engine)
        assert not place.directories(), "a container's directory was left"
    finally:
        await engine.close()


async def _clear(engine: Engine) -> list[str]:
    """Remove what is left of this owner; what cannot be removed is returned."""
    for found in await engine.find({}):
        await engine.remove(found.ref)
    for volume in await engine.volumes({}):
        await engine.remove_volume(volume)
    return [found.ref for found in await engine.find({})] + await engine.volumes({})


@pytest.fixture
async def box(place: Place) -> str:
    """A sleeping busybox."""
    return await place.run()


@pytest.fixture
async def talk(place: Place, box: str) -> AsyncIterator[Talk]:
    """A connection to its guest."""
    async with talking(place.engine, box) as talk:
        yield talk
