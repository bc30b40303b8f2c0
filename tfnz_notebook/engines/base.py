"""What the agent asks of a container engine: little, so that many can answer.

An engine starts containers whose first process is our guest, and gives one byte stream to that
guest. Processes, signals, files and tunnels all travel on the stream, so they need nothing of
the engine and work alike on every one. ``tests/contract`` holds each engine to this file.

Failures are classes of :mod:`tfnz_notebook.errors`: ``NoEngine`` and ``EngineGone`` when it does
not answer, ``ImageMissing``, ``ImageNameInvalid``, ``ContainerFailed``, ``ContainerGone``,
``EngineError`` for any other refusal, each with a message "Cannot X: cause. Remedy."
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Mapping,
)
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal

from tfnz_notebook.errors import EngineError, Misuse, VolumeError

#: Labels on everything we make. Only things whose OWNER is ours are ever listed or touched.
LABEL_OWNER: Final = "io.tfnz.owner"
LABEL_SESSION: Final = "io.tfnz.session"
LABEL_CONTAINER: Final = "io.tfnz.container"
LABEL_CREATED: Final = "io.tfnz.created"
LABEL_DURABLE: Final = "io.tfnz.durable"
#: JSON: what the agent needs to know of a container it adopts (image, name, sleep, ...).
LABEL_SPEC: Final = "io.tfnz.spec"
#: On a container whose guest is not its first process.
LABEL_UNMODIFIED: Final = "io.tfnz.unmodified"
#: On a container that was made before anybody asked for it.
LABEL_SPARE: Final = "io.tfnz.spare"
#: What the labels whose presence tells something say where it is not so: an image that was made of
#: a container has that container's, and no engine takes one off.
NOT: Final = "no"

PullPolicy = Literal["missing", "always", "never"]
Status = Literal["created", "running", "paused", "exited", "gone"]


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A machine that runs containers. Memory in bytes; ``cpu_free`` in cores, may be a fraction.

    None is what the engine may not know.
    """

    name: str
    cpus: int | None
    cpu_free: float | None
    memory: int | None
    memory_free: int | None
    containers: int | None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pull is. ``total`` is 0 while unknown; both in bytes, over all layers."""

    text: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Image:
    """What an image says of itself, as the engine reports it."""

    id: str
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    workdir: str = ""
    ports: tuple[int, ...] = ()
    volumes: tuple[str, ...] = ()
    #: Its health check, as Docker has it: ('CMD', argv …), ('CMD-SHELL', line), ('NONE',).
    health: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stored:
    """An image that an engine holds, for people: ``size`` in bytes, ``created`` since the epoch.

    None is what the engine does not tell.
    """

    id: str
    tags: tuple[str, ...] = ()
    size: int | None = None
    created: float | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an image is built: ``dockerfile`` is a path in the context that comes with it.

    ``arguments`` are those of ARG; ``target`` is the stage that is wanted, default the last one.
    """

    name: str
    dockerfile: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    platform: str = ""
    cache: bool = True
    pull: bool = False


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume (a name; ``''``: one without) or a directory of the engine's machine (its path).

    ``options`` are further ones, as ``z``, ``Z``, ``U``, ``O`` or ``nocopy`` of ``docker run -v``.
    """

    source: str
    target: str
    read_only: bool = False
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """What is asked of a volume that is made. None is the engine's own.

    ``size`` in bytes; ``kind`` is a name of the engine's (a cluster's storage class); ``access``:
    ``'one'`` machine mounts it at a time, ``'many'``, or one ``'container'``.
    """

    size: int | None = None
    kind: str | None = None
    access: str | None = None

    def refuse(self, name: str, engine: str) -> None:
        """VolumeError if anything is asked for: by engines whose volumes are plain directories."""
        wishes = {"size": self.size, "storage_class": self.kind, "access": self.access}
        if asked := [key for key, value in wishes.items() if value is not None]:
            raise VolumeError(
                f"Cannot make the volume {name!r} with {asked[0]}=: a volume of {engine} is a "
                "directory of its machine, as large as that and open to all there. Leave it out."
            )


#: A volume as the engine makes them.
ANY_CLAIM: Final = Claim()


@dataclass(frozen=True, slots=True)
class Scheduling:
    """What a cluster is asked for besides: by its scheduler, its nodes, its registries.

    ``tolerations`` are mappings with the keys that the cluster's API has; ``gpus``: of which of its
    resources how many.
    """

    runtime_class: str = ""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, str | int], ...] = ()
    pull_secrets: tuple[str, ...] = ()
    gpus: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Scheduling:
        """Out of what was told of it, maybe among other things."""
        given: dict[str, Any] = {e.name: told[e.name] for e in fields(cls) if told.get(e.name)}
        given |= {key: tuple(each) for key, each in given.items() if isinstance(each, list)}
        return cls(**given)

    def refuse(self, engine: str) -> None:
        """Misuse if anything is asked for: by engines that are no cluster."""
        for each in fields(self):
            if getattr(self, each.name):
                raise Misuse(
                    f"Cannot spawn with {each.name}= on {engine}: only a cluster has that. Leave "
                    "it out, or use Location('kubernetes://').",
                )


#: Nothing in particular.
ANYHOW: Final = Scheduling()


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """A container to be made; checked before it comes here. ``None`` means the image's own.

    ``files`` are written before the first process starts: absolute path to content; parents are
    made, mode 0644, owner root. ``network``: ``None`` is the engine's default (NAT to the world),
    ``'none'``, ``'host'`` or a network's name. ``memory`` in bytes, ``cpu`` in cores.
    ``capabilities`` (as ``'NET_ADMIN'``) come on top of the engine's own few;
    ``new_privileges`` lets processes gain some by setuid programs. ``unmodified``: the image's own
    first process is PID 1, with the command as the engine has it, and the guest runs beside it.
    ``flags`` are those of ``docker run`` that an engine takes or refuses, by their words: what the
    values are, ``_calls/run/values`` tells.
    """

    id: str
    image: str
    name: str | None = None
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    sleep: bool = False
    user: str | None = None
    workdir: str | None = None
    hostname: str | None = None
    mounts: tuple[Mount, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    cpu: float | None = None
    memory: int | None = None
    pids: int = 4096
    network: str | None = None
    read_only: bool = False
    capabilities: tuple[str, ...] = ()
    new_privileges: bool = False
    unmodified: bool = False
    scheduling: Scheduling = ANYHOW
    flags: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    node: str | None = None

    def refuse_flags(self, where: str, taken: Collection[str]) -> None:
        """Misuse for the first flag that is none of these."""
        for flag in self.flags:
            if flag not in taken:
                raise Misuse(
                    f"Cannot honour --{flag.replace('_', '-')} ({flag}=) {where}. Leave it out, or "
                    "choose another Location()."
                )

    def argv(self, image: Image) -> tuple[str, ...]:
        """The main process's. As with Docker, its own entrypoint drops the image's command."""
        own = self.entrypoint is not None
        entrypoint = image.entrypoint if self.entrypoint is None else self.entrypoint
        command = self.command if self.command is not None else () if own else image.command
        return (*entrypoint, *command)


@dataclass(frozen=True, slots=True)
class State:
    """A container as the engine sees it now.

    ``oom_killed`` as far as the engine tells: Podman 4.3 does not (conmon notes it at the wrong
    place), the guest's EXIT does (flag OOM). ``exit_code`` may be unknown (``host``, after its
    agent was replaced). ``error`` is in the engine's words: of one that has ended, why; of one that
    runs, why nothing is heard of it (its machine does not answer). ``taken``: why the engine itself
    ended it.
    """

    status: Status
    exit_code: int | None = None
    oom_killed: bool = False
    error: str = ""
    ip: str = ""
    taken: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A container or volume of ours that the engine holds."""

    ref: str
    labels: Mapping[str, str]
    state: State


class Stream(ABC):
    """The byte stream to a guest. Made by :meth:`Engine.connect`; used on the loop only."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Queue bytes; never blocks. Look at :attr:`writable` before queueing much."""

    @property
    @abstractmethod
    def writable(self) -> bool:
        """False while more than a few hundred KiB wait to be sent; a closed one drops all."""

    @abstractmethod
    async def drain(self) -> None:
        """Wait until :attr:`writable`; returns at once when the stream is closed."""

    @abstractmethod
    def pause(self) -> None:
        """Stop calling ``received`` until :meth:`resume`; the guest is held back."""

    @abstractmethod
    def resume(self) -> None:
        """Undo :meth:`pause`."""

    @abstractmethod
    def close(self) -> None:
        """Drop the connection; ``closed`` is called once, soon. Idempotent."""

    far: bool = False
    """Its bytes pass other programs, or a network, on their way."""

    def pipe(self) -> Path | None:
        """A new FIFO of this machine that the guest has beside its socket, if there can be one."""
        return None


Received = Callable[[bytes], None]
Closed = Callable[[Exception | None], None]


class Engine(ABC):
    """One container engine, used from one asyncio loop.

    ``ref`` below is the engine's own id of a container. Methods that name a container which is
    not there raise ``ContainerGone``, but for :meth:`remove`, :meth:`stop` (nothing to do) and
    :meth:`inspect` (status ``'gone'``).
    """

    #: 'docker', 'podman', 'host', ...
    name: str = ""
    unmodified_costs: str = ""
    """Of a container with the image's own first process: what is weaker on this engine alone."""
    renames: bool = False
    """Whether a container can be given another name: see :meth:`rename`."""
    no_images: str = "keeps no images of its own"
    """Why, of an engine that can neither make nor keep images."""

    def __init__(self) -> None:
        self.waits: Callable[[str, str], None] = lambda *_: None
        """Told what a container (its ref) waits for while it is started, in the engine's words."""
        self.found_lacking: Callable[[], None] = lambda: None
        """Told when containers are known to lack what they were thought to have (`lacks`)."""

    @abstractmethod
    async def open(self) -> None:
        """Connect and probe (version, runtime, limits). Raises NoEngine."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of connections; what runs goes on. Stops a service that :meth:`open` started."""

    @abstractmethod
    def about(self) -> Mapping[str, str]:
        """Version, runtime, rootless, ... for people (``doctor``)."""

    @abstractmethod
    async def nodes(self, *, counted: bool = True) -> list[NodeInfo]:
        """The machines, with what is free on them; what runs there only if that is ``counted``.

        An engine may have to look at each container for it, and each spawn waits for its node.
        """

    @abstractmethod
    async def images(self) -> list[Stored]:
        """The images that are there, by name; those without one (what builds leave) last."""

    @abstractmethod
    async def ensure_image(
        self, image: str, pull: PullPolicy, progress: Callable[[Progress], None]
    ) -> Image:
        """The image, pulled if the policy says so. Raises ImageMissing, ImageNameInvalid.

        Where machines pull what they start, it is only noted, and what it says of itself is not
        known: :meth:`start` then raises ImageMissing, and ImageConfigUnknown where the spec does
        not say what to run and nobody else does.
        """

    # What follows, to `load`, is for engines that keep images: it is refused by name elsewhere.

    async def stored(self, image: str) -> Stored:
        """One of those that are there, by a name or an id. Raises ImageMissing."""
        raise self._keeps_none(f"look at the image {image!r}")

    async def pull(
        self, image: str, pull: PullPolicy, progress: Callable[[Progress], None]
    ) -> Stored:
        """Have it there. Raises as :meth:`ensure_image` does."""
        await self.ensure_image(image, pull, progress)
        return await self.stored(image)

    async def inspect_image(self, image: str) -> dict[str, Any]:
        """All that the engine says of it, in its own words. Raises ImageMissing."""
        raise self._keeps_none(f"look at the image {image!r}")

    async def remove_image(self, image: str, *, force: bool) -> None:  # noqa: ARG002
        """Remove that name of it, and it with its last. Raises ImageMissing, ImageInUse."""
        raise self._keeps_none(f"remove the image {image!r}")

    async def commit(self, ref: str, name: str) -> str:  # noqa: ARG002
        """Make an image of what a container has on its file system now; its id.

        It starts what the container was told to start, and carries none of our labels.
        """
        raise self._keeps_none("make an image of the container")

    async def build(
        self,
        recipe: Recipe,  # noqa: ARG002
        context: AsyncIterator[bytes],  # noqa: ARG002
        said: Callable[[bytes], Awaitable[None]],  # noqa: ARG002
    ) -> str:
        """Build an image of a tar; its id. ``said`` gets what the build writes, and holds it back.

        Who cancels this cancels the build. Raises BuildFailed, ImageNameInvalid.
        """
        raise self._keeps_none("build an image")

    def save(self, image: str) -> AsyncGenerator[bytes, None]:
        """An image with its names as a tar, a piece at a time. Raises ImageMissing."""
        raise self._keeps_none(f"save the image {image!r}")

    async def load(self, archive: AsyncIterator[bytes]) -> list[str]:  # noqa: ARG002
        """Take in what :meth:`save` gave; names, or ids, of the images in it. ImageError."""
        raise self._keeps_none("load images")

    def _keeps_none(self, doing: str) -> EngineError:
        return EngineError(
            f"Cannot {doing}: {self.name} {self.no_images}. Do it at a Location of Podman or "
            "Docker."
        )

    @abstractmethod
    async def create(self, spec: ContainerSpec, image: Image) -> str:
        """Make the container (files included), not yet running; its ref."""

    def lacks(self, spec: ContainerSpec) -> Mapping[str, str]:  # noqa: ARG002
        """What a container of that spec is not given though it is its due, by what it is."""
        return {}

    def called(self, ref: str, spec: ContainerSpec) -> tuple[str, str]:  # noqa: ARG002
        """Its id and its name, as the engine's own tools show them; empty: it has none there."""
        return "", spec.name or ""

    @abstractmethod
    def where(self, ref: str) -> str:
        """The name of the machine that has it, as :meth:`nodes` told it; empty: not known yet."""

    @abstractmethod
    async def start(self, ref: str) -> None:
        """Start it. Raises ContainerFailed when the engine cannot; see :meth:`ensure_image`.

        It may have to wait for a machine with room, for as long as that takes: see ``waits``.
        """

    @abstractmethod
    async def stop(self, ref: str, grace: float) -> None:
        """TERM, then KILL after ``grace`` seconds."""

    async def rename(self, ref: str, name: str) -> None:  # noqa: ARG002  # for engines that can
        """Give it another name, as their own tools show it. EngineError, also for one taken."""
        raise EngineError(f"Cannot rename the container: {self.name} cannot. Spawn another.")

    async def pause(self, ref: str) -> None:  # noqa: ARG002  # for engines that can
        """Stop all that runs in it, as it is; one that is paused already is fine. EngineError."""
        raise EngineError(
            f"Cannot pause the container: {self.name} cannot. Stop single processes, with "
            "process.signal('STOP')."
        )

    async def unpause(self, ref: str) -> None:  # noqa: ARG002
        """Let it go on; one that is not paused is fine. EngineError."""
        raise EngineError(f"Cannot unpause the container: {self.name} cannot pause any.")

    async def recreate(self, ref: str, spec: ContainerSpec, image: Image) -> str:
        """Make a stopped container anew, of its image; its ref. If not, ``ref`` stays if it can."""
        await self.remove(ref)
        return await self.create(spec, image)

    @abstractmethod
    async def remove(self, ref: str) -> None:
        """Kill if need be and remove, with its anonymous volumes. Idempotent."""

    @abstractmethod
    async def inspect(self, ref: str) -> State:
        """What it does now."""

    async def watch(self, happened: Callable[[str], None]) -> None:  # noqa: B027  # most tell none
        """Tell the ref of each container of ours that somebody starts, pauses, unpauses or removes.

        Until the engine breaks off (EngineGone); an engine that does not tell returns at once.
        """

    @abstractmethod
    async def isolate(
        self, ref: str, sources: Collection[str] = (), targets: Collection[str] = ()
    ) -> None:
        """Keep a running container apart from every other one, but for these.

        ``sources`` may connect to it, it may connect to ``targets``: refs, and those that do not
        run are passed over. Each call tells all of it; connections to what is not named any more
        end. Wanted after each start of a container that was made without a ``network``. Where
        containers cannot be kept apart (:meth:`about`, ``isolation``) it does nothing, and raises
        EngineError or Misuse if something is to be allowed. Raises ContainerGone when it does not
        run, EngineError when it could not be fenced off.
        """

    @abstractmethod
    async def logs(self, ref: str, tail: int = 100) -> bytes:
        """The last lines of stdout and stderr, for error messages."""

    async def output(self, ref: str) -> AsyncIterator[tuple[int, bytes]]:  # noqa: ARG002
        """What its first process writes, from the beginning to its end: (1 or 2, bytes).

        Wanted of containers whose first process is not the guest's (``unmodified``), and told by
        engines that keep it. EngineGone when that breaks off.
        """
        told: tuple[tuple[int, bytes], ...] = ()
        for piece in told:
            yield piece

    @abstractmethod
    async def find(self, labels: Mapping[str, str]) -> list[Found]:
        """Every container, in any state, that carries all these labels."""

    async def sweep(self, kept: Collection[str]) -> None:  # noqa: B027  # most keep nothing
        """Delete what this machine holds of containers of ours other than ``kept``, by their id.

        For a fresh agent, before it makes the first one: an earlier one may have been killed
        between a container's removal and the end of what belonged to it.
        """

    @abstractmethod
    async def connect(self, ref: str, received: Received, closed: Closed) -> Stream:
        """One byte stream to the guest of a running container.

        Waits (some seconds) for a guest that is only starting. ``received`` gets the bytes as
        they come, on the loop, never before this returns to whoever awaits it directly;
        ``closed`` is called once, with the cause if there was an error, also after ``close``.
        Raises ContainerGone when the container is not (or no longer) running.
        """

    @abstractmethod
    async def create_volume(
        self, name: str, labels: Mapping[str, str], claim: Claim = ANY_CLAIM
    ) -> None:
        """Make a named volume; one that exists with our owner label is fine. VolumeError."""

    @abstractmethod
    async def volumes(self, labels: Mapping[str, str]) -> list[str]:
        """Names of the volumes that carry all these labels."""

    async def volume_sizes(self, labels: Mapping[str, str]) -> dict[str, int | None]:
        """Of :meth:`volumes`, the bytes that each takes, or may take; None: it is not known."""
        return dict.fromkeys(await self.volumes(labels))

    @abstractmethod
    async def remove_volume(self, name: str) -> None:
        """Remove it for good. Raises VolumeError while in use or if it is not there."""
