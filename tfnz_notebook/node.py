"""A node: a machine that runs containers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from tfnz_notebook._base.numbers import number, size
from tfnz_notebook._calls.arguments import Command, Environment, Files
from tfnz_notebook._calls.deadline import within
from tfnz_notebook._calls.drawing import Drawn
from tfnz_notebook._calls.faces import Closed, Owned, Twin, face
from tfnz_notebook._calls.run.flags import RunFlags
from tfnz_notebook.errors import Misuse

if TYPE_CHECKING:
    from tfnz_notebook.container import Container
    from tfnz_notebook.image import Image
    from tfnz_notebook.location import Location
    from tfnz_notebook.volume import Volume

__all__ = ["Mounts", "Node", "NodeAio"]

Mounts = Iterable[
    "tuple[Volume | str | Path, str] | tuple[Volume | str | Path, str, Literal['ro', 'rw']]"
]
"""What ``volumes=`` takes: (a volume or a path of the engine's machine, mount point[, 'ro'])."""


class Node(Drawn, Owned, metaclass=Closed):
    """Given by a location's ``node``, ``nodes``, ``best_node`` and ``ranked_nodes``."""

    _comes_from = "Use location.best_node() or location.node(name)."

    def __init__(self, location: Location, info: dict[str, Any], *, anywhere: bool = False) -> None:
        self._location = location
        self._info = info
        #: It was chosen for whoever asked.
        self._anywhere = anywhere

    @property
    def name(self) -> str:
        """Its name in this location."""
        return str(self._info.get("name", ""))

    @property
    def location(self) -> Location:
        """Where it is."""
        return self._location

    @property
    def labels(self) -> dict[str, str]:
        """What the engine says of it, by name, as ``{'engine': 'podman'}``."""
        return dict(self._info.get("labels") or {})

    @property
    def aio(self) -> NodeAio:
        """The same node with awaitable methods."""
        return NodeAio._see(self)

    @face
    async def stats(self, *, timeout: float | None = None) -> dict[str, float | int | None]:
        """What it has and what is free now.

        ``cpus`` (cores), ``cpu_free`` (cores, a fraction), ``memory``, ``memory_free`` (bytes),
        ``containers`` (running). None is what this user may not know, as of a cluster's machines.
        """
        async with within("look at the node", timeout):
            for info in await self._location._node_infos(counted=True):
                if info.get("name") == self.name:
                    self._info = info
            keys = ("cpus", "cpu_free", "memory", "memory_free", "containers")
            return {key: self._info.get(key) for key in keys}

    @face
    async def spawn_container(
        self,
        image: str | Image,
        *,
        env: Environment | None = None,
        sleep: bool = False,
        volumes: Mounts | None = None,
        pre_boot_files: Files | None = None,
        command: Command | None = None,
        stdout_callback: Callable[[Container, bytes], object] | None = None,
        termination_callback: Callable[..., object] | None = None,
        tag: str | None = None,
        name: str | None = None,
        cpu: float | None = None,
        memory: int | str | None = None,
        pids: int | None = None,
        user: str | int | None = None,
        workdir: str | None = None,
        hostname: str | None = None,
        network: str | None = None,
        labels: Mapping[str, str] | None = None,
        pull: Literal["missing", "always", "never"] = "missing",
        read_only: bool = False,
        entrypoint: Command | None = None,
        capabilities: Iterable[str] | None = None,
        new_privileges: bool = False,
        gpus: int | str | Mapping[str, int] | None = None,
        node_selector: Mapping[str, str] | None = None,
        tolerations: Iterable[str | Mapping[str, str | int]] | None = None,
        runtime_class: str | None = None,
        pull_secrets: str | Iterable[str] | None = None,
        timeout: float | None = None,
        **flags: Unpack[RunFlags],
    ) -> Container:
        r"""Spawn a container on this node (20ft); returns at once, see ``wait_until_ready``.

        Something like ``docker run``, and what it made is an object::

            >>> web = node.spawn_container('debian', env={'GREETING': 'hello'}, sleep=True)
            >>> web.wait_until_ready().state
            'running'
            >>> b'GREETING=hello' in web.run_process('env').stdout
            True
            >>> node.destroy_container(web)

        :param image: a name as Docker's: ``'nginx'``, ``'debian:12'``; or an Image.
        :param env: variables, as a dict or a list of (name, value).
        :param sleep: do not start the image's command; ``container.start()`` does.
        :param volumes: list of (Volume or a path of the engine's machine, mount point[, 'ro']).
        :param pre_boot_files: there before the first process, in volumes too: a dict or list of
            (path, bytes).
        :param command: instead of the image's; a string goes to ``/bin/sh -c``.
        :param stdout_callback: called with (container, bytes) of the main process's stdout.
        :param termination_callback: called with (container) or (container, returncode).
        :param tag: a name of your own to find it by; ``name`` is the engine's.
        :param cpu: cores, may be a fraction.
        :param memory: bytes, or as in ``'512m'``.
        :param pids: limit of processes.
        :param user: name, uid, or either with a group, ``'daemon:www-data'``.
        :param workdir: where its processes begin, default the image's.
        :param hostname: what it believes to be called.
        :param network: None (to the world, not to other containers, see
            ``allow_connection_from``), ``'none'``, ``'host'``, or a network's name: who asks for
            one reaches, and is reached by, whatever is there.
        :param labels: for the engine, beside our own.
        :param pull: ``'missing'``, ``'always'`` or ``'never'``.
        :param read_only: its root file system cannot be written.
        :param entrypoint: instead of the image's, an argv or one word; or ``'unmodified'``, for an
            image whose first process must be PID 1 (s6, systemd): it is, and the guest runs beside
            it. Processes, shells, files and tunnels are as ever; what is weaker then
            ``container.about`` says.
        :param capabilities: Linux capabilities on top of the engine's few, as ``['SYS_PTRACE']``.
            With ``'NET_ADMIN'`` it can take down the fence that keeps it from others.
        :param new_privileges: let its processes gain some by setuid programs, as sudo and ping.
        :param gpus: how many, ``'all'`` or ``'device=0,1'``, as docker run has it; or, on a
            cluster, of which of its resources, ``{'amd.com/gpu': 1}``. The next four are a
            cluster's alone.
        :param node_selector: labels that its machine must have.
        :param tolerations: taints that its machine may have, as ``kubectl taint`` writes them,
            ``'dedicated=jupyter:NoSchedule'`` or ``'dedicated'``, or as the API has them.
        :param runtime_class: the name of a RuntimeClass, as ``'gvisor'``.
        :param pull_secrets: names of the secrets with which its machine gets the image.
        :param timeout: seconds for the agent to take it on; becoming ready may take longer.
        :param flags: the other flags of ``docker run``, in the same words with underscores:
            ``shm_size='1g'``, ``publish='8080:80'``, ``tmpfs=['/run']``. One that may be repeated
            takes a list, or a dict where it is made of pairs; ``%tf_spawn?`` says what each is.
            What has no counterpart raises Misuse, which names what there is.

        Raises Misuse, TooLarge, ImageNameInvalid, FileError for bad arguments; ImageMissing and
        ContainerFailed come out of what waits for the container.
        """
        options = dict(locals())
        del options["self"], options["image"], options["timeout"], options["flags"]
        async with within("spawn a container", timeout):
            return await self._location._spawn_container(self, image, {**options, **flags})

    @face
    async def destroy_container(
        self, container: Container, *, timeout: float | None = None
    ) -> None:
        """Destroy a container and its processes. ContainerGone the second time."""
        async with within("destroy the container", timeout):
            from tfnz_notebook.container import Container

            if not isinstance(container, Container):
                raise Misuse(
                    f"Cannot destroy a container: {container!r} is none. "
                    "Give what spawn_container made."
                )
            await container._destroy(None)

    @face
    async def all_containers(self, *, timeout: float | None = None) -> list[Container]:
        """The session's containers on this node, in the order they were spawned."""
        async with within("list containers", timeout):
            found = await self._location._all_containers()
            return [each for each in found if each._info.get("node") in (None, "", self.name)]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Node):
            return NotImplemented
        return other.name == self.name and other._location is self._location

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        info = self._info
        cpu, memory = info.get("cpu_free"), info.get("memory_free")
        if cpu is None or memory is None:
            return f"<Node {self.name!r}: what is free there is unknown>"
        return (
            f"<Node {self.name!r}: {number(float(cpu), places=1)} of {info.get('cpus', '?')} cores "
            f"and {size(int(memory))} free>"
        )


class NodeAio(Twin, Node):
    """A node whose methods are awaitable."""
