"""`make cluster-down` leaves no trace of a cluster, whatever ran in it and had broken."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.cluster import Cluster
from cluster.kubectl import Json
from cluster.machine import started

#: Where programs of a cluster keep things, whatever they are told.
PLACES = (
    *("/var/log/containers", "/var/log/pods", "/var/lib/kubelet", "/var/lib/cni", "/run/flannel"),
    *("/var/lib/dockershim", "/usr/libexec/kubernetes", "/etc/cni", "/run/netns", "/opt/cni"),
)
#: What a kubelet sets.
KNOBS = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Traces:
    """What this machine could still have of a cluster that is up."""

    def __init__(self, cluster: Cluster) -> None:
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        self._made = uptime * os.sysconf("SC_CLK_TCK")
        keepers = [Path(f"/proc/{each.pid('keeper')}/ns") for each in cluster.machines]
        self._spaces = {(k / kind).readlink() for k in keepers for kind in ("net", "pid", "mnt")}
        self._home = str(cluster.home)
        groups = (
            node.home / "state/io.containerd.runtime.v2.task/k8s.io" for node in cluster.nodes
        )
        self._groups = {path.name for each in groups for path in each.iterdir()}
        assert self._groups, "no pod runs"

    def left(self) -> list[str]:
        return [*self._processes(), *self._mounts(), *self._others()]

    def _processes(self) -> Iterator[str]:
        for path in Path("/proc").glob("[0-9]*"):
            try:
                inside = self._spaces & {each.readlink() for each in (path / "ns").iterdir()}
                # once free, a namespace's number is the next one's, whoever makes that
                inside = inside and float(started(int(path.name)) or "inf") <= self._made
                command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if inside or self._home in command:
                    yield f"process {path.name}: {command}"
            except OSError:
                continue  # it ended

    def _mounts(self) -> Iterator[str]:
        for line in Path("/proc/mounts").read_text().splitlines():
            if self._home in line:
                yield f"mount {line}"

    def _others(self) -> Iterator[str]:
        if os.path.lexists(self._home):
            yield f"file {self._home}"
        for path in Path("/sys/fs/cgroup").glob("**/k8s.io/*/"):
            if path.name in self._groups:
                yield f"group {path}"


def sleeper(node: str) -> Json:
    """A pod on that node, with something mounted."""
    container: Json = {"name": "main", "image": "busybox", "command": ["sleep", "1000"]}
    container |= {"imagePullPolicy": "Never", "volumeMounts": [{"name": "m", "mountPath": "/m"}]}
    spec: Json = {"nodeName": node, "containers": [container]}
    spec["volumes"] = [{"name": "m", "emptyDir": {"medium": "Memory"}}]
    metadata = {"name": f"sleeper-{node}", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def places() -> set[str]:
    """What is in them; Podman's namespaces come and go with whoever uses it meanwhile."""
    found = {path for each in PLACES for path in Path(each).rglob("*")}
    return {str(path) for path in found if not path.match("/run/netns/netns-*")}


def knobs() -> list[str]:
    return [(Path("/proc/sys") / each).read_text() for each in KNOBS]


def links() -> set[str]:
    return {path.name for path in Path("/sys/class/net").iterdir()}


def test_nothing_is_left(cluster: Cluster) -> None:
    before = places(), knobs(), links()
    cluster = cluster.beside(os.getpid())  # that of the tests is needed still
    try:
        cluster.up()
        cluster.kubectl.create(*(sleeper(node.name) for node in cluster.nodes))
        running = ("--for=jsonpath={.status.phase}=Running", "pod", "--all", "--timeout=60s")
        cluster.kubectl("wait", *running)
        traces = Traces(cluster)
        cluster.nodes[0].kill("containerd")  # what it had started runs on
        cluster.control.kill("etcd")
    finally:
        cluster.down()
    assert not traces.left()
    assert places() - before[0] == set()
    assert knobs() == before[1]
    assert not {"br0", "cni0", "vn1", "vn2"} & (links() - before[2])
