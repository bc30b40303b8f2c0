"""An exec's websocket, on the server's side: ``v5.channel.k8s.io``, and v4 for who asks."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Self

from apiserver.faults import Cut, Faults
from apiserver.node.commands import Command, NotStarted
from apiserver.objects import refusals
from apiserver.objects.refusals import Object, Refusal
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Ping,
)
from wsproto.events import Request as Handshake
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from apiserver.api import ExecAsked

KNOWN = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDIN, STDOUT, STDERR, ERROR, CLOSE = 0, 1, 2, 3, 255
SUCCESS: Object = {"metadata": {}, "status": "Success"}


class Exec:
    """One of them."""

    def __init__(self, asked: ExecAsked, subprotocol: str) -> None:
        self._asked, self._subprotocol = asked, subprotocol
        self._ws = WSConnection(ConnectionType.SERVER)
        self._held = bytearray()
        self._closed = False
        self._command: Command | None = None
        #: It is there.
        self._came = asyncio.Event()

    @classmethod
    def accepted(cls, asked: ExecAsked) -> Self:
        """Raises what is said before the websocket is one."""
        wanted = asked.request.headers.get("sec-websocket-protocol", "")
        both = [each for each in KNOWN if each in wanted.replace(" ", "").split(",")]
        if not both:
            raise Refusal(403, "", "", text="")
        asked.kubelet.container(asked.pod, asked.container)
        return cls(asked, both[0])

    async def serve(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        left: bytes,
        faults: Faults,
    ) -> None:
        """Until it is over. Cut breaks it."""
        self._reader, self._writer, self._faults = reader, writer, faults
        request = self._asked.request
        headers = [(n.encode(), v.encode()) for n, v in request.headers.items()]
        self._ws.initiate_upgrade_connection(headers, request.path)
        for event in self._ws.events():
            assert isinstance(event, Handshake)
        writer.write(self._ws.send(AcceptConnection(subprotocol=self._subprotocol)))
        container = self._asked.kubelet.container(self._asked.pod, self._asked.container)
        streams = [n for n, word in ((1, "stdout"), (2, "stderr")) if request.true(word)]
        hearing = asyncio.create_task(self._hear(left))
        try:
            if STDOUT in streams:
                await self._say(STDOUT, b"")
            argv = request.query.get("command", [])
            try:
                self._command = await container.exec(argv)
            except NotStarted as error:
                await self._end(_not_started(str(error)))
                return
            self._came.set()
            telling = [asyncio.create_task(self._tell(n)) for n in streams]
            over = asyncio.gather(*telling)
            try:
                await asyncio.wait({over, hearing}, return_when=asyncio.FIRST_COMPLETED)
                if over.done():
                    over.result()
                    await self._end(_ended(await self._command.wait()))
                else:
                    hearing.result()
            finally:
                for task in telling:
                    task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Cut, ConnectionError):
                    await over
        except _Succeeded:
            await self._end(SUCCESS)
        finally:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)
            if self._command is not None:
                self._command.leave()

    async def _tell(self, stream: int) -> None:
        assert self._command is not None
        while data := await self._command.read(stream):
            await self._say(stream, data)

    async def _say(self, channel: int, data: bytes) -> None:
        await self._pass()
        self._writer.write(self._ws.send(BytesMessage(data=bytes([channel]) + data)))
        await self._writer.drain()

    async def _pass(self) -> None:
        """A frame may, unless something befalls it."""
        streams = self._faults.streams
        if streams.mute:
            await asyncio.Event().wait()
        match streams.fate():
            case "cut":
                raise Cut
            case "success":
                raise _Succeeded

    async def _hear(self, data: bytes) -> None:
        """Until the client goes."""
        try:
            while True:
                if data:
                    self._ws.receive_data(data)
                    for event in self._ws.events():
                        if not await self._heard(event):
                            return
                data = await self._reader.read(1 << 18)
                if not data:
                    return
        except (RemoteProtocolError, LocalProtocolError):
            raise Cut from None

    async def _heard(self, event: object) -> bool:
        if isinstance(event, BytesMessage):
            self._held += event.data
            if event.message_finished:
                whole, self._held = bytes(self._held), bytearray()
                await self._pass()
                await self._came.wait()
                await self._given(whole)
        elif isinstance(event, Ping) and not self._faults.streams.mute:
            self._writer.write(self._ws.send(event.response()))
        elif isinstance(event, CloseConnection):
            if not self._closed:
                self._writer.write(self._ws.send(event.response()))
            return False
        return True

    async def _given(self, message: bytes) -> None:
        assert self._command is not None
        if not message or not self._asked.request.true("stdin"):
            return
        if message[0] == STDIN:
            await self._command.write(message[1:])
        elif message[0] == CLOSE and message[1:] == bytes([STDIN]) and "v5" in self._subprotocol:
            self._command.end_input()

    async def _end(self, status: Object) -> None:
        """What became of it; then the websocket's own goodbye."""
        said = json.dumps(status, separators=(",", ":")).encode()
        self._writer.write(self._ws.send(BytesMessage(data=bytes([ERROR]) + said)))
        self._writer.write(self._ws.send(CloseConnection(code=1000)))
        self._closed = True
        await self._writer.drain()


class _Succeeded(Exception):
    """It is to look like that."""


def _ended(code: int) -> Object:
    if code == 0:
        return SUCCESS
    text = f"command terminated with exit code {code}"
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: {text}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def _not_started(why: str) -> Object:
    text = (
        "Internal error occurred: error executing command in container: failed to exec in "
        f'container: failed to start exec "{"0" * 64}": OCI runtime exec failed: exec failed: '
        f"{why}: unknown"
    )
    status = refusals.internal(text).status()
    del status["kind"], status["apiVersion"]
    return status
