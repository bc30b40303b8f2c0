"""Somebody on the network: without an authorised key they get nothing, and the log says so."""

import itertools
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import zmq
import zmq.auth
from integration.polling import until
from integration.remote import Remote, serving
from integration.world import World

from tfnz_notebook.agent.door.keys import authorize
from tfnz_notebook.agent.sparse import MOST
from tfnz_notebook.errors import LinkClosed, LocationError
from tfnz_notebook.location import Location

pytestmark = [pytest.mark.engines("host"), pytest.mark.timeout(180)]

#: Connections of strangers who say nothing.
SILENT = 1000


@pytest.fixture(scope="module")
def remote(where: str) -> Iterator[Remote]:
    server, client = World(), World()
    with pytest.MonkeyPatch.context() as patch:
        client.enter(patch)
        with serving(server, client, where) as opened:
            yield opened
    left = [*client.close(), *server.close()]
    assert not left, "\n".join(left)


def works(remote: Remote) -> None:
    with Location(remote.address) as location:
        box = location.best_node().spawn_container("debian", sleep=True)
        assert box.run_process(["/bin/echo", "fine"]).stdout == b"fine\n"


def greet(remote: Remote, *, key: bool) -> bool:
    """Whether a client's hello gets an answer; with the server's key and a fresh one of its own."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.reconnect_ivl = 10_000  # once is enough: the log says it a few times a minute
        if key:
            dealer.curve_serverkey = zmq.auth.load_certificate(remote.server.config / "server.key")[
                0
            ]
            dealer.curve_publickey, dealer.curve_secretkey = zmq.curve_keypair()
        dealer.connect(remote.address)
        dealer.send(b"\x94\x00\x01\xa5hello\x80")
        return bool(dealer.poll(1000))


class Proxy:
    """Stands between a client and the agent, and keeps what the client said."""

    def __init__(self, remote: Remote) -> None:
        self.said: list[bytearray] = []
        self._to = ("127.0.0.1", remote.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._to)
                self.said.append(bytearray())
                pairs = ((near, far, self.said[-1]), (far, near, bytearray()))
                for source, target, kept in pairs:
                    threading.Thread(target=_pump, args=(source, target, kept)).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _pump(source: socket.socket, target: socket.socket, kept: bytearray) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            kept += piece
            target.sendall(piece)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
    source.close()


@pytest.fixture(scope="module")
def recorded(remote: Remote) -> bytes:
    """All that an authorised client said, from its greeting to its good-bye."""
    proxy = Proxy(remote)
    known = remote.client.config / "known"
    shutil.copy(known / f"127.0.0.1_{remote.port}.key", known / f"127.0.0.1_{proxy.port}.key")
    with Location(f"tcp://127.0.0.1:{proxy.port}") as location:
        location.best_node().spawn_container("debian", sleep=True).wait_until_ready()
    proxy.close()
    said = max(proxy.said, key=len)
    # greeting 64, HELLO 202, INITIATE 257 and more, then messages
    assert len(said) > 700 and said[12:17] == b"CURVE"
    return bytes(said)


@contextmanager
def connected(remote: Remote) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", remote.port), 10) as sock:
        yield sock


def answered(sock: socket.socket) -> bytes:
    """What it sends until it hangs up."""
    got = b""
    sock.settimeout(20)
    with suppress(ConnectionResetError):
        while piece := sock.recv(65536):
            got += piece
    return got


def test_what_was_said_once_opens_nothing_when_said_again(remote: Remote, recorded: bytes) -> None:
    """The server's short-term key is another one each time, and so nothing recorded fits."""
    for pieces in ((recorded,), (recorded[:64], recorded[64:266], recorded[266:])):
        before = remote.log().count("refused")
        with connected(remote) as sock:
            for piece in pieces:
                sock.sendall(piece)
            got = answered(sock)
        # its greeting and WELCOME at most: no READY, and no message
        assert len(got) <= 64 + 2 + 168
        assert b"READY" not in got
        until(lambda before=before: remote.log().count("refused") > before, 20, "it is logged")
    works(remote)


def test_who_has_no_key_or_another_is_refused_and_logged(remote: Remote, tmp_path: Path) -> None:
    assert not greet(remote, key=False)
    assert "refused" in remote.logs("agent.door", "does not speak")
    with connected(remote) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: you\r\n\r\n" * 10)
        assert b"HTTP" not in answered(sock)
    until(lambda: remote.log().count("does not speak") >= 2, 20, "it is logged")
    assert not greet(remote, key=True)
    line = remote.logs("agent.door", "is not authorised")
    assert "refused 127.0.0.1: its key " in line
    assert "WARNING" in line and line[:4].isdigit(), "who and when"


def test_another_key_for_the_server_is_refused_and_logged(
    remote: Remote, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As a client meets it that was given the key of somebody who sits between."""
    before = remote.log().count("does not speak")
    config = tmp_path / "config"
    shutil.copytree(remote.client.config, config)
    known = config / "known" / f"127.0.0.1_{remote.port}.key"
    shutil.copy(config / "client.key", known)
    monkeypatch.setenv("TFNZ_CONFIG", str(config))
    with pytest.raises(LinkClosed, match="key"):
        Location(remote.address)
    assert remote.log().count("does not speak") > before


def test_who_was_authorised_comes_in_at_once_and_who_was_removed_stays_out(
    remote: Remote, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    shutil.copytree(remote.client.config, config)
    public, secret = zmq.auth.create_certificates(config, "client")
    monkeypatch.setenv("TFNZ_CONFIG", str(config))
    with pytest.raises(LocationError):
        Location(remote.address)
    with monkeypatch.context() as there:
        there.setenv("TFNZ_CONFIG", str(remote.server.config))
        made = authorize(Path(public), "second")
    works(remote)
    made.unlink()
    with pytest.raises(LocationError):
        Location(remote.address)
    assert Path(secret).stat().st_mode & 0o077 == 0


def test_handshakes_that_break_off_anywhere_and_thousands_that_never_begin(
    remote: Remote, recorded: bytes
) -> None:
    """Each byte of greeting and HELLO, a sample of the rest; in the middle of silent strangers."""

    def descriptors() -> int:
        return sum(1 for _ in Path(f"/proc/{remote.pid}/fd").iterdir())

    def memory() -> int:
        status = Path(f"/proc/{remote.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) >> 10

    works(remote)
    usual, small = descriptors(), memory()
    with ExitStack() as strangers:
        for _ in range(SILENT):
            strangers.enter_context(connected(remote))
        until(lambda: descriptors() >= SILENT, 20, "all are accepted")
        works(remote)
        ends = itertools.chain(range(270), range(270, len(recorded), 37))
        count = 0
        for end in ends:
            with connected(remote) as sock:
                sock.sendall(recorded[:end])
                if end % 2:  # or goes on with nonsense
                    sock.sendall(b"\xff" * 64)
            count += 1
        works(remote)
        # the silent are put out, not only those that hang up
        until(lambda: descriptors() < usual + 100, 40, "the silent are put out")
    assert memory() < small + 64, "MiB"
    refusals = [line for line in remote.log().splitlines() if "refused" in line]
    assert MOST <= len(refusals) <= 3 * MOST, f"of {count + SILENT} attempts and those before"
    assert "left out" in refusals[MOST - 1]
    works(remote)


def test_a_port_that_nobody_was_told_of_needs_keys(own_world: Callable[..., World]) -> None:
    """Nothing is bound to a network by itself: 'serve --bind' does that, and only with keys."""
    world = own_world()
    with Location("host"):
        pid = world.agents()["host"]
        names = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]
        inodes = {name[8:-1] for name in names if name.startswith("socket:[")}
        assert inodes, "its own socket at least"
        for table in ("tcp", "tcp6", "udp", "udp6"):
            rows = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
            assert not inodes & {row.split()[9] for row in rows}, table
