"""Docker and Podman, through the one REST dialect that both speak (Docker Engine API).

Serves Docker 20.10 and later, Podman 4.3 and later. What differs between them is small and marked
where it matters; :mod:`docker_create` holds what a container of ours looks like,
:mod:`image` how images come, are made and go, :mod:`docker_answers` how answers are read, and
:mod:`docker_probe` what is found out before the first container.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tfnz_notebook._base import endpoints, names, proc, system
from tfnz_notebook._base.docker import daemons
from tfnz_notebook._base.endpoints import Endpoint
from tfnz_notebook.engines.base import (
    ANY_CLAIM,
    LABEL_CONTAINER,
    LABEL_OWNER,
    LABEL_UNMODIFIED,
    NOT,
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
    Recipe,
    State,
    Stored,
    Stream,
)
from tfnz_notebook.engines.docker import (
    answers,
    calls,
    events,
    probe,
)
from tfnz_notebook.engines.docker import create as shape
from tfnz_notebook.engines.docker import (
    isolation as docker_isolation,
)
from tfnz_notebook.engines.docker import (
    nodes as docker_nodes,
)
from tfnz_notebook.engines.docker import (
    volumes as docker_volumes,
)
from tfnz_notebook.engines.docker.exec import beside, bridge
from tfnz_notebook.engines.docker.image import made, stored
from tfnz_notebook.engines.docker.image import pull as docker_pull
from tfnz_notebook.engines.docker.podman import PodmanService, serve
from tfnz_notebook.engines.docker.probe import Transport
from tfnz_notebook.engines.http.client import Client, Response
from tfnz_notebook.engines.http.ssh import Forward
from tfnz_notebook.engines.launch import binary
from tfnz_notebook.engines.launch import socket as guest_socket
from tfnz_notebook.engines.launch.making import Making
from tfnz_notebook.errors import (
    ContainerFailed,
    ImageMissing,
    Misuse,
    NoEngine,
)

log = logging.getLogger(__name__)

#: Requests that one call sends at a time.
_AT_ONCE: Final = 8


class DockerEngine(Engine):
    """One Docker daemon or Podman service. ``name`` is 'docker' or 'podman'.

    ``runtime`` is the agent's private directory (0700) on this machine; ``owner`` the value of
    the owner label, without which nothing is listed or touched, ``former`` another that is on what
    was made before and is ours. ``endpoints`` replaces the search of :mod:`endpoints`, for tests.
    """

    renames = True

    def __init__(
        self,
        name: str,
        *,
        runtime: Path,
        guest: Path,
        owner: str,
        former: str = "",
        transport: Transport | None = None,
        endpoints: list[Endpoint] | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        super().__init__()
        self.name = name
        self.owner = owner
        self._owners = (owner, former) if former else (owner,)
        self._asked = transport
        self._endpoints = endpoints
        self._environ = environ
        self._runtime = runtime
        self._sockets = guest_socket.folder(runtime, owner)
        self._guest = guest
        self._client: Client | None = None
        self._service: PodmanService | None = None
        self._forward: Forward | None = None
        #: What :meth:`open` found out.
        self.facts = probe.Facts()
        #: Directory of each container's socket, by ref; None: it has none (exec transport).
        self._directories: dict[str, Path | None] = {}
        #: How the guest is started beside each one's first process; None: it is that itself.
        self._beside: dict[str, beside.Beside | None] = {}
        #: Made and not yet started: what :meth:`start` needs to make them again.
        self._made: dict[str, tuple[ContainerSpec, Image]] = {}
        #: Refs whose container had to be made again, under another id.
        self._renamed: dict[str, str] = {}
        self._making = Making(self.remove)
        self._trial = docker_isolation.Trial(self._inspect, self._isolated)

    # -- the engine ---------------------------------------------------------------------------

    @property
    def client(self) -> Client:
        """The HTTP client; NoEngine before :meth:`open` and after :meth:`close`."""
        if self._client is None:
            raise NoEngine(f"Cannot use {self.name}: it is not connected. Open it first.")
        return self._client

    async def open(self) -> None:
        if self._client is not None:
            return
        found = self._endpoints
        if found is None:
            found = endpoints.listening(self.name, self._environ)
        if found and found[0].remote is not None:
            self._forward = Forward(found[0], self.name, self._runtime, self._environ)
            found = [await self._forward.open()]
        client, why = await probe.reach(self.name, found)
        service = None
        if client is None and self.name == "podman" and self._endpoints is None:
            client, service = await serve(self._runtime, self._environ)
        if client is None:
            await self._let_go()
            raise NoEngine(why or system.missing(self.name))
        self._service = service
        try:
            self.facts = await probe.probe(client, self._asked)
        except BaseException:
            await self._let_go()
            raise
        self._client = client

    async def _let_go(self) -> None:
        if self._forward is not None:
            forward, self._forward = self._forward, None
            await forward.close()

    async def close(self) -> None:
        await self._making.settled()
        await self._trial.close()
        self._client = None
        if self._service is not None:
            service, self._service = self._service, None
            await service.stop()
        await self._let_go()

    def about(self) -> Mapping[str, str]:
        return {**self.facts.about(), "service": "ours" if self._service else "the system's"}

    async def nodes(self, *, counted: bool = True) -> list[NodeInfo]:
        running = await docker_nodes.running(self.client, self.facts) if counted else None
        return [docker_nodes.node(self.client.name, self.facts, running)]

    def where(self, ref: str) -> str:  # noqa: ARG002 - all are there
        return docker_nodes.named(self.client.name, self.facts) if self._client else ""

    # -- images -------------------------------------------------------------------------------

    async def images(self) -> list[Stored]:
        return await stored.listed(self.client)

    async def stored(self, image: str) -> Stored:
        return await stored.one(self.client, image)

    async def inspect_image(self, image: str) -> dict[str, Any]:
        return await stored.inspect(self.client, image)

    async def remove_image(self, image: str, *, force: bool) -> None:
        await stored.remove(self.client, image, force=force)

    async def save(self, image: str) -> AsyncGenerator[bytes, None]:
        async with contextlib.aclosing(stored.save(self.client, image)) as pieces:
            async for piece in pieces:
                yield piece

    async def load(self, archive: AsyncIterator[bytes]) -> list[str]:
        return await stored.load(self.client, archive)

    async def commit(self, ref: str, name: str) -> str:
        said = await self._inspect(ref)
        if said is None:
            raise bridge.gone(ref)
        return await made.commit(self.client, self._ref(ref), name, said)

    async def build(
        self,
        recipe: Recipe,
        context: AsyncIterator[bytes],
        said: Callable[[bytes], Awaitable[None]],
    ) -> str:
        return await made.build(self.client, recipe, context, said)

    async def ensure_image(
        self, image: str, pull: PullPolicy, progress: Callable[[Progress], None]
    ) -> Image:
        names.parse(image)
        if pull != "always":
            found = await self._image(image)
            if found is not None:
                return found
            if pull == "never":
                raise ImageMissing(
                    f"Cannot use the image {image!r}: it is not on this machine, and pulling is "
                    "off. Pull it, or spawn with pull='missing'.",
                    image=image,
                )
        await docker_pull.pull(
            self.client,
            image,
            podman=self.facts.podman,
            default_registry=self.facts.default_registry,
            progress=progress,
        )
        found = await self._image(image)
        if found is None:
            raise ImageMissing(
                f"Cannot use the image {image!r}: the engine pulled it and does not have it. "
                "Name it in full, with its registry.",
                image=image,
            )
        return found

    async def _image(self, image: str) -> Image | None:
        answer = await self.client.request("GET", f"/images/{image}/json")
        if answer.status == 404:
            return None
        calls.check(answer, f"look at the image {image!r}")
        return answers.image(answers.mapping(answer.json()))

    # -- containers ---------------------------------------------------------------------------

    async def create(self, spec: ContainerSpec, image: Image) -> str:
        return await self._making.whole(self._make(spec, image))

    async def _make(self, spec: ContainerSpec, image: Image) -> str:
        spec.scheduling.refuse(self.name)
        files, early = shape.before_boot(spec, image)
        labels = {**spec.labels, LABEL_OWNER: self.owner, LABEL_CONTAINER: spec.id}
        if spec.unmodified:
            labels[LABEL_UNMODIFIED] = ""
        env = spec.env
        if not self.facts.podman:
            env = {**daemons.proxies(self.client.endpoint.address, self._environ), **env}
        spec = replace(spec, labels=labels, env=env)
        run: Path | None = None
        user = spec.user if spec.user is not None else image.user
        reachable = beside.is_root(user) or not spec.unmodified
        if self.facts.transport == "socket":
            shape.check_sources(spec.mounts)
        if self.facts.transport == "socket" and reachable:
            run = guest_socket.make_directory(self._directory(spec.id))
        ref = ""
        try:
            if run is not None and early:
                await asyncio.to_thread(guest_socket.leave_files, run, early)
            guest = self._guest
            if machine := spec.flags.get("platform", "").partition("/")[2]:
                guest = binary.locate(machine.partition("/")[0])
            made = shape.body(
                spec, image, run=run, guest=guest, quirks=self.facts.quirks, early=bool(early)
            )
            if spec.unmodified:
                made = beside.body(spec, made, early)
            ref = await calls.create(self.client, spec, made)
            if run is None:
                program = await asyncio.to_thread(guest.read_bytes)
                archive = shape.guest_tar(program, early, 0o700 if reachable else 0o1777)
                await calls.put(self.client, ref, shape.HOME, archive, "the guest")
            if files:
                await calls.put(self.client, ref, "/", shape.tar(files), "the files")
        except BaseException:
            if ref:
                with contextlib.suppress(Exception):
                    await self._delete(ref)
            if run is not None:
                guest_socket.drop_directory(run)
            raise
        self._directories[ref] = run
        if not spec.unmodified:
            self._beside[ref] = None
        self._made[ref] = (spec, image)
        return ref

    def _directory(self, container: str) -> Path:
        if not container or not container.replace("-", "").replace("_", "").isalnum():
            raise Misuse(
                f"Cannot name a container {container!r}: letters and digits. Choose another."
            )
        return self._sockets / container

    async def sweep(self, kept: Collection[str]) -> None:
        guest_socket.sweep(self._sockets, kept)

    async def start(self, ref: str) -> None:
        real = self._ref(ref)
        answer = await self.client.request("POST", f"/containers/{real}/start", timeout=120)
        made = self._made.pop(ref, None)
        if answer.status in (204, 304):
            return
        if answer.status == 404 and "no such container" in answer.message.lower():
            raise bridge.gone(ref)
        said, own = answer.message, proc.hard_limits(os.getpid())
        if "rlimit" in said.lower() and made is not None and self.facts.quirks.ulimits != own:
            # The probe could not see the service (a remote one, or one that systemd listens for).
            # It can be asked for no more than it has; ours is the best guess at that.
            quirks = replace(self.facts.quirks, ulimits=own)
            self.facts = replace(self.facts, quirks=quirks)
            await self.remove(ref)
            again = await self.create(*made)
            self._renamed[ref] = again
            await self.start(again)
            return
        raise ContainerFailed(
            f"Cannot start the container: {said}. Correct what it names.",
            status=answer.status,
        )

    async def stop(self, ref: str, grace: float) -> None:
        # Whole seconds is all the API knows; the answer comes when it has stopped.
        answer = await self.client.request(
            "POST",
            f"/containers/{self._ref(ref)}/stop",
            query={"t": str(math.ceil(grace))},
            timeout=grace + 60,
        )
        if answer.status not in (204, 304, 404):
            calls.check(answer, "stop the container")

    def lacks(self, spec: ContainerSpec) -> Mapping[str, str]:
        found = {}
        if (spec.memory or spec.cpu) and not self.facts.quirks.cgroups:
            found["limits"] = self.facts.limits
        if spec.network is None and not self.facts.isolation.holds:
            found["isolation"] = str(self.facts.isolation)
        return found

    def called(self, ref: str, spec: ContainerSpec) -> tuple[str, str]:
        return self._ref(ref)[:12], calls.name_of(spec)

    async def rename(self, ref: str, name: str) -> None:
        await calls.rename(self.client, self._ref(ref), name)

    async def pause(self, ref: str) -> None:
        await self._turn(ref, "pause", "paused")

    async def unpause(self, ref: str) -> None:
        await self._turn(ref, "unpause", "running")

    async def _turn(self, ref: str, word: str, wanted: str) -> None:
        answer = await self.client.request("POST", f"/containers/{self._ref(ref)}/{word}")
        if calls.is_gone(answer):
            raise bridge.gone(ref)
        if answer.status >= 400 and (await self.inspect(ref)).status != wanted:
            calls.check(answer, f"{word} the container")

    async def recreate(self, ref: str, spec: ContainerSpec, image: Image) -> str:
        real, name = self._ref(ref), calls.name_of(spec)
        await calls.rename(self.client, real, f"{name}-before")
        try:
            again = await self.create(spec, image)
        except BaseException:
            await calls.rename(self.client, real, name)
            if (run := self._directories.get(ref)) is not None:
                guest_socket.make_directory(run)  # it was the new one's as well
            raise
        await self._delete(real)
        before = self._directories.pop(ref, None)
        if before is not None and before != self._directories.get(again):
            guest_socket.drop_directory(before)  # it was made under another id
        self._beside.pop(ref, None)
        self._renamed.pop(ref, None)
        return again

    async def remove(self, ref: str) -> None:
        self._trial.gone(ref)
        directory = None
        if ref in self._directories:
            directory = self._directories[ref]
        else:
            # From an earlier life of the agent: look whose it is before touching it.
            said = await self._inspect(ref)
            if said is None:
                return
            if answers.labels(said).get(LABEL_OWNER) not in self._owners:
                raise Misuse(
                    f"Cannot remove the container {ref!r}: it is not ours. Leave it alone."
                )
            directory = probe.socket_directory(said)
        await self._delete(self._ref(ref))
        if directory is not None:
            guest_socket.drop_directory(directory)
        self._directories.pop(ref, None)
        self._beside.pop(ref, None)
        self._made.pop(ref, None)
        self._renamed.pop(ref, None)

    async def _delete(self, real: str) -> None:
        await calls.delete(self.client, real, self.facts.podman)

    async def inspect(self, ref: str) -> State:
        said = await self._inspect(ref)
        return State("gone") if said is None else answers.state(said)

    async def _inspect(self, ref: str) -> dict[str, Any] | None:
        answer = await self.client.request("GET", f"/containers/{self._ref(ref)}/json")
        if calls.is_gone(answer):
            return None
        calls.check(answer, "look at the container")
        return answers.mapping(answer.json())

    async def watch(self, happened: Callable[[str], None]) -> None:
        def told(real: str) -> None:
            known = {renamed: ref for ref, renamed in self._renamed.items()}
            happened(known.get(real, real))

        await events.follow(self.client, self._owners, told)

    async def isolate(
        self, ref: str, sources: Collection[str] = (), targets: Collection[str] = ()
    ) -> None:
        isolation = self.facts.isolation
        try:
            await docker_isolation.isolate(isolation, self._inspect, ref, sources, targets)
        except docker_isolation.Unseen:
            if not self.facts.elsewhere:
                raise
            why = "the engine's containers are not to be seen from here"
            log.warning("containers are not kept apart: %s", why)
            self._isolated(docker_isolation.Isolation(why_not=why))
            return
        self._trial.apart(isolation, ref, (*sources, *targets))

    def _isolated(self, found: docker_isolation.Isolation) -> None:
        before = self.facts.isolation
        self.facts = replace(self.facts, isolation=found)
        if before.holds and not found.holds:
            self.found_lacking()

    async def logs(self, ref: str, tail: int = 100) -> bytes:
        answer = await self.client.request(
            "GET",
            f"/containers/{self._ref(ref)}/logs",
            query={"stdout": "1", "stderr": "1", "tail": str(tail)},
        )
        if calls.is_gone(answer):
            raise bridge.gone(ref)
        calls.check(answer, "read the container's log")
        return answers.unframed(answer.body)

    async def output(self, ref: str) -> AsyncIterator[tuple[int, bytes]]:
        async with contextlib.aclosing(beside.output(self.client, self._ref(ref))) as pieces:
            async for piece in pieces:
                yield piece

    async def find(self, labels: Mapping[str, str]) -> list[Found]:
        known = {real: ref for ref, real in self._renamed.items()}
        turns = asyncio.Semaphore(_AT_ONCE)

        async def look(entry: Mapping[str, Any], wanted: Mapping[str, str]) -> Found | None:
            carried = {str(k): str(v) for k, v in (entry.get("Labels") or {}).items()}
            # Engines have matched loosely before; a look-alike must not be adopted or reaped.
            if any(carried.get(key) != value for key, value in wanted.items()):
                return None
            ref = str(entry["Id"])
            async with turns:
                state = await self.inspect(ref)  # the list has no exit codes
            return None if state.status == "gone" else Found(known.get(ref, ref), carried, state)

        listed: list[tuple[Mapping[str, Any], Mapping[str, str]]] = []
        for owner in self._owners:
            wanted = {**labels, LABEL_OWNER: owner}
            filters = json.dumps({"label": [f"{k}={v}" for k, v in wanted.items()]})
            answer = await self._ok(
                "GET", "/containers/json", "list the containers", {"all": "1", "filters": filters}
            )
            listed += [(entry, wanted) for entry in answer.json() or ()]
        seen = await asyncio.gather(*(look(*each) for each in listed))
        return [found for found in seen if found is not None]

    # -- the stream ---------------------------------------------------------------------------

    async def connect(self, ref: str, received: Received, closed: Closed) -> Stream:
        if ref not in self._directories or ref not in self._beside:
            said = await self._inspect(ref)
            if said is None:
                raise bridge.gone(ref)
            self._directories.setdefault(ref, probe.socket_directory(said))
            kept = answers.labels(said).get(LABEL_UNMODIFIED, NOT) != NOT
            self._beside[ref] = beside.found(said.get("Config") or {}) if kept else None
        directory = self._directories[ref]

        async def running() -> bool:
            return (await self.inspect(ref)).status == "running"

        if (how := self._beside[ref]) is not None:
            await beside.launch(self.client, self._ref(ref), how, running)
        if directory is not None:
            try:
                return await guest_socket.connect(directory, received, closed, running)
            except PermissionError:
                # Root in there is not us after all (a user namespace by default): the engine can.
                self._directories[ref] = None
        user = how.user if how is not None else "0:0"
        real = self._ref(ref)
        return await bridge.connect(self.client, real, received, closed, running, user=user)

    # -- volumes ------------------------------------------------------------------------------

    async def create_volume(
        self, name: str, labels: Mapping[str, str], claim: Claim = ANY_CLAIM
    ) -> None:
        claim.refuse(name, self.name)
        labels = {**labels, LABEL_OWNER: self.owner}
        await docker_volumes.create(self.client, name, labels, self._owners)

    async def volumes(self, labels: Mapping[str, str]) -> list[str]:
        return await docker_volumes.listed(self.client, labels, self._owners)

    async def volume_sizes(self, labels: Mapping[str, str]) -> dict[str, int | None]:
        return await docker_volumes.sizes(self.client, await self.volumes(labels))

    async def remove_volume(self, name: str) -> None:
        await docker_volumes.remove(self.client, name, self._owners)

    # -- answers ------------------------------------------------------------------------------

    def _ref(self, ref: str) -> str:
        return self._renamed.get(ref, ref)

    async def _ok(
        self, method: str, path: str, what: str, query: Mapping[str, str] | None = None
    ) -> Response:
        answer = await self.client.request(method, path, query=query)
        calls.check(answer, what)
        return answer
