"""Connections into a container."""

from __future__ import annotations

from tfnz_notebook._wire.link import Message
from tfnz_notebook.agent.clients import NOTHING, Answer, Client
from tfnz_notebook.agent.container.container import Container
from tfnz_notebook.agent.container.dial import Dial
from tfnz_notebook.agent.operations.answers import of_container
from tfnz_notebook.errors import Misuse


@of_container("dial.open")
async def connect(client: Client, container: Container, message: Message) -> Answer:
    """Connect to a port in the container."""
    body = message.body
    if not 0 < body["port"] < 65536:
        raise Misuse(f"Cannot connect to port {body['port']}: ports are 1 to 65535.")
    guest = await container.running()
    reader = body["reader"]
    made = Dial(guest, client, reader, body["host"], body["port"], body["credit"])
    client.dials[reader] = made
    client.readers[reader] = made.flow
    try:
        await made.connected
    except BaseException:
        client.dials.pop(reader, None)
        client.readers.pop(reader, None)
        made.close()
        raise
    return NOTHING
