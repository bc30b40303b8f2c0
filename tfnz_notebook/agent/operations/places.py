"""The link itself, the machines, the volumes."""

from __future__ import annotations

import dataclasses

from tfnz_notebook._wire.link import Message
from tfnz_notebook.agent.clients import NOTHING, Answer, Client
from tfnz_notebook.engines.base import LABEL_OWNER
from tfnz_notebook.errors import Misuse


async def ping(client: Client, message: Message) -> Answer:
    """The server noted that the client lives; there is no more to it."""
    return NOTHING


async def bye(client: Client, message: Message) -> Answer:
    """The client leaves; its session may end."""
    await client.leave()
    client.server.forget(client)
    return NOTHING


async def nodes(client: Client, message: Message) -> Answer:
    """The machines."""
    found = await client.sessions.engine.nodes()
    return {"nodes": [{**dataclasses.asdict(n), "labels": dict(n.labels)} for n in found]}, None


async def images(client: Client, message: Message) -> Answer:
    """Names of the images that are there."""
    return {"images": await client.sessions.engine.images()}, None


async def volume_create(client: Client, message: Message) -> Answer:
    """Make a volume; one of ours that exists is fine."""
    labels = {LABEL_OWNER: client.sessions.owner}
    await client.sessions.engine.create_volume(message.body["name"], labels)
    return NOTHING


async def volume_list(client: Client, message: Message) -> Answer:
    """Our volumes."""
    labels = {LABEL_OWNER: client.sessions.owner}
    return {"volumes": await client.sessions.engine.volumes(labels)}, None


async def volume_remove(client: Client, message: Message) -> Answer:
    """Remove a volume of ours, never another's."""
    labels = {LABEL_OWNER: client.sessions.owner}
    name = message.body["name"]
    if name not in await client.sessions.engine.volumes(labels):
        raise Misuse(f"Cannot destroy volume {name!r}: it is not one of ours, or not there.")
    await client.sessions.engine.remove_volume(name)
    return NOTHING
