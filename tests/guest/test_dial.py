"""DIAL: connections to ports inside the container."""

from __future__ import annotations

import fcntl
import hashlib
import os
import select
import socket
import stat
import struct
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from guest.harness import Agent, Guest, Process, rests, until

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Stream, Tag, Type

BLOCK = bytes(range(256)) * 4096  # 1 MiB
NAME = "a.pipe"
SLOTS = 16  # a pipe has, whatever is in each


class Server:
    """One port on the loopback; each connection is handled by a function in a thread."""

    def __init__(self, handle: Callable[[socket.socket], None], host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, 0), family=family)
        self.port = self.listener.getsockname()[1]
        self.handle = handle
        self.threads: list[threading.Thread] = []
        self.acceptor = threading.Thread(target=self._accept)
        self.acceptor.start()

    def _accept(self) -> None:
        while True:
            try:
                plug, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(plug,))
            self.threads.append(thread)
            thread.start()

    def _serve(self, plug: socket.socket) -> None:
        with closing(plug):
            plug.settimeout(20)
            self.handle(plug)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in (self.acceptor, *self.threads):
            thread.join(20)
            assert not thread.is_alive()


@pytest.fixture
def serve() -> Iterator[Callable[..., int]]:
    servers: list[Server] = []

    def serve(handle: Callable[[socket.socket], None], host: str = "127.0.0.1") -> int:
        servers.append(Server(handle, host))
        return servers[-1].port

    yield serve
    for server in servers:
        server.close()


def dial(agent: Agent, port: int, host: str | None = None) -> Process:
    fields: list[tuple[Tag, int | str]] = [(Tag.PORT, port)]
    if host is not None:
        fields.append((Tag.HOST, host))
    return agent.open(Type.DIAL, *fields)


@pytest.fixture
def pipe(plain: Agent) -> Iterator[int]:
    """A FIFO beside the guest's socket, opened as its kernel does."""
    path = plain.guest.directory / NAME
    os.mkfifo(path, 0o600)
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as opened:
        yield opened.fileno()


def piped(agent: Agent, port: int) -> Process:
    """One whose bytes go into it."""
    connection = agent.answered(agent.open(Type.DIAL, (Tag.PORT, port), (Tag.PIPE, NAME)))
    assert connection.stats[0].integer(Tag.KIND) == stat.S_IFIFO
    connection.piped = True
    return connection


def unread(pipe: int) -> int:
    """Bytes that are in it."""
    (found,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))
    return int(found)


def poured(agent: Agent, pipe: int, size: int) -> bytes:
    """So much of it, once it has come."""
    found = bytearray()
    while len(found) < size:
        select.select([pipe], [], [], 20)
        found += os.read(pipe, size - len(found))
        agent.sync()
    return bytes(found)


def echo(plug: socket.socket) -> None:
    while data := plug.recv(65536):
        plug.sendall(data)


def resets(plug: socket.socket) -> None:
    plug.recv(1)
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_there_and_back(agent: Agent, serve: Callable[..., int]) -> None:
    connection = agent.answered(dial(agent, serve(echo)))
    assert connection.stats[0].fields == ()
    connection.write(b"hello")
    agent.until(lambda: connection.out == b"hello")
    connection.close_stdin()
    agent.until(lambda: connection.gone)
    assert connection.eof == {Stream.OUT: 5}


def test_said_before_it_is_connected(plain: Agent, serve: Callable[..., int]) -> None:
    connection = dial(plain, serve(echo))
    connection.write(b"early").close_stdin()
    plain.until(lambda: connection.gone)
    assert connection.out == b"early"


def test_much_both_ways(agent: Agent, serve: Callable[..., int]) -> None:
    def sums(plug: socket.socket) -> None:
        digest = hashlib.sha256()
        while data := plug.recv(65536):
            digest.update(data)
        plug.sendall(digest.digest() + 10 * BLOCK)

    connection = dial(agent, serve(sums))
    for _ in range(10):
        connection.write(BLOCK)
    connection.close_stdin()
    agent.until(lambda: connection.gone)
    assert connection.out == hashlib.sha256(10 * BLOCK).digest() + 10 * BLOCK


def test_half_close_of_the_far_side(agent: Agent, serve: Callable[..., int]) -> None:
    heard = []

    def talks_first(plug: socket.socket) -> None:
        plug.sendall(b"banner")
        plug.shutdown(socket.SHUT_WR)
        heard.append(plug.recv(100))

    connection = dial(agent, serve(talks_first))
    agent.until(lambda: Stream.OUT in connection.eof)
    assert connection.out == b"banner"
    connection.write(b"still here").close_stdin()
    agent.until(lambda: connection.gone)
    until(lambda: heard == [b"still here"])


def test_reset(agent: Agent, serve: Callable[..., int]) -> None:
    connection = dial(agent, serve(resets))
    connection.write(b"x")
    agent.until(lambda: connection.gone)
    assert connection.closed == 104  # ECONNRESET


def test_far_side_stops_reading(plain: Agent, serve: Callable[..., int]) -> None:
    """What it sends before it goes is delivered, and the rest of ours dropped."""

    def refuses(plug: socket.socket) -> None:
        plug.recv(1)
        plug.sendall(b"413 too large")

    connection = dial(plain, serve(refuses))
    connection.write(bytes(200_000))
    plain.until(lambda: connection.gone or Stream.IN in connection.eof or connection.closed)
    if not connection.gone:
        connection.close_stdin()
        plain.until(lambda: connection.gone)
    assert connection.out in (b"413 too large", b"")  # TCP may drop it, if a reset overtakes


@pytest.mark.parametrize("errno", [0, 104])
def test_the_agent_drops_it(plain: Agent, serve: Callable[..., int], errno: int) -> None:
    ends: list[object] = []

    def waits(plug: socket.socket) -> None:
        plug.sendall(BLOCK)
        try:
            while plug.recv(100):
                pass
            ends.append(0)
        except ConnectionResetError:
            ends.append(104)

    plain.auto_ack = False
    connection = dial(plain, serve(waits))
    plain.until(lambda: len(connection.out) > 100_000)
    plain.send(wire.fixed(Type.CLOSE, connection.channel, errno))
    plain.until(lambda: connection.gone)
    plain.until(lambda: ends or plain.sync())
    # Unread bytes make it a reset in any case; with errno it always is one.
    assert ends == [104] or errno == 0


def test_the_window(plain: Agent, serve: Callable[..., int]) -> None:
    plain.auto_ack = False
    connection = dial(plain, serve(lambda plug: plug.sendall(3 * BLOCK)))
    plain.until(lambda: len(connection.out) == wire.WINDOW_OUT)
    plain.sync()
    assert len(connection.out) == wire.WINDOW_OUT
    connection.auto_ack = True
    connection.ack()
    connection.close_stdin()
    plain.until(lambda: connection.gone)
    assert connection.out == 3 * BLOCK


def test_past_the_agent(plain: Agent, pipe: int, serve: Callable[..., int]) -> None:
    """What comes does, more than a FIFO holds; what is sent goes as ever, and how much is said."""
    connection = piped(plain, serve(echo))
    for _ in range(3):
        connection.write(BLOCK)
    connection.close_stdin()
    assert poured(plain, pipe, 3 * len(BLOCK)) == 3 * BLOCK
    plain.until(lambda: connection.gone)
    assert connection.eof == {Stream.OUT: 3 * len(BLOCK)}
    assert connection.out == b""
    assert os.read(pipe, 1) == b"", "the guest has let go of it"


def test_a_full_pipe_holds_the_server_back(
    plain: Agent, pipe: int, serve: Callable[..., int]
) -> None:
    """And is waited for: the guest does nothing meanwhile."""
    connection = piped(plain, serve(lambda plug: plug.sendall(64 * BLOCK)))
    full = select.poll()
    full.register(pipe, select.POLLIN)
    full.poll(20_000)
    plain.sync()
    rests(plain.guest.pid)
    assert Stream.OUT not in connection.eof
    connection.close_stdin()
    assert poured(plain, pipe, 64 * len(BLOCK)) == 64 * BLOCK
    plain.until(lambda: connection.gone)


def test_the_far_side_ends_while_the_pipe_is_full(
    plain: Agent, pipe: int, serve: Callable[..., int]
) -> None:
    """There is nothing more to read then, and yet it is no time to look again and again."""
    said = threading.Semaphore(0)

    def says(plug: socket.socket) -> None:
        for _ in range(SLOTS):
            plug.sendall(b"x")
            said.acquire()

    connection = piped(plain, serve(says))
    for count in range(1, SLOTS + 1):
        until(lambda count=count: unread(pipe) == count)
        said.release()
    rests(plain.guest.pid)
    assert Stream.OUT not in connection.eof
    assert poured(plain, pipe, SLOTS) == SLOTS * b"x"
    plain.until(lambda: connection.eof == {Stream.OUT: SLOTS})
    connection.close_stdin()
    plain.until(lambda: connection.gone)


def test_a_reset_past_the_agent(plain: Agent, pipe: int, serve: Callable[..., int]) -> None:
    connection = piped(plain, serve(resets))
    connection.write(b"x")
    plain.until(lambda: connection.gone)
    assert connection.closed == 104  # ECONNRESET
    assert Stream.OUT not in connection.eof
    assert os.read(pipe, 1) == b""


def test_the_agent_drops_one_whose_pipe_is_full(
    plain: Agent, pipe: int, serve: Callable[..., int]
) -> None:
    ends: list[bool] = []

    def waits(plug: socket.socket) -> None:
        try:
            plug.sendall(64 * BLOCK)
        except OSError:
            ends.append(True)

    connection = piped(plain, serve(waits))
    poured(plain, pipe, 1)
    plain.send(wire.fixed(Type.CLOSE, connection.channel, 104))
    plain.until(lambda: connection.gone)
    plain.until(lambda: ends or plain.sync())


@pytest.mark.parametrize("kind", ["nothing", "a file", "a link", "elsewhere"])
def test_what_is_no_fifo_is_as_none(
    plain: Agent, serve: Callable[..., int], tmp_path: Path, kind: str
) -> None:
    """Whoever is root in the container may put anything there."""
    path, name = plain.guest.directory / NAME, NAME
    os.mkfifo(tmp_path / NAME)
    if kind == "a file":
        path.write_bytes(b"untouched")
    elif kind == "a link":
        path.symlink_to(tmp_path / NAME)
    elif kind == "elsewhere":
        name = f"../{tmp_path.name}/{NAME}"
    connection = plain.open(Type.DIAL, (Tag.PORT, serve(echo)), (Tag.PIPE, name))
    plain.answered(connection)
    assert connection.stats[0].fields == ()
    connection.write(b"hello").close_stdin()
    plain.until(lambda: connection.gone)
    assert connection.out == b"hello"
    assert kind != "a file" or path.read_bytes() == b"untouched"


def test_refused_and_unknown(agent: Agent) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    assert agent.errno(dial(agent, port)) == 111  # ECONNREFUSED
    assert agent.errno(dial(agent, 0)) == 22
    assert agent.errno(dial(agent, 65536)) == 22
    assert agent.errno(dial(agent, -1)) == 22
    unknown = dial(agent, 80, "no.such.host.invalid")
    assert agent.errno(unknown) == 2
    assert unknown.failed
    assert unknown.failed.text(Tag.STAGE) == "host"
    nul = agent.open(Type.DIAL, (Tag.PORT, 80), (Tag.HOST, b"\0"))
    assert agent.errno(nul) == 22


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", ""])
def test_hosts(plain: Agent, serve: Callable[..., int], host: str) -> None:
    port = serve(echo, "::1" if ":" in host else "127.0.0.1")
    connection = dial(plain, port, host)
    connection.write(b"x").close_stdin()
    plain.until(lambda: connection.gone)
    assert connection.out == b"x"


def test_dials_end_with_their_connection(guest: Guest, serve: Callable[..., int]) -> None:
    ended = threading.Event()

    def waits(plug: socket.socket) -> None:
        plug.recv(1)
        ended.set()

    agent = guest.agent()
    connection = agent.answered(dial(agent, serve(waits)))
    again = guest.agent()
    assert ended.wait(20)
    assert connection.channel not in again.inventory
    again.send(wire.fixed(Type.ACK, connection.channel, 0, stream=Stream.OUT))
    again.sync()


def test_a_channel_in_use(plain: Agent, serve: Callable[..., int]) -> None:
    connection = plain.answered(dial(plain, serve(echo)))
    plain.send(wire.fielded(Type.SPAWN, connection.channel, [(Tag.ARG, "true")]))
    plain.until_closed()
    again = plain.guest.agent()
    process = again.sh("read x")
    again.send(wire.fielded(Type.DIAL, process.channel, [(Tag.PORT, 80)]))
    again.until_closed()
    third = plain.guest.agent()
    third.send(wire.fielded(Type.GET, process.channel, [(Tag.PATH, "/")]))
    third.until_closed()
    fourth = plain.guest.agent()
    fourth.send(wire.fixed(Type.CLOSE, process.channel, 0))  # means nothing to a process
    fourth.sync()
    assert fourth.channel(process.channel).signal(0) == (0, 1)
