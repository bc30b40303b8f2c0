"""A container reaches no other until it may: real connections, tried before and after the fence."""

import asyncio
import functools
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import Self

import pytest
from contract.conftest import USERS, Place
from contract.talk import Talk, talking
from integration import engine_api

from tfnz_notebook.engines.fake.engine import FakeEngine
from tfnz_notebook.engines.launch import lan
from tfnz_notebook.errors import ContainerGone, EngineError, Misuse

#: The fence is the same however the guest is reached.
ONCE = ("docker+socket", "podman+socket")
once_an_engine = pytest.mark.only(ONCE)
fenced = pytest.mark.only(() if os.geteuid() else ONCE)  # which only root can


class Box:
    """A container that serves a page with its name on port 80, and asks others for theirs."""

    def __init__(self, place: Place, ref: str, talk: Talk, ip: str) -> None:
        self.place, self.ref, self.talk, self.ip = place, ref, talk, ip

    async def page(self, ip: str) -> bytes | None:
        """What another serves; None if it may not connect, which its own fence says at once."""
        # Not wget's own -T: this busybox's dies of it now and then.
        wget = ("timeout", "20", "wget", "-q", "-O", "-", f"http://{ip}/")
        code, out, _ = await self.talk.run(*wget)
        return out if code == 0 else None

    async def reaches(self, other: Self) -> bool:
        return await self.page(other.ip) == b"here\n"

    async def fence(self, *sources: Self, to: tuple[Self, ...] = ()) -> None:
        await self.place.engine.isolate(
            self.ref, [each.ref for each in sources], [each.ref for each in to]
        )


Make = Callable[[], Awaitable[Box]]


@pytest.fixture
async def box(place: Place) -> AsyncIterator[Make]:
    """Makes them."""
    async with AsyncExitStack() as stack:

        async def make() -> Box:
            files = {"/www/index.html": b"here\n"}
            # Which newer Podmans give to nobody, and ping wants.
            ref = await place.run(files=files, sleep=True, capabilities=("NET_RAW",))
            talk = await stack.enter_async_context(talking(place.engine, ref))
            await served(talk)
            return Box(place, ref, talk, (await place.engine.inspect(ref)).ip)

        yield make


async def served(talk: Talk) -> None:
    """Its own page is there."""
    talk.spawn("httpd", "-f", "-p", "80", "-h", "/www")
    async with asyncio.timeout(30):
        while (await talk.run("wget", "-q", "-O", "-", "http://127.0.0.1/"))[1] != b"here\n":
            await asyncio.sleep(0.02)


def from_here(ip: str, path: str = "/") -> bytes:
    """A page as the engine's machine gets it, with its header."""
    with socket.create_connection((ip, 80), 10) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        return connection.makefile("rb").read()


@pytest.mark.same_machine
@fenced
async def test_a_fence_has_a_direction(place: Place, box: Make) -> None:
    a, b, c = await asyncio.gather(*(box() for _ in range(3)))
    assert await b.reaches(a), "nothing to fence off"
    await asyncio.gather(*(each.fence() for each in (a, b, c)))
    assert not any(await asyncio.gather(a.reaches(b), b.reaches(a), c.reaches(a)))
    async with asyncio.timeout(30):
        while not place.engine.about()["isolation"].endswith(", verified"):  # tried, not believed
            await asyncio.sleep(0.01)
    assert await asyncio.to_thread(from_here, a.ip), "the engine's machine"

    # The bridge keeps its address, whoever comes and goes; that of the tests' Docker is fixed.
    own = [name for name, network in lan.bridges() if ip_address(a.ip) in network]
    assert len(own) == place.kind.startswith("podman")
    told = [Path(f"/sys/class/net/{each}/addr_assign_type") for each in own]
    # In some places of `make test-engines` /sys is of another namespace, and Podman does it itself.
    assert all(each.read_text() == "3\n" for each in told if each.exists())

    await a.fence(b)
    await b.fence(to=(a,))
    assert await asyncio.gather(b.reaches(a), a.reaches(b), c.reaches(a)) == [True, False, False]

    # One that is restarted has no fence, and maybe another address; that ends what b was allowed.
    await place.engine.stop(a.ref, 1)
    await place.engine.start(a.ref)
    async with talking(place.engine, a.ref) as talk:
        await served(talk)
        again = Box(place, a.ref, talk, (await place.engine.inspect(a.ref)).ip)
        await again.fence(b)
        await b.fence(to=(again,))
        assert await asyncio.gather(b.reaches(again), again.reaches(b)) == [True, False]


@pytest.mark.only(USERS)
async def test_a_users_containers_have_networks_of_their_own(place: Place, box: Make) -> None:
    a, b = await asyncio.gather(box(), box())
    await asyncio.gather(a.fence(), b.fence())
    async with asyncio.timeout(30):
        while place.engine.about()["isolation"] != "networks of their own, verified":
            await asyncio.sleep(0.01)
    with pytest.raises(EngineError, match="share no network"):
        await a.fence(b)


@pytest.mark.same_machine
@fenced
async def test_what_is_open_ends_with_the_permission(box: Make) -> None:
    a, b = await asyncio.gather(box(), box())
    await a.fence(b)
    await b.fence(to=(a,))
    open_ = b.talk.spawn("nc", a.ip, "80")
    request = b"GET / HTTP/1.0\r\n"
    open_.stdin(request)
    await open_.until(lambda: open_.taken == len(request))
    async with asyncio.timeout(30):
        while not await connected(b, a.ip):
            await asyncio.sleep(0.02)
    await asyncio.gather(a.fence(), b.fence())
    open_.stdin(b"\r\n", len(request))
    await open_.end()
    assert open_.out == b"", "the answer got through"


async def connected(box: Box, ip: str) -> bool:
    """It has a connection to port 80 of that address (proc(5): state 01 is ESTABLISHED)."""
    there = "".join(f"{int(part):02X}" for part in reversed(ip.split(".")))
    _, table, _ = await box.talk.run("cat", "/proc/net/tcp")
    return any(line.split()[2:4] == [f"{there}:0050", "01"] for line in table.decode().splitlines())


@pytest.mark.same_machine
@fenced
async def test_containers_of_others_are_out_of_reach(place: Place, box: Make) -> None:
    engine = place.kind.partition("+")[0]
    ours = await box()
    # It asks for our page all the time, and serves what became of that.
    asks = f"timeout 1 wget -q -O /dev/null http://{ours.ip}/ && echo yes || echo no"
    serve = "mkdir /www; echo here > /www/index.html; httpd -p 80 -h /www; "
    loop = f"while :; do ({asks}) > /www/new; mv /www/new /www/reached; sleep 0.05; done"
    body = {"Image": "busybox", "Cmd": ["sh", "-c", serve + loop]}
    ask = functools.partial(asyncio.to_thread, engine_api.ask, engine)
    theirs = (await ask("POST", "/containers/create", body))["Id"]
    try:
        await ask("POST", f"/containers/{theirs}/start")
        said = await ask("GET", f"/containers/{theirs}/json")
        ip = said["NetworkSettings"]["IPAddress"]

        async def look() -> bytes:
            try:
                return await asyncio.to_thread(from_here, ip, "/reached")
            except (ConnectionRefusedError, TimeoutError):
                return b""  # it has only just started; or no fence keeps the bridge's address yet

        async def said_in_there(word: bytes) -> None:
            async with asyncio.timeout(30):
                while not (await look()).endswith(word):
                    await asyncio.sleep(0.02)

        await said_in_there(b"yes\n")
        assert await ours.page(ip) == b"here\n"
        await ours.fence()
        assert await ours.page(ip) is None
        await said_in_there(b"no\n")
    finally:
        await asyncio.to_thread(engine_api.remove_container, engine, theirs)


@pytest.mark.same_machine
@fenced
async def test_over_ipv6_as_well(place: Place, box: Make) -> None:
    """Where a container has IPv6, it has an address on its link without anybody's doing."""
    a, b = await asyncio.gather(box(), box())
    addresses = [await on_the_link(each) for each in (a, b)]
    if not all(addresses):  # Docker's usual way: IPv6 is off in there
        await b.fence()
        assert addresses == ["", ""]
        return

    async def answers(one: Box, address: str) -> bool:
        ping = ("ping6", "-c", "1", "-W", "2", f"{address}%eth0")
        return (await one.talk.run(*ping))[0] == 0

    async with asyncio.timeout(30):
        # An address is tried on the link for a second or two before it counts.
        while not (await answers(a, addresses[1]) and await answers(b, addresses[0])):
            await asyncio.sleep(0.05)
    await b.fence()
    assert not await answers(a, addresses[1]), "the fence lets others in"
    assert not await answers(b, addresses[0]), "the fence lets it out"


async def on_the_link(box: Box) -> str:
    """Its IPv6 address on the link, or nothing."""
    _, told, _ = await box.talk.run("cat", "/proc/net/if_inet6")
    found = [line.split()[0] for line in told.decode().splitlines() if line.endswith("eth0")]
    return ":".join(found[0][at : at + 4] for at in range(0, 32, 4)) if found else ""


@fenced
async def test_the_world_is_as_before(box: Make) -> None:
    a = await box()
    look = "cat /proc/net/route /etc/resolv.conf /etc/hosts"
    before = await a.talk.run("sh", "-c", look)
    await a.fence()
    assert await a.talk.run("sh", "-c", look) == before
    gateway = a.ip.rpartition(".")[0] + ".1"
    with socket.create_server((gateway, 0)) as listening:
        port = listening.getsockname()[1]
        code, _, said = await a.talk.run("nc", "-w", "5", gateway, str(port), "-e", "true")
        assert code == 0, said


@once_an_engine
async def test_who_asks_gets_more(place: Place) -> None:
    ref = await place.run(capabilities=("NET_ADMIN",), new_privileges=True)
    async with talking(place.engine, ref) as talk:
        status = (await talk.run("cat", "/proc/self/status"))[1].decode()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["NoNewPrivs"] == "0"
    assert int(fields["CapEff"], 16) >> 12 & 1


@pytest.mark.same_machine
async def test_only_what_runs_has_a_fence(place: Place) -> None:
    ref = await place.create()
    if place.kind in USERS:  # which have none: nobody looks
        return
    if place.kind != "host":  # which has none anyway
        with pytest.raises(ContainerGone):
            await place.engine.isolate(ref)
    await place.engine.start(ref)
    await place.engine.isolate(ref)
    await place.engine.isolate(ref)
    await place.engine.remove(ref)
    with pytest.raises(ContainerGone):
        await place.engine.isolate(ref)


@pytest.mark.only(("host",))
async def test_the_host_allows_nothing_apart(place: Place) -> None:
    ref = await place.run()
    with pytest.raises(Misuse, match="share the machine's network"):
        await place.engine.isolate(ref, ["other"])


@pytest.mark.only(("fake",))
async def test_in_memory_it_is_told(place: Place) -> None:
    engine = place.engine
    assert isinstance(engine, FakeEngine)
    a, b = [await place.run() for _ in range(2)]
    assert engine.connects(a, b)
    await engine.isolate(a, targets=[b])
    assert engine.connects(a, b)
    await engine.isolate(b)
    assert not engine.connects(a, b)
    await engine.isolate(b, [a])
    assert (engine.connects(a, b), engine.connects(b, a)) == (True, False)


@pytest.mark.only(("kubernetes",))  # pods in memory have no network but their own
async def test_policies_keep_pods_apart(place: Place, box: Make) -> None:
    engine = place.engine
    a, b = await asyncio.gather(box(), box())

    async def settled(wanted: list[bool]) -> None:
        """Policies take effect a little later."""
        async with asyncio.timeout(60):
            while await asyncio.gather(quick(b, a), quick(a, b)) != wanted:
                await asyncio.sleep(0.1)

    await settled([False, False])
    await asyncio.gather(a.fence(), b.fence())
    await a.fence(b)
    await b.fence(to=(a,))
    await settled([True, False])
    await a.fence()
    await settled([False, False])
    async with asyncio.timeout(60):
        while engine.about()["isolation"].startswith("unverified"):
            await asyncio.sleep(0.1)
    assert engine.about()["isolation"] == "verified"


async def quick(one: Box, other: Box) -> bool:
    wget = ("timeout", "2", "wget", "-q", "-O", "-", f"http://{other.ip}/")
    return (await one.talk.run(*wget))[1] == b"here\n"
