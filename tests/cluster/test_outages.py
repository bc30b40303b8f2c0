"""Parts of the cluster go away and come back, while processes write: nothing of it is lost."""

import time
from collections.abc import Callable

import pytest
from cluster.cluster import Cluster
from cluster.flow import flowing
from cluster.kubectl import Kubectl
from cluster.machine import Machine
from cluster.pods import node_of
from faults.scene import Scene
from integration.polling import Clock, until

from tfnz_notebook.errors import ContainerUnresponsive

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(300)]


def away(seconds: float) -> None:
    """Let so much time pass: that it is away so long is what the test is about."""
    end = time.monotonic() + seconds
    until(lambda: time.monotonic() > end, seconds + 30, "time passes")


def test_the_api_server_is_away_for_a_minute(
    cluster: Cluster, scene: Scene, measured: Callable[[str], None]
) -> None:
    with flowing(scene, writers=20) as flow:
        cluster.control.kill("kube-apiserver")
        try:
            away(60)
        finally:
            cluster.control.again("kube-apiserver")
        with Clock() as clock:
            flow.flows(60)
        measured(f"kubernetes: streams flow {clock.seconds:.1f} s after the API server starts")


def test_the_api_server_is_restarted_again_and_again(cluster: Cluster, scene: Scene) -> None:
    with flowing(scene) as flow:
        for _ in range(3):
            cluster.control.kill("kube-apiserver")
            cluster.control.again("kube-apiserver")
            flow.flows()


@pytest.mark.parametrize("program", ["kubelet", "containerd"])
def test_a_node_s_program_is_killed(cluster: Cluster, scene: Scene, program: str) -> None:
    with flowing(scene) as flow:
        for node in cluster.nodes:
            node.kill(program)
            away(3)
            node.again(program)
        flow.flows()


def test_a_node_s_cable_is_pulled(cluster: Cluster, scene: Scene, kubectl: Kubectl) -> None:
    with flowing(scene) as flow:
        box = flow.boxes[0]
        name = node_of(kubectl, box)
        (node,) = (node for node in cluster.nodes if node.name == name)
        node.unplug(cluster.control)
        try:
            with pytest.raises(ContainerUnresponsive):
                box.run_process(["true"], timeout=90)
            assert box.state in ("unresponsive", "unreachable"), "and not gone"
            until(lambda: box.state == "unreachable", 90, "the cluster has missed its node")
        finally:
            node.plug(cluster.control)
        flow.flows(90)
        until(lambda: box.state == "running", 60, "it is back")


def test_the_controllers_are_away(cluster: Cluster, scene: Scene) -> None:
    """Nobody needs them to start and end containers of a session that has some."""
    with flowing(scene):
        for name in ("kube-controller-manager", "kube-scheduler"):
            cluster.control.kill(name)
            cluster.control.again(name)
        assert scene.box(scene.locations[0]).run_process(["echo", "here"]).stdout == b"here\n"


def programs(machine: Machine) -> list[str]:
    return sorted(path.name for path in (machine.home / "programs").iterdir())


def test_all_is_as_it_was(cluster: Cluster) -> None:
    assert cluster.alive, {each.name: programs(each) for each in cluster.machines}
    cluster.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=60s")
