"""Kubernetes: a pod for each container, the guest inside, one stream to it.

What a pod looks like is in :mod:`manifest`, what its object says in :mod:`status`, what its guest
is told first in :mod:`boot`. Pods are followed by one watch (:mod:`pods`).

A pod cannot be stopped and started again, so a container that is stopped has no pod: what it was
made of is kept here, and starting it makes another of the same name, with a fresh file system.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tfnz_notebook._base import names
from tfnz_notebook.engines.base import (
    ANY_CLAIM,
    LABEL_CONTAINER,
    LABEL_DURABLE,
    LABEL_OWNER,
    LABEL_SESSION,
    LABEL_UNMODIFIED,
    Claim,
    Closed,
    ContainerSpec,
    Engine,
    Found,
    Image,
    NodeInfo,
    Progress,
    PullPolicy,
    Received,
    State,
    Stored,
    Stream,
)
from tfnz_notebook.engines.kubernetes import nodes, volumes
from tfnz_notebook.engines.kubernetes.anchors import Anchors
from tfnz_notebook.engines.kubernetes.api import Api
from tfnz_notebook.engines.kubernetes.images import Images
from tfnz_notebook.engines.kubernetes.isolation import Isolation
from tfnz_notebook.engines.kubernetes.pod import beside, manifest, status
from tfnz_notebook.engines.kubernetes.pod.boot import Line
from tfnz_notebook.engines.kubernetes.pod.kept import Kept, Made
from tfnz_notebook.engines.kubernetes.pod.manifest import Anchor, Remote
from tfnz_notebook.engines.kubernetes.pod.pods import Pods
from tfnz_notebook.engines.kubernetes.refusals import ApiError
from tfnz_notebook.engines.launch.making import Making
from tfnz_notebook.errors import (
    ContainerFailed,
    ContainerGone,
    EngineError,
    EngineGone,
    ImageConfigUnknown,
    Misuse,
    NoEngine,
    TfnzError,
    VolumeError,
)

Said = dict[str, Any]

#: Seconds for a guest to answer, and for one that is only starting, as may be a thousand others;
#: then between two attempts.
PATIENCE: Final = 10.0
_STARTING: Final = 60.0
_FIRST_PAUSE: Final = 0.02
_LAST_PAUSE: Final = 1.0
#: Seconds for which a stream is kept for whoever connects after a start.
_KEPT: Final = 10.0
#: Seconds for a node to say that a pod is gone, after which its word is done without.
_GONE: Final = 20.0
#: Seconds after which is asked again for what the watch would tell.
_LOOK: Final = 2.0
#: Seconds for which a pod waits before its events are asked what for.
_SLOW: Final = 5.0
#: Seconds for a registry to say what a sleeping container may be started with some day.
_SLEEPING: Final = 2.0


class KubernetesEngine(Engine):
    """One namespace of one cluster. ``owner`` is the value of the owner label."""

    name = "kubernetes"
    no_images = "pulls what it starts from registries, on the machine that starts it"
    unmodified_costs = beside.COSTS

    def __init__(
        self,
        api: Api,
        *,
        runtime: Path,
        guest: Path,
        owner: str,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        super().__init__()
        self.owner = owner
        self._api = api
        self._kept = Kept(runtime, owner)
        self._anchors = Anchors(api, owner, guest, self._anchored)
        self._isolation = Isolation(api, owner)
        self._images = Images(api, environ)
        self._selector = manifest.owner_selector(owner)
        self._pods = Pods(api, self._selector)
        self._version: Said = {}
        #: The namespace has the profile ``restricted``.
        self._restricted = False
        #: We may not look at nodes, and tell of one, called as the namespace.
        self._blind = False
        #: The one exec of each pod.
        self._lines: dict[str, Line] = {}
        self._turns: dict[str, asyncio.Lock] = {}
        self._making = Making(self.remove)
        #: What pods find of each other.
        self._probes: set[asyncio.Task[None]] = set()

    # -- the engine ---------------------------------------------------------------------------

    @property
    def api(self) -> Api:
        """The API server; NoEngine before :meth:`open` and after :meth:`close`."""
        if not self._version:
            raise NoEngine("Cannot use kubernetes: it is not connected. Open it first.")
        return self._api

    async def open(self) -> None:
        if not self._version:
            self._version = await self._api.open()
            self._pods.open()

    async def close(self) -> None:
        await self._making.settled()
        await asyncio.gather(*self._probes, return_exceptions=True)
        self._version = {}
        for line in self._lines.values():
            line.close_unless_taken()
        await self._images.close()
        await self._pods.close()
        await self._api.close()

    def about(self) -> Mapping[str, str]:
        profile = (
            "restricted: guests are not root, and have no capabilities"
            if self._restricted
            else "not restricted"
        )
        cluster = self._api.cluster
        trust = {"trust": f"anybody at {cluster.server}: the context says insecure-skip-tls-verify"}
        return {
            "engine": "kubernetes",
            "version": str(self._version.get("gitVersion", "")),
            "context": cluster.name,
            "namespace": self._api.namespace,
            "address": cluster.server,
            **(trust if cluster.insecure else {}),
            "transport": "exec",
            "security": profile,
            "limits": "of processes: each node's own",
            "isolation": str(self._isolation),
        }

    async def nodes(self, *, counted: bool = True) -> list[NodeInfo]:
        del counted  # what runs on them says what is free
        found = await nodes.listed(self.api)
        self._blind = found == [nodes.unknown(self.api)]
        return found

    # -- images -------------------------------------------------------------------------------

    async def images(self) -> list[Stored]:
        """What nodes tell of, which is not all they have; nothing for who may not look."""
        found = set[Stored]()
        try:
            async for node in self.api.pages("/api/v1/nodes"):
                for image in (node.get("status") or {}).get("images") or ():
                    names = [str(name) for name in image.get("names") or ()]
                    tags = tuple(sorted(name for name in names if "@" not in name))
                    digests = [name.partition("@")[2] for name in names if "@" in name]
                    size = image.get("sizeBytes")
                    found.add(Stored((digests or tags or ("",))[0], tags, size))
        except ApiError as error:
            if error.status not in (401, 403):
                raise
        return sorted(found, key=lambda each: (not each.tags, each.tags, each.id))

    async def ensure_image(
        self, image: str, pull: PullPolicy, progress: Callable[[Progress], None]
    ) -> Image:
        names.parse(image)
        del progress  # the node that gets it tells none
        return Remote(id="", pull=pull)

    # -- containers ---------------------------------------------------------------------------

    async def create(self, spec: ContainerSpec, image: Image) -> str:
        return await self._making.whole(self._make(spec, image))

    async def _make(self, spec: ContainerSpec, image: Image) -> str:
        labels = {**spec.labels, LABEL_OWNER: self.owner, LABEL_CONTAINER: spec.id}
        if spec.unmodified:
            labels[LABEL_UNMODIFIED] = ""
        spec = replace(spec, labels=labels)
        manifest.refuse(spec)
        manifest.boot(replace(spec, sleep=True), (*(spec.entrypoint or ()), *(spec.command or ())))
        name = manifest.pod_name(spec)
        if name in self._kept:
            raise _taken(name)
        if spec.entrypoint is None and not spec.unmodified:
            self._images.prepare(spec.image, await self._anchors.machine())
        made = Made(spec, image if isinstance(image, Remote) else Remote(image.id))
        await self._post(name, made)
        self._kept.put(name, made)
        return name

    async def _post(self, name: str, made: Made) -> None:
        """Make its pod."""
        spec = made.spec
        session = spec.labels.get(LABEL_SESSION, "")
        mounts, node = await volumes.mounted(self.api, spec, self._pods)
        if node:
            spec = replace(spec, node=node)
        elif spec.node == self._api.namespace:  # the node of who may not list any
            spec = replace(spec, node=None)
        durable = LABEL_DURABLE in spec.labels
        anchor = await self._anchors.hold(session, name, durable=durable)
        try:
            if spec.network == "none":
                await self._isolation.shut(anchor)
            await self._leave_files(spec, anchor)
            said = await self._admitted(spec, made.image, anchor, mounts)
        except BaseException as error:
            await self._take_files(spec)
            await self._anchors.release(session, name)
            if isinstance(error, ApiError):
                raise _not_made(made.spec, error) from error
            raise
        self._pods.learn(said)

    async def _admitted(
        self, spec: ContainerSpec, image: Image, anchor: Anchor, mounts: manifest.Volumes
    ) -> Said:
        """Have the pod made: as a machine's own engine would, or as the namespace will have it."""
        soft = manifest.softened(spec)
        if not (self._restricted and soft):
            try:
                body = manifest.pod(spec, image, anchor, mounts)
                return await self._made(spec, body)
            except ApiError as error:
                if error.status != 403 or "PodSecurity" not in error.message or soft is None:
                    raise
        body = manifest.pod(soft, image, anchor, mounts, manifest.hardened(spec))
        said = await self._made(spec, body)
        self._restricted = True
        return said

    async def _made(self, spec: ContainerSpec, body: Said) -> Said:
        """The pod, though the answer that it was made is lost: asked again, it is there already."""
        try:
            return await self.api.call("POST", self._api.path("pods"), body=body, repeatable=True)
        except ApiError as error:
            said = None
            if error.reason == "AlreadyExists":
                said = await self._look(manifest.pod_name(spec))
            if said is None or manifest.labels_of(said).get(LABEL_CONTAINER) != spec.id:
                raise
            return said

    async def _leave_files(self, spec: ContainerSpec, anchor: Anchor) -> None:
        """What no guest writes before the first process, the pod has mounted."""
        if spec.unmodified and spec.files:
            body = manifest.files(spec, anchor)
            try:
                await self.api.call("POST", self._api.path("configmaps"), body=body)
            except ApiError as error:
                if error.reason != "AlreadyExists":  # for its life before
                    raise

    async def _take_files(self, spec: ContainerSpec) -> None:
        if spec.unmodified and spec.files:
            path = self._api.path("configmaps", beside.holder(spec.id))
            with contextlib.suppress(TfnzError):  # else they go with the session
                await self.api.call("DELETE", path, repeatable=True)

    def called(self, ref: str, spec: ContainerSpec) -> tuple[str, str]:  # noqa: ARG002
        return "", ref  # kubectl shows no ids

    def where(self, ref: str) -> str:
        node = status.machine(self._pods[ref] or {})
        return self._api.namespace if node and self._blind else node

    async def start(self, ref: str) -> None:
        said = await self._look(ref)
        container = manifest.labels_of(said).get(LABEL_CONTAINER, "") if said else ""
        made = self._kept.get(ref, container)
        if said is not None:
            now = status.state(said)
            if now.status == "running":
                return
            if now.status == "exited":
                await self._delete(ref, 0.0)
                said = None
        elif made is None or made.stopped is None:
            raise gone(ref)
        if made is None:
            raise EngineError(
                "Cannot start the container: what it was made of went with an earlier agent. "
                "Spawn another."
            )
        if said is None:
            await self._post(ref, made)
            made.stopped = None
        said = await self._up(ref)
        marking = asyncio.ensure_future(self._mark(ref))
        try:
            line = await self._dial(ref, _STARTING)
            try:
                if not made.spec.unmodified:
                    await self._tell(made, said, line)
                await marking
            except BaseException:
                line.close()
                raise
        except ContainerGone:
            if not made.spec.unmodified:
                raise
            return  # it has ended already, which is its own to say
        finally:
            marking.cancel()
        asyncio.get_running_loop().call_later(_KEPT, line.close_unless_taken)

    async def _tell(self, made: Made, said: Said, line: Line) -> None:
        """Tell its guest what it is."""
        spec = made.spec
        if await line.greet():
            image = (
                Image("") if spec.entrypoint is not None else await self._image(spec, said, line)
            )
            told = spec if not _is_hardened(said) else manifest.softened(spec) or spec
            await line.boot(manifest.boot(told, spec.argv(image)))
        if not spec.sleep:
            await line.start()

    async def _image(self, spec: ContainerSpec, said: Said, line: Line) -> Image:
        """What it starts. For one that sleeps that may stay unknown."""
        machine = await self._anchors.machine()
        try:
            async with asyncio.timeout(_SLEEPING if spec.sleep else None):
                return await self._images.of(spec.image, said, machine, line)
        except (ImageConfigUnknown, TimeoutError):
            if not spec.sleep:
                raise
            return Image("")

    async def _up(self, ref: str) -> Said:
        """Wait until its container runs; tell meanwhile what for."""
        looking = asyncio.ensure_future(self._say_why(ref))
        try:
            return await self._pods.until(ref, lambda said: self._is_up(ref, said))
        finally:
            looking.cancel()

    async def _say_why(self, ref: str) -> None:
        """The scheduler's words are in the pod; a node's, on what takes long, in its events."""
        loop = asyncio.get_running_loop()
        before, slow = "", loop.time() + _SLOW
        while True:
            said = self._pods[ref] or {}
            words = status.waiting(said)
            if loop.time() > slow:
                words = await self._last_event(said) or words
            if words and words != before:
                self.waits(ref, before := words)
            await asyncio.sleep(_LOOK)

    async def _last_event(self, said: Said) -> str:
        uid = (said.get("metadata") or {}).get("uid", "")
        query = {"fieldSelector": f"involvedObject.uid={uid},type=Warning"}
        try:
            events = [each async for each in self._api.pages(self._api.path("events"), query)]
        except TfnzError:
            return ""
        latest = max(events, key=lambda e: str(e.get("lastTimestamp") or ""), default={})
        return status.sentence(latest)

    def _is_up(self, ref: str, said: Said | None) -> Said | None:
        if said is None:
            raise gone(ref)
        failure = status.failure(said)
        if failure is not None:
            raise failure
        if status.over(said) and not _is_unmodified(said):
            raise ContainerFailed(
                f"Cannot start the container: its guest ended at once ({status.state(said).error}"
                f"). Look at its log: kubectl logs {ref}."
            )
        return said if status.running(said) or status.over(said) else None

    async def _mark(self, ref: str) -> None:
        """From now on it runs."""
        change = {"metadata": {"annotations": {manifest.STARTED: "true"}}}
        kind = "application/merge-patch+json"
        path = self._api.path("pods", ref)
        self._pods.learn(await self.api.call("PATCH", path, body=change, kind=kind))

    async def stop(self, ref: str, grace: float) -> None:
        said = await self._look(ref)
        if said is None or status.state(said).status != "running":
            return
        made = self._kept.get(ref, manifest.labels_of(said).get(LABEL_CONTAINER, ""))
        last = await self._delete(ref, grace)
        if made is not None:
            made.stopped = State("exited", exit_code=status.state(last).exit_code)

    async def recreate(self, ref: str, spec: ContainerSpec, image: Image) -> str:
        """One that has no pod is made anew by its start; of one that has not run, try first."""
        before = self._kept.get(ref)
        del image  # the node is to have it anew; under the policy that it was first made with
        said = await self._look(ref)
        if said is not None:
            await self._delete(ref, 0.0)
        labels = {**spec.labels, LABEL_OWNER: self.owner, LABEL_CONTAINER: spec.id}
        policy = before.image if before is not None else Remote("")
        made = Made(replace(spec, labels=labels), policy)
        try:
            await self._post(ref, made)
            await self._up(ref)
        except BaseException:
            with contextlib.suppress(TfnzError):
                await self._delete(ref, 0.0)
            if before is not None:
                before.stopped = State("exited")
            raise
        self._kept.put(ref, made)
        return ref

    def lacks(self, spec: ContainerSpec) -> Mapping[str, str]:
        missing = self._isolation.missing
        return {"isolation": missing} if missing and spec.network is None else {}

    async def remove(self, ref: str) -> None:
        said = await self._look(ref)
        if said is not None:
            await self._delete(ref, 0.0)
        made = self._kept.get(ref)
        labels = manifest.labels_of(said) if said is not None else made.spec.labels if made else {}
        if made is not None:
            await self._take_files(made.spec)
        self._kept.drop(ref, labels.get(LABEL_CONTAINER, ""))
        self._isolation.forget(ref)
        self._pods.taken.pop(ref, None)
        self._turns.pop(ref, None)
        if (line := self._lines.pop(ref, None)) is not None:
            line.close_unless_taken()
        await self._anchors.release(labels.get(LABEL_SESSION, ""), ref)

    async def _delete(self, ref: str, grace: float) -> Said:
        """End the pod and wait until it is gone; what was last seen of it."""
        seen: Said = self._pods[ref] or {}
        uid = (seen.get("metadata") or {}).get("uid", "")

        def is_gone(said: Said | None) -> bool | None:
            nonlocal seen
            if said is None or said["metadata"]["uid"] != uid:
                return True
            seen = said
            return None

        waiting = asyncio.ensure_future(self._pods.until(ref, is_gone))
        try:
            await self._ask_to_go(ref, uid, max(1, math.ceil(grace)))
            deadline = asyncio.get_running_loop().time() + grace + _GONE
            while not (await asyncio.wait([waiting], timeout=_LOOK))[0]:
                await self._look(ref)  # the watch may be late
                if asyncio.get_running_loop().time() > deadline:
                    # Its node does not answer. What it still runs there ends when it comes back.
                    await self._ask_to_go(ref, uid, 0)
        finally:
            waiting.cancel()
        return seen

    async def _ask_to_go(self, ref: str, uid: str, grace: int) -> None:
        options = {"gracePeriodSeconds": grace, "preconditions": {"uid": uid}}
        try:
            path = self._api.path("pods", ref)
            said = await self.api.call("DELETE", path, body=options, repeatable=True)
        except ApiError as error:
            if error.status not in (404, 409):
                raise
            self._pods.lost(ref)
        else:
            if said.get("kind") != "Pod" or grace == 0:  # a Status: it never came to a node
                self._pods.lost(ref)

    async def inspect(self, ref: str) -> State:
        known = self._pods[ref]
        if known is not None and status.over(known):
            return status.state(known)
        said = await self._look(ref)
        if said is None:
            made = self._kept.get(ref)
            if made is not None and made.stopped is not None:
                return made.stopped
            words = self._pods.taken.get(ref)
            return State("exited", taken=words) if words else State("gone")
        return status.state(said)

    async def _look(self, ref: str, patience: float = 30.0) -> Said | None:
        """The pod as it is now; None if there is none of ours."""
        try:
            said = await self.api.call("GET", self._api.path("pods", ref), timeout=patience)
        except ApiError as error:
            if error.status != 404 or not error.structured:
                raise
            self._pods.lost(ref)
            return None
        if manifest.labels_of(said).get(LABEL_OWNER) != self.owner:
            return None
        self._pods.learn(said)
        return said

    async def watch(self, happened: Callable[[str], None]) -> None:
        self._pods.listeners.append(happened)
        try:
            await asyncio.Event().wait()
        finally:
            self._pods.listeners.remove(happened)

    async def isolate(
        self, ref: str, sources: Collection[str] = (), targets: Collection[str] = ()
    ) -> None:
        del targets  # it is theirs to let it in
        pod = self._running(ref) or self._running(ref, await self._look(ref))
        if pod is None:
            raise gone(ref)
        come = [found for each in sources if (found := self._running(each)) is not None]
        await self._isolation.allow(pod, come, fresh=ref in self._kept)
        others = (each for each in self._pods if each is not pod and _is_apart(each))
        other = next((each for each in others if status.state(each).status == "running"), None)
        if other is not None and _is_apart(pod) and self._isolation.due():
            probe = asyncio.create_task(self._probe(pod, other))
            self._probes.add(probe)
            probe.add_done_callback(self._probes.discard)

    async def _probe(self, pod: Said, other: Said) -> None:
        before = self._isolation.missing
        await self._isolation.probe(pod, other, self._reach)
        if self._isolation.missing != before:
            self.found_lacking()

    def _running(self, ref: str, said: Said | None = None) -> Said | None:
        said = said or self._pods[ref]
        running = said is not None and status.state(said).status == "running"
        return said if running else None

    async def _reach(self, ref: str, host: str, port: int) -> str:
        """What one pod finds at another's address."""
        said = await self._run(ref, manifest.GUEST, "reach", host, str(port))
        return said.decode("utf-8", "replace").strip()[:100] or "nothing was said"

    async def _run(self, ref: str, *argv: str) -> bytes:
        """What a command in a pod says on its stdout, until its end."""
        found = bytearray()
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def ended(_: Exception | None) -> None:
            if not over.done():
                over.set_result(None)

        stream = await self.api.exec(ref, manifest.MAIN, argv, found.extend, ended)
        stream.deliver()
        try:
            async with asyncio.timeout(PATIENCE):
                await over
        finally:
            stream.close()
        return bytes(found)

    async def _anchored(self, anchor: Anchor) -> None:
        """A new session: its pods are kept apart before there is one."""
        await self._isolation.before(anchor)

    async def logs(self, ref: str, tail: int = 100) -> bytes:
        query = {"container": manifest.MAIN, "tailLines": str(tail)}
        try:
            return await self.api.text(self._api.path("pods", ref, "log"), query=query)
        except ApiError as error:
            if error.status == 404 and (await self.inspect(ref)).status == "gone":
                raise gone(ref) from error
            if error.status in (400, 404):  # it has not begun to run
                return b""
            raise

    async def output(self, ref: str) -> AsyncIterator[tuple[int, bytes]]:
        """Both streams as one, for that is how nodes keep them; begun anew after a cut."""
        told, pause = 0, _FIRST_PAUSE
        path, query = self._api.path("pods", ref, "log"), {"container": manifest.MAIN}
        while True:
            at = 0
            over = (said := await self._look(ref)) is None or status.over(said)
            try:
                async with aclosing(self._api.follow(path, {**query, "follow": "true"})) as pieces:
                    async for piece in pieces:
                        fresh = piece[max(0, told - at) :]
                        at += len(piece)
                        if fresh:
                            told, pause = told + len(fresh), _FIRST_PAUSE
                            yield 1, fresh
            except TfnzError as error:
                if isinstance(error, ApiError) and error.status == 404 and error.structured:
                    return
            else:
                if over:
                    return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE)

    async def find(self, labels: Mapping[str, str]) -> list[Found]:
        wanted = {**labels, LABEL_OWNER: self.owner}
        path, query = self.api.path("pods"), {"labelSelector": self._selector}
        found = {}
        async for said in self._api.pages(path, query):
            told = manifest.labels_of(said)
            about = said["metadata"]
            if about["name"] not in self._kept and told.get(LABEL_OWNER) == self.owner:
                for owner in about.get("ownerReferences") or ():
                    anchor = Anchor(str(owner.get("name")), str(owner.get("uid")))
                    self._anchors.adopt(told.get(LABEL_SESSION, ""), about["name"], anchor)
            self._pods.learn(said)  # so that it is no news when the watch begins
            if all(told.get(key) == value for key, value in wanted.items()):
                now = status.left if about["name"] not in self._kept else status.state
                found[about["name"]] = Found(about["name"], told, now(said))
        for name, made in self._kept.here().items():
            told = dict(made.spec.labels)
            fits = all(told.get(key) == value for key, value in wanted.items())
            if name not in found and made.stopped is not None and fits:
                found[name] = Found(name, told, made.stopped)
        return list(found.values())

    async def sweep(self, kept: Collection[str]) -> None:
        await asyncio.to_thread(self._kept.sweep, kept)
        await self._anchors.sweep()

    # -- the stream ---------------------------------------------------------------------------

    async def connect(self, ref: str, received: Received, closed: Closed) -> Stream:
        line = self._lines.get(ref)
        if line is None or line.taken or line.over:
            said = self._pods[ref]
            if said is not None and status.state(said).status == "created":
                raise gone(ref)  # its pod may be up; that is its start's to say
            line = await self._dial(ref)
        line.hand_over(received, closed)
        return line

    async def _dial(self, ref: str, patience: float = PATIENCE) -> Line:
        """The pod's exec, once its guest has spoken. There is one at a time, the newest."""
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + patience, _FIRST_PAUSE
        async with self._turns.setdefault(ref, asyncio.Lock()):
            if (before := self._lines.pop(ref, None)) is not None:
                before.close()
            while True:
                line = Line()
                try:
                    async with self._api.execs.turn() as waited:
                        deadline += waited
                        await self._open(ref, line)
                    self._lines[ref] = line
                    return line
                except (ApiError, EngineGone, TimeoutError) as error:
                    why = str(error) or "it says nothing"
                    line.close()
                    if isinstance(error, ApiError) and error.status in (401, 403):
                        raise
                except BaseException:
                    line.close()
                    raise
                # as long as that may take, but no longer than all of it
                said = await self._look(ref, max(deadline - loop.time(), _LAST_PAUSE))
                if said is None or not status.running(said):
                    raise gone(ref)
                if loop.time() > deadline:
                    raise EngineGone(
                        f"Cannot connect to the container's guest within {patience:g} s: {why} "
                        "Destroy the container and spawn another."
                    )
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LAST_PAUSE)

    async def _open(self, ref: str, line: Line) -> None:
        argv = [manifest.GUEST, "connect"]
        async with asyncio.timeout(PATIENCE):
            if _is_unmodified(self._pods[ref] or await self._look(ref) or {}):
                await self._run(ref, *manifest.BESIDE)
            stream = await self.api.exec(ref, manifest.MAIN, argv, line.received, line.ended)
            line.attach(stream)
            stream.deliver()
            await line.hello()

    # -- volumes ------------------------------------------------------------------------------

    async def create_volume(
        self, name: str, labels: Mapping[str, str], claim: Claim = ANY_CLAIM
    ) -> None:
        await volumes.create(self.api, name, labels, self.owner, claim)

    async def volumes(self, labels: Mapping[str, str]) -> list[str]:
        return await volumes.listed(self.api, labels, self.owner)

    async def volume_sizes(self, labels: Mapping[str, str]) -> dict[str, int | None]:
        return await volumes.sizes(self.api, await self.volumes(labels))

    async def remove_volume(self, name: str) -> None:
        await volumes.remove(self.api, name, self.owner)


def _is_apart(said: Said) -> bool:
    return manifest.APART in ((said.get("metadata") or {}).get("labels") or {})


def _is_unmodified(said: Said) -> bool:
    """Its first process is the image's own."""
    return LABEL_UNMODIFIED in manifest.labels_of(said)


def _is_hardened(said: Said) -> bool:
    """Its guest is the user that its processes are to be."""
    container = ((said.get("spec") or {}).get("containers") or [{}])[0]
    return bool((container.get("securityContext") or {}).get("runAsNonRoot"))


def gone(ref: str) -> ContainerGone:
    """The error for a container that is not there, or not running any more."""
    return ContainerGone(
        f"Cannot use the container {ref!r}: it is not there, or no longer running. "
        "Look at its logs, or spawn another."
    )


def _taken(name: str) -> Misuse:
    return Misuse(
        f"Cannot name a container {name!r}: the name is taken. "
        "Choose another, or destroy the other container."
    )


def _not_made(spec: ContainerSpec, error: ApiError) -> TfnzError:
    """Why there is no pod, in the server's words."""
    said = (error.message or str(error)).rstrip(".")
    if error.reason == "AlreadyExists":
        return _taken(manifest.pod_name(spec))
    if "hostPath" in said and "PodSecurity" in said:
        return VolumeError(
            "Cannot mount a directory of the node: the namespace's policy refuses that. Use a "
            f"volume ({said})."
        )
    if "exceeded quota" in said:
        return EngineError(
            f"Cannot create a container of {spec.image!r}: the namespace's quota is full ({said}). "
            "Destroy what you do not need, or ask for more.",
            status=error.status,
        )
    return EngineError(
        f"Cannot create a container of {spec.image!r}: {said}. Correct what it names.",
        status=error.status,
    )
