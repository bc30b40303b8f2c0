"""An engine in memory: the same contract without a kernel, for unit tests.

``tests/contract`` runs over it as over the real ones. Containers live as long as the object;
a second :class:`FakeEngine` with ``world=`` the first one's sees the same containers, as a fresh
agent sees what an earlier one left.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tfnz_notebook.engines.base import (
    ANY_CLAIM,
    LABEL_CONTAINER,
    LABEL_OWNER,
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
from tfnz_notebook.engines.docker import create as shape
from tfnz_notebook.engines.fake import images as kept
from tfnz_notebook.engines.fake.files import Files
from tfnz_notebook.engines.fake.guest import FakeGuest
from tfnz_notebook.engines.fake.programs import PROGRAMS, Main, known_user
from tfnz_notebook.errors import (
    ContainerFailed,
    ContainerGone,
    EngineError,
    EngineGone,
    ImageInUse,
    ImageMissing,
    Misuse,
    NoEngine,
    VolumeError,
)

_GiB = 1 << 30


@dataclass(slots=True)
class _Container:
    ref: str
    spec: ContainerSpec
    image: Image
    labels: dict[str, str]
    files: Files
    log: bytearray = field(default_factory=bytearray)
    guest: FakeGuest | None = None
    exit_code: int | None = None
    #: Who may connect to it, to whom it may (refs); None: not fenced off since its start.
    fence: tuple[frozenset[str], frozenset[str]] | None = None


@dataclass(slots=True)
class World:
    """What an engine holds; it outlives the agent's connection to it."""

    containers: dict[str, _Container] = field(default_factory=dict)
    """What was created and not removed, by the engine's id."""
    volumes: dict[str, dict[str, str]] = field(default_factory=dict)
    """The labels of the volumes, by name."""
    images: dict[str, Image] = field(
        default_factory=lambda: {
            name: Image(id=f"sha256:{name}", command=command)
            for name, command in (
                ("busybox", ("sh",)),
                ("alpine", ("sh",)),
                ("debian", ("sh",)),
                ("nginx", ("sleep", "1e9")),
                ("tfnz-empty", ()),
            )
        }
    )
    """The images that are here, by name."""
    registry: dict[str, Image] = field(default_factory=dict)
    """Images that a pull would bring."""
    watchers: list[Callable[[str], None]] = field(default_factory=list)
    """Who is told of what happens to containers."""
    made: int = 0
    """How many containers were ever created."""


class FakeEngine(Engine):
    """Containers as Python objects. ``programs`` adds commands that containers can run."""

    name = "fake"
    """What the agent calls it."""
    renames = True

    #: What the first process of a container is; a simulation has another.
    _guest: type[FakeGuest] = FakeGuest

    def __init__(
        self,
        *,
        owner: str = "fake",
        world: World | None = None,
        programs: Mapping[str, Main] | None = None,
    ) -> None:
        super().__init__()
        self.owner = owner
        """The value of the owner's label on what it makes."""
        self.world = world or World()
        """What it holds."""
        self.programs: dict[str, Main] = {**PROGRAMS, **(programs or {})}
        """The commands there are, by name."""
        self._open = False
        self.down = False
        """Set by tests: every call fails as if the engine had stopped."""

    async def open(self) -> None:
        if self.down:
            raise NoEngine("Cannot reach the engine in memory: it is down. Set down = False.")
        self._open = True

    async def close(self) -> None:
        self._open = False

    async def _call(self) -> None:
        """What every call costs and checks: a turn of the loop, an engine that answers."""
        await asyncio.sleep(0)
        if not self._open:
            raise NoEngine("Cannot use the engine in memory: it is not open. Open it first.")
        if self.down:
            raise EngineGone("Cannot go on with the engine in memory: it is down. Start it again.")

    def about(self) -> Mapping[str, str]:
        return {"engine": "fake", "version": "1", "isolation": "fence (in memory)"}

    async def nodes(self, *, counted: bool = True) -> list[NodeInfo]:
        await self._call()
        states = [self._state(each).status for each in self.world.containers.values()]
        running = states.count("running") if counted else None
        return [NodeInfo(self.where(""), 4, 4.0, 8 * _GiB, 8 * _GiB, running, {"engine": "fake"})]

    def where(self, ref: str) -> str:  # noqa: ARG002 - all are there
        return "memory"

    # -- images -------------------------------------------------------------------------------

    async def images(self) -> list[Stored]:
        await self._call()
        return kept.described(self.world.images)

    async def stored(self, image: str) -> Stored:
        await self._call()
        found = kept.find(self.world.images, image)
        return next(each for each in kept.described(self.world.images) if each.id == found.id)

    async def inspect_image(self, image: str) -> dict[str, Any]:
        found = await self.stored(image)
        config = {"Cmd": list(kept.find(self.world.images, image).command)}
        return {"Id": found.id, "RepoTags": list(found.tags), "Config": config}

    async def remove_image(self, image: str, *, force: bool) -> None:
        found = await self.stored(image)
        names_of = {name for name, each in self.world.images.items() if each.id == found.id}
        if names_of & {kept.key(image)}:
            names_of = {kept.key(image)}
        used = any(held.image.id == found.id for held in self.world.containers.values())
        if used and not force and len(found.tags) == len(names_of):
            raise ImageInUse(
                f"Cannot remove the image {image!r}: it is in use. Destroy the containers that are "
                "made of it."
            )
        for name in names_of:
            del self.world.images[name]

    async def commit(self, ref: str, name: str) -> str:
        await self._call()
        held, key = self._container(ref), kept.key(name)
        user = held.spec.user if held.spec.user is not None else held.image.user
        env = {**held.image.env, **held.spec.env}
        of = replace(
            held.image, user=user, env=env, workdir=held.spec.workdir or held.image.workdir
        )
        if held.spec.argv(of) != (*of.entrypoint, *of.command):
            of = replace(of, entrypoint=(), command=held.spec.argv(of))
        made = kept.filled(of, dict(held.files.contents()), time.time())
        self.world.images[key] = made
        return made.id

    async def build(
        self,
        recipe: Recipe,
        context: AsyncIterator[bytes],
        said: Callable[[bytes], Awaitable[None]],
    ) -> str:
        await self._call()
        images, key = self.world.images, kept.key(recipe.name)
        images[key] = made = await kept.build(images, recipe, context, said, time.time())
        return made.id

    async def save(self, image: str) -> AsyncGenerator[bytes, None]:
        found = await self.stored(image)
        yield kept.packed(kept.find(self.world.images, image), found.tags)

    async def load(self, archive: AsyncIterator[bytes]) -> list[str]:
        await self._call()
        whole = b"".join([piece async for piece in archive])
        image, tags = kept.unpacked(whole, time.time())
        self.world.images |= {kept.key(tag): image for tag in tags}
        return tags

    async def ensure_image(
        self, image: str, pull: PullPolicy, progress: Callable[[Progress], None]
    ) -> Image:
        key = kept.key(image)
        await self._call()
        found = self.world.images.get(key)
        if found is None:
            with contextlib.suppress(ImageMissing):
                found = kept.find(self.world.images, image)
        if pull == "always" or (found is None and pull == "missing"):
            progress(Progress(f"{image}: asking the registry"))
            pulled = self.world.registry.get(key)
            if pulled is not None:
                progress(Progress(f"{image}: downloading", 1, 1))
                found = self.world.images[key] = pulled
            elif pull == "always":
                found = None
        if found is None:
            tried = "pulling is off" if pull == "never" else "no registry of this engine has it"
            raise ImageMissing(
                f"Cannot use the image {image!r}: it is not here, and {tried}. "
                "Add it to world.images or world.registry.",
                image=image,
            )
        return found

    # -- containers ---------------------------------------------------------------------------

    async def create(self, spec: ContainerSpec, image: Image) -> str:
        await self._call()
        spec.scheduling.refuse("the engine in memory")
        if spec.unmodified:
            raise Misuse(
                "Cannot leave the image's first process as it is: the engine in memory has only "
                "its guest's processes. Leave entrypoint='unmodified' out."
            )
        shape.guest_command(spec, image)
        shape.environment(spec.env)
        shape.before_boot(spec, image)
        for held in self.world.containers.values():
            if spec.name and held.spec.name == spec.name:
                raise Misuse(f"Cannot name a container {spec.name!r}: taken. Choose another.")
        files = Files()
        for path, content in (image.files if isinstance(image, kept.Filled) else {}).items():
            files.put(path, content, 0o644, 2)
        for path, content in spec.files.items():
            if spec.read_only:
                raise Misuse(
                    f"Cannot put {path!r} into the container: its root file system is read-only. "
                    "Put it on a volume, or spawn without read_only."
                )
            files.put(path, bytes(content), 0o644, 2)
        if spec.workdir or image.workdir:
            with contextlib.suppress(FileExistsError):
                files.mkdir(spec.workdir or image.workdir, 0o755, 2)
        self.world.made += 1
        ref = f"fake{self.world.made:08x}"
        labels = {**spec.labels, LABEL_OWNER: self.owner, LABEL_CONTAINER: spec.id}
        self.world.containers[ref] = _Container(ref, replace(spec), image, labels, files)
        return ref

    def _container(self, ref: str) -> _Container:
        held = self.world.containers.get(ref)
        if held is None:
            raise ContainerGone(
                f"Cannot use the container {ref!r}: it is not there. Spawn another."
            )
        return held

    async def start(self, ref: str) -> None:
        await self._call()
        held = self._container(ref)
        if self._state(held).status == "running":
            return
        spec, image = held.spec, held.image
        user = spec.user if spec.user is not None else image.user
        if not known_user(user):
            raise ContainerFailed(
                f"Cannot start the container: there is no user {user!r}. Correct it."
            )

        def finished(code: int) -> None:
            held.exit_code = code

        arguments = shape.guest_command(spec, image)
        argv = arguments[arguments.index("--") + 1 :] if "--" in arguments else []
        held.exit_code = None
        held.fence = None
        held.guest = self._guest(
            argv=argv,
            env={**image.env, **spec.env},
            user=user,
            cwd=spec.workdir or image.workdir or "/",
            files=held.files,
            programs=self.programs,
            log=held.log.extend,
            finished=finished,
        )
        if not spec.sleep:
            held.guest.boot_main()
        self._happened(ref)

    async def stop(self, ref: str, grace: float) -> None:
        await self._call()
        held = self.world.containers.get(ref)
        if held is None or held.guest is None:
            return
        held.guest.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await held.guest.over.wait()
        held.guest.exit(137)

    async def rename(self, ref: str, name: str) -> None:
        await self._call()
        held = self._container(ref)
        if any(each.spec.name == name for each in self.world.containers.values()):
            raise EngineError(f"Cannot name a container {name!r}: taken. Choose another.")
        held.spec = replace(held.spec, name=name)

    async def pause(self, ref: str) -> None:
        await self._pause(ref, paused=True)

    async def unpause(self, ref: str) -> None:
        await self._pause(ref, paused=False)

    async def _pause(self, ref: str, *, paused: bool) -> None:
        await self._call()
        held = self._container(ref)
        if held.guest is None or self._state(held).status not in ("running", "paused"):
            raise EngineError("Cannot pause the container: it does not run. Start it.")
        held.guest.pause(paused=paused)
        self._happened(ref)

    async def watch(self, happened: Callable[[str], None]) -> None:
        self.world.watchers.append(happened)
        try:
            await asyncio.Event().wait()
        finally:
            self.world.watchers.remove(happened)

    def _happened(self, ref: str) -> None:
        for tell in list(self.world.watchers):
            tell(ref)

    async def remove(self, ref: str) -> None:
        await self._call()
        held = self.world.containers.get(ref)
        if held is None:
            return
        if held.labels[LABEL_OWNER] != self.owner:
            raise Misuse(f"Cannot remove the container {ref!r}: it is not ours. Leave it alone.")
        del self.world.containers[ref]
        if held.guest is not None:
            held.guest.exit(137)

    async def inspect(self, ref: str) -> State:
        await self._call()
        held = self.world.containers.get(ref)
        return State("gone") if held is None else self._state(held)

    def _state(self, held: _Container) -> State:
        if held.guest is None:
            return State("created")
        if held.guest.exited:
            return State("exited", exit_code=held.exit_code)
        if held.guest.paused:
            return State("paused", ip="192.0.2.1")
        return State("running", ip="192.0.2.1")

    async def isolate(
        self, ref: str, sources: Collection[str] = (), targets: Collection[str] = ()
    ) -> None:
        await self._call()
        held = self._container(ref)
        if self._state(held).status != "running":
            raise ContainerGone(f"Cannot isolate {ref!r}: it is not running. Spawn another.")
        held.fence = (frozenset(sources), frozenset(targets))

    def connects(self, source: str, target: str) -> bool:
        """Whether a connection from one container to another would be let through."""
        one, other = (self.world.containers[ref].fence for ref in (source, target))
        return (one is None or target in one[1]) and (other is None or source in other[0])

    async def logs(self, ref: str, tail: int = 100) -> bytes:
        await self._call()
        return b"".join(bytes(self._container(ref).log).splitlines(keepends=True)[-tail:])

    async def find(self, labels: Mapping[str, str]) -> list[Found]:
        await self._call()
        wanted = {**labels, LABEL_OWNER: self.owner}
        return [
            Found(held.ref, held.labels, self._state(held))
            for held in self.world.containers.values()
            if all(held.labels.get(key) == value for key, value in wanted.items())
        ]

    async def connect(self, ref: str, received: Received, closed: Closed) -> Stream:
        await self._call()
        guest = self._container(ref).guest
        if guest is None or guest.exited:
            raise ContainerGone(f"Cannot connect to {ref!r}: it is not running. Spawn another.")
        return guest.connect(received, closed)

    # -- volumes ------------------------------------------------------------------------------

    async def create_volume(
        self, name: str, labels: Mapping[str, str], claim: Claim = ANY_CLAIM
    ) -> None:
        claim.refuse(name, self.name)
        await self._call()
        held = self.world.volumes.setdefault(name, {**labels, LABEL_OWNER: self.owner})
        if held[LABEL_OWNER] != self.owner:
            raise VolumeError(
                f"Cannot make the volume {name!r}: it is not ours. Choose another name.",
                foreign=True,
            )

    async def volumes(self, labels: Mapping[str, str]) -> list[str]:
        await self._call()
        wanted = {**labels, LABEL_OWNER: self.owner}
        return sorted(
            name
            for name, held in self.world.volumes.items()
            if all(held.get(key) == value for key, value in wanted.items())
        )

    async def volume_sizes(self, labels: Mapping[str, str]) -> dict[str, int | None]:
        return dict.fromkeys(await self.volumes(labels), 0)

    async def remove_volume(self, name: str) -> None:
        await self._call()
        held = self.world.volumes.get(name)
        if held is None or held[LABEL_OWNER] != self.owner:
            raise VolumeError(
                f"Cannot remove the volume {name!r}: there is none of ours. List them."
            )
        if any(m.source == name for c in self.world.containers.values() for m in c.spec.mounts):
            raise VolumeError(f"Cannot remove the volume {name!r}: in use. Destroy its containers.")
        del self.world.volumes[name]
