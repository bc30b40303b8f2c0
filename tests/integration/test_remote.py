"""An agent on another machine, played by one on loopback: who has no key gets nothing."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from integration.polling import Clock, until
from integration.remote import Remote, acquaint, free_port, serve, serving
from integration.world import World

from tfnz_notebook.errors import AgentError, LinkClosed, LocationError
from tfnz_notebook.location import Location

# Keys and addresses know nothing of engines; what goes over the link is tried on both.
pytestmark = pytest.mark.engines("podman", "host", anywhere=True)


@pytest.fixture
def remote(own_world: Callable[..., World], where: str) -> Iterator[Remote]:
    with serving(own_world(), own_world(), where) as opened:
        yield opened


@pytest.mark.engines("podman", "host")
def test_with_the_right_keys_everything_works(remote: Remote, where: str) -> None:
    with Location(remote.address) as location:
        assert (location.where, location.engine) == (remote.address, where)
        container = location.best_node().spawn_container("debian", sleep=True)
        assert container.run_process("seq 1 100000").stdout.count(b"\n") == 100_000
        container.put("/tmp/remote", b"x" * 1_000_000)
        assert container.fetch("/tmp/remote") == b"x" * 1_000_000
        shell = container.spawn_shell()
        assert b"hello" in shell.stdin(b"echo hel''lo\n", return_reply=True, timeout=20)


def refused(address: str) -> LocationError:
    with Clock() as clock, pytest.raises(LocationError, match=r"^Cannot ") as caught:
        Location(address)
    assert clock.seconds < 20
    return caught.value


def test_a_key_that_was_not_authorized_is_refused(
    remote: Remote, own_world: Callable[..., World]
) -> None:
    stranger = own_world()
    stranger.tfnz_agent("keygen")
    shutil.copytree(remote.client.config / "known", stranger.config / "known")
    error = refused(remote.address)
    assert isinstance(error, LinkClosed)
    assert "key" in str(error)


def test_a_server_with_another_key_is_not_believed(remote: Remote) -> None:
    (known,) = (remote.client.config / "known").iterdir()
    shutil.copy(remote.client.config / "client.key", known)
    assert "key" in str(refused(remote.address))


def test_without_keys_nothing_is_sent(remote: Remote, own_world: Callable[..., World]) -> None:
    empty = own_world()
    error = refused(remote.address)
    assert isinstance(error, AgentError)
    assert "tfnz-agent keygen" in str(error)
    empty.tfnz_agent("keygen")
    assert "known" in str(refused(remote.address))


def test_plain_tcp_gets_no_answer(remote: Remote) -> None:
    import zmq

    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.connect(remote.address)
        dealer.send(b"\x94\x00\x01\xa5hello\x80")
        assert dealer.poll(1500) == 0


@pytest.mark.parametrize("lacking", ["authorized", "server.key_secret"])
def test_no_keys_no_bind(own_world: Callable[..., World], where: str, lacking: str) -> None:
    server = own_world()
    port = free_port()
    if lacking == "server.key_secret":
        server.tfnz_agent("keygen")
        server.tfnz_agent("authorize", str(server.config / "client.key"))
    else:
        server.tfnz_agent("keygen", "--server")
    agent = serve(server, where, port)
    agent.communicate(timeout=30)
    said = (server.home / "agent.log").read_text()
    assert agent.returncode != 0
    assert "Cannot" in said
    assert "tfnz-agent" in said
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 2)


@pytest.mark.parametrize("address", ["tcp://0.0.0.0:0", "ipc:///tmp/x", "tcp://", "127.0.0.1:2020"])
def test_other_addresses_are_not_bound(
    own_world: Callable[..., World], where: str, address: str
) -> None:
    server = own_world()
    done = server.tfnz_agent("serve", "--where", where, "--bind", address)
    assert done.returncode != 0
    assert "Cannot listen" in done.stderr


def test_a_secret_key_that_others_may_read_is_refused(remote: Remote) -> None:
    secret = remote.client.config / "client.key_secret"
    assert secret.stat().st_mode & 0o077 == 0, "keygen makes it private"
    secret.chmod(0o644)
    assert "chmod 600" in str(refused(remote.address))


def test_a_remote_kernel_that_vanishes_is_waited_for_and_then_collected(
    own_world: Callable[..., World], where: str
) -> None:
    """Over TCP the agent cannot look whether the kernel lives: no ping is what tells."""
    server, client = own_world(TFNZ_SESSION_GRACE="2"), own_world()
    port = free_port()
    acquaint(server, client, port)
    agent = serve(server, where, port)
    code = (
        "import os, signal\nfrom tfnz_notebook.location import Location\n"
        f"node = Location('tcp://127.0.0.1:{port}').best_node()\n"
        "c = node.spawn_container('debian', sleep=True)\n"
        "c.wait_until_ready()\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code], env=client.environment(), check=False, timeout=60)
    until(lambda: not server.holds(where), 30, "its container was collected")
    agent.terminate()
    agent.communicate(timeout=20)
