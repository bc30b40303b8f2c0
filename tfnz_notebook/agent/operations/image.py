"""Images."""

from __future__ import annotations

from tfnz_notebook._wire.link import Message
from tfnz_notebook.agent.clients import Answer, Client
from tfnz_notebook.agent.operations.answers import of_session


@of_session("image.list")
async def list_images(client: Client, message: Message) -> Answer:
    """Names of those that are there."""
    return {"images": await client.sessions.engine.images()}, None
