"""A server that says exactly what a test wants, over TCP, with TLS, one answer after the other."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from unit.engines.scripted import reply

if TYPE_CHECKING:
    from unit.engines.kubernetes.certificates import Certificate


@dataclass
class Asked:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    #: Which connection it came on, from 1.
    connection: int
    reader: asyncio.StreamReader = field(repr=False)
    writer: asyncio.StreamWriter = field(repr=False)

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {key: values[0] for key, values in parse_qs(urlsplit(self.target).query).items()}

    @property
    def json(self) -> object:
        return json.loads(self.body)


#: Bytes to say, or None: the connection is closed without a word.
Answer = Callable[[Asked], Awaitable[bytes | None]]


@dataclass
class Server:
    port: int = 0
    connections: int = 0
    asked: list[Asked] = field(default_factory=list)
    #: Subjects of the clients' certificates, one a connection.
    clients: list[str] = field(default_factory=list)
    #: Names that clients asked for (SNI).
    named: list[str | None] = field(default_factory=list)


def tls(own: Certificate, clients: Path | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.chain, own.key)
    if clients is not None:
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


@asynccontextmanager
async def serving(answer: Answer, context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """A server whose every request is answered by ``answer``, until it says None."""
    made = Server()
    tasks: set[asyncio.Task[None]] = set()
    if context is not None:
        context.sni_callback = lambda _, name, __: made.named.append(name)

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        made.connections += 1
        number = made.connections
        peer = writer.get_extra_info("peercert") or {}
        made.clients.append(
            str(dict(pair[0] for pair in peer.get("subject", ())).get("commonName"))
        )
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.strip().split("\r\n")
                method, target, _ = first.split(" ")
                headers = {}
                for line in lines:
                    name, _, value = line.partition(": ")
                    known = headers.get(name.lower())
                    headers[name.lower()] = value if known is None else f"{known}, {value}"
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                asked = Asked(method, target, headers, body, number, reader, writer)
                made.asked.append(asked)
                said = await answer(asked)
                if said is None:
                    return
                writer.write(said)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=context)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        try:
            yield made
        finally:  # since Python 3.12 a server waits for its connections
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def always(status: int, payload: object, *headers: str) -> Answer:
    async def answer(asked: Asked) -> bytes | None:
        return reply(status, payload, *headers)

    return answer


def status(code: int, reason: str, message: str, **details: object) -> bytes:
    """A refusal as an API server says it."""
    told = {"kind": "Status", "status": "Failure", "code": code, "reason": reason}
    return json.dumps({**told, "message": message, "details": details}).encode()
