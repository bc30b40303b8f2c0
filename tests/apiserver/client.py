"""The smallest client: one request a connection, for talking to any API server, real or ours."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import h11
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
    RejectConnection,
    RejectData,
    Request,
)

V5 = "v5.channel.k8s.io"
PATIENCE = 30.0


@dataclass
class Answer:
    """What came back: JSON, or text."""

    code: int
    headers: dict[str, str]
    body: Any


@dataclass
class Target:
    """Where an API server is, and who asks."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, kubeconfig: Path) -> Self:
        """The current context: JSON or plain YAML, with certificates inside, or a token."""
        text = kubeconfig.read_text()
        try:
            said = json.loads(text)
        except ValueError:
            import yaml

            said = yaml.safe_load(text)
        (context,) = [
            c["context"] for c in said["contexts"] if c["name"] == said["current-context"]
        ]
        (cluster,) = [c["cluster"] for c in said["clusters"] if c["name"] == context["cluster"]]
        (user,) = [u["user"] for u in said["users"] if u["name"] == context["user"]]
        url = urlsplit(cluster["server"])
        headers = {"Authorization": f"Bearer {user['token']}"} if user.get("token") else {}
        target = cls(url.hostname or "", url.port or 443, None, headers)
        if url.scheme == "https":
            authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
            target.tls = ssl.create_default_context(cadata=authority)
            if user.get("client-certificate-data"):
                with tempfile.NamedTemporaryFile() as file:
                    for part in ("client-certificate-data", "client-key-data"):
                        file.write(base64.b64decode(user[part]))
                    file.flush()
                    target.tls.load_cert_chain(file.name)
        return target

    def as_(self, **headers: str) -> Target:
        """The same with other headers: ``Authorization``, ``Impersonate_User``."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return Target(self.host, self.port, self.tls, {**self.headers, **more})

    def without_certificate(self) -> Target:
        """Nobody in particular."""
        tls = None
        if self.tls is not None:
            tls = ssl.create_default_context()
            for each in self.tls.get_ca_certs(binary_form=True):
                tls.load_verify_locations(cadata=each)
        return Target(self.host, self.port, tls)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.host, self.port, ssl=self.tls)

    # --- requests ----------------------------------------------------------------------------

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, str] | None = None,
        kind: str = "application/json",
    ) -> Answer:
        """A whole answer."""
        async with (
            asyncio.timeout(PATIENCE),
            self.answering(method, path, body, query, kind) as got,
        ):
            code, headers, pieces = got
            raw = b"".join([piece async for piece in pieces])
        try:
            said = json.loads(raw)
        except ValueError:
            said = raw.decode("utf-8", "replace")
        return Answer(code, headers, said)

    @asynccontextmanager
    async def answering(
        self,
        method: str,
        path: str,
        body: object = None,
        query: Mapping[str, str] | None = None,
        kind: str = "application/json",
    ) -> AsyncIterator[tuple[int, dict[str, str], AsyncIterator[bytes]]]:
        """Its head, and the body as it comes."""
        reader, writer = await self.connect()
        http = h11.Connection(h11.CLIENT)
        raw = (
            body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        )
        headers = {
            "Host": f"{self.host}:{self.port}",
            "Content-Length": str(len(raw)),
            "Content-Type": kind,
            **self.headers,
        }
        target = path + (f"?{urlencode(query)}" if query else "")
        head = h11.Request(method=method, target=target, headers=[*headers.items()])

        async def event() -> Any:
            while (said := http.next_event()) is h11.NEED_DATA:
                http.receive_data(await reader.read(1 << 16))
            return said

        async def pieces() -> AsyncIterator[bytes]:
            while isinstance(said := await event(), h11.Data):
                yield bytes(said.data)

        try:
            writer.write(http.send(head) or b"")
            writer.write((http.send(h11.Data(data=raw)) or b"") if raw else b"")
            writer.write(http.send(h11.EndOfMessage()) or b"")
            answer = await event()
            if not isinstance(answer, h11.Response):
                raise ConnectionError(f"no answer: {answer}")
            told = {name.decode(): value.decode() for name, value in answer.headers}
            yield answer.status_code, told, pieces()
        finally:
            writer.transport.abort()

    async def watch(self, path: str, query: Mapping[str, str]) -> AsyncIterator[Any]:
        """Its events, until it ends."""
        asked = {"watch": "true", **query}
        async with self.answering("GET", path, query=asked) as (code, _, pieces):
            held = b""
            async for piece in pieces:
                held += piece
                *lines, held = held.split(b"\n")
                for line in lines:
                    yield json.loads(line)
            if code != 200:
                yield json.loads(held)


class Refused(Exception):
    """A websocket that was not opened: code and body."""


class Exec:
    """One exec: what came on each channel, in the order of the frames."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, bytes]] = []
        self.close: tuple[int, str] | None = None
        self.lost = False
        self.subprotocol = ""
        self._ws = WSConnection(ConnectionType.CLIENT)
        self._moved = asyncio.Event()
        self._held = bytearray()

    @classmethod
    async def open(
        cls,
        target: Target,
        path: str,
        argv: Sequence[str],
        *,
        container: str = "",
        protocols: Sequence[str] = (V5,),
        stdin: bool = True,
    ) -> Self:
        """Raises Refused."""
        self = cls()
        query = [("command", word) for word in argv]
        query += [(each, "true") for each in ("stdin",) * stdin + ("stdout", "stderr")]
        query += [("container", container)] if container else []
        self._reader, self._writer = await target.connect()
        headers = [(n.encode(), v.encode()) for n, v in target.headers.items()]
        self._writer.write(
            self._ws.send(
                Request(
                    host=f"{target.host}:{target.port}",
                    target=f"{path}?{urlencode(query)}",
                    subprotocols=[*protocols],
                    extra_headers=headers,
                )
            )
        )
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._read(opened))
        try:
            async with asyncio.timeout(PATIENCE):
                await opened
        except BaseException:
            self.abort()
            raise
        return self

    async def _read(self, opened: asyncio.Future[None]) -> None:
        refused, said = 0, b""
        with contextlib.suppress(OSError):
            while data := await self._reader.read(1 << 16):
                self._ws.receive_data(data)
                for event in self._ws.events():
                    if isinstance(event, AcceptConnection):
                        self.subprotocol = event.subprotocol or ""
                        opened.set_result(None)
                    elif isinstance(event, RejectConnection):
                        refused = event.status_code
                        if not event.has_body and not opened.done():
                            opened.set_exception(Refused(refused, ""))
                    elif isinstance(event, RejectData):
                        said += event.data
                        if event.body_finished:
                            opened.set_exception(Refused(refused, said.decode()))
                    elif isinstance(event, BytesMessage):
                        self._held += event.data
                        if event.message_finished:
                            whole, self._held = bytes(self._held), bytearray()
                            self.frames.append((whole[0] if whole else -1, whole[1:]))
                    elif isinstance(event, CloseConnection):
                        self.close = (event.code, event.reason or "")
                        self._writer.write(self._ws.send(event.response()))
                    elif isinstance(event, Ping):
                        self._writer.write(self._ws.send(event.response()))
                self._moved.set()
        self.lost = True
        if not opened.done():
            opened.set_exception(Refused(refused, said.decode()))
        self._moved.set()

    def send(self, data: bytes, channel: int = 0) -> None:
        self._writer.write(self._ws.send(BytesMessage(data=bytes([channel]) + data)))

    def close_stdin(self) -> None:
        """v5's half close."""
        self.send(b"\0", channel=255)

    def channel(self, number: int) -> bytes:
        return b"".join(data for channel, data in self.frames if channel == number)

    async def until(self, done: Any) -> None:
        async with asyncio.timeout(PATIENCE):
            while not done():
                self._moved.clear()
                await self._moved.wait()

    async def end(self) -> None:
        await self.until(lambda: self.lost or self.close is not None)
        self.abort()

    def abort(self) -> None:
        self._task.cancel()
        self._writer.transport.abort()
