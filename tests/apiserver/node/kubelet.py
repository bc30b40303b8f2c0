"""A node's agent: the pods that were bound to it, from their volumes to their end."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import signal
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from apiserver.node import registry, volumes
from apiserver.node.commands import NotStarted
from apiserver.node.images import Image, canonical
from apiserver.node.runtime import CAPABILITIES, USUAL, Container, Runtime, Wish
from apiserver.node.scheduler import condition, happened
from apiserver.objects import refusals
from apiserver.objects.refusals import Object, Refusal
from apiserver.objects.resources import CLAIMS, CONFIGMAPS, PODS, SECRETS, quantity
from apiserver.objects.store import Change, now

if TYPE_CHECKING:
    from apiserver.api import Api

#: Each container's state, by its name.
Statuses = dict[str, Object]


def expanded(text: str, env: Mapping[str, str]) -> str:
    """``$(NAME)`` is that variable's value if there is one, and ``$$`` a dollar."""
    return re.sub(
        r"\$(?:\$|\(([^)]*)\))",
        lambda found: "$" if found[1] is None else env.get(found[1], found[0]),
        text,
    )


@dataclass
class Pod:
    """One that is here."""

    uid: str
    namespace: str
    name: str
    home: Path
    ip: str
    containers: dict[str, Container] = field(default_factory=dict)
    #: Something about it changed.
    moved: asyncio.Event = field(default_factory=asyncio.Event)


class Kubelet:
    """Of one node. A test stops it, makes it unreachable, or has it restart."""

    def __init__(
        self,
        name: str,
        address: str,
        api: Api,
        runtime: Runtime,
        images: dict[str, Image],
        home: Path,
    ) -> None:
        self.name, self.address, self.api = name, address, api
        self.runtime, self.images, self._home = runtime, images, home
        self.pods: dict[str, Pod] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0
        #: It restarts: what comes through the API server gets a 404 in plain text.
        self.restarting = False
        #: Nobody reaches it, and it does nothing.
        self.down = False
        #: Set while pods may start: a slow node has it clear.
        self.ready = asyncio.Event()
        self.ready.set()
        #: Images that were pulled here.
        self._pulled = set[str]()
        #: Seconds before a failed pull, or a container that ended, is tried again.
        self.back_off = 10.0
        #: Seconds between a pod's binding and its start, as on a real node.
        self.latency = 0.0
        api.store.heard.append(self._heard)

    # --- what the API server asks ------------------------------------------------------------

    def reached(self) -> None:
        """Raises what an API server says when it cannot."""
        if self.restarting:
            raise refusals.nothing_here()
        if self.down:
            dial = f"dial tcp {self.address}:10250: connect: connection refused"
            raise Refusal(500, "", f"error dialing backend: {dial}")

    def container(self, pod: Object, name: str) -> Container:
        """One that runs; a kubelet's refusal is plain text."""
        self.reached()
        held = self.pods.get(pod["metadata"]["uid"])
        if held is None or name not in held.containers:
            raise Refusal(500, "", "", text=f'container not found ("{name}")')
        return held.containers[name]

    def log(self, pod: Object, container: str) -> bytes | None:
        """All of it; None before it started."""
        path = self._log_of(pod, container)
        return path.read_bytes() if path.exists() else None

    def _log_of(self, pod: Object, container: str) -> Path:
        return Path(self._home / pod["metadata"]["uid"] / container / "log")

    async def follow(self, pod: Object, container: str) -> AsyncIterator[bytes]:
        """The same as it is written, until the container's end."""
        uid = pod["metadata"]["uid"]
        file: BinaryIO | None = None  # open, for with its pod it goes
        try:
            while True:
                held = self.pods.get(uid)
                runs = held is not None and container in held.containers
                if file is None and (path := self._log_of(pod, container)).exists():
                    file = path.open("rb")
                if file is not None and (said := file.read()):
                    yield said
                if not runs:
                    return
                await asyncio.sleep(0.02)
        finally:
            if file is not None:
                file.close()

    # --- what it hears -----------------------------------------------------------------------

    def _heard(self, change: Change) -> None:
        if change.resource is PODS:
            held = self.pods.get(change.last["metadata"]["uid"])
            if held is not None:
                held.moved.set()
        elif change.resource in (CONFIGMAPS, SECRETS, CLAIMS):
            for pod in self.pods.values():
                pod.moved.set()
        if change.resource is not PODS or change.new is None:
            return
        self._bound(change.new, change.new["metadata"]["uid"])

    def _bound(self, it: Object, uid: str) -> None:
        """It may be a new one of ours."""
        ours = it["spec"].get("nodeName") == self.name and uid not in self.pods
        if ours and not self.down and it["status"]["phase"] in ("Pending", "Running"):
            self._count += 1
            about = it["metadata"]
            home = self._home / uid
            ip = f"{self.address.rpartition('.')[0]}.{100 + self._count % 150}"
            pod = Pod(uid, about["namespace"], about["name"], home, ip)
            self.pods[uid] = pod
            task = asyncio.create_task(self._live(pod))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Ends everything here."""
        self.api.store.heard.remove(self._heard)
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _it(self, pod: Pod) -> Object | None:
        """As the API server has it; None once it is gone."""
        it = self.api.store.find(PODS, pod.namespace, pod.name)
        return it if it is not None and it["metadata"]["uid"] == pod.uid else None

    # --- a pod's life ------------------------------------------------------------------------

    async def _live(self, pod: Pod) -> None:
        try:
            await self._lived(pod)
        except _Removed:
            pass
        finally:
            for container in pod.containers.values():
                container.signal(signal.SIGKILL)
            for container in pod.containers.values():
                await container.close()
            del self.pods[pod.uid]
            it = self._it(pod)
            about = it["metadata"] if it is not None else {}
            if "deletionTimestamp" in about and not about.get("finalizers"):
                self.api.store.remove(PODS, pod.namespace, pod.name)
            if it is None or "deletionTimestamp" in it["metadata"]:
                shutil.rmtree(pod.home, ignore_errors=True)

    async def _lived(self, pod: Pod) -> None:
        await self.ready.wait()
        if self.latency:
            await asyncio.sleep(self.latency)
        it = self._wanted(pod)
        creating = {c["name"]: waiting("ContainerCreating") for c in it["spec"]["containers"]}
        self._tell(pod, creating, sandbox=False, started=now())
        places = await self._mounted(pod)
        ready: Statuses = {}
        for container in it["spec"]["containers"]:
            image = await self._pulled_image(pod, container, creating)
            ready[container["name"]] = await self._begun(pod, container, image, places, creating)
        self._tell(pod, ready)
        await asyncio.gather(
            *(self._watched(pod, each, places, ready) for each in it["spec"]["containers"])
        )

    def _wanted(self, pod: Pod) -> Object:
        """It, as long as nobody wants it gone."""
        it = self._it(pod)
        if it is None or "deletionTimestamp" in it["metadata"]:
            raise _Removed
        return it

    async def _mounted(self, pod: Pod) -> dict[str, Path]:
        told = ""
        while True:
            pod.moved.clear()
            it = self._wanted(pod)
            try:
                return volumes.prepared(self.api.store, it, pod.home)
            except volumes.NotYet as why:
                if str(why) != told:
                    told = str(why)
                    self._event(it, "FailedMount", told, "Warning")
                pod.moved.clear()
            await pod.moved.wait()

    async def _pulled_image(self, pod: Pod, container: Object, states: Statuses) -> Image:
        """The image; waits as long as it is not there."""
        name, policy = container["image"], container["imagePullPolicy"]
        it = self._wanted(pod)
        tries = 0
        while True:
            try:
                whole = canonical(name)
            except ValueError:
                why = (
                    f'Failed to apply default image tag "{name}": couldn\'t parse image name '
                    f'"{name}": invalid reference format'
                )
                await self._stuck(pod, container, states, "InvalidImageName", why)
                continue
            image = self.images.get(whole)
            here = image is not None and (image.present or whole in self._pulled)
            if image is not None and here and policy != "Always":
                told = f'Container image "{name}" already present on machine'
                self._event(it, "Pulled", told)
                return image
            if policy == "Never":
                if image is not None and here:
                    return image
                why = f'Container image "{name}" is not present with pull policy of Never'
                await self._stuck(pod, container, states, "ErrImageNeverPull", why)
                continue
            self._event(it, "Pulling", f'Pulling image "{name}"')
            if image is not None:
                self._pulled.add(whole)
                self._event(
                    it,
                    "Pulled",
                    f'Successfully pulled image "{name}" in 1ms (1ms including waiting)',
                )
                return image
            shown = name if "/" in name and whole.endswith(name) else whole
            why = (
                f'failed to pull and unpack image "{shown}": failed to resolve reference '
                f'"{shown}": {shown}: not found'
            )
            self._event(it, "Failed", f'Failed to pull image "{name}": {why}', "Warning")
            states[container["name"]] = waiting("ErrImagePull", why)
            self._tell(pod, states)
            await asyncio.sleep(0)
            tries += 1
            why = f'Back-off pulling image "{name}": ErrImagePull: {why}'
            delay = min(self.back_off * 2 ** (tries - 1), 300.0)
            await self._stuck(pod, container, states, "ImagePullBackOff", why, delay)

    async def _stuck(
        self,
        pod: Pod,
        container: Object,
        states: Statuses,
        reason: str,
        why: str,
        delay: float | None = None,
    ) -> None:
        """Says why it waits; returns when that may have changed. _Removed."""
        states[container["name"]] = waiting(reason, why)
        self._tell(pod, states)
        loop = asyncio.get_running_loop()
        until = loop.time() + (self.back_off if delay is None else delay)
        while (left := until - loop.time()) > 0:
            pod.moved.clear()
            self._wanted(pod)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await pod.moved.wait()

    async def _begun(
        self,
        pod: Pod,
        container: Object,
        image: Image,
        places: dict[str, Path],
        states: Statuses,
        restarts: int = 0,
    ) -> Object:
        """Its status: running, or that it could not be started."""
        it, name = self._wanted(pod), container["name"]
        while True:
            pod.moved.clear()
            try:
                wish = self._wish(pod, it, container, image, places, restarts)
                break
            except _Unconfigured as why:
                reason = "CreateContainerConfigError"
                await self._stuck(pod, container, states, reason, str(why))
        began = now()
        try:
            started = await self.runtime.start(wish)
        except NotStarted as why:
            wish.home.mkdir(parents=True, exist_ok=True)
            message = (
                "failed to create containerd task: failed to create shim task: OCI runtime create "
                f"failed: runc create failed: {why}: unknown"
            )
            self._event(it, "Failed", f"Error: {message}", "Warning")
            return terminated(128, "StartError", "1970-01-01T00:00:00Z", message)
        pod.containers[name] = started
        self._event(it, "Created", "Container created")
        self._event(it, "Started", "Container started")
        return {"running": {"startedAt": began}}

    async def _watched(
        self, pod: Pod, container: Object, places: dict[str, Path], states: Statuses
    ) -> None:
        """Until it is over for good."""
        name, restarts = container["name"], 0
        while True:
            state = states[name]
            if "running" in state:
                code, why = await self._over(pod, name)
                began = state["running"]["startedAt"]
                states[name] = state = terminated(code, why, began)
            it = self._it(pod)
            if it is None:
                return
            policy = it["spec"]["restartPolicy"]
            code = state["terminated"]["exitCode"]
            deleted = "deletionTimestamp" in it["metadata"]
            if deleted or policy == "Never" or (policy == "OnFailure" and code == 0):
                self._tell(pod, states)
                return
            restarts += 1
            last = {name: state}
            if restarts > 1:
                delay = self.back_off * 2 ** (restarts - 2)
                where = f"{pod.name}_{pod.namespace}({pod.uid})"
                why = f"back-off {delay:.0f}s restarting failed container={name} pod={where}"
                states[name] = waiting("CrashLoopBackOff", why)
                await self._stuck(pod, container, states, "CrashLoopBackOff", why, delay)
            image = await self._pulled_image(pod, container, states)
            states[name] = await self._begun(pod, container, image, places, states, restarts)
            self._tell(pod, states, restarts=restarts, last=last)

    async def _over(self, pod: Pod, name: str) -> tuple[int, str]:
        """Its end, whoever brings it about; exit code and reason."""
        container = pod.containers[name]
        waiting_ = asyncio.create_task(container.wait())
        going = asyncio.create_task(self._ended(pod, container))
        try:
            code = await waiting_
        finally:
            for task in (waiting_, going):
                task.cancel()
            await asyncio.gather(waiting_, going, return_exceptions=True)
        del pod.containers[name]
        oom = container.out_of_memory
        await container.close()
        return code, "OOMKilled" if oom else "Completed" if code == 0 else "Error"

    async def _ended(self, pod: Pod, container: Container) -> None:
        """Ends it when the pod is to go: TERM, and KILL after its grace."""
        loop, began = asyncio.get_running_loop(), 0.0
        while True:
            pod.moved.clear()
            it = self._it(pod)
            if it is None:
                container.signal(signal.SIGKILL)
                return
            left = None
            if "deletionTimestamp" in it["metadata"] and not self.down:
                if not began:
                    began = loop.time()
                    container.signal(signal.SIGTERM)
                left = began + it["metadata"]["deletionGracePeriodSeconds"] - loop.time()
                if left <= 0:
                    container.signal(signal.SIGKILL)
                    return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await pod.moved.wait()

    # --- what a container is to be -----------------------------------------------------------

    def _wish(
        self,
        pod: Pod,
        it: Object,
        container: Object,
        image: Image,
        places: dict[str, Path],
        restarts: int,
    ) -> Wish:
        home = pod.home / container["name"]
        home.mkdir(parents=True, exist_ok=True)
        context = {
            **(it["spec"].get("securityContext") or {}),
            **(container.get("securityContext") or {}),
        }
        user, _, group = image.user.partition(":")
        uid = context.get("runAsUser", int(user) if user.isdecimal() else 0)
        if context.get("runAsNonRoot") and uid == 0:
            raise _Unconfigured("container has runAsNonRoot and image will run as root")
        env = self._environment(pod, it, container, image)
        argv = [*(container.get("command") or image.entrypoint)]
        argv += container.get("args") or ([] if container.get("command") else image.command)
        argv = [expanded(word, env) for word in argv]
        limits = (container.get("resources") or {}).get("limits") or {}
        binds = []
        for mount in container.get("volumeMounts") or ():
            source = places[mount["name"]]
            if mount.get("subPath"):
                source = source / mount["subPath"]
                if not source.exists():
                    source.mkdir(parents=True)
            binds.append((source, mount["mountPath"], not mount.get("readOnly")))
        name = it["spec"].get("hostname") or pod.name
        for path, text in {
            "/etc/hostname": f"{name}\n",
            "/etc/hosts": f"127.0.0.1\tlocalhost\n{pod.ip}\t{name}\n",
            "/etc/resolv.conf": "nameserver 10.96.0.10\n",
        }.items():
            file = pod.home / path.rpartition("/")[2]
            file.write_text(text)
            binds.insert(0, (file, path, True))
        own = home / str(restarts) if restarts else home
        own.mkdir(exist_ok=True)
        dropped = "ALL" in ((context.get("capabilities") or {}).get("drop") or ())
        powers = 0 if dropped else USUAL
        for each in (context.get("capabilities") or {}).get("add") or ():
            powers |= 1 << CAPABILITIES.index(each)
        extra = context.get("supplementalGroups") or []
        if "fsGroup" in context:
            extra = [*extra, context["fsGroup"]]
        return Wish(
            f"{pod.uid[:8]}-{container['name']}",
            own,
            image.kind,
            argv,
            env,
            cwd=container.get("workingDir") or image.workdir,
            binds=binds,
            uid=uid,
            gid=context.get("runAsGroup", int(group) if group.isdecimal() else 0),
            groups=extra,
            capabilities=powers,
            no_new_privileges=context.get("allowPrivilegeEscalation") is False,
            read_only=bool(context.get("readOnlyRootFilesystem")),
            hostname=name[:63],
            memory=int(quantity(limits["memory"])) if "memory" in limits else 0,
            cpu=quantity(limits["cpu"]) if "cpu" in limits else 0.0,
        )

    def _environment(self, pod: Pod, it: Object, container: Object, image: Image) -> dict[str, str]:
        env = dict(pair.split("=", 1) for pair in image.env)
        env |= {"HOSTNAME": pod.name}
        env |= {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
        for each in container.get("env") or ():
            source = each.get("valueFrom") or {}
            if "fieldRef" in source:
                at: Any = {**it, "status": {**it["status"], "podIP": pod.ip}}
                for word in source["fieldRef"]["fieldPath"].split("."):
                    at = at[word]
                env[each["name"]] = str(at)
            elif source:
                env[each["name"]] = self._referred(pod, source)
            else:
                env[each["name"]] = expanded(each.get("value", ""), env)
        return env

    def _referred(self, pod: Pod, source: Object) -> str:
        ref = source.get("configMapKeyRef") or source["secretKeyRef"]
        resource = CONFIGMAPS if "configMapKeyRef" in source else SECRETS
        held = self.api.store.find(resource, pod.namespace, ref["name"])
        if held is None:
            raise _Unconfigured(f'{resource.kind.lower()} "{ref["name"]}" not found')
        if ref["key"] not in (held.get("data") or {}):
            place = f"{pod.namespace}/{ref['name']}"
            raise _Unconfigured(f"couldn't find key {ref['key']} in {resource.kind} {place}")
        value = held["data"][ref["key"]]
        if resource is SECRETS:
            import base64

            return base64.b64decode(value).decode()
        return str(value)

    # --- what it tells -----------------------------------------------------------------------

    def _event(self, it: Object, reason: str, message: str, kind: str = "Normal") -> None:
        happened(self.api.store, it, reason, message, kind=kind, source="kubelet")

    def _tell(
        self,
        pod: Pod,
        states: Statuses,
        *,
        sandbox: bool = True,
        started: str = "",
        restarts: int = 0,
        last: Statuses | None = None,
    ) -> None:
        """Put the pod's status together from its containers' states."""
        if self.down or self._it(pod) is None:
            return

        def tell(it: Object) -> None:
            spec, status = it["spec"], it["status"]
            over = [each["terminated"] for each in states.values() if "terminated" in each]
            running = [name for name, each in states.items() if "running" in each]
            if len(over) == len(states):
                good = all(each["exitCode"] == 0 for each in over)
                status["phase"] = "Succeeded" if good else "Failed"
            elif running and len(running) + len(over) == len(states):
                status["phase"] = "Running"
            if started:
                status["startTime"] = started
            status["hostIP"], status["hostIPs"] = self.address, [{"ip": self.address}]
            if sandbox:
                status["podIP"], status["podIPs"] = pod.ip, [{"ip": pod.ip}]
            status["conditions"] = conditions(it, states, sandbox=sandbox)
            status["containerStatuses"] = [
                self._container_status(pod, container, states, restarts, last or {})
                for container in spec["containers"]
            ]
            status["resources"] = total(spec)

        self.api.store.edit(PODS, pod.namespace, pod.name, tell)

    def _image_id(self, name: str) -> str:
        whole = canonical(name)
        repository = whole.partition("@")[0].rpartition(":")[0]
        image = self.images.get(whole)
        return f"{repository}@{registry.digest(registry.manifest(image))}" if image else ""

    def _container_status(
        self, pod: Pod, container: Object, states: Statuses, restarts: int, last: Statuses
    ) -> Object:
        name, state = container["name"], states[container["name"]]
        began = "waiting" not in state
        told: Object = {
            "name": name,
            "state": state,
            "lastState": last.get(name, {}),
            "ready": "running" in state,
            "restartCount": restarts,
            "image": canonical(container["image"]) if began else container["image"],
            "imageID": self._image_id(container["image"]) if began else "",
            "started": "running" in state,
        }
        if began:
            told["containerID"] = f"containerd://{pod.uid.replace('-', '') * 2}"
            told["resources"] = container["resources"]
            for each in state.values():
                if "exitCode" in each:
                    each["containerID"] = told["containerID"]
        return told


class _Removed(Exception):
    """Nobody wants it any more."""


class _Unconfigured(Exception):
    """What its container is made of is not there."""


def waiting(reason: str, message: str = "") -> Object:
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def terminated(code: int, reason: str, began: str, message: str = "") -> Object:
    told: Object = {"exitCode": code, "reason": reason, "startedAt": began, "finishedAt": now()}
    return {"terminated": {**told, **({"message": message} if message else {})}}


def total(spec: Object) -> Object:
    """A pod's own resources: what its containers request."""
    asked: Object = {}
    for container in spec["containers"]:
        for what, amount in ((container["resources"] or {}).get("requests") or {}).items():
            asked[what] = amount
    return {"requests": asked} if asked else {}


def conditions(it: Object, states: Statuses, *, sandbox: bool) -> list[Object]:
    """All five, as a kubelet has them."""
    phase = it["status"]["phase"]
    kept = [
        each
        for each in it["status"].get("conditions") or ()
        if each["type"] in ("PodScheduled", "DisruptionTarget")
    ]
    ended = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase)
    if ended:
        net = condition(
            "PodReadyToStartContainers",
            status="False",
            reason="PodSandboxNotReady",
            message="pod sandbox is not ready",
        )
        more = {"reason": ended}
    elif sandbox:
        net, more = condition("PodReadyToStartContainers", status="True"), {}
    else:
        net = condition(
            "PodReadyToStartContainers",
            status="False",
            reason="PodSandboxNotReady",
            message="no pod sandbox exists",
        )
        more = {}
    unready = [name for name, state in states.items() if "running" not in state]
    if unready and not ended:
        text = f"containers with unready status: [{' '.join(unready)}]"
        more = {"reason": "ContainersNotReady", "message": text}
    ready = "False" if unready else "True"
    done = {"reason": ended} if ended == "PodCompleted" else {}
    return [
        net,
        condition("Initialized", status="True", **done),
        condition("Ready", status=ready, **more),
        condition("ContainersReady", status=ready, **more),
        *kept,
    ]
