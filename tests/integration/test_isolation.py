"""Containers reach no other, nor are reached, until one allows it: nginx and a client of it."""

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from integration.polling import until
from integration.world import World

from tfnz_notebook.container import Container
from tfnz_notebook.errors import ContainerGone, Misuse
from tfnz_notebook.location import Location

pytestmark = [
    pytest.mark.engines("podman", "docker"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can fence a container off"),
]
Spawn = Callable[..., Container]
#: Says so on a line, then what comes; and again for each line of its input.
CLIENT = """
import socket, sys
connection = socket.create_connection((sys.argv[1], 80), 20)
print("connected", flush=True)
for line in sys.stdin:
    connection.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    print(connection.recv(65536).split(b"\\r\\n")[0].decode() or "closed", flush=True)
"""


@pytest.fixture
def web(spawn: Spawn) -> Container:
    """A real nginx that answers."""
    container = spawn("nginx")
    container.wait_http_200()
    return container


def page(client: Container, ip: str) -> bool:
    """Whether it gets the page; what may not connect is refused at once."""
    wget = client.spawn_process(["timeout", "20", "wget", "-q", "-O", "-", f"http://{ip}/"])
    return b"nginx" in wget.wait_until_complete(30)


def test_nobody_reaches_anybody_until_it_may(spawn: Spawn, web: Container) -> None:
    ip = web.ip()
    client, third = spawn("busybox", sleep=True), spawn("busybox", sleep=True)
    assert not page(client, ip)
    web.allow_connection_from(client)
    assert page(client, ip)
    assert not page(third, ip)
    client.spawn_process(["httpd", "-f", "-p", "80"])
    client.wait_tcp(80)
    back = web.spawn_process(["python3", "-c", CLIENT, client.ip()])
    assert back.wait_until_complete(30) == b"", "the other way round"

    web.reboot()
    web.wait_http_200()
    assert page(client, web.ip())
    web.disallow_connection_from(client)
    assert not page(client, web.ip())
    web.wait_http_200()  # which goes through the guest, as tunnels do
    with pytest.raises(Misuse, match="Cannot disallow"):
        web.disallow_connection_from(client)


async def test_the_awaitable_twins(spawn: Spawn, web: Container) -> None:
    client = await spawn("busybox", sleep=True)
    await web.aio.allow_connection_from(client.aio)
    assert await asyncio.to_thread(page, client, await web.aio.ip())
    await web.aio.disallow_connection_from(client)


def test_the_world_through_the_gateway(spawn: Spawn) -> None:
    """What NAT needs is as the engine made it, and this machine is reached."""
    client = spawn("debian", sleep=True)
    gateway = client.ip().rpartition(".")[0] + ".1"
    with socket.create_server((gateway, 0)) as listening:
        threading.Thread(target=lambda: listening.accept()[0].close(), daemon=True).start()
        connect = f"import socket; socket.create_connection({listening.getsockname()!r}, 20)"
        assert client.spawn_process(["python3", "-c", connect]).wait_until_complete(30) == b""
    routes = client.spawn_process("cat /proc/net/route").wait_until_complete(30).decode()
    default = [line.split()[2] for line in routes.splitlines() if line.split()[1] == "00000000"]
    assert [bytes.fromhex(each)[::-1] for each in default] == [socket.inet_aton(gateway)]


def test_what_cannot_be_allowed(spawn: Spawn, web: Container, where: str) -> None:
    with pytest.raises(Misuse, match="to itself"):
        web.allow_connection_from(web)
    with pytest.raises(Misuse, match="is no container"):
        web.allow_connection_from("web")  # type: ignore[arg-type]
    with Location(where) as elsewhere:
        stranger = elsewhere.best_node().spawn_container("busybox", sleep=True)
        for one, other in ((web, stranger), (stranger, web)):
            with pytest.raises(Misuse, match="another location"):
                one.allow_connection_from(other)
    apart = spawn("busybox", sleep=True, network="none")
    for one, other in ((web, apart), (apart, web)):
        with pytest.raises(Misuse, match="network='none'"):
            one.allow_connection_from(other)
    apart.destroy()
    for one, other in ((web, apart), (apart, web)):
        with pytest.raises(ContainerGone):
            one.allow_connection_from(other)
        with pytest.raises(ContainerGone):
            one.disallow_connection_from(other)


def test_an_agents_death_changes_nothing(own_world: Callable[..., World], where: str) -> None:
    """Not even for a connection that is open while one agent is gone and the next one comes."""
    world = own_world()
    with Location(where) as location:
        node = location.best_node()
        web = node.spawn_container("nginx")
        client, third = (node.spawn_container("debian", sleep=True) for _ in range(2))
        web.wait_http_200()
        web.allow_connection_from(client)
        talk = client.spawn_process(["python3", "-c", CLIENT, web.ip()])
        until(lambda: talk.log() == b"connected\n", 30, "it is connected")
        before = world.kill_agent(where)
        assert web.stats()  # which needs the next agent
        assert world.agents()[where] != before
        talk.stdin(b"go\n")
        until(lambda: talk.log() == b"connected\nHTTP/1.1 200 OK\n", 30, "it goes on")

        quick = ["timeout", "20", "python3", "-c", CLIENT, web.ip()]
        assert third.spawn_process(quick).wait_until_complete(30) == b""
        web.disallow_connection_from(client)  # the next agent knows what was allowed
        talk.stdin(b"go\n")
        assert talk.wait_until_complete(30).count(b"200") == 1
        assert talk.returncode != 0


def test_more_only_for_who_asks(spawn: Spawn) -> None:
    def status(**options: Any) -> dict[str, str]:
        box = spawn("busybox", sleep=True, **options)
        told = box.spawn_process("cat /proc/self/status").wait_until_complete(30).decode()
        return dict(line.split(":\t", 1) for line in told.splitlines() if ":\t" in line)

    usual = status()
    more = status(capabilities=["CAP_NET_ADMIN", "sys_ptrace"], new_privileges=True)
    assert (usual["NoNewPrivs"], more["NoNewPrivs"]) == ("1", "0")
    before, after = (int(each["CapEff"], 16) for each in (usual, more))
    assert after == before | 1 << 12 | 1 << 19
    assert not before >> 12 & 1
    for wrong in (["NET_ADMIN "], ["CAP_"], "NET_ADMIN", 7, [""]):
        with pytest.raises(Misuse, match="capabilit"):
            spawn("busybox", capabilities=wrong)
