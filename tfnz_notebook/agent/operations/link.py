"""The link itself: still there, leaving."""

from __future__ import annotations

from tfnz_notebook._wire.link import Message
from tfnz_notebook.agent.clients import NOTHING, Answer, Client
from tfnz_notebook.agent.operations.answers import of_session


@of_session("ping")
async def ping(client: Client, message: Message) -> Answer:
    """The server noted that the client lives; there is no more to it."""
    return NOTHING


@of_session("bye")
async def bye(client: Client, message: Message) -> Answer:
    """The client leaves; its session may end."""
    await client.leave()
    client.server.forget(client)
    return NOTHING
