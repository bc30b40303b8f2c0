"""The first words on a pod's stream: what the container is. From then on the stream is the agent's.

A pod starts asleep, and what it is for is told to its guest alone: files (PUT), then arguments,
environment, directory and user (SETUP), then START. So none of it lies in the API server, or shows
in what ``kubectl describe`` says. This is a conversation like an agent's, on the one exec that a
pod has at a time; another for the agent would take as long again as all that came before.

So the agent gets the same stream, and hears what a guest would say to whoever connects: the guest's
HELLO, an inventory with the main process in it if that was started, READY; then what the guest has
said since. Its own HELLO was said before, and goes no further.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import FIXED, Decoder, Flag, Frame, Tag, Type
from tfnz_notebook._wire.guest import Stream as Which
from tfnz_notebook.engines.base import Closed, Received, Stream
from tfnz_notebook.engines.http.connection import Wire
from tfnz_notebook.errors import ContainerFailed, EngineGone, Misuse, ProtocolError

#: Our channels: far from those that an agent opens.
_FIRST: Final = 1 << 30
#: Files that are written at a time.
_AT_ONCE: Final = 16
#: Bytes the guest may say before the stream is the agent's: what writes more is held back.
_EARLY: Final = 4 << 20

#: Of an inventory, where a process begins.
_BEGINS: Final = (Tag.IN_OFFSET, Tag.OUT_BASE, Tag.OUT_HEAD, Tag.ERR_BASE, Tag.ERR_HEAD)

Field = tuple[Tag, int | bytes | str]


@dataclass(frozen=True, slots=True)
class Boot:
    """What a guest is told before it is used. Empty: the image's own."""

    argv: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    workdir: str = ""
    sleep: bool = False
    files: Mapping[str, bytes] = field(default_factory=dict)

    def fields(self) -> list[Field]:
        """Of SETUP."""
        said: list[Field] = [(Tag.ARG, word) for word in self.argv]
        said += [(Tag.ENV, f"{key}={value}") for key, value in self.env.items()]
        if self.workdir:
            said.append((Tag.CWD, self.workdir))
        if self.user:
            said.append((Tag.USER, self.user))
        return said


class Line(Stream):
    """One stream to a guest: the engine's until :meth:`hand_over`, then the agent's."""

    far = True

    def __init__(self) -> None:
        self._stream: Stream | None = None
        self._decoder: Decoder | None = Decoder()
        self._received: Received | None = None
        self._closed: Closed | None = None
        #: It has ended, and with that cause.
        self.over = False
        self._cause: Exception | None = None
        self._moved = asyncio.Event()
        self._hello: Frame | None = None
        self._ready = False
        self._inventory: list[Frame] = []
        #: What the guest said, which is for the agent.
        self._early: list[bytes] = []
        self._held = 0
        self._channels: dict[int, asyncio.Queue[Frame]] = {}
        self._next = _FIRST
        self._pumps: list[asyncio.Task[None]] = []
        self._answers: dict[int, Frame] = {}
        self._main: dict[Tag, int] = {}
        #: The agent's own HELLO is still to come, and is not for the guest.
        self._swallow = False
        #: The agent has all that has waited for it.
        self._begun = False
        self._paused = False

    # -- the exec's side

    def attach(self, stream: Stream) -> None:
        """It goes on this one."""
        self._stream = stream

    def received(self, data: bytes) -> None:
        """Bytes of the guest."""
        if self._decoder is None:
            if self._begun and self._received is not None:
                self._received(data)
            else:
                self._early.append(data)
            return
        try:
            for frame in self._decoder.feed(data):
                self._take(frame)
        except ProtocolError as error:
            self._cause = error
            self.close()
        self._moved.set()

    def ended(self, cause: Exception | None) -> None:
        """The exec is over."""
        self.over = True
        self._cause = self._cause or cause
        self._moved.set()
        for pump in self._pumps:
            pump.cancel()
        for queue in self._channels.values():
            queue.put_nowait(Frame(Type.GONE, 0))
        if self._closed is not None:
            closed, self._closed = self._closed, None
            closed(self._cause)

    def _take(self, frame: Frame) -> None:
        if frame.type is Type.HELLO:
            self._hello = frame
        elif frame.type is Type.PROC and not self._ready:
            self._inventory.append(frame)
        elif frame.type is Type.READY:
            self._ready = True
        elif frame.type is Type.RESULT:
            self._answers[frame.values[0]] = frame
        elif frame.channel in self._channels:
            self._channels[frame.channel].put_nowait(frame)
        elif frame.channel == wire.MAIN:
            self._of_main(frame)

    def _of_main(self, frame: Frame) -> None:
        """The main process is not known to the agent yet, who is told of it as of any other."""
        if frame.type is Type.SPAWNED:
            self._main[Tag.PID] = frame.values[0]
            return
        if frame.type is Type.EXIT:
            self._main[Tag.STATUS] = frame.values[0]
        elif frame.type is Type.DATA:
            head = Tag.OUT_HEAD if frame.stream == Which.OUT else Tag.ERR_HEAD
            self._main[head] = frame.values[0] + len(frame.data)
        self._early.append(_encoded(frame))
        self._held += len(frame.data)
        if self._held > _EARLY and self._stream is not None:
            self._stream.pause()

    # -- what is said first

    async def hello(self) -> Frame:
        """The guest's first word. EngineGone if the stream ends instead."""
        while self._hello is None:
            await self._news()
        return self._hello

    async def greet(self) -> bool:
        """Say HELLO, hear the inventory. True: it waits to be told what it is. EngineGone.

        False where it was told on a stream that broke, or runs its main process already.
        """
        hello = await self.hello()
        self._say(wire.greeting("engine", wide=self.far))
        while not self._ready:
            await self._news()
        return bool(hello.integer(Tag.SLEEPING) and not hello.integer(Tag.CONFIGURED))

    async def boot(self, boot: Boot) -> None:
        """Tell the guest what it is. Raises ContainerFailed and Misuse for what it cannot be."""
        turns = asyncio.Semaphore(_AT_ONCE)
        for written in await asyncio.gather(
            *(self._file(turns, path, content) for path, content in boot.files.items()),
            return_exceptions=True,
        ):
            if isinstance(written, BaseException):
                raise written
        if boot.workdir:
            await self._directory(boot.workdir)
        most = (await self.hello()).integer(Tag.ARGUMENTS, wire.MAX_PAYLOAD)
        for frame in wire.setup(1, boot.fields(), most):
            self._say(frame)
        if error := (await self._answer(1)).values[1]:
            raise _refused(boot, error)

    async def _directory(self, path: str) -> None:
        """Made if it is not there, as engines do."""
        channel, said = self._channel()
        flags = int(Flag.PARENTS | Flag.EXIST_OK)
        self._say(wire.fielded(Type.MKDIR, channel, [(Tag.PATH, path), (Tag.FLAGS, flags)]))
        frame = await said.get()
        if self.over:
            raise self._broken()
        if frame.type is Type.FAILED:
            raise ContainerFailed(
                f"Cannot start the container in {path!r}: {os.strerror(frame.integer(Tag.ERRNO))}. "
                "Correct workdir=."
            )

    async def start(self) -> None:
        """Start the main process. Where that fails it has ended, with its code and its words."""
        if (await self.hello()).integer(Tag.SLEEPING):
            self._say(wire.fixed(Type.START, wire.MAIN, 2))
            await self._answer(2)

    async def dial(self, host: str, port: int, tls: ssl.SSLContext | None) -> Wire:
        """A connection from inside the pod. OSError."""
        loop = asyncio.get_running_loop()
        channel, said = self._channel()
        address = host
        with contextlib.suppress(OSError):  # a guest knows no names
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            address = str(found[0][4][0])
        self._say(wire.fielded(Type.DIAL, channel, [(Tag.HOST, address), (Tag.PORT, port)]))
        frame = await said.get()
        if frame.type is not Type.STAT:
            number = frame.integer(Tag.ERRNO) or errno.ECONNRESET
            raise OSError(number, os.strerror(number))
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._pumps.append(asyncio.create_task(self._out(channel, ours)))
        self._pumps.append(asyncio.create_task(self._in(channel, ours, said)))
        name = host if tls is not None else None
        _, made = await loop.create_connection(Wire, sock=theirs, ssl=tls, server_hostname=name)
        return made

    async def _out(self, channel: int, sock: socket.socket) -> None:
        """What is asked of a registry fits the window."""
        at = 0
        with contextlib.suppress(OSError):
            while data := await asyncio.get_running_loop().sock_recv(sock, 65536):
                self._say(wire.data(channel, Which.IN, at, data))
                at += len(data)
        self._say(wire.fixed(Type.CLOSE, channel, 0))
        sock.close()

    async def _in(self, channel: int, sock: socket.socket, said: asyncio.Queue[Frame]) -> None:
        with contextlib.suppress(OSError):
            while (frame := await said.get()).type not in (Type.GONE, Type.CLOSE, Type.EOF):
                if frame.type is Type.DATA:
                    await asyncio.get_running_loop().sock_sendall(sock, frame.data)
                    taken = frame.values[0] + len(frame.data)
                    self._say(wire.fixed(Type.ACK, channel, taken, stream=Which.OUT))
            sock.shutdown(socket.SHUT_WR)

    def _channel(self) -> tuple[int, asyncio.Queue[Frame]]:
        channel, self._next = self._next, self._next + 1
        said = self._channels[channel] = asyncio.Queue()
        return channel, said

    async def _file(self, turns: asyncio.Semaphore, path: str, content: bytes) -> None:
        async with turns:
            channel, said = self._channel()
            fields: list[Field] = [(Tag.PATH, path), (Tag.FLAGS, int(Flag.PARENTS))]
            self._say(wire.fielded(Type.PUT, channel, fields))
            at = taken = 0
            whole = False
            while True:
                while at < len(content) and at - taken < wire.WINDOW_IN:
                    end = min(at + wire.MAX_DATA, taken + wire.WINDOW_IN)
                    self._say(wire.data(channel, Which.IN, at, content[at:end]))
                    at = min(end, len(content))
                if at >= len(content) and not whole:
                    whole = True
                    self._say(wire.fixed(Type.EOF, channel, at, stream=Which.IN))
                frame = await said.get()
                if self.over:
                    raise self._broken()
                if frame.type is Type.ACK:
                    taken = frame.values[0]
                elif frame.type is Type.STAT:
                    return
                elif frame.type is Type.FAILED:
                    raise _not_written(path, frame)

    async def _answer(self, request: int) -> Frame:
        while request not in self._answers:
            await self._news()
        return self._answers[request]

    async def _news(self) -> None:
        if self.over:
            raise self._broken()
        self._moved.clear()
        await self._moved.wait()

    def _broken(self) -> EngineGone:
        return EngineGone(
            f"Cannot go on with the guest's stream: {self._cause or 'it ended'}. "
            "It is connected again by itself."
        )

    def _say(self, frame: bytes) -> None:
        if self._stream is not None:
            self._stream.write(frame)

    # -- the agent has it

    @property
    def taken(self) -> bool:
        """It is the agent's."""
        return self._decoder is None

    def close_unless_taken(self) -> None:
        """Nobody came for it."""
        if not self.taken:
            self.close()

    def hand_over(self, received: Received, closed: Closed) -> None:
        """From the next turn of the loop on it is theirs, as if it had only just been connected."""
        decoder, self._decoder = self._decoder, None
        assert decoder is not None
        for pump in self._pumps:
            pump.cancel()
        self._received, self._closed = received, closed
        if self._ready:
            self._early = [*self._known(), *self._early, decoder.rest]
            self._swallow = True
            self._soon(self._greet)
        else:
            self._early = [self._first(), decoder.rest]
            self._soon(self._deliver)
        if self.over:
            self._soon(lambda: self.ended(self._cause))

    def _soon(self, what: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(what)

    def _first(self) -> bytes:
        """The guest's HELLO, as it would say it now."""
        assert self._hello is not None
        sleeping = (Tag.SLEEPING, 0 if self._main or self._inventory else 1)
        fields = [sleeping if tag is Tag.SLEEPING else (tag, v) for tag, v in self._hello.fields]
        return wire.fielded(Type.HELLO, wire.CONNECTION, fields)

    def _known(self) -> list[bytes]:
        """The inventory."""
        told = [wire.fielded(Type.PROC, each.channel, each.fields) for each in self._inventory]
        if self._main:
            begins = dict.fromkeys((*_BEGINS, Tag.AGE), 0)
            fields = {**begins, Tag.STARTED: time.time_ns(), **self._main}
            told.append(wire.fielded(Type.PROC, wire.MAIN, fields.items()))
        return [*told, wire.fixed(Type.READY, wire.CONNECTION)]

    def _greet(self) -> None:
        if self._received is not None:
            self._received(self._first())

    def _deliver(self) -> None:
        """What has waited; from now on bytes go straight through."""
        if self._paused or self._begun:
            return
        self._begun = True
        early, self._early = b"".join(self._early), []
        if early and self._received is not None:
            self._received(early)
        if self._held > _EARLY and self._stream is not None and not self._paused:
            self._stream.resume()

    def write(self, data: bytes) -> None:
        if self._swallow:
            self._swallow = False
            data = data[wire.HEADER.unpack_from(data)[0] + wire.HEADER.size :]
            self._soon(self._deliver)
        if data and self._stream is not None:
            self._stream.write(data)

    @property
    def writable(self) -> bool:
        return self._stream is None or self._stream.writable

    async def drain(self) -> None:
        if self._stream is not None:
            await self._stream.drain()

    def pause(self) -> None:
        self._paused = True
        if self._stream is not None:
            self._stream.pause()

    def resume(self) -> None:
        self._paused = False
        if self._received is not None and not self._begun and not self._swallow:
            self._soon(self._deliver)
        if self._stream is not None:
            self._stream.resume()

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()


def _encoded(frame: Frame) -> bytes:
    """The frame as it came."""
    if frame.type is Type.DATA:
        return wire.data(frame.channel, frame.stream, frame.values[0], frame.data)
    if frame.type in FIXED:
        return wire.fixed(frame.type, frame.channel, *frame.values, stream=frame.stream)
    return wire.fielded(frame.type, frame.channel, frame.fields)


def _refused(boot: Boot, number: int) -> ContainerFailed:
    if number == errno.E2BIG:
        why = "its command and environment are more than its system takes"
    else:
        why = f"its guest refuses ({os.strerror(number)})"
    return ContainerFailed(
        f"Cannot start the container: {why}. Correct command=, env=, workdir= or user="
        f"{boot.user!r}."
    )


def _not_written(path: str, frame: Frame) -> Misuse | ContainerFailed:
    number = frame.integer(Tag.ERRNO)
    if number == errno.EROFS:
        return Misuse(
            f"Cannot write {path!r} before boot: the root file system is read-only. "
            "Put it on a volume, or spawn without read_only."
        )
    return ContainerFailed(
        f"Cannot write {path!r} before boot: {frame.text(Tag.TEXT) or os.strerror(number)}. "
        "Check that no part of the path is a file of the image, and that the container's user may."
    )
