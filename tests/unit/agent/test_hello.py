"""What guests say of themselves in their HELLO, and what comes of it.

In a world without clocks (``test_handed_in``), on the engine in memory.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from unit.agent.test_handed_in import simulated
from unit.agent.test_silence import World

from tfnz_notebook._wire.guest import Feature
from tfnz_notebook._wire.guest import Frame as GuestFrame
from tfnz_notebook.engines.fake.guest import FakeGuest


async def about(world: World) -> dict[str, Any]:
    """What is less than usual in a new container."""
    body = {"container": await world.spawn()}
    return dict((await world.link.request("container.info", body)).body["info"]["about"])


def test_what_a_guest_cannot_is_told() -> None:
    async def told() -> None:
        world = await World().open()
        assert await about(world) == {}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FakeGuest, "features", Feature.SETUP)
            less = await about(world)
        assert "cannot change users" in less["user"]
        assert "cannot give any away" in less["files"]

    simulated(told)


def test_one_that_failed_stays_though_its_engine_has_it_no_more() -> None:
    async def stays() -> None:
        world = await World().open()
        spec = {"image": "debian", "sleep": True, "user": "nosuch"}
        body = {"container": "f" * 32, "spec": spec}
        await world.link.request("container.spawn", body)
        while world.state("f" * 32) != "failed":
            await asyncio.sleep(0.1)
        container = world.agent.sessions.container(world.session, "f" * 32)
        container.look_soon()
        await asyncio.sleep(10)
        assert world.state("f" * 32) == "failed"

    simulated(stays)


def test_a_guest_that_would_end_hears_from_us(monkeypatch: pytest.MonkeyPatch) -> None:
    async def heard() -> None:
        world = await World().open()
        monkeypatch.setattr(FakeGuest, "orphan", 600)
        pings = 0
        ping = FakeGuest._on_ping

        def counted(guest: FakeGuest, frame: GuestFrame) -> None:
            nonlocal pings
            pings += 1
            ping(guest, frame)

        monkeypatch.setattr(FakeGuest, "_on_ping", counted)
        ident = await world.spawn()
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
