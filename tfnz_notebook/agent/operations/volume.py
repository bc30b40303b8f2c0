"""Volumes of this user."""

from __future__ import annotations

from tfnz_notebook._wire.link import Message
from tfnz_notebook.agent.clients import NOTHING, Answer, Client
from tfnz_notebook.agent.operations.answers import of_session
from tfnz_notebook.engines.base import LABEL_OWNER, Claim
from tfnz_notebook.errors import Misuse, ProtocolError


@of_session("volume.create")
async def create(client: Client, message: Message) -> Answer:
    """Make a volume; one of ours that exists is fine."""
    body = message.body
    if body.get("access") not in (None, "one", "many", "container"):
        raise ProtocolError(f"A volume's access is {body['access']!r}.")
    claim = Claim(body.get("size"), body.get("kind"), body.get("access"))
    await client.sessions.engine.create_volume(body["name"], _ours(client), claim)
    return NOTHING


@of_session("volume.list")
async def list_volumes(client: Client, message: Message) -> Answer:
    """Our volumes; ``sizes``: with what each takes."""
    engine, ours = client.sessions.engine, _ours(client)
    if message.body.get("sizes"):
        sizes = await engine.volume_sizes(ours)
    else:
        sizes = dict.fromkeys(await engine.volumes(ours))
    return {"volumes": [{"name": name, "size": size} for name, size in sizes.items()]}, None


@of_session("volume.remove")
async def remove(client: Client, message: Message) -> Answer:
    """Remove a volume of ours, never another's."""
    name = message.body["name"]
    if name not in await client.sessions.engine.volumes(_ours(client)):
        raise Misuse(f"Cannot destroy volume {name!r}: it is not one of ours, or not there.")
    await client.sessions.engine.remove_volume(name)
    return NOTHING


def _ours(client: Client) -> dict[str, str]:
    return {LABEL_OWNER: client.sessions.owner}
