"""The sockets: HTTP by h11, websockets by wsproto, TLS if there are certificates."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import h11
from apiserver.api import Api, ExecAsked, Request, Response
from apiserver.faults import Cut
from apiserver.objects.refusals import Refusal
from apiserver.streams import Exec

_CHUNK = 1 << 16
Answered = TypeVar("Answered")


class Server:
    """Listens on loopback. :meth:`stop` and :meth:`start` again is a server that was killed."""

    def __init__(self, api: Api, tls: ssl.SSLContext | None = None) -> None:
        self.api, self.tls = api, tls
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def connections(self) -> int:
        return len(self._writers)

    async def start(self) -> None:
        """At the same port as before."""
        self._server = await asyncio.start_server(
            self._accepted, "127.0.0.1", self.port, ssl=self.tls
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """As by SIGKILL: nothing is said, everything is reset."""
        assert self._server is not None
        self._server.close()
        self.cut()
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Reset every connection there is."""
        for writer in [*self._writers]:
            writer.transport.abort()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            await Connection(self.api, reader, writer).serve()
        except (Cut, ConnectionError, h11.RemoteProtocolError, ssl.SSLError):
            writer.transport.abort()
        except asyncio.CancelledError:
            writer.transport.abort()  # nobody awaits a connection
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.close()


class Connection:
    """One of them: requests, one after the other, until it is upgraded or ends."""

    def __init__(
        self, api: Api, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.api, self._reader, self._writer = api, reader, writer
        self._http = h11.Connection(h11.SERVER)

    async def serve(self) -> None:
        while True:
            request = await self._request()
            if request is None:
                return
            try:
                answer = await self._until_gone(self.api.answer(request))
            except Refusal as refusal:
                answer = refused(refusal)
            if answer is None:
                return
            if isinstance(answer, ExecAsked):
                try:
                    stream = Exec.accepted(answer)
                except Refusal as refusal:
                    answer = refused(refusal)
                else:
                    left, _ = self._http.trailing_data
                    await stream.serve(self._reader, self._writer, left, self.api.faults)
                    return
            if not await self._until_gone(self._send(answer)):
                return
            if self._http.our_state is h11.MUST_CLOSE or self._http.their_state is h11.MUST_CLOSE:
                return
            self._http.start_next_cycle()

    async def _event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(_CHUNK))
        return event

    async def _request(self) -> Request | None:
        head = await self._event()
        if not isinstance(head, h11.Request):
            return None
        url = urlsplit(head.target.decode())
        query = parse_qs(url.query, keep_blank_values=True)
        headers = {name.decode(): value.decode() for name, value in head.headers}
        request = Request(head.method.decode(), url.path, query, headers)
        if (tls := self._writer.get_extra_info("peercert")) is not None:
            names = [
                value
                for part in tls.get("subject", ())
                for key, value in part
                if key == "commonName"
            ]
            request.certificate = names[0] if names else ""
        body = bytearray()
        while isinstance(event := await self._event(), h11.Data):
            body += event.data
        request.body = bytes(body)
        return request

    async def _until_gone(self, doing: Coroutine[Any, Any, Answered]) -> Answered | None:
        """Do it, unless the client goes away meanwhile. What it says early waits in the reader."""
        task = asyncio.create_task(doing)
        gone = asyncio.create_task(self._gone())
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            return await task if task.done() else None
        finally:
            for each in (task, gone):
                each.cancel()
            await asyncio.gather(task, gone, return_exceptions=True)

    async def _gone(self) -> None:
        """Until the client's end of the connection is closed, or it broke."""
        while not self._reader.at_eof() and self._reader.exception() is None:
            if self._writer.is_closing():
                return
            # A client says nothing before it has its answer, but that it goes.
            data = await self._reader.read(_CHUNK)
            if data:
                self._http.receive_data(data)

    async def _send(self, answer: Response) -> bool:
        body, headers = answer.body, dict(answer.headers)
        if isinstance(body, AsyncIterator):
            headers["Transfer-Encoding"] = "chunked"
            self._head(answer.code, headers)
            async for piece in body:
                self._data(piece)
                await self._writer.drain()
        else:
            if isinstance(body, bytes):
                headers.setdefault("Content-Type", "text/plain; charset=utf-8")
            else:
                body = json.dumps(body).encode() + b"\n"
                headers.setdefault("Content-Type", "application/json")
            headers["Content-Length"] = str(len(body))
            self._head(answer.code, headers)
            if body:
                self._data(body)
        self._writer.write(self._http.send(h11.EndOfMessage()) or b"")
        await self._writer.drain()
        return True

    def _head(self, code: int, headers: dict[str, str]) -> None:
        told = h11.Response(status_code=code, headers=[*headers.items()])
        self._writer.write(self._http.send(told) or b"")

    def _data(self, data: bytes) -> None:
        self._writer.write(self._http.send(h11.Data(data=data)) or b"")


def refused(refusal: Refusal) -> Response:
    headers = dict(refusal.headers)
    if refusal.text is not None:
        return Response(refusal.code, refusal.text.encode(), headers)
    return Response(refusal.code, refusal.status(), headers)
