r"""Where containers run: the entrance to everything else.

``Location()`` finds Podman or Docker; the one of these examples needs neither::

    >>> with Location('fake') as location:
    ...     container = location.best_node().spawn_container('debian', sleep=True)
    ...     container.run_process('echo hello').stdout
    b'hello\n'
"""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Literal

import msgpack

from tfnz_notebook._base.names import fresh
from tfnz_notebook._calls import arguments, dispatch, goodbye
from tfnz_notebook._calls.arguments import Command
from tfnz_notebook._calls.deadline import WORD, within
from tfnz_notebook._calls.dispatch import Lane
from tfnz_notebook._calls.drawing import Drawn
from tfnz_notebook._calls.faces import Block, Twin, face
from tfnz_notebook._calls.follow import Data, callback
from tfnz_notebook._calls.spec import RUN_OPTIONS, container_spec, published, volumes_to_make
from tfnz_notebook._link import patience, thread
from tfnz_notebook._link.agents.starter import place
from tfnz_notebook._link.link import BYE_TIMEOUT, Link
from tfnz_notebook._location.prepared import Prepared
from tfnz_notebook._location.store import Store
from tfnz_notebook._wire.operations import MAX_SPARES
from tfnz_notebook.container import Container
from tfnz_notebook.errors import ContainerGone, Misuse, VolumeError
from tfnz_notebook.image import Image
from tfnz_notebook.node import Node
from tfnz_notebook.process import Completed
from tfnz_notebook.volume import Volume

__all__ = ["Location", "LocationAio"]

#: Of what a container may lack, what is said before its cause.
_LACKS: Final = {
    "isolation": "Containers may reach each other",
    "limits": "Limits of memory and CPU are not kept",
}


class Location(Drawn, Block, Store):
    """A place where containers run, and a session there.

    :param where: ``'podman'``, ``'docker'``, ``'docker://context'``, ``'ssh://user@host'`` (an
        engine there, through the system's ssh), ``'host'`` (this machine's own processes, no
        container), ``'kubernetes://context/namespace'``, ``'tcp://host:2020'`` (an agent
        elsewhere). None: ``$TFNZ_LOCATION``, else the engine that ``CONTAINER_HOST``,
        ``DOCKER_HOST`` or the docker command's context names, else Podman or Docker, whichever
        answers first.
    :param session: a name makes the session durable: its containers stay until they are destroyed
        (or ``ttl`` seconds after the last kernel left), and ``Location(session=...)`` finds them
        again, their processes and all output included. Without a name the session ends with
        :meth:`disconnect`, with this process, or two minutes after it vanished; its containers
        are destroyed then, and what runs in them. :attr:`on_disconnect` says which it is. When the
        *agent* dies or is upgraded, nothing ends in either: the next one takes over.
    :param callbacks: where users' callbacks run. ``'loop'``: on the loop that runs in the calling
        thread (a notebook's main loop); ``'thread'``: on a dispatcher thread. None: on the loop
        if one runs, else on the thread.
    :param server_key: the public key of a ``tcp://`` agent, if it is not in the files of keys.
    :param timeout: seconds for all of that: finding an engine, starting its agent, its answer.

    All that asks the agent takes ``timeout``: seconds for the whole call, then WaitTimeout.
    A context manager, plain or ``async``, that disconnects. Raises NoEngine, AgentError, Misuse.
    """

    def __init__(
        self,
        where: str | None = None,
        *,
        session: str | None = None,
        ttl: float | None = None,
        callbacks: Literal["thread", "loop"] | None = None,
        server_key: str | None = None,
        timeout: float | None = None,
    ) -> None:
        doing = "open a location"
        if where is not None:
            arguments.text(doing, "where", where)
        if session is not None:
            arguments.name(doing, "session", session)
        elif ttl is not None:
            raise Misuse(f"Cannot {doing}: ttl is for durable sessions. Name one with session=.")
        arguments.seconds(doing, "ttl", ttl)
        limit = within(doing, timeout)
        if callbacks is not None:
            arguments.choice(doing, "callbacks", callbacks, ("thread", "loop"))
        self._pid = os.getpid()
        self._mode = callbacks
        self._containers: dict[str, Container] = {}
        #: What was said of that.
        self._lacks: set[str] = set()
        self._link = Link(place(where, server_key), session=session, ttl=ttl)
        self._spares = Prepared(self._link)
        self._caller = thread.Caller(None, 0)
        thread.wait(self._connect(limit))
        goodbye.at_the_end(self)

    async def _connect(self, limit: within) -> None:
        self._caller = thread.caller()
        if self._mode == "loop":
            dispatch.home("loop", self._caller)  # Misuse now rather than at the first process
        async with limit:
            await self._link.open()
        thread.unless_taken(lambda: self._link.background(self._link.close()))

    # -- what it is

    @property
    def where(self) -> str:
        """The engine's name, or the agent's address, as ``where`` takes it."""
        return self._link.place.where

    @property
    def engine(self) -> str:
        """The engine: 'podman', 'docker', 'host', ..."""
        return self._link.engine

    @property
    def session(self) -> str:
        """The session's name."""
        return self._link.session or ""

    @property
    def about(self) -> dict[str, Any]:
        """What the agent says of itself and its engine, for people: versions, sockets, limits."""
        return dict(self._link.about)

    @property
    def connected(self) -> bool:
        """False once disconnected."""
        return not self._link.over

    @property
    def reachable(self) -> bool:
        """False while the connection to the agent is broken; it is mended by itself."""
        return self._link.up

    @property
    def on_disconnect(self) -> Literal["keep", "destroy"]:
        """What becomes of containers when the session's last kernel goes: see ``session``."""
        return "keep" if self._link.durable else "destroy"

    @property
    def aio(self) -> LocationAio:
        """The same location with awaitable methods."""
        return LocationAio._see(self)

    def __repr__(self) -> str:
        state = f"session {self.session}" if self.connected else "disconnected"
        return f"<Location {self.where!r}: {state}>"

    async def _leave(self) -> None:
        await self._disconnect()

    # -- inside, on the I/O loop

    def _check(self, doing: str) -> None:
        self._link.check(doing)

    def _lane(self) -> Lane:
        """A lane for callbacks of something that the present caller makes."""
        caller = thread.caller()
        if self._mode == "loop" and caller.loop is None:
            caller = self._caller
        return Lane(dispatch.home(self._mode, caller), contextvars.copy_context())

    async def _node_infos(self, *, counted: bool = False) -> list[dict[str, Any]]:
        self._check("list nodes")
        told = await self._link.request("node.list", {"counted": counted})
        found: list[dict[str, Any]] = told.body["nodes"]
        return found

    def _node_named(self, name: str) -> Node:
        nodes = self.nodes()  # one that may not be looked at is called otherwise
        return _among(nodes, name) if name and len(nodes) > 1 else nodes[0]

    def _container_over(self, container: Container) -> None:
        self._containers.pop(container.id, None)
        self._link.forget("container", container.id)
        self._link.forget("process", container.id)

    async def _all_containers(self) -> list[Container]:
        self._check("list containers")
        await self._link.caught_up()
        found = []
        for ident, info in self._link.known.containers.items():
            container = self._containers.get(ident)
            if container is None:
                container = Container._create(self, ident, info)
                self._containers[ident] = container
                main = self._link.known.process(ident)
                if main is not None:
                    container._main_heard(main)
            found.append(container)
        return found

    # -- nodes

    @face
    async def nodes(self, *, timeout: float | None = None) -> list[Node]:
        """The machines of this location; Podman, Docker and host have one."""
        async with within("list nodes", timeout):
            return [Node._create(self, info) for info in await self._node_infos()]

    @face
    async def node(self, name: str | None = None, *, timeout: float | None = None) -> Node:
        """The node of that name, or the one with the most free memory (20ft)."""
        if name is None:
            return await self._best_node(timeout)
        async with within("find a node", timeout):
            return _among([Node._create(self, info) for info in await self._node_infos()], name)

    @face
    async def ranked_nodes(
        self, bias_memory: bool = True, *, timeout: float | None = None
    ) -> list[Node]:
        """The nodes, the freest first: by free memory, or by free cores (20ft)."""
        async with within("list nodes", timeout):
            first, second = (
                ("memory_free", "cpu_free") if bias_memory else ("cpu_free", "memory_free")
            )
            infos = await self._node_infos()
            infos.sort(key=lambda i: (i.get(first) or 0, i.get(second) or 0), reverse=True)
            return [Node._create(self, info) for info in infos]

    @face
    async def best_node(self, *, timeout: float | None = None) -> Node:
        """The node with the most free memory (20ft).

        What is spawned on it may be a prepared container elsewhere, which is there at once: see
        :meth:`prepare`. Of ``node(name)`` it never is.
        """
        return await self._best_node(timeout)

    async def _best_node(self, timeout: float | None) -> Node:
        async with within("choose a node", timeout):
            infos = await self._node_infos()
            if not infos:
                raise ContainerGone(
                    "Cannot choose a node: this location has none. Look at its engine."
                )
            best = max(infos, key=lambda i: (i.get("memory_free") or 0, i.get("cpu_free") or 0))
            return Node._create(self, best, anywhere=True)

    # -- containers

    def _say_what_lacks(self, about: Mapping[str, str]) -> None:
        """In words, once: what is to be known of containers here before one is relied on."""
        for key, cause in about.items():
            if key in _LACKS and key not in self._lacks:
                self._lacks.add(key)
                patience.say(f"{_LACKS[key]} here: {cause.removeprefix('none: ')}.")

    async def _spawn_container(
        self, node: Node | None, image: str | Image, options: dict[str, Any], origin: str = ""
    ) -> Container:
        doing = "spawn a container"
        spec, files = container_spec(image, options)
        ports, volumes = published(options), volumes_to_make(options)
        spec["node"] = node.name if node is not None else None
        spec["anywhere"] = node is not None and node._anywhere
        spec["origin"] = origin
        data: Data | None = options.get("stdout_callback")
        ended: Callable[..., object] | None = options.get("termination_callback")
        callback(doing, "stdout_callback", data)
        callback(doing, "termination_callback", ended)
        payload = msgpack.packb(files, unicode_errors="surrogateescape") if files else None
        self._check(doing)
        for name in volumes:
            try:
                await self._link.request("volume.create", {"name": name})
            except VolumeError as error:
                if not error.details.get("foreign"):  # else it is there, and can be mounted
                    raise
        container = self._noted(fresh(), spec, tuple(sorted(files)))
        if options.get("command") is not None:
            container.main._text = arguments.argv(doing, options["command"])[1]
        if data is not None or ended is not None:
            container._follow_main(data, ended)
        destroy = await self._ask_for(container, payload)
        try:
            for bind, local, port in ports:
                await container._attach(port, local, bind or "127.0.0.1")
        except BaseException:
            destroy()
            for tunnel in list(container._tunnels):
                tunnel._listener.close()
            self._container_over(container)
            raise
        thread.unless_taken(destroy)
        return container

    def _noted(self, ident: str, spec: dict[str, Any], files: tuple[str, ...]) -> Container:
        keys = ("image", "name", "tag", "node", "origin")
        info = {"state": "creating", **{key: spec.get(key) for key in keys}}
        container = Container._create(self, ident, info)
        container._made_of = spec, files
        if spec["flags"].get("tty"):
            container.main._tty = True  # until it is heard of
        self._containers[ident] = container
        return container

    async def _ask_for(self, container: Container, payload: bytes | None) -> Callable[[], None]:
        """Have the agent make it; how that is undone."""
        assert container._made_of is not None
        container._asked = {"container": container.id, "spec": container._made_of[0]}, payload
        destroy = partial(self._link.take_back, "container.destroy", {"container": container.id})
        try:
            await self._link.request("container.spawn", *container._asked, undo=destroy)
        except BaseException:
            self._container_over(container)
            raise
        return destroy

    async def _spawn(
        self, ident: str, spec: dict[str, Any], files: tuple[str, ...] = ()
    ) -> Container:
        """Spawn one of a spec that was one before; ``files`` are in its image."""
        container = self._noted(ident, spec, files)
        thread.unless_taken(await self._ask_for(container, None))
        return container

    @face
    async def containers(self, *, timeout: float | None = None) -> list[Container]:
        """The session's containers, those that other kernels spawned included."""
        async with within("list containers", timeout):
            return await self._all_containers()

    @face
    async def container(self, name: str, *, timeout: float | None = None) -> Container:
        """The session's container of that name, tag or id (its beginning, if only one fits).

        Names and ids are ours, or those that the engine's own tools show.
        """
        async with within("find a container", timeout):
            wanted = arguments.text("find a container", "name", name)
            found = await self._all_containers()
            for fits in (
                [c for c in found if c._is(wanted)],
                [c for c in found if len(wanted) >= 4 and c._begins(wanted)],
            ):
                if len(fits) == 1:
                    return fits[0]
                if fits:
                    raise Misuse(f"Cannot find container {name!r}: {len(fits)} fit. Give an id.")
            raise ContainerGone(
                f"Cannot find container {name!r}: session {self.session!r} has none of that name, "
                "tag or id. location.containers() lists them."
            )

    @face
    async def run(
        self: Location,
        /,
        image: str | Image = "",
        command: Command = "",
        *,
        data_callback: Callable[[Any, bytes], object] | None = None,
        stderr_callback: Callable[[Any, bytes], object] | None = None,
        timeout: float | None = None,
        check: bool = False,
        input: bytes | None = None,  # noqa: A002  # as subprocess.run calls it
        **options: Any,
    ) -> Completed:
        """Run one command in a container made for it: (stdout, stderr, returncode).

        ``options`` as for ``spawn_container``, the others as for ``run_process``. With neither
        image nor command it waits until the location is disconnected, as by a callback (20ft).
        """
        if not image and not command:
            async with within("wait for the location's end", timeout):
                await self._link.ended.wait()
            return Completed(b"", b"", 0)
        unknown = sorted(set(options) - RUN_OPTIONS)
        if unknown:
            raise Misuse(
                f"Cannot run: {', '.join(map(repr, unknown))} is no option of spawn_container. "
                f"There are {', '.join(sorted(RUN_OPTIONS))}."
            )
        async with within("run", timeout, slack=WORD):
            container = await self._spawn_container(None, image, {**options, "sleep": True})
            try:
                callbacks = (data_callback, None, stderr_callback)
                return await container._run(command, callbacks, input, check, timeout=timeout)
            finally:
                if not self._link.over and container.state != "destroyed":
                    self._link.background(container._destroy(None))

    @face
    async def prepare(
        self: Location,
        /,
        image: str | Image,
        spares: int = 2,
        *,
        timeout: float | None = None,
        **options: Any,
    ) -> None:
        """Have containers there before they are spawned: a spawn then takes milliseconds.

        Of that image with these options of ``spawn_container``, started and asleep; this returns
        once they are there. ``spawn_container`` takes one where its wishes fit: image, limits,
        volumes, network and the like have to be the same; command, entrypoint, environment (that of
        the spares and more), user, name and files before boot are its own. What was taken is made
        up for in the background. Whoever looks with the engine's tools sees a spare's environment
        and command, not those that it was spawned with. They go with the session; ``spares=0`` ends
        those of that kind. For example::

            >>> location.prepare('debian', spares=1, memory='512m')
            >>> box = location.best_node().spawn_container('debian', memory='512m', sleep=True)
            >>> box.wait_until_ready().state
            'running'

        Raises what ``spawn_container`` and ``wait_until_ready`` raise.
        """
        async with within("prepare containers", timeout):
            doing = "prepare containers"
            if unknown := sorted(set(options) - RUN_OPTIONS - {"command", "sleep"}):
                raise Misuse(
                    f"Cannot {doing}: {', '.join(map(repr, unknown))} is no option of "
                    "spawn_container."
                )
            count = int(arguments.number(doing, "spares", spares, 0, MAX_SPARES))
            spec, _ = container_spec(image, {**options, "sleep": True})
            self._check(doing)
            for name in volumes_to_make(options):
                await self._link.request("volume.create", {"name": name})
            body = {"spec": spec, "spares": count}
            undo = partial(self._link.take_back, "container.prepare", {**body, "spares": 0})
            await self._link.request("container.prepare", body, undo=undo)
            self._spares.note(body)

    # -- volumes

    @face
    async def create_volume(
        self,
        tag: str,
        *,
        size: int | str | None = None,
        storage_class: str | None = None,
        access: Literal["one", "many", "container"] | None = None,
        timeout: float | None = None,
    ) -> Volume:
        """A volume of that name, new or the one that is there already (20ft).

        On a cluster it is a claim: of ``size`` bytes (or as in ``'10g'``; default 1 GiB) out of a
        ``storage_class``; ``'one'`` machine mounts it at a time (the default), ``'many'``, or one
        ``'container'``. Other engines have plain directories, and refuse these. VolumeError.
        """
        async with within("create a volume", timeout):
            name = arguments.name("create a volume", "tag", tag)
            self._check("create a volume")
            wishes: dict[str, object] = {
                "size": arguments.memory(size, "create a volume", "size"),
                "kind": storage_class
                and arguments.name("create a volume", "storage_class", storage_class),
                "access": access
                and arguments.choice(
                    "create a volume", "access", access, ("one", "many", "container")
                ),
            }
            wishes = {key: value for key, value in wishes.items() if value is not None}
            await self._link.request("volume.create", {"name": name, **wishes})
            return Volume._create(self, name)

    @face
    async def volume(self, tag: str, *, timeout: float | None = None) -> Volume:
        """The volume of that name (20ft). VolumeError if there is none."""
        async with within("find a volume", timeout):
            name = arguments.name("find a volume", "tag", tag)
            if name not in await self._volume_names():
                raise VolumeError(
                    f"Cannot find volume {tag!r}: it is not here. create_volume() makes it."
                )
            return Volume._create(self, name)

    @face
    async def all_volumes(self, *, timeout: float | None = None) -> list[Volume]:
        """This user's volumes (20ft), those of other sessions included."""
        async with within("list volumes", timeout):
            return [Volume._create(self, name) for name in await self._volume_names()]

    @face
    async def volume_sizes(self, *, timeout: float | None = None) -> dict[str, int | None]:
        """Bytes that each volume takes (on a cluster: was given), by name; None is not known.

        The engine counts all that is on them, which may take a while.
        """
        async with within("measure the volumes", timeout):
            return await self._volume_sizes()

    @face
    async def destroy_volume(self, volume: Volume, *, timeout: float | None = None) -> None:
        """Destroy a volume with all it holds (20ft). VolumeError while a container uses it."""
        async with within("destroy a volume", timeout):
            if not isinstance(volume, Volume):
                raise Misuse(
                    f"Cannot destroy a volume: {volume!r} is none. Give what create_volume made."
                )
            await self._destroy_volume(volume)

    async def _destroy_volume(self, volume: Volume) -> None:
        self._check("destroy a volume")
        await self._link.request("volume.remove", {"name": volume.tag})

    async def _volume_names(self) -> list[str]:
        return list(await self._volume_sizes(counted=False))

    async def _volume_sizes(self, *, counted: bool = True) -> dict[str, int | None]:
        self._check("list volumes")
        reply = await self._link.request("volume.list", {"sizes": counted})
        return {told["name"]: told["size"] for told in reply.body["volumes"]}

    # -- the end

    @face
    async def disconnect(self, *, timeout: float | None = None) -> None:
        """End the session: its containers are destroyed unless it is durable, volumes never.

        Idempotent. Everything that came from this location raises LinkClosed afterwards. An agent
        that has not answered after ``timeout`` seconds (None: 30) is left to find out by itself.
        """
        await self._disconnect(arguments.seconds("disconnect", "timeout", timeout))

    async def _disconnect(self, timeout: float | None = None) -> None:
        containers = list(self._containers.values())
        for container in containers:
            for tunnel in list(container._tunnels):
                tunnel._listener.close()
        if not self._link.over:
            await asyncio.gather(*(container._leaving() for container in containers))
        await self._link.close(BYE_TIMEOUT if timeout is None else timeout)


class LocationAio(Twin, Location):
    """A location whose methods are awaitable."""


def _among(nodes: list[Node], name: str) -> Node:
    for node in nodes:
        if node.name == name:
            return node
    names = ", ".join(repr(node.name) for node in nodes)
    raise Misuse(f"Cannot find node {name!r}: it is not here. There are {names}.")
