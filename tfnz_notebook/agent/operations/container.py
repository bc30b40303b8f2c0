"""Spawn, start, measure, reboot, destroy."""

from __future__ import annotations

import contextlib
import dataclasses
from functools import partial
from typing import Any

import msgpack

from tfnz_notebook._wire.guest import CONNECTION, Tag, Type
from tfnz_notebook._wire.link import Message
from tfnz_notebook._wire.operations import MAX_ORIGIN, MAX_SPARES, MAX_TAIL
from tfnz_notebook.agent.clients import NOTHING, Answer, Client
from tfnz_notebook.agent.container import forks
from tfnz_notebook.agent.container.container import Container
from tfnz_notebook.agent.container.labels import labelled
from tfnz_notebook.agent.operations.answers import of_container, of_session
from tfnz_notebook.agent.process.command import IDENT
from tfnz_notebook.engines.base import ContainerSpec, Mount, Scheduling
from tfnz_notebook.errors import ContainerGone, Misuse, ProtocolError


@of_session("container.spawn")
async def spawn(client: Client, message: Message) -> Answer:
    """Note the container, begin to bring it up."""
    ident = message.body["container"]
    if not IDENT.fullmatch(ident):
        raise ProtocolError("A container's id is 32 hexadecimal digits.")
    if ident in client.session.containers:
        return NOTHING
    if client.session.over:
        raise ContainerGone(
            "Cannot spawn a container: its session has just ended. Make another Location()."
        )
    told = message.body["spec"]
    spec = _spec(ident, told, message.payload)
    tag, origin = str(told.get("tag") or ""), str(told.get("origin") or "")[:MAX_ORIGIN]
    session, server, world = client.session, client.server, client.sessions.world
    created = world.wall()
    spec = labelled(
        spec,
        owner=client.sessions.owner,
        session=session.name,
        durable=session.durable,
        ttl=session.ttl,
        tag=tag,
        origin=origin,
        created=created,
    )
    container = Container(
        client.sessions.engine,
        session.name,
        spec,
        client.sessions.spool,
        server.container_changed,
        server.process_changed,
        client.sessions.neighbours,
        tag=tag,
        origin=origin,
        pull=told.get("pull") or "missing",
        created=created,
        forget=client.sessions.taken.forget,
        world=world,
    )
    session.containers[ident] = container
    server.container_changed(container)  # now it is in every listing
    take = None
    if session.spares is not None:
        take = partial(session.spares.take, anywhere=bool(told.get("anywhere")))
    container.bring_up(partial(client.sessions.cleared, ident), take)
    return NOTHING


@of_session("container.prepare")
async def prepare(client: Client, message: Message) -> Answer:
    """Have so many of a kind there before they are asked for; 0: none any more."""
    if client.session.over:
        raise ContainerGone("Cannot prepare containers: the session has just ended.")
    spec = _spec("", message.body["spec"], None)
    if spec.unmodified or spec.name is not None:
        raise Misuse(
            "Cannot prepare containers with a name, or with the image's own first process: a spare "
            "is nobody's yet, and asleep. Leave that out, and say the name when you spawn."
        )
    spares = client.sessions.spares(client.session)
    wanted = min(message.body["spares"], MAX_SPARES)
    ready = await client.session.scope.run(spares.prepare(spec, wanted))
    return {"ready": ready}, None


def _spec(ident: str, told: dict[str, Any], payload: bytes | None) -> ContainerSpec:
    known = {field.name for field in dataclasses.fields(ContainerSpec)}
    values = {key: value for key, value in told.items() if key in known and value is not None}
    values.pop("id", None)
    try:
        values["scheduling"] = Scheduling.of(told)
        values["mounts"] = tuple(_mount(*volume) for volume in told.get("volumes") or ())
        for key in ("command", "entrypoint", "capabilities"):
            if key in values:
                values[key] = tuple(map(str, values[key]))
        if payload:
            values["files"] = msgpack.unpackb(payload, unicode_errors="surrogateescape")
        return ContainerSpec(id=ident, **values)
    except (TypeError, ValueError, msgpack.UnpackException) as error:
        raise ProtocolError(f"A spec that is none: {error}.") from None


def _mount(source: str, target: str, read_only: bool = False, options: Any = ()) -> Mount:
    return Mount(source, target, read_only, tuple(map(str, options)))


@of_container("container.info")
async def info(client: Client, container: Container, message: Message) -> Answer:
    """One container, its address included once it runs, the end of its output once it has ended."""
    if container.state == "running":
        with contextlib.suppress(ContainerGone):  # it ends meanwhile, and that is what it is
            await container.address()
    return {"info": container.info(), "log": container.log_tail[-MAX_TAIL:]}, None


@of_container("container.start")
async def start(client: Client, container: Container, message: Message) -> Answer:
    """Start the main process of a sleeping container."""
    await container.start()
    return NOTHING


@of_container("container.stats")
async def stats(client: Client, container: Container, message: Message) -> Answer:
    """One sample of what it uses: the integers of STATS, under their names in lower case."""
    guest = await container.running()
    frame = await guest.request(Type.SAMPLE, CONNECTION)
    sample = {tag.name.lower(): value for tag, value in frame.fields if tag is not Tag.REQUEST}
    return {"sample": sample}, None


@of_container("container.pause")
async def pause(client: Client, container: Container, message: Message) -> Answer:
    """Stop all that runs in it for a while."""
    await container.pause()
    return NOTHING


@of_container("container.unpause")
async def unpause(client: Client, container: Container, message: Message) -> Answer:
    """Let it go on."""
    await container.unpause()
    return NOTHING


@of_container("container.reboot")
async def reboot(client: Client, container: Container, message: Message) -> Answer:
    """Stop and start again."""
    await container.reboot(bool(message.body.get("reset_filesystem")))
    return NOTHING


@of_container("container.commit")
async def commit(client: Client, container: Container, message: Message) -> Answer:
    """Make an image of it, by a name or for a container that is to come."""
    name, fork = message.body.get("name"), message.body.get("fork")
    if fork:
        if not IDENT.fullmatch(fork):
            raise ProtocolError("A container's id is 32 hexadecimal digits.")
        name = forks.named(client.sessions.owner, fork)
    if not name:
        raise ProtocolError("An image that is made needs a name.")
    ident = await container.commit(name)
    image = dataclasses.asdict(await client.sessions.engine.stored(ident))
    return {"image": {**image, "name": name}}, None


@of_container("container.allow")
async def allow(client: Client, container: Container, message: Message) -> Answer:
    """Let another container of the session connect to it."""
    other = client.sessions.container(client.session, message.body["other"])
    await other.scope.run(client.sessions.neighbours.allow(container, other))
    return NOTHING


@of_container("container.disallow")
async def disallow(client: Client, container: Container, message: Message) -> Answer:
    """Take that back."""
    other = client.sessions.container(client.session, message.body["other"])
    await other.scope.run(client.sessions.neighbours.disallow(container, other))
    return NOTHING


@of_session("container.destroy")
async def destroy(client: Client, message: Message) -> Answer:
    """End and remove it; one that is gone already is fine, for repeats."""
    container = client.session.containers.get(message.body["container"])
    if container is not None:
        await container.destroy(float(message.body.get("grace") or 0.0))
        client.session.containers.pop(container.ident, None)
    return NOTHING
