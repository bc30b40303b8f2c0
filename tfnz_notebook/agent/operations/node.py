"""The machines."""

from __future__ import annotations

import dataclasses

from tfnz_notebook._wire.link import Message
from tfnz_notebook.agent.clients import Answer, Client
from tfnz_notebook.agent.operations.answers import of_session


@of_session("node.list")
async def list_nodes(client: Client, message: Message) -> Answer:
    """All of them, with what is free; and with what runs there, if asked for."""
    found = await client.sessions.engine.nodes(counted=bool(message.body.get("counted")))
    return {"nodes": [{**dataclasses.asdict(n), "labels": dict(n.labels)} for n in found]}, None
