"""docs/kubernetes: a cluster takes the manifests, and the agent of the Deployment serves."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.cluster import Cluster
from cluster.control import ROOT
from cluster.kubectl import Kubectl
from integration.polling import until
from integration.remote import free_port
from integration.world import World

from tfnz_notebook.location import Location

DOCS = ROOT / "docs" / "kubernetes"
#: What the Deployment's image is called on the nodes.
IMAGE = "registry.test/tfnz-agent:test"
SECRETS = ("tfnz-agent-keys", "tfnz-agent-authorized")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize("folder", ["role", "agent"])
def test_a_server_takes_them(kubectl: Kubectl, folder: str) -> None:
    kubectl("apply", "--dry-run=server", f"--kustomize={DOCS / folder}")


def test_nothing_is_asked_for_outside_the_namespace(kubectl: Kubectl) -> None:
    told = kubectl("kustomize", str(DOCS / "agent"))
    assert "ClusterRole" not in told
    asked = ("create", "--dry-run=client", f"--filename={DOCS / 'role' / 'role.yaml'}")
    role = json.loads(kubectl(*asked, "--output=json"))
    assert not [rule for rule in role["rules"] if "*" in str(rule)]


@pytest.fixture
def image(cluster: Cluster, tmp_path: Path) -> str:
    """The agent's, on both nodes."""
    archive = tmp_path / "agent.tar"
    with_podman, script = (str(ROOT / ".ci" / name) for name in ("with-engines", "agent-image"))
    command = [with_podman, script, sys.executable, str(archive), IMAGE]
    # of our images podman needs the base of that one alone
    subprocess.run(command, env={**os.environ, "TFNZ_IMAGES": "python"}, check=True)
    shutil.copy(archive, cluster.home / archive.name)
    for node in cluster.nodes:
        node.images("import", str(cluster.home / archive.name))
    return IMAGE


@pytest.fixture
def deployed(kubectl: Kubectl, image: str, tmp_path: Path) -> Iterator[World]:
    """The Deployment, under keys of its own; the world of one who may come in."""
    server, client = World(), World()
    assert server.tfnz_agent("keygen", "--server").returncode == 0
    assert client.tfnz_agent("keygen").returncode == 0
    pair = [f"--from-file={server.config / name}" for name in ("server.key", "server.key_secret")]
    kubectl("create", "secret", "generic", SECRETS[0], *pair)
    known = f"--from-file=client.key={client.config / 'client.key'}"
    kubectl("create", "secret", "generic", SECRETS[1], known)
    shutil.copytree(DOCS, tmp_path / "docs")
    overlay = tmp_path / "docs" / "here"
    overlay.mkdir()
    name, _, tag = image.rpartition(":")
    # what a user's own kustomization says: where the image is
    images = [{"name": "registry.example.com/tfnz-agent", "newName": name, "newTag": tag}]
    told = {"resources": ["../agent"], "images": images}
    (overlay / "kustomization.yaml").write_text(json.dumps(told))
    try:
        kubectl("apply", f"--kustomize={overlay}")
        kubectl("rollout", "status", "deployment/tfnz-agent", "--timeout=120s")
        (client.config / "known").mkdir()
        shutil.copy(server.config / "server.key", client.config / "known" / "server.key")
        yield client
    finally:
        agent = ("deployment,service,persistentvolumeclaim,networkpolicy", "tfnz-agent")
        kubectl("delete", "--ignore-not-found", "--wait", *agent)
        kubectl("delete", "secret", "--ignore-not-found", *SECRETS)
        assert not client.close()
        assert not server.close()


def test_the_deployment_serves(
    kubectl: Kubectl, deployed: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    known = deployed.config / "known"
    (known / "server.key").rename(known / f"127.0.0.1_{port}.key")
    deployed.enter(monkeypatch)
    forward = ["port-forward", "service/tfnz-agent", f"{port}:2020"]
    with subprocess.Popen(kubectl.command(*forward), stdout=subprocess.PIPE) as forwarding:
        try:
            assert forwarding.stdout is not None
            assert b"Forwarding" in forwarding.stdout.readline()
            with Location(f"tcp://127.0.0.1:{port}") as location:
                box = location.best_node().spawn_container("busybox", sleep=True)
                assert box.run_process("echo from $(hostname)").stdout.startswith(b"from ")
                held = kubectl("get", "pods", "--selector=io.tfnz.container", "--output=name")
                assert len(held.split()) == 1
            gone = ("get", "pods", "--selector=io.tfnz.container", "--output=name")
            until(lambda: not kubectl(*gone), 60, "the session's pod is gone")
        finally:
            forwarding.terminate()
