"""Files of a container."""

from __future__ import annotations

import asyncio
from typing import Any

from tfnz_notebook._wire.guest import Flag
from tfnz_notebook._wire.link import Message
from tfnz_notebook.agent.clients import NOTHING, Answer, Client
from tfnz_notebook.agent.container.container import Container
from tfnz_notebook.agent.container.files import transfers
from tfnz_notebook.agent.container.files.piped import NoPipe, Piped
from tfnz_notebook.agent.container.files.transfers import Transfer
from tfnz_notebook.agent.container.guest import Guest
from tfnz_notebook.agent.operations.answers import of_container
from tfnz_notebook.errors import FileError


@of_container("file.put")
async def put(client: Client, container: Container, message: Message) -> Answer:
    """A piece of an upload; the last one puts the file in place, one that drops it leaves none."""
    if message.body.get("reader") is not None:
        return await _put_piped(client, container, message.body)
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
        transfer = client.transfers[name] = Transfer(guest, "put", body["path"])
        _begin_put(transfer, body)
    await transfer.upload(message.payload or b"")
    if body.get("last"):
        await transfer.finish_upload()
        client.transfers.pop(name, None)
        client.turns.pop(name, None)


def _begin_put(transfer: Transfer, body: dict[str, Any]) -> None:
    parents = bool(body.get("parents"))
    transfers.begin_put(transfer, body.get("mode"), body.get("user"), parents)


def _piped(client: Client, guest: Guest, verb: str, body: dict[str, Any]) -> Piped | None:
    if (pipe := guest.pipe()) is None:
        return None
    reader = body["reader"]
    transfer = client.readers[reader] = Piped(guest, verb, body["path"], pipe, client, reader)
    return transfer


async def _put_piped(client: Client, container: Container, body: dict[str, Any]) -> Answer:
    transfer = _piped(client, await container.running(), "put", body)
    if transfer is None:
        return NOTHING
    client.transfers[body["transfer"]] = transfer
    try:
        _begin_put(transfer, body)
        await transfer.answer
    except NoPipe:
        return NOTHING
    finally:
        client.transfers.pop(body["transfer"], None)
        client.close_reader(body["reader"])
    return {"piped": True}, None


@of_container("file.get")
async def get(client: Client, container: Container, message: Message) -> Answer:
    """What a file is; its bytes stream to the reader, or go through a pipe that it is told of."""
    body = message.body
    guest = await container.running()
    if body.get("pipe") and (piped := _piped(client, guest, "fetch", body)) is not None:
        try:
            return await transfers.begin_get(piped), None
        except NoPipe:
            client.close_reader(body["reader"])
        except BaseException:
            client.close_reader(body["reader"])
            raise
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
