"""Through a tunnel: both directions, half-closed, held back, dialled anew for each connection."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.link.scripted_agent import ScriptedAgent

from tfnz_notebook._container import ports
from tfnz_notebook._link.ports import dial, forward
from tfnz_notebook._wire.link import Message
from tfnz_notebook.container import Container
from tfnz_notebook.errors import PortClosed
from tfnz_notebook.tunnel import Tunnel

WINDOW_IN = 256 << 10


class Server:
    """What listens in the container: keeps what it gets, says what the test wants."""

    def __init__(self, agent: ScriptedAgent, pipes: Path | None = None) -> None:
        """``pipes``: where they are, if what it says goes past the link."""
        self.agent = agent
        self.pipes = pipes
        self.listens = True
        self.tunnels: list[Tunnel] = []
        self.got: dict[int, bytearray] = {}
        self.eof: list[int] = []
        self.closed: list[int] = []
        self.credit: dict[int, int] = {}
        self.said: dict[int, int] = {}
        #: Our ends of pipes, by connection.
        self.opened: dict[int, int] = {}
        self._waiting: dict[int, bytearray] = {}
        self._seen = 0
        agent.answers["dial.open"] = self._dial
        self._plain = agent._message
        agent._message = self._message  # type: ignore[method-assign]

    def _dial(self, _: ScriptedAgent, message: Message) -> Any:
        if not self.listens:
            raise PortClosed("Cannot connect: refused. Start it.")
        number = message.body["reader"]
        self.got[number] = bytearray()
        self.said[number] = 0
        self.credit[number] = message.body["credit"]
        self._waiting[number] = bytearray()
        if self.pipes is not None and message.body["pipe"]:
            path = self.pipes / str(number)
            os.mkfifo(path)
            self.opened[number] = os.open(path, os.O_RDWR | os.O_NONBLOCK)
            self.agent._tell("pipe", {"reader": number, "path": str(path)})
        self.agent._tell("dial.credit", {"reader": number, "upto": WINDOW_IN})
        return {}, None

    def _message(self, identity: bytes, message: Message) -> None:
        self._plain(identity, message)
        number = message.body.get("reader")
        if number not in self.got:
            return
        match message.name:
            case "dial.data":
                assert message.body["offset"] == len(self.got[number])
                self.got[number] += message.payload or b""
                upto = len(self.got[number]) + WINDOW_IN
                self.agent._tell("dial.credit", {"reader": number, "upto": upto})
            case "dial.eof":
                self.eof.append(number)
            case "dial.close":
                if number not in self.closed:  # it may be said twice, see Dial.connect
                    self.closed.append(number)
            case "credit":
                self.credit[number] = message.body["upto"]
                self._pump(number)

    def say(self, number: int, data: bytes, *, eof: bool = False) -> None:
        def begin() -> None:
            self._waiting[number] += data
            self._pump(number)
            if eof:
                assert not self._waiting[number]
                name = "pipe.eof" if number in self.opened else "eof"
                self.agent._tell(name, {"reader": number, "offset": self.said[number]})

        self.agent.do(begin)

    def _pump(self, number: int) -> None:
        waiting = self._waiting[number]
        while waiting and (pipe := self.opened.get(number)) is not None:
            try:
                size = os.write(pipe, waiting)
            except BlockingIOError:
                self.agent._loop.call_later(0.001, self._pump, number)
                return
            del waiting[:size]
            self.said[number] += size
        while waiting and self.said[number] < self.credit[number]:
            size = min(len(waiting), 256 << 10, self.credit[number] - self.said[number])
            body = {"reader": number, "offset": self.said[number]}
            self.agent._tell("data", body, bytes(waiting[:size]))
            del waiting[:size]
            self.said[number] += size

    def drop(self, number: int, errno: int) -> None:
        def end() -> None:
            if (pipe := self.opened.pop(number, None)) is not None:
                os.close(pipe)
            self.agent._tell("dial.closed", {"reader": number, "errno": errno})

        self.agent.do(end)

    def close(self) -> None:
        for pipe in self.opened.values():
            os.close(pipe)

    def number(self) -> int:
        """Of the newest connection."""
        seen = self._seen
        self.agent.until(lambda: len(self.got) > seen)
        self._seen = len(self.got)
        return list(self.got)[-1]


@pytest.fixture(params=["by the link", "past it"])
def server(
    request: pytest.FixtureRequest, agent: ScriptedAgent, tmp_path: Path
) -> Iterator[Server]:
    made = Server(agent, tmp_path if request.param == "past it" else None)
    yield made
    made.close()


past = pytest.mark.parametrize("server", ["past it"], indirect=True)


@pytest.fixture
def tunnel(server: Server, container: Container) -> Tunnel:
    server.tunnels.append(made := container.attach_tunnel(80))
    return made


@pytest.fixture
def client(tunnel: Tunnel) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", tunnel.port), 10) as connected:
        yield connected


def receive(connected: socket.socket, size: int) -> bytes:
    pieces = bytearray()
    while len(pieces) < size and (piece := connected.recv(1 << 16)):
        pieces += piece
    return bytes(pieces)


def test_both_directions(server: Server, client: socket.socket, tunnel: Tunnel) -> None:
    client.sendall(b"question")
    number = server.number()
    server.agent.until(lambda: server.got[number] == b"question")
    server.say(number, b"answer")
    assert receive(client, 6) == b"answer"
    assert tunnel.connections == 1


def test_what_is_sent_before_it_is_connected_waits(server: Server, client: socket.socket) -> None:
    data = os.urandom(3 * WINDOW_IN + 17)
    sender = threading.Thread(target=client.sendall, args=(data,))
    sender.start()
    number = server.number()
    server.agent.until(lambda: len(server.got[number]) == len(data))
    sender.join(10)
    assert server.got[number] == data


def test_half_closes(server: Server, client: socket.socket) -> None:
    client.sendall(b"all of it")
    client.shutdown(socket.SHUT_WR)
    number = server.number()
    server.agent.until(lambda: server.eof == [number])
    assert server.got[number] == b"all of it"
    server.say(number, b"and the answer", eof=True)
    assert receive(client, 100) == b"and the answer"
    server.drop(number, 0)


def test_the_containers_half_may_close_first(server: Server, client: socket.socket) -> None:
    number = server.number()
    server.say(number, b"bye", eof=True)
    assert receive(client, 100) == b"bye"
    client.sendall(b"still talking")
    server.agent.until(lambda: server.got[number] == b"still talking")


def test_a_client_that_does_not_read_holds_the_container_back(
    server: Server, client: socket.socket
) -> None:
    number = server.number()
    data = os.urandom(24 << 20)
    server.say(number, data)
    held = 16 << 20  # window, transport and the kernel's own buffers hold less than this
    server.agent.until(lambda: server.said[number] >= dial.WINDOW)
    assert server.said[number] < held
    assert receive(client, len(data)) == data


def test_a_closed_client_closes_the_connection_in_the_container(
    server: Server, client: socket.socket, tunnel: Tunnel
) -> None:
    number = server.number()
    client.sendall(b"x")
    server.agent.until(lambda: server.got[number] == b"x")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    server.agent.until(lambda: server.closed == [number])
    server.agent.until(lambda: tunnel.connections == 0)


def is_reset(client: socket.socket) -> None:
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_a_reset_in_the_container_is_one_here(server: Server, client: socket.socket) -> None:
    server.drop(server.number(), 104)
    is_reset(client)


def test_each_connection_is_dialled_anew(server: Server, tunnel: Tunnel) -> None:
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", tunnel.port), 10) as connected:
            number = server.number()
            server.say(number, b"hi")
            assert receive(connected, 2) == b"hi"


def refused(server: Server) -> int:
    return len(server.agent.named("dial.open")) - len(server.got)


def test_a_server_that_is_still_starting_is_waited_for(server: Server, tunnel: Tunnel) -> None:
    server.listens = False
    with socket.create_connection(("127.0.0.1", tunnel.port), 10) as client:
        client.sendall(b"first")
        server.agent.until(lambda: refused(server) > 2)
        client.sendall(b" words")
        server.listens = True
        number = server.number()
        server.agent.until(lambda: server.got[number] == b"first words")


def test_once_it_was_open_a_refusal_is_one(
    server: Server, tunnel: Tunnel, container: Container
) -> None:
    with socket.create_connection(("127.0.0.1", tunnel.port), 10):
        server.agent.until(lambda: container._answered)
    server.listens = False
    # So early that it may be connecting's own error.
    with (
        pytest.raises(ConnectionResetError),
        socket.create_connection(("127.0.0.1", tunnel.port), 10) as client,
    ):
        client.recv(1)
    assert refused(server) == 1


def test_after_a_reboot_it_is_starting_again(
    server: Server, tunnel: Tunnel, container: Container
) -> None:
    with socket.create_connection(("127.0.0.1", tunnel.port), 10):
        server.agent.until(lambda: container._answered)
    for state in ("starting", "running"):
        server.agent.set_state(container.id, state)
        server.agent.until(lambda state=state: container.state == state)
    server.listens = False
    with socket.create_connection(("127.0.0.1", tunnel.port), 10):
        server.agent.until(lambda: refused(server) > 2)
        server.listens = True
        server.number()


def test_a_port_that_nobody_opens_is_a_reset_in_the_end(
    server: Server, tunnel: Tunnel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "STARTING", 0.1)
    server.listens = False
    # So early that it may be connecting's own error.
    with (
        pytest.raises(ConnectionResetError),
        socket.create_connection(("127.0.0.1", tunnel.port), 10) as client,
    ):
        client.recv(1)
    assert refused(server) > 1


@pytest.mark.parametrize("said", [b"", b"a request"])
def test_a_client_that_goes_while_it_waits_ends_that_at_once(
    server: Server, tunnel: Tunnel, said: bytes
) -> None:
    server.listens = False
    with socket.create_connection(("127.0.0.1", tunnel.port), 10) as client:
        client.sendall(said)
        server.agent.until(lambda: refused(server) > 1)
        assert tunnel.connections == 1
    server.agent.until(lambda: tunnel.connections == 0, 5.0)


def test_a_client_that_goes_before_the_dial_is_answered_leaves_no_connection(
    server: Server, tunnel: Tunnel
) -> None:
    kept: list[Message] = []

    def keep(_: ScriptedAgent, message: Message) -> Any:
        kept.append(message)
        return NotImplemented

    server.agent.answers["dial.open"] = keep
    with socket.create_connection(("127.0.0.1", tunnel.port), 10) as client:
        server.agent.until(lambda: kept)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    server.agent.until(lambda: tunnel.connections == 0)
    server.agent.answer(kept[0])
    number = kept[0].body["reader"]
    closes = [("dial.close", number)] * 2  # the first may have come before there was anything
    server.agent.until(lambda: [(m.name, m.body["reader"]) for m in server.agent.notes] == closes)


def test_both_halves_closed_is_a_clean_end(server: Server, client: socket.socket) -> None:
    number = server.number()
    server.say(number, b"all of it", eof=True)
    client.shutdown(socket.SHUT_WR)
    server.agent.until(lambda: server.eof == [number])
    server.drop(number, 0)
    assert receive(client, 100) == b"all of it"
    assert client.recv(1) == b""


# -- past the link


@past
def test_the_last_of_it_may_be_on_its_way_when_both_halves_are_closed(
    server: Server, client: socket.socket
) -> None:
    """The container may be gone by then."""
    data = os.urandom(24 << 20)
    number = server.number()
    server.say(number, data)
    got = receive(client, 1)
    client.shutdown(socket.SHUT_WR)
    server.agent.until(lambda: server.eof == [number])
    got += receive(client, len(data) - (4 << 20) - 1)
    server.agent.until(lambda: server.said[number] == len(data))
    server.say(number, b"", eof=True)
    server.drop(number, 0)
    server.agent.until(lambda: number not in server.opened)
    got += receive(client, len(data))
    assert got == data
    assert client.recv(1) == b""


@past
@pytest.mark.parametrize(
    ("told", "errno"),
    [(None, 0), (None, 104), (4, 104), (3, 0), (5, 0)],
    ids=["nobody said how much", "cut", "cut at the end", "less was said", "more was said"],
)
def test_a_cut_is_never_a_clean_end(
    server: Server, client: socket.socket, tunnel: Tunnel, told: int | None, errno: int
) -> None:
    """Whoever is root in the container may let go of the pipe, or say what it wants."""
    number, ours = server.number(), forwarded(tunnel, client)
    server.say(number, b"half")
    assert receive(client, 4) == b"half"
    if told is not None:
        server.agent.event("pipe.eof", {"reader": number, "offset": told})
    server.drop(number, errno)
    if told == 4:  # its half was at its end before the rest was cut
        assert client.recv(1) == b""
    else:
        is_reset(client)
    server.agent.until(lambda: ours not in tunnel._listener.pipes)


@past
@pytest.mark.parametrize("instead", ["nothing", "a file", "a link"])
def test_where_there_is_no_pipe_it_is_dialled_anew(
    server: Server, tunnel: Tunnel, tmp_path: Path, instead: str
) -> None:
    """A kernel in a container of its own that has the agent's socket, and no more."""

    def dial(_: ScriptedAgent, message: Message) -> Any:
        if message.body["pipe"]:
            path = tmp_path / "there"
            if instead == "a file":
                path.write_bytes(b"untouched")
            elif instead == "a link" and not path.is_symlink():
                os.mkfifo(tmp_path / "elsewhere")
                path.symlink_to(tmp_path / "elsewhere")
            told = {"reader": message.body["reader"], "path": str(path)}
            server.agent._tell("pipe", told)
            return {}, None
        return server._dial(server.agent, message)

    server.agent.answers["dial.open"] = dial
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", tunnel.port), 10) as client:
            client.sendall(b"question")
            number = server.number()
            server.agent.until(lambda number=number: server.got[number] == b"question")
            server.say(number, b"answer")
            assert receive(client, 6) == b"answer"
    asked = [message.body["pipe"] for message in server.agent.named("dial.open")]
    assert asked == [True, False, False]
    assert instead != "a file" or (tmp_path / "there").read_bytes() == b"untouched"


@past
def test_a_client_that_leaves_while_it_is_held_back(
    server: Server, client: socket.socket, tunnel: Tunnel
) -> None:
    """Nothing of it is left: neither a descriptor, nor the connection in the container."""
    before = held()
    number, ours = server.number(), forwarded(tunnel, client)
    server.say(number, bytes(24 << 20))
    server.agent.until(lambda: server.said[number] >= dial.WINDOW)
    client.close()
    server.agent.until(lambda: server.closed == [number])
    server.drop(number, 0)
    server.agent.until(lambda: ours not in tunnel._listener.pipes)
    server.agent.until(lambda: held() <= before)


def forwarded(tunnel: Tunnel, client: socket.socket) -> forward.Pipe:
    """That client's, whoever else connects to the port: any program of this machine may."""
    (ours,) = [
        each
        for each in tunnel._listener.pipes
        if each._socket.getpeername() == client.getsockname()
    ]
    return ours


def held() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_the_end_of_this_process_is_a_reset(server: Server, client: socket.socket) -> None:
    """Whatever closes the socket: it lingers for no second."""
    server.number()
    (listener,) = [tunnel._listener for tunnel in server.tunnels]
    (pipe,) = listener.pipes
    option = pipe._socket.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
    assert option == b"\1\0\0\0\0\0\0\0"


def test_it_outlives_a_break_of_the_link(
    agent: ScriptedAgent, server: Server, client: socket.socket, tunnel: Tunnel
) -> None:
    server.say(server.number(), b"half of it")
    assert receive(client, 10) == b"half of it"
    agent.raw([b"nonsense"])
    is_reset(client)
    agent.until(lambda: len(agent.named("hello")) == 2)
    with socket.create_connection(("127.0.0.1", tunnel.port), 10) as connected:
        number = server.number()
        server.say(number, b"again")
        assert receive(connected, 5) == b"again"


def test_destroying_it_drops_its_connections(
    server: Server, client: socket.socket, tunnel: Tunnel
) -> None:
    number = server.number()
    tunnel.destroy()
    is_reset(client)
    server.agent.until(lambda: server.closed == [number])


def test_an_attempt_that_hangs_does_not_hold_up_the_next(
    server: Server, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "ATTEMPT", 0.05)
    told = threading.Thread(target=lambda: answered.append(container.wait_http_200(80)))
    answered: list[Tunnel] = []
    told.start()
    hanging, number = server.number(), server.number()
    server.say(number, b"HTTP/1.0 200 OK\r\n\r\n")
    told.join(10)
    assert [tunnel.dest_port for tunnel in answered] == [80]
    server.agent.until(lambda: {hanging, number} <= set(server.closed))
