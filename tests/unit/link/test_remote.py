"""Agents elsewhere: what must be where before a connection is tried, and one that works."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
import zmq.auth

from tfnz_notebook._link.agents.starter import place
from tfnz_notebook._wire import link as wire
from tfnz_notebook.errors import AgentError, LinkClosed, Misuse
from tfnz_notebook.location import Location


@pytest.fixture
def config(runtime: Path) -> Path:
    """A configuration directory with a client's pair, as keygen makes it."""
    path = runtime / "config"
    path.mkdir(mode=0o700)
    zmq.auth.create_certificates(path, "client")
    (path / "client.key_secret").chmod(0o600)
    return path


def public_key() -> str:
    return zmq.curve_keypair()[0].decode()


def test_the_keys_are_read_from_the_files(config: Path) -> None:
    (config / "known").mkdir()
    server, _ = zmq.auth.create_certificates(config, "server")
    Path(server).rename(config / "known" / "example.org_2020.key")
    address = place("tcp://example.org").find()
    assert address.url == "tcp://example.org:2020"
    own = zmq.auth.load_certificate(config / "client.key_secret")
    assert (address.public_key, address.secret_key) == own
    known = zmq.auth.load_certificate(config / "known" / "example.org_2020.key")
    assert address.server_key == known[0]


def test_the_servers_key_may_be_given(config: Path) -> None:
    key = public_key()
    assert place("tcp://[::1]:99", key).find().url == "tcp://[::1]:99"
    assert place("tcp://h:1", key).find().server_key == key.encode()


def test_without_a_pair_of_our_own(runtime: Path) -> None:
    with pytest.raises(AgentError, match="tfnz-agent keygen"):
        place("tcp://h", public_key()).find()


def test_without_the_servers_key(config: Path) -> None:
    with pytest.raises(AgentError, match=r"known/h_2020\.key.*tfnz-agent keygen"):
        place("tcp://h").find()


def test_a_secret_that_others_may_read(config: Path) -> None:
    (config / "client.key_secret").chmod(0o644)
    with pytest.raises(AgentError, match="chmod 600"):
        place("tcp://h", public_key()).find()


@pytest.mark.parametrize("text", ["", "nonsense", 'public-key = "short"', "\0\xff"])
def test_a_file_that_holds_no_key(config: Path, text: str) -> None:
    (config / "client.key_secret").write_text(text)
    with pytest.raises(AgentError, match="no key pair"):
        place("tcp://h", public_key()).find()


@pytest.mark.parametrize(
    "where", ["tcp://", "tcp://:2020", "tcp://h:0x", "tcp://h:99999", "tcp://h/path", "tcp://u@h"]
)
def test_addresses_that_are_none(where: str) -> None:
    with pytest.raises(Misuse, match="Write 'tcp://host:2020'"):
        place(where)


def test_a_server_key_that_is_none() -> None:
    with pytest.raises(Misuse, match="40 characters"):
        place("tcp://h", "short")
    with pytest.raises(Misuse, match="only agents on 'tcp"):
        place("podman", public_key())


class CurveAgent:
    """Answers hello, ping and bye over TCP with CURVE, to anybody who knows its key."""

    def __init__(self) -> None:
        self.public, secret = zmq.curve_keypair()
        self._context = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        self._router.curve_secretkey = secret
        self._router.curve_publickey = self.public
        self._router.curve_server = True
        self.port = self._router.bind_to_random_port("tcp://127.0.0.1")
        self._open = True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        hello = {"session": "s", "engine": "podman", "heartbeat": 10.0}
        while self._open:
            if self._router.poll(20):
                identity, *parts = self._router.recv_multipart()
                message = wire.decode(parts)
                body = hello if message.name == "hello" else {}
                self._router.send_multipart([identity, *wire.encode(wire.reply(message, body))])
        self._router.close(0)

    def close(self) -> None:
        self._open = False
        self._thread.join(10)
        self._context.destroy(linger=0)


@pytest.fixture
def curve_agent() -> Iterator[CurveAgent]:
    made = CurveAgent()
    yield made
    made.close()


@pytest.mark.usefixtures("config")
def test_a_connection_over_tcp(curve_agent: CurveAgent) -> None:
    where = f"tcp://127.0.0.1:{curve_agent.port}"
    with Location(where, server_key=curve_agent.public.decode()) as location:
        assert location.engine == "podman"
        assert location.where == where


@pytest.mark.usefixtures("config")
def test_the_wrong_server_key(curve_agent: CurveAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    from tfnz_notebook._link import link

    monkeypatch.setattr(link, "HELLO_TIMEOUT", 1.0)
    with pytest.raises(LinkClosed, match="Cannot reach the agent of 'tcp://"):
        Location(f"tcp://127.0.0.1:{curve_agent.port}", server_key=public_key())


@pytest.mark.usefixtures("config")
def test_nobody_listens() -> None:
    with pytest.raises(LinkClosed, match="nothing listens there"):
        Location("tcp://127.0.0.1:1", server_key=public_key())
