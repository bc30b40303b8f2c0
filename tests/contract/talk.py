"""The smallest agent: it speaks the guest's protocol over an engine's stream, for the contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Decoder, Frame, Tag, Type
from tfnz_notebook._wire.guest import Stream as Which
from tfnz_notebook.engines.base import Engine, Stream

PATIENCE = 30.0


class Process:
    """What a channel said so far. Output is acknowledged as it comes, unless ``held``."""

    def __init__(self, talk: Talk, channel: int) -> None:
        self.talk, self.channel = talk, channel
        self.frames: list[Frame] = []
        self.output = {int(Which.OUT): bytearray(), int(Which.ERR): bytearray()}
        self.ends: dict[int, int] = {}
        self.status: int | None = None
        self.held = False
        self.taken = 0

    @property
    def out(self) -> bytes:
        return bytes(self.output[Which.OUT])

    def frame(self, frame: Frame) -> None:
        self.frames.append(frame)
        if frame.type is Type.DATA:
            at, (offset,) = self.output[frame.stream], frame.values
            assert offset == len(at), f"DATA at {offset}, {len(at)} is due"
            at += frame.data
            if not self.held:
                self.acknowledge(frame.stream)
        elif frame.type is Type.EXIT:
            self.status = frame.values[0]
        elif frame.type is Type.EOF:
            self.ends[frame.stream] = frame.values[0]
        elif frame.type is Type.ACK:
            self.taken = frame.values[0]

    def acknowledge(self, stream: int) -> None:
        self.talk.send(wire.fixed(Type.ACK, self.channel, len(self.output[stream]), stream=stream))

    def has(self, kind: Type) -> bool:
        return any(frame.type is kind for frame in self.frames)

    async def until(self, done: Callable[[], bool]) -> None:
        await self.talk.until(done)

    async def first(self, *kinds: Type) -> Frame:
        """The first frame of one of these kinds."""
        await self.until(lambda: any(self.has(kind) for kind in kinds))
        return next(frame for frame in self.frames if frame.type in kinds)

    def stdin(self, data: bytes, at: int = 0) -> None:
        self.talk.send(wire.data(self.channel, Which.IN, at, data))

    def stdin_ends(self, at: int) -> None:
        self.talk.send(wire.fixed(Type.EOF, self.channel, at, stream=Which.IN))

    async def end(self) -> int:
        """Its exit code, once everything it wrote is here."""
        end = await self.first(Type.END, Type.FAILED)
        assert end.type is Type.END, f"failed: {end.text(Tag.STAGE)} {end.integer(Tag.ERRNO)}"
        await self.until(lambda: len(self.output[Which.OUT]) >= end.values[0])
        await self.until(lambda: len(self.output[Which.ERR]) >= end.values[1])
        assert self.status is not None
        return self.status


class Talk:
    """One connection."""

    def __init__(self) -> None:
        self.stream: Stream | None = None
        self.decoder = Decoder()
        self.channels: dict[int, Process] = {}
        self.connection: list[Frame] = []
        self.closed: list[Exception | None] = []
        self.calls = 0
        self._moved = asyncio.Event()
        self._next = wire.FIRST_CHANNEL

    def received(self, data: bytes) -> None:
        self.calls += 1
        for frame in self.decoder.feed(data):
            if frame.channel == wire.CONNECTION:
                self.connection.append(frame)
            else:
                self.on(frame.channel).frame(frame)
        self._moved.set()

    def ended(self, cause: Exception | None) -> None:
        self.closed.append(cause)
        self._moved.set()

    def on(self, channel: int) -> Process:
        return self.channels.setdefault(channel, Process(self, channel))

    def send(self, data: bytes) -> None:
        assert self.stream is not None
        self.stream.write(data)

    async def until(self, done: Callable[[], bool], patience: float = PATIENCE) -> None:
        async with asyncio.timeout(patience):
            while not done():
                self._moved.clear()
                await self._moved.wait()

    async def hello(self) -> Frame:
        """Both hellos and the inventory; the guest's hello."""
        await self.until(lambda: bool(self.connection) or bool(self.closed))
        assert self.connection, f"closed before hello: {self.closed}"
        hello = self.connection[0]
        assert hello.type is Type.HELLO
        fields = [(Tag.VERSION, wire.VERSION), (Tag.VERSION_MIN, wire.VERSION_MIN)]
        self.send(wire.fielded(Type.HELLO, wire.CONNECTION, [*fields, (Tag.NAME, "contract")]))
        await self.until(lambda: any(f.type is Type.READY for f in self.connection))
        self._next = max(self._next, *(channel + 1 for channel in self.channels), 0)
        return hello

    def spawn(
        self, *argv: str, env: tuple[str, ...] = (), cwd: str = "", meta: str = ""
    ) -> Process:
        fields: list[tuple[Tag, int | bytes | str]] = [(Tag.ARG, word) for word in argv]
        fields += [(Tag.ENV, pair) for pair in env]
        if cwd:
            fields.append((Tag.CWD, cwd))
        fields.append((Tag.META, meta))
        return self.ask(Type.SPAWN, fields)

    def ask(self, kind: Type, fields: list[tuple[Tag, int | bytes | str]]) -> Process:
        """Open a channel."""
        channel = self._next
        self._next += 1
        process = self.on(channel)
        self.send(wire.fielded(kind, channel, fields))
        return process

    async def run(
        self, *argv: str, env: tuple[str, ...] = (), cwd: str = ""
    ) -> tuple[int, bytes, bytes]:
        """Run to the end: exit code, stdout, stderr."""
        process = self.spawn(*argv, env=env, cwd=cwd)
        code = await process.end()
        return code, process.out, bytes(process.output[Which.ERR])

    async def page(self, port: int) -> bytes:
        """What a server in the container answers to GET /, once it listens."""
        async with asyncio.timeout(PATIENCE):
            while True:
                tunnel = self.ask(Type.DIAL, [(Tag.PORT, port)])
                if (await tunnel.first(Type.STAT, Type.FAILED)).type is Type.STAT:
                    break
                await asyncio.sleep(0.02)
        request = b"GET / HTTP/1.0\r\n\r\n"
        tunnel.stdin(request)
        tunnel.stdin_ends(len(request))
        await tunnel.until(lambda: Which.OUT in tunnel.ends)
        return tunnel.out


async def dial(engine: Engine, ref: str) -> Talk:
    """A connection on which nothing was said yet."""
    talk = Talk()
    talk.stream = await engine.connect(ref, talk.received, talk.ended)
    return talk


@asynccontextmanager
async def talking(engine: Engine, ref: str) -> AsyncIterator[Talk]:
    """A connection with the inventory read; closed at the end."""
    talk = await dial(engine, ref)
    try:
        await talk.hello()
        yield talk
    finally:
        assert talk.stream is not None
        talk.stream.close()
        await talk.until(lambda: bool(talk.closed))
        assert len(talk.closed) == 1
