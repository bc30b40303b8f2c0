"""Our end of a FIFO that a container has as well: what is opened, and that every wait ends."""

import asyncio
import errno
import os
from pathlib import Path

import pytest

from tfnz_notebook._link.files.pipe import ROOM, Pipe

BLOCK = os.urandom(3 * ROOM + 1)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "a.pipe"
    os.mkfifo(path)
    return path


@pytest.fixture
def other(fifo: Path) -> int:
    """The container's end, as the guest opens it for a download."""
    return os.open(fifo, os.O_RDWR | os.O_NONBLOCK)


def held() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def drained(other: int, size: int) -> bytes:
    """What comes out at the other end."""
    found = b""
    while len(found) < size:
        try:
            found += os.read(other, ROOM)
        except BlockingIOError:
            await asyncio.sleep(0)
    return found


def test_nothing_but_a_fifo_is_opened(tmp_path: Path, fifo: Path) -> None:
    """Whoever is root in the container may put anything in its place."""
    (tmp_path / "file").write_bytes(b"untouched")
    (tmp_path / "link").symlink_to(fifo)
    before = held()
    for name in ("file", "link", "none", "."):
        for mode in (os.O_RDONLY, os.O_WRONLY):
            with pytest.raises(OSError, match=".+"):
                Pipe(str(tmp_path / name), mode)
    assert (tmp_path / "file").read_bytes() == b"untouched"
    assert fifo.exists()
    assert held() == before


def unspliced(*_: int) -> int:
    raise OSError(errno.EINVAL, "it cannot be spliced")


async def test_a_file_and_bytes_go_in(
    tmp_path: Path, fifo: Path, other: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(BLOCK)
    for content, splice in (
        (BLOCK, os.splice),
        (tmp_path / "file", os.splice),
        (tmp_path / "file", unspliced),
    ):
        monkeypatch.setattr(os, "splice", splice)
        pipe = Pipe(str(fifo), os.O_WRONLY)
        assert not fifo.exists(), "nobody else is to open it"
        told, found = await asyncio.gather(pipe.write(content), drained(other, len(BLOCK)))
        assert (told, found) == (len(BLOCK), BLOCK)
        os.mkfifo(fifo)
        os.close(other)
        other = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)


@pytest.mark.parametrize("size", [0, 3, 5, 9])  # a file changes its size while it is read
@pytest.mark.parametrize("early", [True, False])
async def test_its_bytes_and_how_many_they_are_come_in_any_order(
    fifo: Path, other: int, early: bool, size: int
) -> None:
    pipe = Pipe(str(fifo), os.O_RDONLY)
    if early:
        pipe.ends(5)
    reading = asyncio.ensure_future(pipe.read(9, size))
    os.write(other, b"he")
    await asyncio.sleep(0.01)
    os.write(other, b"llo")
    if not early:
        await asyncio.sleep(0.01)
        assert not reading.done()
        pipe.ends(5)
    assert await reading == b"hello"


async def test_nothing_comes_of_what_ends_early_or_is_too_much(fifo: Path, other: int) -> None:
    reading = asyncio.ensure_future(Pipe(str(fifo), os.O_RDONLY).read(4))
    os.write(other, b"hello")
    with pytest.raises(OverflowError):
        await reading
    os.mkfifo(fifo)
    other = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    reading = asyncio.ensure_future(Pipe(str(fifo), os.O_RDONLY).read(9))
    os.write(other, b"hello")
    os.close(other)
    with pytest.raises(BrokenPipeError):
        await reading
    os.mkfifo(fifo)
    other = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    writing = asyncio.ensure_future(Pipe(str(fifo), os.O_WRONLY).write(BLOCK))
    await asyncio.sleep(0.01)
    os.close(other)
    with pytest.raises(BrokenPipeError):
        await writing


@pytest.mark.parametrize("mode", [os.O_RDONLY, os.O_WRONLY])
@pytest.mark.usefixtures("other")
async def test_who_waits_in_it_is_told_to_stop(fifo: Path, mode: int) -> None:
    """The other end has it open and does nothing, for ever."""
    before = held()
    pipe = Pipe(str(fifo), mode)
    waiting = asyncio.ensure_future(pipe.read(9) if mode == os.O_RDONLY else pipe.write(BLOCK))
    await asyncio.sleep(0.01)
    pipe.stop()
    with pytest.raises(BrokenPipeError):
        await waiting
    pipe.stop()  # once more, when it is over
    await asyncio.sleep(0.01)
    assert held() == before


@pytest.mark.usefixtures("other")
def test_what_nobody_began_is_let_go(fifo: Path) -> None:
    before = held()
    Pipe(str(fifo), os.O_WRONLY).stop()
    assert held() == before


async def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, fifo: Path, other: int) -> None:
    with pytest.raises(FileNotFoundError):
        await Pipe(str(fifo), os.O_WRONLY).write(tmp_path / "none")
    os.close(other)
