"""A cluster in this process: an API server on loopback, two nodes, and all that goes on by itself.

    async with Cluster() as cluster:
        path = cluster.kubeconfig()          # a file, for kubeconfig's readers
        cluster.api.faults.add(...)          # it misbehaves

Pods are real guests in namespaces where root may make them, else plain processes; ``models=True``
makes them model guests without a process, for a thousand. The loop is the test's own; a test whose
subject has another uses :func:`apart`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from apiserver import certificates
from apiserver.api import Api, Call
from apiserver.client import Target
from apiserver.controllers import Controllers
from apiserver.node import images
from apiserver.node.kubelet import Kubelet
from apiserver.node.runtime import Bare, Models, Runtime, Sandboxes
from apiserver.node.scheduler import condition
from apiserver.objects.resources import CLASSES, NAMESPACES, NODES, PODS
from apiserver.objects.store import now
from apiserver.server import Server

from tfnz_notebook.engines.kubernetes.login.credentials import Cluster as Described
from tfnz_notebook.engines.kubernetes.login.credentials import Material, Static

if TYPE_CHECKING:
    from apiserver.objects.refusals import Object

Result = TypeVar("Result")
NAMESPACE = "default"


class Cluster:
    """All of it; an asynchronous context manager."""

    def __init__(
        self, *, nodes: int = 2, models: bool = False, tls: bool = False, bare: bool = False
    ) -> None:
        self.home = images.temporary()
        self.api = Api()
        self.store = self.api.store
        self.images = self.api.images
        self.authority = certificates.Authority(self.home / "pki") if tls else None
        context = self.authority.server() if self.authority else None
        self.server = Server(self.api, context)
        self._runtime = self._chosen(models=models, bare=bare)
        self._count = nodes
        self._tasks: list[asyncio.Task[None]] = []

    def _chosen(self, *, models: bool, bare: bool) -> Runtime:
        if models:
            return Models()
        program = None if bare else images.sandbox()
        if program is None:
            return Bare()
        return Sandboxes(program, images.Trees(images.shared() / "trees"))

    @property
    def contained(self) -> bool:
        """Its pods are in namespaces of their own."""
        return isinstance(self._runtime, Sandboxes)

    async def __aenter__(self) -> Self:
        self.controllers = Controllers(self.api, self.home)
        for number in range(1, self._count + 1):
            self.add_node(f"n{number}", f"10.99.0.{10 + number}")
        about: Object = {"name": "standard"}
        about["annotations"] = {"storageclass.kubernetes.io/is-default-class": "true"}
        more = {"provisioner": "rancher.io/local-path", "volumeBindingMode": "WaitForFirstConsumer"}
        self._make(CLASSES, about, **more, reclaimPolicy="Delete")
        for name in (NAMESPACE, "kube-system"):
            labels = {"kubernetes.io/metadata.name": name}
            spec = {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
            self._make(NAMESPACES, {"name": name, "labels": labels}, **spec)
        self._tasks.append(asyncio.create_task(self.controllers.run()))
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.stop()
        for task in self._tasks:
            task.cancel()
        failed = await asyncio.gather(*self._tasks, return_exceptions=True)
        for kubelet in self.api.kubelets.values():
            await kubelet.close()
        shutil.rmtree(self.home)
        for failure in failed:
            if isinstance(failure, Exception):
                raise failure

    def _make(self, resource: object, about: Object, **more: object) -> Object:
        said = {"kind": resource.kind, "apiVersion": resource.api_version}  # type: ignore[attr-defined]
        return self.store.create(resource, {**said, "metadata": about, **more})  # type: ignore[arg-type]

    # --- nodes -------------------------------------------------------------------------------

    def add_node(
        self, name: str, address: str, *, cpu: str = "4", memory: str = "8Gi", pods: str = "110"
    ) -> Kubelet:
        """One more."""
        room = {"cpu": cpu, "memory": memory, "pods": pods, "ephemeral-storage": "100Gi"}
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
        labels["kubernetes.io/arch"] = "amd64"
        status = {
            "capacity": room,
            "allocatable": room,
            "conditions": [ready("True")],
            "addresses": [
                {"type": "InternalIP", "address": address},
                {"type": "Hostname", "address": name},
            ],
            "images": [
                {"names": [image], "sizeBytes": 2 << 20}
                for image, held in self.images.items()
                if held.present
            ],
            "nodeInfo": {
                "kubeletVersion": "v1.37.2",
                "containerRuntimeVersion": "containerd://1.6.20",
            },
        }
        self._make(NODES, {"name": name, "labels": labels}, spec={}, status=status)
        home = self.home / name
        home.mkdir()
        made = Kubelet(name, address, self.api, self._runtime, self.images, home)
        self.api.kubelets[name] = made
        return made

    def lose(self, name: str) -> None:
        """A node that nobody hears of any more: NotReady, its pods not ready, nothing evicted."""
        self.api.kubelets[name].down = True

        def lost(it: Object) -> None:
            it["status"]["conditions"] = [ready("Unknown")]
            it["spec"]["taints"] = [
                {"key": "node.kubernetes.io/unreachable", "effect": effect}
                for effect in ("NoSchedule", "NoExecute")
            ]

        self.store.edit(NODES, "", name, lost)
        for pod in self.store.all(PODS):
            if pod["spec"].get("nodeName") == name:
                self._edit(pod, lambda it: _unready(it))

    def regain(self, name: str) -> None:
        """It is back, with everything on it as it was."""

        def back(it: Object) -> None:
            it["status"]["conditions"] = [ready("True")]
            it["spec"].pop("taints", None)

        self.api.kubelets[name].down = False
        self.store.edit(NODES, "", name, back)
        for pod in self.store.all(PODS):
            if pod["spec"].get("nodeName") == name and pod["status"]["phase"] == "Running":
                self._edit(pod, lambda it: _ready(it))

    # --- what befalls a pod ------------------------------------------------------------------

    def _edit(self, pod: Object, how: Callable[[Object], None]) -> None:
        about = pod["metadata"]
        self.store.edit(PODS, about["namespace"], about["name"], how)

    def evict(self, namespace: str, name: str) -> None:
        """By the kubelet, which lacks memory: its containers end, the pod stays as Failed."""
        pod = self.store.get(PODS, namespace, name)

        def evicted(it: Object) -> None:
            why = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 5Mi."
            it["status"] |= {"phase": "Failed", "reason": "Evicted", "message": why}

        self._edit(pod, evicted)
        self.kill(namespace, name)

    def preempt(self, namespace: str, name: str) -> None:
        """By the scheduler, for a more important one."""
        pod = self.store.get(PODS, namespace, name)

        def preempted(it: Object) -> None:
            why = "default-scheduler: preempting to accommodate a higher priority pod"
            more = {"reason": "PreemptionByScheduler", "message": why}
            it["status"]["conditions"].append(condition("DisruptionTarget", status="True", **more))

        self._edit(pod, preempted)
        self.api.delete(PODS, namespace, name, {})

    def kill(self, namespace: str, name: str, number: int = 9) -> None:
        """Its containers' first processes, from outside."""
        pod = self.store.get(PODS, namespace, name)
        held = self.api.kubelets[pod["spec"]["nodeName"]].pods.get(pod["metadata"]["uid"])
        for container in held.containers.values() if held is not None else ():
            container.signal(number)

    # --- who may reach it --------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"http{'s' if self.authority else ''}://127.0.0.1:{self.server.port}"

    def target(self, token: str = "admin-token") -> Target:
        """For the tests' own client."""
        headers = {"Authorization": f"Bearer {token}"}
        tls = self.authority.client(None) if self.authority else None
        return Target("127.0.0.1", self.server.port, tls, headers)

    def described(self, *, token: str = "admin-token", namespace: str = NAMESPACE) -> Described:
        """For our own client."""
        authority = self.authority.certificate.read_bytes() if self.authority else b""
        return Described(
            "fake",
            self.url,
            namespace,
            authority=Material(authority),
            credentials=Static(token=Material(token.encode())),
        )

    def config(self, *, token: str = "admin-token", namespace: str = NAMESPACE) -> Object:
        """A kubeconfig, as an object that a test may change."""
        server: Object = {"server": self.url}
        if self.authority is not None:
            text = base64.b64encode(self.authority.certificate.read_bytes()).decode()
            server["certificate-authority-data"] = text
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": server}],
            "users": [{"name": "admin", "user": {"token": token}}],
            "contexts": [
                {
                    "name": "fake",
                    "context": {"cluster": "fake", "user": "admin", "namespace": namespace},
                }
            ],
        }

    def kubeconfig(self, **options: str) -> Path:
        """The same as a file."""
        path = self.home / "kubeconfig"
        path.write_text(json.dumps(self.config(**options)))
        return path

    # --- what was asked ----------------------------------------------------------------------

    @property
    def calls(self) -> list[Call]:
        return self.api.calls

    def counted(self, since: int = 0) -> Counter[str]:
        """Calls by verb and resource: ``list pods``."""
        return Counter(f"{call.verb} {call.resource}" for call in self.calls[since:])

    async def until(self, done: Callable[[], object], patience: float = 30.0) -> None:
        """Wait for something in the store, after each change."""
        moved = asyncio.Event()

        def hear(change: object) -> None:
            moved.set()

        self.store.heard.append(hear)
        try:
            async with asyncio.timeout(patience):
                while not done():
                    moved.clear()
                    await moved.wait()
        finally:
            self.store.heard.remove(hear)


def ready(status: str) -> Object:
    reason = "KubeletReady" if status == "True" else "NodeStatusUnknown"
    message = "kubelet is posting ready status"
    if status != "True":
        message = "Kubelet stopped posting node status."
    told = condition("Ready", status=status, reason=reason, message=message)
    return {**told, "lastHeartbeatTime": now()}


def _unready(it: Object) -> None:
    for each in it["status"].get("conditions") or ():
        if each["type"] in ("Ready", "ContainersReady"):
            each["status"] = "False"


def _ready(it: Object) -> None:
    for each in it["status"].get("conditions") or ():
        if each["type"] in ("Ready", "ContainersReady"):
            each["status"] = "True"


class Apart:
    """A cluster with a thread and a loop of its own."""

    def __init__(self, cluster: Cluster, loop: asyncio.AbstractEventLoop) -> None:
        self.cluster, self._loop = cluster, loop

    def do(self, what: Callable[[Cluster], Result | Awaitable[Result]]) -> Result:
        """Over there, and what it returned."""

        async def done() -> Result:
            said = what(self.cluster)
            return await said if isinstance(said, Awaitable) else said

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result(60)


@contextlib.contextmanager
def apart(**options: bool) -> Iterator[Apart]:
    """One beside tests that block, or have an agent in a process of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="apiserver")
    thread.start()

    def run(work: Awaitable[Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(_awaited(work), loop).result(60)

    async def _awaited(work: Awaitable[Result]) -> Result:
        return await work

    try:
        cluster = Cluster(**options)  # type: ignore[arg-type]
        run(cluster.__aenter__())
        try:
            yield Apart(cluster, loop)
        finally:
            run(cluster.__aexit__())
            run(loop.shutdown_default_executor())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
