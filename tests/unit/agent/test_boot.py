"""Containers whose guests start asleep: they are told what the spec says, whatever breaks.

In a world without clocks (``test_handed_in``), on the engine in memory.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import msgpack
import pytest
from unit.agent.test_handed_in import simulated
from unit.agent.test_silence import World

from tfnz_notebook._wire.guest import Feature, Type
from tfnz_notebook._wire.guest import Frame as GuestFrame
from tfnz_notebook.engines.fake.guest import FakeGuest

SCRIPT = "env; pwd; id; cat /etc/app.conf; cat big; sleep 1e6"
SPEC = {
    "image": "debian",
    "command": ["sh", "-c", SCRIPT],
    "env": {"SECRET": "hunter2", "PATH": "/own"},
    "user": "33:33",
    "workdir": "/made/for/it",
}
BIG = b"x" * (700 << 10)
FILES = {"/etc/app.conf": b"conf\n", "/made/for/it/big": BIG}
SAID = b"SECRET=hunter2\nPATH=/own\n", b"/made/for/it\n33\nconf\n"


async def asleep() -> World:
    world = World()
    world.engine.starts_asleep = True
    return await world.open()


async def spawn(world: World, spec: dict[str, Any], files: dict[str, bytes] | None = None) -> str:
    ident = uuid.uuid4().hex
    body = {"container": ident, "spec": spec}
    payload = msgpack.packb(files) if files else None
    await world.link.request("container.spawn", body, payload)
    return ident


async def info(world: World, ident: str) -> dict[str, Any]:
    return dict((await world.link.request("container.info", {"container": ident})).body["info"])


async def settled(world: World, ident: str) -> dict[str, Any]:
    """Once it is not coming up any more."""
    while (told := await info(world, ident))["state"] in ("pulling", "creating", "starting"):
        await asyncio.sleep(0.1)
    return told


async def written(world: World, ident: str, count: int) -> bytes:
    """What its main process wrote, once that is so much."""
    body = {"process": ident, "stream": 1, "offset": 0, "limit": 1 << 20}
    for _ in range(10_000):
        payload = (await world.link.request("log.read", body)).payload or b""
        if len(payload) >= count:
            return payload
        await asyncio.sleep(0.01)
    raise AssertionError(payload[-200:])


async def said_it_all(world: World, ident: str) -> None:
    said = await written(world, ident, len(b"".join(SAID)) + len(BIG))
    assert said == b"".join(SAID) + BIG


def test_a_guest_is_told_what_its_container_is() -> None:
    async def told() -> None:
        world = await asleep()
        ident = await spawn(world, SPEC, FILES)
        told = await settled(world, ident)
        assert (told["state"], told["about"]) == ("running", {})
        await said_it_all(world, ident)
        (held,) = world.engine.world.containers.values()
        assert held.guest is not None
        assert "hunter2" not in str(held.image), "the engine knows the image alone"

    simulated(told)


def test_one_that_sleeps_on_is_prepared_and_started_later() -> None:
    async def later() -> None:
        world = await asleep()
        ident = await spawn(world, {**SPEC, "sleep": True}, FILES)
        assert (await settled(world, ident))["state"] == "running"
        env = await world.process(ident, "env")
        lines = (await written(world, env, len(SAID[0]))).splitlines()
        assert sorted(lines) == sorted(SAID[0].splitlines())
        await world.another_agent()
        await world.link.request("ping", {})
        world.link = await world.joined()
        await world.link.request("container.start", {"container": ident})
        await said_it_all(world, ident)

    simulated(later)


def test_what_cannot_be_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused() -> None:
        world = await asleep()
        ident = await spawn(world, {**SPEC, "user": "nosuch"}, FILES)
        told = await settled(world, ident)
        assert told["state"] == "failed"
        assert "does not know the user 'nosuch'" in told["error"]["message"]
        ident = await spawn(world, SPEC, {"/etc": b"", "/etc/passwd/x": b""})
        assert "Cannot put '/etc" in (await settled(world, ident))["error"]["message"]
        assert not world.engine.world.containers
        container = world.agent.sessions.container(world.session, ident)
        await container.look()
        assert (await info(world, ident))["state"] == "failed", "the engine has it no more"
        monkeypatch.setattr(FakeGuest, "features", Feature.SETUP)
        ident = await spawn(world, {"image": "debian", "sleep": True})
        less = (await settled(world, ident))["about"]
        assert "cannot change users" in less["user"]
        assert "cannot give any away" in less["files"]
        monkeypatch.setattr(FakeGuest, "features", Feature(0))
        ident = await spawn(world, SPEC)
        assert "of an earlier version" in (await settled(world, ident))["error"]["message"]

    simulated(refused)


def test_a_guest_that_takes_nothing_is_given_up() -> None:
    async def silent() -> None:
        world = await asleep()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FakeGuest, "_on_setup", lambda self, frame: None)
            ident = await spawn(world, SPEC)
            told = await settled(world, ident)
        assert told["state"] == "failed"
        assert "did not take its files and environment within" in told["error"]["message"]

    simulated(silent)


class Cut:
    """Do something just before a guest meets the so-manieth frame after its HELLO."""

    def __init__(self, patch: pytest.MonkeyPatch, at: int) -> None:
        self.left, self.cut = at, False
        frame, cutting = FakeGuest._frame, self

        def counted(guest: FakeGuest, met: GuestFrame) -> None:
            if met.type is not Type.HELLO and not cutting.cut:
                cutting.left -= 1
                if cutting.left < 0:
                    cutting.cut = True
                    cutting.happens(guest)
                    return
            frame(guest, met)

        patch.setattr(FakeGuest, "_frame", counted)

    def happens(self, guest: FakeGuest) -> None:
        assert guest.stream is not None
        guest.stream.broke(None)


def test_the_connection_may_break_at_any_frame() -> None:
    async def broken(at: int) -> bool:
        world = await asleep()
        with pytest.MonkeyPatch.context() as patch:
            cut = Cut(patch, at)
            ident = await spawn(world, SPEC, FILES)
            told = await settled(world, ident)
            assert told["state"] == "running", (at, told["error"])
            await said_it_all(world, ident)
        (held,) = world.engine.world.containers.values()
        assert held.guest is not None
        held.guest.exit(0)
        return cut.cut

    cuts = 0
    for at in range(22):

        async def once(at: int = at) -> None:
            nonlocal cuts
            cuts += await broken(at)

        simulated(once)
    assert cuts >= 20


def test_another_agent_goes_on_or_says_that_it_cannot() -> None:
    """What an agent that was killed had not told the guest yet went with it."""
    outcomes = set()

    async def killed(at: int) -> None:
        world = await asleep()
        with pytest.MonkeyPatch.context() as patch:
            cut, dead = Cut(patch, at), asyncio.Event()

            def dies(guest: FakeGuest) -> None:
                dead.set()

            patch.setattr(cut, "happens", dies)
            ident = await spawn(world, SPEC, FILES)
            await dead.wait()
            await world.another_agent()
        world.link = await world.joined()
        for _ in range(1000):
            told = await info(world, ident)
            if told["state"] == "exited" or (
                told["state"] == "running" and world.guest(ident).started
            ):
                break
            await asyncio.sleep(0.1)
        outcomes.add(told["state"])
        if told["state"] == "running":
            await said_it_all(world, ident)
        else:
            assert "took its environment and files along" in told["error"]["message"]

    for at in range(0, 21, 2):

        async def once(at: int = at) -> None:
            await killed(at)

        simulated(once)
    assert outcomes == {"exited", "running"}


def test_a_guest_that_would_end_hears_from_us(monkeypatch: pytest.MonkeyPatch) -> None:
    async def heard() -> None:
        world = await asleep()
        monkeypatch.setattr(FakeGuest, "orphan", 600)
        pings = 0
        ping = FakeGuest._on_ping

        def counted(guest: FakeGuest, frame: GuestFrame) -> None:
            nonlocal pings
            pings += 1
            ping(guest, frame)

        monkeypatch.setattr(FakeGuest, "_on_ping", counted)
        ident = await spawn(world, {**SPEC, "sleep": True})
        assert (await settled(world, ident))["state"] == "running"
        before = pings
        await asyncio.sleep(6000)
        assert 35 <= pings - before <= 45
        guest = world.guest(ident)
        guest.stream.broke(None)
        await asyncio.sleep(600)
        assert pings - before > 40, "and on the next connection"
        await world.link.request("container.destroy", {"container": ident})
        await asyncio.sleep(6000)
        assert pings - before < 55

    simulated(heard)
