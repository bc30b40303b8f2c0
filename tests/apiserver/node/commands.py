"""A process in a container, as an exec sees it."""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from tfnz_notebook.engines.fake.guest import FakeGuest

#: What a server reads at once, and puts into one frame.
PIECE = 32 << 10


class Command(ABC):
    """Bytes in, bytes out, an exit code."""

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """To stdin; waits while that is full."""

    @abstractmethod
    def end_input(self) -> None:
        """No more of it."""

    @abstractmethod
    async def read(self, stream: int) -> bytes:
        """Of stdout (1) or stderr (2); b'' at the end."""

    @abstractmethod
    async def wait(self) -> int:
        """Its exit code; 128 and more for a signal."""

    @abstractmethod
    def leave(self) -> None:
        """Nobody reads or writes any more. It goes on, as with containerd."""


class NotStarted(Exception):
    """What runc says."""


async def started(
    program: Sequence[str | os.PathLike[str]],
    env: Mapping[str, str],
    *,
    stdin: int = asyncio.subprocess.DEVNULL,
    stdout: int = asyncio.subprocess.PIPE,
    stderr: int = asyncio.subprocess.PIPE,
) -> tuple[asyncio.subprocess.Process, int]:
    """A sandbox, and the pid of what runs in it; NotStarted."""
    if program[-1] == "--":
        raise NotStarted("args must not be empty")
    reading, writing = os.pipe()
    loop = asyncio.get_running_loop()
    said = asyncio.StreamReader()
    try:
        first, second, *rest = program
        process = await asyncio.create_subprocess_exec(
            first,
            second,
            *rest[: 1 if second == "enter" else 0],
            f"--told={writing}",
            *rest[1 if second == "enter" else 0 :],
            env=dict(env),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=(writing,),
            start_new_session=True,
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    pipe = os.fdopen(reading, "rb", 0)
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(said), pipe)
    try:
        lines = (await said.read()).decode().splitlines()
    finally:
        transport.close()
    pids = [int(line.split()[1]) for line in lines if line.startswith("pid ")]
    wrong = [line for line in lines if not line.startswith("pid ")]
    if wrong or not pids:
        await process.wait()
        raise NotStarted(wrong[0] if wrong else "the sandbox said nothing")
    return process, pids[0]


class Real(Command):
    """A process of this machine."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            await self._process.stdin.drain()
        except (ConnectionError, RuntimeError):
            pass  # it reads no more

    def end_input(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    async def read(self, stream: int) -> bytes:
        source = self._process.stdout if stream == 1 else self._process.stderr
        assert source is not None
        return await source.read(PIECE)

    async def wait(self) -> int:
        code = await self._process.wait()
        return code if code >= 0 else 128 - code

    def leave(self) -> None:
        self.end_input()
        for stream in (1, 2):
            pipe = self._process._transport.get_pipe_transport(stream)  # type: ignore[attr-defined]
            if pipe is not None:
                pipe.close()


class Model(Command):
    """``guest connect`` of a model guest: its stream is the command's input and output."""

    def __init__(self, guest: FakeGuest) -> None:
        self._queue = asyncio.Queue[bytes]()
        self._over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._stream = guest.connect(self._queue.put_nowait, self._closed)

    def _closed(self, cause: Exception | None) -> None:
        self._queue.put_nowait(b"")
        if not self._over.done():
            self._over.set_result(0)

    async def write(self, data: bytes) -> None:
        self._stream.write(data)
        await self._stream.drain()

    def end_input(self) -> None:
        self._stream.close()

    async def read(self, stream: int) -> bytes:
        if stream == 2:
            await asyncio.shield(self._over)
            return b""
        return await self._queue.get()

    async def wait(self) -> int:
        return await asyncio.shield(self._over)

    def leave(self) -> None:
        self._stream.close()
