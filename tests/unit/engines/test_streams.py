"""The exec framing at every split, and what ends a stream."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from pathlib import Path

import pytest

from tfnz_notebook._base import paths
from tfnz_notebook.engines.launch import socket as guest_socket
from tfnz_notebook.engines.launch.stream import ExecStream, TransportStream
from tfnz_notebook.errors import ContainerGone, EngineGone


def framed(kind: int, data: bytes) -> bytes:
    return struct.pack(">B3xI", kind, len(data)) + data


class Ears:
    def __init__(self) -> None:
        self.data = b""
        self.closed: list[Exception | None] = []

    def received(self, data: bytes) -> None:
        self.data += data

    def ended(self, cause: Exception | None) -> None:
        self.closed.append(cause)


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_exec_frames_at_every_split() -> None:
    wire = framed(1, b"hello ") + framed(2, b"complaint") + framed(1, b"") + framed(1, b"world")
    for at in range(len(wire) + 1):
        ears = Ears()
        stream = ExecStream(ears.received, ears.ended)
        stream.data_received(wire[:at])
        stream.data_received(wire[at:])
        stream.deliver()
        await turn()
        assert ears.data == b"hello world"
        assert stream.stderr == b"complaint"
        stream.connection_lost(None)
        assert isinstance(ears.closed[0], EngineGone)
        assert "complaint" in str(ears.closed[0])


@pytest.mark.parametrize("garbage", [b"\x03\0\0\0\0\0\0\1x", b"\x01\0\1\0\0\0\0\1x", b"HTTP/1.1 "])
async def test_exec_garbage(garbage: bytes) -> None:
    ears = Ears()
    stream = ExecStream(ears.received, ears.ended)
    stream.data_received(garbage)
    stream.connection_lost(None)
    (cause,) = ears.closed
    assert isinstance(cause, EngineGone)
    assert "not framed" in str(cause)
    assert ears.data == b""


async def test_stderr_is_bounded() -> None:
    stream = ExecStream(lambda data: None, lambda cause: None)
    stream.data_received(framed(2, b"x" * 100_000))
    assert len(stream.stderr) <= 4096


async def pair() -> tuple[TransportStream, socket.socket, Ears]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    ears = Ears()
    _, stream = await asyncio.get_running_loop().create_unix_connection(
        lambda: TransportStream(ears.received, ears.ended), sock=ours
    )
    return stream, theirs, ears


async def test_nothing_before_deliver_and_pause_counts_before_it() -> None:
    stream, theirs, ears = await pair()
    theirs.sendall(b"early")
    await turn()
    assert ears.data == b""
    stream.deliver()
    stream.pause()
    await turn()
    assert ears.data == b""
    stream.resume()
    while ears.data != b"early":
        await asyncio.sleep(0)
    theirs.close()
    while not ears.closed:
        await asyncio.sleep(0)
    assert ears.closed == [None]


async def test_callback_may_pause_in_the_middle() -> None:
    ears = Ears()
    stream = ExecStream(lambda data: (ears.received(data), stream.pause()), ears.ended)  # type: ignore[func-returns-value, arg-type, return-value]
    stream.data_received(framed(1, b"a"))
    stream.data_received(framed(1, b"b"))
    stream.deliver()
    await turn()
    assert ears.data == b"a"
    stream.resume()
    assert ears.data == b"ab"


async def test_close_is_said_once_even_when_the_far_side_does_not_read() -> None:
    stream, theirs, ears = await pair()
    stream.deliver()
    while stream.writable:
        stream.write(bytes(65536))
    waiting = asyncio.create_task(stream.drain())
    stream.close()
    stream.close()
    await waiting
    await turn()
    assert len(ears.closed) == 1
    stream.write(b"late")
    theirs.close()


async def test_drain_waits_for_the_far_side() -> None:
    stream, theirs, _ = await pair()
    stream.deliver()
    while stream.writable:
        stream.write(bytes(65536))
    first, second = asyncio.create_task(stream.drain()), asyncio.create_task(stream.drain())
    await turn()
    assert not first.done()
    first.cancel()  # one waiter's end is not the others'
    theirs.setblocking(False)
    while not second.done():
        try:
            theirs.recv(1 << 20)
        except BlockingIOError:
            pass
        await asyncio.sleep(0)
    assert stream.writable
    stream.close()
    theirs.close()
    await turn()


# --- the guest's socket --------------------------------------------------------------------------


async def _greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hi")
    await reader.read()
    writer.close()


async def yes() -> bool:
    return True


async def no() -> bool:
    return False


async def test_waits_for_a_guest_that_is_starting(short: Path) -> None:
    directory = guest_socket.make_directory(short / "a" / "b")
    assert directory.stat().st_mode & 0o777 == 0o700
    ears = Ears()
    connecting = asyncio.create_task(
        guest_socket.connect(directory, ears.received, ears.ended, yes)
    )
    await turn()
    server = await asyncio.start_unix_server(_greet, directory / guest_socket.NAME)
    async with server:
        stream = await connecting
        while ears.data != b"hi":
            await asyncio.sleep(0)
        stream.close()
        await turn()
    guest_socket.drop_directory(directory)
    assert not directory.exists()


async def test_gives_up_when_nothing_runs_or_nobody_listens(short: Path) -> None:
    directory = guest_socket.make_directory(short / "a")
    ears = Ears()
    with pytest.raises(ContainerGone):
        await guest_socket.connect(directory, ears.received, ears.ended, no)
    with pytest.raises(EngineGone, match="No such file"):
        await guest_socket.connect(directory, ears.received, ears.ended, yes, patience=0.05)


@pytest.mark.parametrize("what", ["link", "file", "fifo", "directory"])
def test_only_a_socket_is_dialled(short: Path, what: str) -> None:
    directory = guest_socket.make_directory(short / "a")
    with socket.socket(socket.AF_UNIX) as bait:
        bait.bind(str(short / "bait"))
        bait.listen()
        bait.setblocking(False)
        place = directory / guest_socket.NAME
        match what:
            case "link":
                place.symlink_to(short / "bait")
            case "file":
                place.touch()
            case "fifo":
                os.mkfifo(place)
            case _:
                place.mkdir()
        with pytest.raises(guest_socket.Unsafe):
            guest_socket.dial(directory)
        with pytest.raises(BlockingIOError):
            bait.accept()


def test_directory_that_is_a_link_is_not_entered(short: Path) -> None:
    guest_socket.make_directory(short / "a")
    (short / "link").symlink_to(short / "a")
    with pytest.raises(OSError):  # noqa: PT011 - ENOTDIR or ELOOP, by kernel
        guest_socket.dial(short / "link")
    assert paths.ours(short / "a")
    assert not paths.ours(short / "link")
    assert not paths.ours(short / "none")
    (short / "a").chmod(0o750)
    assert not paths.ours(short / "a")


def test_long_paths_are_no_matter(short: Path) -> None:
    directory = short / ("d" * 200)
    directory.mkdir()
    here = Path.cwd()
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(directory)
        try:
            listener.bind(guest_socket.NAME)
        finally:
            os.chdir(here)
        listener.listen()
        guest_socket.dial(directory).close()
