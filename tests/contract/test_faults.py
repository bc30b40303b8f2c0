"""Engines that stop in the middle, containers that are hostile, calls that are cancelled."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from contract.conftest import CONTAINERS, MACHINE, Place
from contract.cut import Proxy
from contract.talk import dial, talking

from tfnz_notebook._base import endpoints as endpoint
from tfnz_notebook.engines.base import Engine
from tfnz_notebook.engines.docker.engine import DockerEngine
from tfnz_notebook.engines.docker.probe import Transport
from tfnz_notebook.engines.fake.engine import FakeEngine
from tfnz_notebook.engines.launch import binary as guest_binary
from tfnz_notebook.errors import ContainerGone, EngineGone, NoEngine

pytestmark = pytest.mark.faults


@asynccontextmanager
async def proxied(place: Place) -> AsyncIterator[tuple[DockerEngine, Proxy]]:
    """The same engine through a socket that can be cut."""
    behind = place.engine
    assert isinstance(behind, DockerEngine)
    path = behind.client.endpoint.path
    assert path is not None
    proxy = Proxy(place.runtime / "cut.sock", path)
    await proxy.start()
    transport: Transport = "exec" if place.kind.endswith("exec") else "socket"
    engine = DockerEngine(
        behind.name,
        runtime=place.runtime,
        guest=guest_binary.locate(),
        owner=place.owner,
        transport=transport,
        endpoints=[endpoint.parse(str(proxy.path))],
    )
    await engine.open()
    try:
        yield engine, proxy
    finally:
        await engine.close()
        await proxy.cut()


@pytest.mark.only(MACHINE)
async def test_engine_stops_and_comes_back(place: Place) -> None:
    async with proxied(place) as (engine, proxy):
        ref = await engine.create(place.spec(), await place.image())
        await engine.start(ref)
        talk = await dial(engine, ref)
        await talk.hello()
        await proxy.cut()
        for call in (engine.inspect(ref), engine.find({}), engine.nodes(), engine.start(ref)):
            with pytest.raises(EngineGone, match="Start it again"):
                await call
        if place.kind.endswith("exec"):  # the stream went through the engine
            await talk.until(lambda: bool(talk.closed))
        else:  # it did not, and does not care
            assert (await talk.run("echo", "still"))[1] == b"still\n"
            assert talk.stream is not None
            talk.stream.close()
        await proxy.start()
        assert (await engine.inspect(ref)).status == "running"
        async with talking(engine, ref) as again:
            assert (await again.run("echo", "back"))[1] == b"back\n"


@pytest.mark.only(MACHINE)
async def test_engine_stops_during_a_call(place: Place) -> None:
    async with proxied(place) as (engine, proxy):
        ref = await engine.create(place.spec(), await place.image())
        starting = asyncio.create_task(engine.start(ref))
        await proxy.starting.wait()  # under way: it takes some 100 ms
        await proxy.cut()
        with pytest.raises(EngineGone):
            await starting
    # Whether it started is the engine's to say; it is found and removed like any other.


@pytest.mark.only(("fake",))
async def test_fake_engine_can_be_down(place: Place, box: str) -> None:
    engine = place.engine
    assert isinstance(engine, FakeEngine)
    engine.down = True
    with pytest.raises(EngineGone):
        await engine.inspect(box)
    engine.down = False
    assert (await engine.inspect(box)).status == "running"


@pytest.mark.only(("fake", *CONTAINERS))  # the host has no connection: it is always there
async def test_use_after_close_and_open_again(place: Place, box: str) -> None:
    await place.engine.close()
    with pytest.raises(NoEngine):
        await place.engine.find({})
    await place.engine.open()
    assert (await place.engine.inspect(box)).status == "running"


@pytest.mark.only(("docker+socket", "podman+socket"))
async def test_container_cannot_lead_the_agent_to_another_socket(place: Place, box: str) -> None:
    """Root in there replaces the guest's socket: by a link to one of this machine's, by a file."""
    async with talking(place.engine, box):
        pass
    bait = place.runtime / "bait.sock"
    accepted: list[object] = []

    def lured(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        writer.close()

    server = await asyncio.start_unix_server(lured, bait)
    async with server:
        async with talking(place.engine, box) as talk:
            script = f"cd /.tfnz/run && mv guest.sock away && ln -s {bait} guest.sock"
            assert await talk.run("sh", "-c", script) == (0, b"", b"")
        (directory,) = place.directories()
        assert (directory / "guest.sock").is_symlink()
        fresh = await place.second()
        with pytest.raises(EngineGone):
            await _soon(fresh, box)
        assert accepted == []
    (directory / "guest.sock").unlink()
    (directory / "guest.sock").write_bytes(b"a file")
    with pytest.raises(EngineGone, match="not a socket"):
        await _soon(fresh, box)
    (directory / "guest.sock").unlink()
    (directory / "away").rename(directory / "guest.sock")
    async with talking(fresh, box) as talk:
        assert (await talk.run("echo", "mended"))[1] == b"mended\n"


async def _soon(engine: Engine, ref: str) -> None:
    """Connect, with less patience than users have."""
    from tfnz_notebook.engines.launch import socket as guest_socket

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guest_socket.connect, "__defaults__", (0.3,))
        await dial(engine, ref)


@pytest.mark.only(("docker+socket", "podman+socket"))
async def test_removal_follows_no_link(place: Place, box: str) -> None:
    precious = place.runtime / "precious"
    precious.mkdir()
    (precious / "file").write_text("kept")
    async with talking(place.engine, box) as talk:
        script = f"cd /.tfnz/run && ln -s {precious} link && mkdir -p a/b && mkfifo a/b/fifo"
        assert (await talk.run("sh", "-c", script))[0] == 0
    await place.engine.remove(box)
    assert (precious / "file").read_text() == "kept"
    assert not place.directories()


@pytest.mark.only(("docker+socket", "podman+socket"))
async def test_adopted_without_its_directory(place: Place, box: str) -> None:
    """The runtime directory was lost (a logout, a reboot of /run): the engine's exec still can."""
    (directory,) = place.directories()
    directory.chmod(0o755)  # what another user could have made: not trusted
    fresh = await place.second()
    async with talking(fresh, box) as talk:
        assert (await talk.run("echo", "by exec"))[1] == b"by exec\n"
    directory.chmod(0o700)


@pytest.mark.only(CONTAINERS)
async def test_cancelled_create_leaves_nothing(place: Place) -> None:
    image = await place.image()
    for delay in (0.0, 0.002, 0.005, 0.01, 0.02, 0.05):
        creating = asyncio.create_task(place.engine.create(place.spec(files={"/x": b"y"}), image))
        await asyncio.sleep(delay)
        creating.cancel()
        try:
            await place.engine.remove(await creating)  # it was quicker
        except asyncio.CancelledError:
            pass
    await place.engine.close()  # waits for what is being undone
    await place.engine.open()
    assert await place.engine.find({}) == []
    assert place.directories() == []


@pytest.mark.only(("host",))
async def test_host_guest_is_not_ours_to_lose(place: Place, box: str) -> None:
    """A pid that was recycled is no guest: only pid and start time together are."""
    state = Path(place.runtime, "host", box, "state.json")
    said = state.read_text()
    state.write_text(said.replace(f'"pid": {_pid(said)}', f'"pid": {os.getpid()}'))
    fresh = await place.second()
    assert (await fresh.inspect(box)).status == "exited"
    with pytest.raises(ContainerGone):
        await dial(fresh, box)
    state.write_text(said)


def _pid(said: str) -> int:
    return int(said.partition('"pid": ')[2].partition(",")[0])


@pytest.mark.only(("host",))
async def test_host_removal_kills_the_tree(place: Place) -> None:
    script = "trap '' TERM; (setsid sleep 1001 &) ; sleep 1002 & echo ready; wait; sleep 1003"
    ref = await place.run(command=("sh", "-c", script), sleep=True)
    async with talking(place.engine, ref) as talk:
        stray = talk.spawn("sh", "-c", "setsid sleep 1004 & echo $!; wait")
        await stray.until(lambda: stray.out.endswith(b"\n"))
        inner = int(stray.out)
    await place.engine.remove(ref)
    async with asyncio.timeout(10):
        while Path(f"/proc/{inner}").exists() and "Z" not in _state(inner):
            await asyncio.sleep(0.01)
    assert not place.directories()


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]
    except OSError:
        return "Z"


@pytest.mark.only(("docker+socket", "podman+socket"))
async def test_sockets_of_containers_that_are_gone_are_swept(place: Place, box: str) -> None:
    """What an agent leaves that is killed while it makes a container, or removes one."""
    (kept,) = place.directories()
    lost = kept.parent / "lost"
    lost.mkdir(mode=0o700)
    (lost / "guest.sock").touch()
    fresh = await place.second(owner="somebody-else")
    await fresh.sweep(set())
    assert set(place.directories()) == {kept, lost}, "each owner has a directory"
    fresh = await place.second()
    await fresh.sweep({kept.name})
    assert place.directories() == [kept]
    async with talking(fresh, box) as talk:
        assert (await talk.run("echo", "still here"))[1] == b"still here\n"
