"""Connections into a container."""

from __future__ import annotations

import contextlib
import errno
from typing import Any, Final

from tfnz_notebook._wire.link import Message
from tfnz_notebook.agent.clients import NOTHING, Answer, Client
from tfnz_notebook.agent.container.container import Container
from tfnz_notebook.agent.container.dial import Dial
from tfnz_notebook.agent.operations.answers import of_container
from tfnz_notebook.errors import Misuse, PortClosed

#: Where a server is first looked for.
LOOPBACK: Final = "127.0.0.1"


@of_container("dial.ticket")
async def ticket(client: Client, container: Container, message: Message) -> Answer:
    """What lets pages connect to that port, and where: at the agent of that name."""
    server, port = client.server, message.body["port"]
    ticket = server.tickets.issue(container.ident, port)
    return {"container": container.ident, "ticket": ticket, "agent": server.name}, None


@of_container("dial.open")
async def connect(client: Client, container: Container, message: Message) -> Answer:
    """Connect to a port in the container."""
    body = message.body
    if not 0 < body["port"] < 65536:
        raise Misuse(f"Cannot connect to port {body['port']}: ports are 1 to 65535.")
    try:
        await _open(client, container, body, body["host"])
    except PortClosed as closed:
        if body["host"] != LOOPBACK or closed.details.get("errno") != errno.ECONNREFUSED:
            raise
        # What listens does so elsewhere, perhaps: on IPv6 alone, or at the container's address.
        for host in ("::1", await container.address()):
            with contextlib.suppress(PortClosed):
                if host:
                    await _open(client, container, body, host)
                    return NOTHING
        raise
    return NOTHING


async def _open(client: Client, container: Container, body: dict[str, Any], host: str) -> None:
    guest = await container.running()
    reader = body["reader"]
    pipe = guest.pipe() if body.get("pipe") else None
    made = Dial(guest, client, reader, host, body["port"], body["credit"], pipe)
    client.dials[reader] = made
    client.readers[reader] = made.flow
    try:
        await made.connected
    except BaseException:
        client.dials.pop(reader, None)
        client.readers.pop(reader, None)
        made.close()
        raise
