"""Faults on a real cluster: worlds whose agents have containers in the namespace of the tests.

What is killed and cut is the cluster of `make cluster`; on another one (``$KUBECONFIG``) such tests
are skipped. A test has the namespace for itself, and a minute after it nothing may be in there.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster.cluster import Cluster
from cluster.kubectl import Kubectl
from faults.conftest import _counted, measured, writer
from faults.leftovers import Watch
from faults.scene import Scene, close
from integration.world import World

from tfnz_notebook.location import Location

__all__ = ["_counted", "measured", "writer"]

#: What a namespace has in it by itself.
THERE = {"configmap/kube-root-ca.crt"}
KINDS = "pods,configmaps,networkpolicies,persistentvolumeclaims"
#: Seconds within which what a session had is gone.
GONE = 60.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.kubernetes)


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    """Its administrator's, in the namespace of the tests."""
    admin = os.environ["TFNZ_TEST_ADMIN"]
    program = os.environ["TFNZ_TEST_KUBECTL"].split()
    namespace = os.environ["TFNZ_TEST_NAMESPACE"]
    return Kubectl(program, Path(admin) if admin else None, namespace)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """Our own, in which anything may be killed."""
    if os.environ.get("TFNZ_TEST_CLUSTER") != "own":
        pytest.skip("it takes a cluster of one's own, see `make cluster`")
    return Cluster()


class InCluster(Watch):
    """What is left of a world in the namespace, and on this machine."""

    within, every = GONE, 0.5

    def __init__(self, world: World, kubectl: Kubectl) -> None:
        super().__init__(world, "kubernetes")
        self._kubectl = kubectl

    def look(self) -> None:
        """A pod's processes are not of this machine."""

    def left(self) -> list[str]:
        held = set(self._kubectl("get", KINDS, "--output=name").split()) - THERE
        kept = self.world.runtime / "kubernetes"
        folders = [kept, *kept.glob("*")]  # an owner's; what it keeps is below
        return [*sorted(held), *(str(path) for path in self._files() if path not in folders)]


class ClusterScene(Scene):
    """The kubeconfig's own context and namespace."""

    def location(self, **options: Any) -> Location:
        self.locations.append(Location(f"{self.where}://", **options))
        return self.locations[-1]


@pytest.fixture
def worlds(
    kubectl: Kubectl, writer: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Scene]]:
    """Makes worlds, each as on a machine of its own; the newest is where locations are opened."""
    made: list[Scene] = []

    def enter(scene: Scene) -> None:
        scene.world.enter(monkeypatch)

    def make(**settings: str) -> Scene:
        world = World(**{"KUBECONFIG": os.environ["TFNZ_TEST_KUBERNETES"], **settings})
        scene = ClusterScene(world, "kubernetes", writer)
        scene.watch = InCluster(world, kubectl)
        made.append(scene)
        enter(scene)
        return scene

    yield make
    for scene in made[:-1]:  # the last one looks whether anything is left, of any of them
        enter(scene)
        for location in scene.locations:
            location.disconnect()
        assert scene.world.tfnz_agent("stop").returncode == 0
        assert not scene.world.close()
    if made:
        enter(made[-1])
        close(made[-1:])


@pytest.fixture
def scene(worlds: Callable[..., Scene]) -> Scene:
    """One world."""
    return worlds()
