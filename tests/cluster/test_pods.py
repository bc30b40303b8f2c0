"""What happens to pods past us, and what the cluster refuses: each is said in its words."""

import json
from collections.abc import Iterator

import pytest
from cluster.kubectl import Kubectl
from cluster.pods import node_of, pod_of
from faults.scene import Scene, at_once
from integration.polling import until

from tfnz_notebook.container import Container
from tfnz_notebook.errors import EngineError, ImageMissing, OutOfMemory, TfnzError

ENDED = ("exited", "failed", "destroyed")

pytestmark = [pytest.mark.faults, pytest.mark.slow]


def ended(box: Container, kubectl: Kubectl, state: str) -> str:
    """How a container ended that nobody of ours ended, when its pod is there no more."""
    until(lambda: box.state in ENDED, 60, f"it ended: {box.state}")
    until(lambda: not pod_of(kubectl, box), 60, "its pod is gone")
    until(lambda: box.state == state, 30, f"it is {state}: {box.state}")
    with pytest.raises(TfnzError) as told:
        box.run_process(["true"], timeout=30)
    return str(told.value)


def test_one_that_is_deleted_behind_our_back(scene: Scene, kubectl: Kubectl) -> None:
    box = scene.box()
    sleeper = box.spawn_process(["sleep", "1000"])
    kubectl("delete", "pod", pod_of(kubectl, box), "--grace-period=1")
    sleeper.wait(60)
    assert box.image in ended(box, kubectl, "destroyed")


def test_one_that_is_evicted(scene: Scene, kubectl: Kubectl) -> None:
    box = scene.box()
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod_of(kubectl, box), "namespace": kubectl.namespace},
    }
    path = f"/api/v1/namespaces/{kubectl.namespace}/pods/{pod_of(kubectl, box)}/eviction"
    kubectl("create", f"--raw={path}", "--filename=-", text=json.dumps(eviction))
    assert "viction" in ended(box, kubectl, "failed")


def test_a_node_is_drained(scene: Scene, kubectl: Kubectl) -> None:
    location = scene.location()
    boxes = [scene.box(location) for _ in range(3)]
    on = [node_of(kubectl, box) for box in boxes]
    name = on[0]
    kubectl("drain", name, "--force", "--delete-emptydir-data", "--timeout=60s")
    try:
        assert "viction" in ended(boxes[0], kubectl, "failed")
        stay = [box for box, node in zip(boxes, on, strict=True) if node != name]
        assert [box.run_process(["echo", "on"]).stdout for box in stay] == [b"on\n"] * len(stay)
        # nothing new goes where nothing may
        assert node_of(kubectl, scene.box(location)) != name
    finally:
        kubectl("uncordon", name)


def test_one_that_takes_more_memory_than_it_may(scene: Scene) -> None:
    node = scene.location().best_node()
    box = node.spawn_container("busybox", command=["tail", "/dev/zero"], memory="32m")
    until(lambda: box.state in ENDED, 60, f"it has ended: {box.state}")
    with pytest.raises(OutOfMemory, match=r"^Cannot .*memory limit"):
        box.wait_until_ready(timeout=30)


def test_an_image_that_is_nowhere(scene: Scene) -> None:
    node = scene.location().best_node()
    with pytest.raises(ImageMissing, match="nowhere-to-be-found"):
        node.spawn_container("nowhere-to-be-found", sleep=True).wait_until_ready(timeout=60)


@pytest.fixture
def quota(kubectl: Kubectl) -> Iterator[None]:
    """Two pods, and no more."""
    hard = {"pods": "2"}
    metadata = {"name": "two"}
    body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata}
    kubectl.create({**body, "spec": {"hard": hard}})
    counted = ("--for=jsonpath={.status.hard.pods}=2", "resourcequota/two", "--timeout=30s")
    kubectl("wait", *counted)
    yield
    kubectl("delete", "resourcequota/two")


@pytest.mark.usefixtures("quota")
def test_a_quota_that_is_full(scene: Scene, kubectl: Kubectl) -> None:
    location = scene.location()
    boxes = [scene.box(location) for _ in range(2)]
    with pytest.raises(EngineError, match="pods=2"):
        location.best_node().spawn_container("busybox", sleep=True).wait_until_ready(timeout=60)
    boxes.pop().destroy()
    used = ("resourcequota/two", "--output=jsonpath={.status.used.pods}")
    until(lambda: kubectl("get", *used) == "1", 60, "the cluster has counted again")
    boxes.append(scene.box(location))
    assert at_once(lambda box: box.run_process(["echo", "on"]).stdout, boxes) == [b"on\n"] * 2
