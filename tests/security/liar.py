"""A container whose root took its guest's place: it says what a test wants, to the real agent."""

import asyncio
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Decoder, Frame, Tag, Type
from tfnz_notebook.agent.container.container import Container
from tfnz_notebook.agent.container.labels import labelled
from tfnz_notebook.agent.sessions import Sessions
from tfnz_notebook.engines.base import ContainerSpec, Found, State, Stream
from tfnz_notebook.testing import FakeEngine

READY = wire.fixed(Type.READY, 0)


def hello(boot: bytes = b"b" * 16, features: int = 0) -> bytes:
    told = {Tag.VERSION: 1, Tag.VERSION_MIN: 1, Tag.SLEEPING: 1, Tag.FEATURES: features}
    return wire.fielded(Type.HELLO, 0, [*told.items(), (Tag.BOOT, boot)])


def proc(channel: int, ident: object = None, text: object = "sleep", **more: int) -> bytes:
    """One process of the inventory."""
    meta = msgpack.packb({"id": uuid.uuid4().hex if ident is None else ident, "text": text})
    fields: list[tuple[Tag, int | bytes]] = [(Tag.PID, 7), (Tag.META, meta)]
    fields += [(Tag[name], value) for name, value in more.items()]
    return wire.fielded(Type.PROC, channel, fields)


class Line(Stream):
    """The stream between them; what the agent says is in ``heard``."""

    def __init__(self, received: Any, closed: Any) -> None:
        self.heard: list[Frame] = []
        self.open = True
        self._received, self._closed, self._decoder = received, closed, Decoder()

    def write(self, data: bytes) -> None:
        self.heard += self._decoder.feed(data)

    @property
    def writable(self) -> bool:
        return True

    async def drain(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def close(self) -> None:
        if self.open:
            self.open = False
            asyncio.get_running_loop().call_soon(self._closed, None)

    def say(self, *frames: bytes) -> None:
        """To the agent, at once; nothing once it has hung up."""
        if self.open:
            self._received(b"".join(frames))


class Liar(FakeEngine):
    """An engine with one container, of which the guest begins with ``opening``."""

    def __init__(self, spool: Path, *opening: bytes) -> None:
        super().__init__()
        self.opening = opening or (hello(), READY)
        self.lines: list[Line] = []
        self.ident = uuid.uuid4().hex
        self.sessions = Sessions(self, self.owner, spool)

    @property
    def line(self) -> Line:
        """The newest connection."""
        return self.lines[-1]

    async def asked(self) -> Frame:
        """What a task that was just made asks the guest: its frames leave at the end of a turn."""
        for _ in range(3):
            await asyncio.sleep(0)
        return self.line.heard[-1]

    async def find(self, labels: Mapping[str, str]) -> list[Found]:
        spec = ContainerSpec(id=self.ident, image="debian", sleep=True)
        told = labelled(
            spec, owner=self.owner, session="s", durable=True, ttl=None, tag="", created=1.0
        )
        return [Found("r" * 64, told.labels, State("running"))]

    async def connect(self, ref: str, received: Any, closed: Any) -> Stream:
        self.lines.append(Line(received, closed))
        asyncio.get_running_loop().call_soon(self.line.say, *self.opening)
        return self.line

    async def inspect(self, ref: str) -> State:
        return State("running")

    async def isolate(self, *given: Any, **more: Any) -> Any:
        """It has no network to be kept from."""

    async def meet(self) -> Container:
        """Have the agent's code adopt it; the container as that sees it."""
        await self.sessions.adopt(lambda container: None, lambda container, process: None)
        session = self.sessions.get("s")
        assert session is not None
        container = session.containers[self.ident]
        async with asyncio.timeout(20):
            await container.looked.wait()
        return container
