"""The link itself: still there, leaving; and what does not fit in one message."""

from __future__ import annotations

from tfnz_notebook._wire.link import Message
from tfnz_notebook.agent.clients import NOTHING, Answer, Client
from tfnz_notebook.agent.operations.answers import of_session


@of_session("ping")
async def ping(client: Client, message: Message) -> Answer:
    """The server noted that the client lives; some of what an engine is shows only by and by."""
    return {"about": client.server.about()}, None


@of_session("bye")
async def bye(client: Client, message: Message) -> Answer:
    """The client leaves; its session may end."""
    await client.leave()
    client.server.forget(client)
    return NOTHING


@of_session("ahead")
async def ahead(client: Client, message: Message) -> Answer:
    """A piece of what a request to come will need."""
    body = message.body
    client.large.piece(body["ahead"], body["offset"], message.payload or b"")
    return NOTHING


@of_session("more")
async def more(client: Client, message: Message) -> Answer:
    """The next page of an answer."""
    return client.large.more(message.body["more"]), None
