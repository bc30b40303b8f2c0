"""Tunnels: through the guest, so they need no network; dialled anew, so they outlive a reboot."""

import hashlib
import socket
import subprocess
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from integration.polling import until
from integration.web_server import SERVER

from tfnz_notebook._link.ports.pour import Pour
from tfnz_notebook.container import Container
from tfnz_notebook.errors import TunnelError, TunnelGone, WaitTimeout
from tfnz_notebook.tunnel import Tunnel
from tfnz_notebook.waits import exec, file, healthy, http, log, tcp  # noqa: A004

Spawn = Callable[..., Container]
#: On the host engine all containers share the machine's ports.
PORTS = cycle(range(18200, 18400))


class Server:
    """A container with the server above in it, and a tunnel to it."""

    def __init__(self, spawn: Spawn, where: str) -> None:
        options = {} if where == "host" else {"network": "none"}
        self.port = next(PORTS)
        self.container = spawn(
            command=["python3", "-c", SERVER, str(self.port)], **options
        ).wait_tcp(self.port, timeout=30)
        self.tunnel: Tunnel = self.container.attach_tunnel(self.port)


@pytest.fixture
def server(spawn: Spawn, where: str) -> Server:
    return Server(spawn, where)


def get(tunnel: Tunnel, blocks: int = 0) -> tuple[int, str]:
    """Size and hash of what it serves."""
    digest, size = hashlib.sha256(), 0
    with urlopen(tunnel.url(f"?{blocks}"), timeout=60) as page:
        while piece := page.read(1 << 20):
            digest.update(piece)
            size += len(piece)
    return size, digest.hexdigest()


def served(blocks: int) -> str:
    block = bytes(range(256)) * 4096
    digest = hashlib.sha256()
    for number in range(blocks):
        digest.update(number.to_bytes(8, "big") + block[8:])
    return digest.hexdigest()


@pytest.mark.parametrize("blocks", [64, pytest.param(1024, marks=pytest.mark.long)])
def test_a_gigabyte_comes_through_without_any_network(
    server: Server, where: str, blocks: int
) -> None:
    if where != "host":
        assert server.container.ip() == ""
    assert get(server.tunnel, blocks) == (blocks << 20, served(blocks))


@pytest.mark.engines("host", "podman", "docker", each=True)
def test_what_comes_goes_past_the_agent(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    poured: list[str] = []

    class Counted(Pour):
        def __init__(self, path: str, *rest: Any) -> None:
            super().__init__(path, *rest)
            poured.append(path)

    monkeypatch.setattr("tfnz_notebook._link.ports.dial.Pour", Counted)
    assert get(server.tunnel, 4) == (4 << 20, served(4))
    assert len(poured) == 1
    assert not Path(poured[0]).exists(), "no name of it is left"


def test_uploads_come_through(server: Server) -> None:
    data = b"".join(n.to_bytes(4, "big") for n in range(8 << 20))
    with urlopen(server.tunnel.url(), data=data, timeout=60) as page:
        assert page.read().decode() == hashlib.sha256(data).hexdigest()


def test_many_connections_at_once(server: Server) -> None:
    import concurrent.futures

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        results = list(pool.map(lambda _: get(server.tunnel, 1), range(60)))
    assert set(results) == {(1 << 20, served(1))}
    until(lambda: server.tunnel.connections == 0, 10, "all are closed")


def test_either_side_may_close_its_half_first(spawn: Spawn) -> None:
    port = next(PORTS)
    reverse = (
        "import socket, sys\n"
        f"s = socket.create_server(('127.0.0.1', {port}))\n"
        "while True:\n"
        "    c, _ = s.accept()\n"
        "    got = b''\n"
        "    while piece := c.recv(4096): got += piece\n"
        "    c.sendall(got[::-1]); c.close()\n"
    )
    container = spawn(command=["python3", "-c", reverse])
    container.wait_tcp(port, timeout=30)
    tunnel = container.attach_tunnel(port)
    with socket.create_connection(("127.0.0.1", tunnel.port), 10) as client:
        client.sendall(b"abc")
        client.shutdown(socket.SHUT_WR)
        assert b"".join(iter(lambda: client.recv(4096), b"")) == b"cba"


def test_a_tunnel_outlives_a_reboot(server: Server) -> None:
    assert get(server.tunnel, 1)[0] == 1 << 20
    server.container.reboot()
    server.container.wait_tcp(server.port, timeout=30)
    assert get(server.tunnel, 1) == (1 << 20, served(1))


def test_tunnels_are_listed_and_destroyed(server: Server) -> None:
    container, tunnel = server.container, server.tunnel
    second = container.attach_tunnel(server.port)
    assert set(container.all_tunnels()) == {tunnel, second}
    assert tunnel.port == tunnel.localport()
    port = tunnel.port
    container.destroy_tunnel(tunnel)
    assert container.all_tunnels() == [second]
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), 5)
    with pytest.raises(TunnelGone, match=r"^Cannot destroy this tunnel") as gone:
        container.destroy_tunnel(tunnel)
    assert isinstance(gone.value, ValueError)
    assert get(second, 1)[0] == 1 << 20


def test_only_this_machine_gets_in_unless_told(server: Server) -> None:
    listening = {line.split()[3] for line in tcp_listeners() if f":{server.tunnel.port}" in line}
    assert listening == {f"127.0.0.1:{server.tunnel.port}"}


def tcp_listeners() -> list[str]:
    """Lines shaped like those of ``ss -ltn``: state, queues, local address."""
    lines = []
    with Path("/proc/net/tcp").open() as table:
        for line in islice(table, 1, None):
            _, local, _, state = line.split()[:4]
            if state == "0A":
                address, port = local.split(":")
                octets = [str(octet) for octet in bytes.fromhex(address)[::-1]]
                lines.append(f"LISTEN 0 0 {'.'.join(octets)}:{int(port, 16)}")
    return lines


def test_a_local_port_may_be_chosen_and_may_be_taken(server: Server) -> None:
    port = server.tunnel.port
    with pytest.raises(TunnelError, match=r"^Cannot attach a tunnel.* in use.* Give another"):
        server.container.attach_tunnel(server.port, localport=port)
    server.container.destroy_tunnel(server.tunnel)
    again = server.container.attach_tunnel(server.port, localport=port)
    assert again.port == port


def test_a_closed_port_resets_the_connection_and_later_ones_work(
    spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfnz_notebook._link.ports.forward.STARTING", 0.2)
    container = spawn(sleep=True)
    port = next(PORTS)
    tunnel = container.attach_tunnel(port)
    with pytest.raises((URLError, ConnectionError)):
        urlopen(tunnel.url(), timeout=10)
    container.spawn_process(["python3", "-c", SERVER, str(port)])
    container.wait_tcp(port, timeout=30)
    assert get(tunnel, 1) == (1 << 20, served(1))


#: Usage: python3 -c ELSEWHERE address port [certificate]: answers anything with 200.
ELSEWHERE = """
import socket, ssl, sys
address, port, *certificate = sys.argv[1:]
if address == "own":
    address = socket.gethostbyname(socket.gethostname())
family = socket.AF_INET6 if ":" in address else socket.AF_INET
server = socket.socket(family)
server.bind((address, int(port)))
server.listen()
if certificate:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate[0])
    server = context.wrap_socket(server, server_side=True)
print("listening", flush=True)
while True:
    try:
        connection = server.accept()[0]
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
        connection.close()
    except OSError:
        pass
"""


@pytest.mark.engines("podman", "docker", each=True)
def test_a_server_at_the_containers_own_address(spawn: Spawn) -> None:
    """Each condition, of a server that 127.0.0.1 does not reach."""
    box = spawn(
        command=["python3", "-c", ELSEWHERE, "own", "8080"], health_cmd="test -e /etc/hosts"
    )
    conditions = (http(8080), tcp(8080), log("^listening$"), exec("true"), healthy())
    box.wait_until(*conditions, file("/etc/hosts", "localhost"), timeout=60)
    with urlopen(box.attach_tunnel(8080).url(), timeout=30) as page:
        assert page.status == 200
    with pytest.raises(WaitTimeout, match="https://localhost:8080/: .*TLS"):
        box.wait_until(http(8080, scheme="https"), timeout=0.5)


def test_a_server_that_speaks_tls(spawn: Spawn, tmp_path: Path) -> None:
    port, both = next(PORTS), tmp_path / "both.pem"
    made = ("req", "-x509", "-nodes", "-newkey", "rsa:2048", "-subj", "/CN=x", "-days", "2")
    subprocess.run(["openssl", *made, "-keyout", both, "-out", tmp_path / "c"], check=True)
    content = both.read_text() + (tmp_path / "c").read_text()
    box = spawn(sleep=True).wait_until_ready()
    box.put("/tmp/both.pem", content)
    inside = box.run_process("ls /tmp/both.pem tmp/both.pem").stdout.split()[-1].decode()
    server = box.spawn_process(["python3", "-c", ELSEWHERE, "127.0.0.1", str(port), inside])
    box.wait_until(http(port, scheme="https"), timeout=60)
    with pytest.raises(WaitTimeout, match="no TLS is to be had there .*(?i:certificate)"):
        box.wait_until(http(port, scheme="https", verify=True), timeout=1)
    box.destroy_process(server)
