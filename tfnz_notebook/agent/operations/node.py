"""The machines."""

from __future__ import annotations

import dataclasses

from tfnz_notebook._wire.link import Message
from tfnz_notebook.agent.clients import Answer, Client
from tfnz_notebook.agent.operations.answers import of_session


@of_session("node.list")
async def list_nodes(client: Client, message: Message) -> Answer:
    """All of them, with what is free."""
    found = await client.sessions.engine.nodes()
    return {"nodes": [{**dataclasses.asdict(n), "labels": dict(n.labels)} for n in found]}, None
