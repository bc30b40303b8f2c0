"""An engine that says exactly what a test wants, on a Unix socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from tfnz_notebook._base import endpoints as endpoint
from tfnz_notebook.engines.http.client import Client

Answer = Callable[[str, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def scripted(path: Path, answer: Answer) -> AsyncIterator[Client]:
    """A client of a server whose every connection is ``answer(request head, reader, writer)``."""
    tasks: set[asyncio.Task[None]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            await answer(head, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_unix_server(accepted, path)
    async with server:
        try:
            yield Client(endpoint.parse(str(path)), "docker")
        finally:  # since Python 3.12 a server waits for its connections
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def says(*parts: bytes) -> Answer:
    """The same bytes to everybody, a turn of the loop between the parts."""

    async def answer(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)

    return answer


def reply(status: int, payload: object, *headers: str) -> bytes:
    """A whole JSON answer."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body
