"""Files of a container."""

from __future__ import annotations

import asyncio

from tfnz_notebook._wire.guest import Flag
from tfnz_notebook._wire.link import Message
from tfnz_notebook.agent.clients import NOTHING, Answer, Client
from tfnz_notebook.agent.container import transfers
from tfnz_notebook.agent.container.container import Container
from tfnz_notebook.agent.operations.answers import of_container
from tfnz_notebook.errors import FileError


@of_container("file.put")
async def put(client: Client, container: Container, message: Message) -> Answer:
    """A piece of an upload; the last one puts the file in place, one that drops it leaves none."""
    name = message.body["transfer"]
    turn = client.turns.setdefault(name, asyncio.Lock())
    try:
        async with turn:
            await _put_piece(client, container, message, name)
    except BaseException:
        client.turns.pop(name, None)
        transfer = client.transfers.pop(name, None)
        if transfer is not None:
            transfer.abort()
        raise
    return NOTHING


async def _put_piece(client: Client, container: Container, message: Message, name: str) -> None:
    body = message.body
    transfer = client.transfers.get(name)
    if body.get("drop"):
        if transfer is not None:
            transfer.abort()
        client.transfers.pop(name, None)
        client.turns.pop(name, None)
        return
    if (body.get("offset") or 0) != (0 if transfer is None else transfer.written):
        raise FileError(
            f"Cannot put {body['path']!r}: the connection broke between two pieces of it, and "
            "nothing of it is there. Put it again."
        )
    if transfer is None:
        guest = await container.running()
        transfer = client.transfers[name] = transfers.begin_put(
            guest, body["path"], body.get("mode"), body.get("user"), bool(body.get("parents"))
        )
    await transfer.upload(message.payload or b"")
    if body.get("last"):
        await transfer.finish_upload()
        client.transfers.pop(name, None)
        client.turns.pop(name, None)


@of_container("file.get")
async def get(client: Client, container: Container, message: Message) -> Answer:
    """What a file is; its bytes stream to the reader."""
    body = message.body
    guest = await container.running()
    transfer, told = await transfers.get(
        guest, body["path"], client, body["reader"], body["credit"]
    )
    assert transfer.flow is not None
    if not transfer.flow.finished:
        client.readers[body["reader"]] = transfer.flow
    return told, None


@of_container("file.list")
async def list_files(client: Client, container: Container, message: Message) -> Answer:
    """The entries of a directory."""
    guest = await container.running()
    return {"entries": await transfers.listing(guest, message.body["path"])}, None


@of_container("file.mkdir")
async def mkdir(client: Client, container: Container, message: Message) -> Answer:
    """Make a directory."""
    body = message.body
    guest = await container.running()
    flags = (Flag.PARENTS if body.get("parents") else Flag(0)) | (
        Flag.EXIST_OK if body.get("exist_ok") else Flag(0)
    )
    await transfers.make_directory(guest, body["path"], body.get("mode"), body.get("user"), flags)
    return NOTHING
