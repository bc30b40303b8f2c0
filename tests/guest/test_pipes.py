"""PUT and GET whose bytes go through a FIFO beside the guest's socket."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from guest.harness import names, until

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Feature, Stream, Tag, Type

if TYPE_CHECKING:
    from collections.abc import Callable

    from guest.harness import Agent, Guest, Process

BLOCK = os.urandom(1 << 20)
NAME = "a.pipe"


@pytest.fixture
def guest(start: Callable[..., Guest]) -> Guest:
    """The bytes take no part in how the agent is connected."""
    return start()


@pytest.fixture
def pipe(guest: Guest) -> Path:
    path = guest.directory / NAME
    os.mkfifo(path, 0o600)
    return path


def begun(agent: Agent, kind: Type, path: Path, name: str = NAME) -> Process:
    """The guest has opened it, or refused."""
    transfer = agent.open(kind, (Tag.PATH, str(path)), (Tag.PIPE, name))
    transfer.piped = True
    agent.sync()
    return transfer


def writing(pipe: Path, content: bytes) -> Callable[[], None]:
    """Writes it, beside; a function that waits until all is in."""
    file = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)  # ENXIO if nobody reads
    os.set_blocking(file, True)

    def write() -> None:
        with os.fdopen(file, "wb") as whole:
            whole.write(content)

    thread = threading.Thread(target=write)
    thread.start()
    return thread.join


def whole(transfer: Process, size: int) -> None:
    transfer.agent.send(wire.fixed(Type.EOF, transfer.channel, size))
    transfer.agent.until(lambda: transfer.gone or transfer.failed)


def test_it_says_that_it_can(agent: Agent) -> None:
    assert agent.hello is not None
    assert Feature.PIPES in Feature(agent.hello.integer(Tag.FEATURES))


@pytest.mark.parametrize("size", [0, 1, 65_536, 5_000_000])
def test_there_and_back(agent: Agent, pipe: Path, tmp_path: Path, size: int) -> None:
    content = (BLOCK * 5)[:size]
    target = tmp_path / "file"
    put = begun(agent, Type.PUT, target)
    written = writing(pipe, content)
    assert not target.exists()
    written()
    whole(put, size)
    assert put.failed is None
    assert target.read_bytes() == content
    assert put.stats[0].integer(Tag.SIZE) == size
    assert names(tmp_path) == ["file"], "no temporary file is left"

    got = begun(agent, Type.GET, target)
    assert got.stats[0].integer(Tag.SIZE) == size
    file = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    back = b""
    while len(back) < size:
        try:
            back += os.read(file, 1 << 20)
        except BlockingIOError:
            agent.sync()
    agent.until(lambda: got.eof)
    assert back == content
    assert got.eof == {Stream.OUT: size}
    assert got.out == b"", "nothing comes over the connection"
    agent.send(wire.fixed(Type.CLOSE, got.channel, 0))
    agent.until(lambda: got.gone)
    assert os.read(file, 1) == b"", "the guest has let go of it"
    os.close(file)


def test_a_file_that_is_made_as_it_is_read(agent: Agent, pipe: Path) -> None:
    got = begun(agent, Type.GET, Path("/proc/cpuinfo"))
    file = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    agent.until(lambda: got.eof)
    back = os.read(file, 1 << 20)
    os.close(file)
    assert back.startswith(b"processor")
    assert got.eof == {Stream.OUT: len(back)}


def test_its_end_may_be_told_before_its_bytes_are_there(
    agent: Agent, pipe: Path, tmp_path: Path
) -> None:
    put = begun(agent, Type.PUT, tmp_path / "file")
    agent.send(wire.fixed(Type.EOF, put.channel, len(BLOCK)))
    agent.sync()
    assert not (tmp_path / "file").exists()
    writing(pipe, BLOCK)()
    agent.until(lambda: put.gone)
    assert (tmp_path / "file").read_bytes() == BLOCK


@pytest.mark.parametrize("told", [len(BLOCK) + 1, len(BLOCK) - 1])
@pytest.mark.parametrize("late", [False, True])
def test_what_is_not_whole_is_no_file(
    agent: Agent, pipe: Path, tmp_path: Path, told: int, late: bool
) -> None:
    """Whoever writes is killed, and the number is another."""
    put = begun(agent, Type.PUT, tmp_path / "file")
    if late:
        written = writing(pipe, BLOCK)
        written()
        agent.sync()
        whole(put, told)
    else:
        agent.send(wire.fixed(Type.EOF, put.channel, told))
        writing(pipe, BLOCK)()
        agent.until(lambda: put.failed)
    assert put.failed
    assert names(tmp_path) == []


def test_what_is_no_fifo_beside_the_socket_is_refused(
    agent: Agent, guest: Guest, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    (tmp_path / "file").write_bytes(b"untouched")
    os.mkfifo(tmp_path / "fifo")
    (guest.directory / "file.pipe").write_bytes(b"untouched")
    (guest.directory / "link.pipe").symlink_to(tmp_path / "fifo")
    (guest.directory / "linked").symlink_to(tmp_path)
    named = ["", "none.pipe", "file.pipe", "link.pipe", "linked/fifo", "guest.sock", "/dev/null"]
    for kind in (Type.PUT, Type.GET):
        for name in named:
            with subtests.test(kind=kind, name=name):
                transfer = begun(agent, kind, tmp_path / "file", name)
                assert transfer.failed
                assert transfer.failed.text(Tag.STAGE) == "pipe"
    assert (tmp_path / "file").read_bytes() == b"untouched"
    assert sorted(names(tmp_path)) == ["fifo", "file"]


@pytest.mark.parametrize("gone", ["closed", "disconnected"])
def test_nothing_is_left_of_what_is_given_up(
    agent: Agent, guest: Guest, pipe: Path, tmp_path: Path, gone: str
) -> None:
    (tmp_path / "old").write_bytes(BLOCK)
    put, got = begun(agent, Type.PUT, tmp_path / "new"), begun(agent, Type.GET, tmp_path / "old")
    assert len(names(tmp_path)) == 2, "one of them is a temporary file"
    if gone == "closed":
        for each in (put, got):
            agent.send(wire.fixed(Type.CLOSE, each.channel, 0))
        agent.until(lambda: put.gone and got.gone)
    else:
        agent.close()
    until(lambda: names(tmp_path) == ["old"])
    held = Path(f"/proc/{guest.pid}/fd")
    until(lambda: not [each for each in held.iterdir() if str(each.readlink()) == str(pipe)])
