"""Guests that say nothing: paused, stopped or hostile. They hold up nobody, and no call waits on.

In a world without clocks (``test_handed_in``): seconds pass at once.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from unit.agent.test_handed_in import Agent, MemoryDisk, Nowhere, simulated

from tfnz_notebook._link.link import Link
from tfnz_notebook.engines.base import State
from tfnz_notebook.errors import (
    ContainerFailed,
    ContainerGone,
    ContainerPaused,
    ContainerUnresponsive,
    EngineError,
    TfnzError,
)
from tfnz_notebook.testing import FakeEngine


class World:
    """An agent with a kernel's link in a durable session, over an engine in memory."""

    def __init__(self) -> None:
        self.engine, self.disk = FakeEngine(), MemoryDisk()
        self.agent = Agent(self.engine, self.disk)

    async def open(self) -> World:
        await self.engine.open()
        self.link = await self.joined()
        return self

    async def joined(self, session: str = "kept") -> Link:
        link = Link(Nowhere(), session=session, connect=self.agent.connect)
        await link.open()
        await link.caught_up()
        return link

    async def spawn(self, link: Link | None = None, ident: str = "", **more: str) -> str:
        """A running container."""
        ident = ident or uuid.uuid4().hex
        link = link or self.link
        spec = {"image": "debian", "sleep": True, **more}
        await link.request("container.spawn", {"container": ident, "spec": spec})
        await link.request("container.stats", {"container": ident})
        return ident

    async def process(self, container: str, *command: str) -> str:
        ident = uuid.uuid4().hex
        body = {"container": container, "process": ident, "command": list(command)}
        await self.link.request("process.spawn", {**body, "text": command[0], "env": []})
        return ident

    def guest(self, container: str) -> Any:
        """The engine's own guest of that container."""
        found = self.agent.sessions.container(self.session, container)
        return self.engine.world.containers[found.ref].guest

    @property
    def session(self) -> Any:
        return self.agent.sessions.get("kept")

    def state(self, container: str, link: Link | None = None) -> str:
        return str((link or self.link).known.containers[container]["state"])

    async def another_agent(self) -> None:
        """The agent is killed; a fresh one meets what it left."""
        self.agent.router.close()
        await self.agent.server.close()
        self.agent.sessions.close()
        self.agent = Agent(self.engine, self.disk)
        server = self.agent.server
        await self.agent.sessions.adopt(server.container_changed, server.process_changed)


def test_paused_is_told_and_what_waits_goes_on() -> None:
    async def paused() -> None:
        world = await World().open()
        box = await world.spawn()
        cat = await world.process(box, "cat")
        asking = asyncio.create_task(
            world.link.request("process.ask", {"process": cat, "timeout": 1000}, b"a\n")
        )
        await asyncio.sleep(1)
        assert (await asking).body["out"] == 2
        world.guest(box).pause(paused=True)
        asking = asyncio.create_task(
            world.link.request("process.ask", {"process": cat, "timeout": 1000}, b"b\n")
        )
        await asyncio.sleep(30)  # longer than anybody who is only mute is waited for
        assert world.state(box) == "paused"
        assert not asking.done(), "it waits under its own timeout"
        for name in ("container.stats", "file.list"):
            with pytest.raises(ContainerPaused, match="unpause"):
                await world.link.request(name, {"container": box, "path": "/"})
        world.guest(box).pause(paused=False)
        assert (await asking).body["out"] == 4
        await world.link.caught_up()
        assert world.state(box) == "running"
        await world.link.request("container.stats", {"container": box})
        await world.link.close()

    simulated(paused)


def test_pausing_by_us() -> None:
    async def paused() -> None:
        world = await World().open()
        box = await world.spawn()
        for _ in range(2):
            await world.link.request("container.pause", {"container": box})
            assert world.state(box) == "paused"
            await world.link.request("container.unpause", {"container": box})
            assert world.state(box) == "running"
        world.engine.down = True
        with pytest.raises(TfnzError):
            await world.link.request("container.pause", {"container": box})
        world.engine.down = False
        assert world.state(box) == "running"
        await world.link.request("container.destroy", {"container": box})
        with pytest.raises(ContainerGone):
            await world.link.request("container.unpause", {"container": box})
        await world.link.close()

    simulated(paused)


OPERATIONS: dict[str, Callable[[World, str, str], Awaitable[Any]]] = {
    "process.spawn": lambda world, box, cat: world.process(box, "cat"),
    "process.ask": lambda world, box, cat: world.link.request(
        "process.ask", {"process": cat}, b"a\n"
    ),
    "process.stdin": lambda world, box, cat: world.link.request(
        "process.stdin", {"process": cat}, b"a\n"
    ),
    "process.signal": lambda world, box, cat: world.link.request(
        "process.signal", {"process": cat, "signal": 0, "target": 0}
    ),
    "process.destroy": lambda world, box, cat: world.link.request(
        "process.destroy", {"process": cat, "grace": 0}
    ),
    "file.list": lambda world, box, cat: world.link.request(
        "file.list", {"container": box, "path": "/"}
    ),
    "file.mkdir": lambda world, box, cat: world.link.request(
        "file.mkdir", {"container": box, "path": "/new"}
    ),
    "file.put": lambda world, box, cat: world.link.request(
        "file.put", {"container": box, "path": "/f", "transfer": "t", "last": True}, b"x"
    ),
    "file.get": lambda world, box, cat: world.link.request(
        "file.get", {"container": box, "path": "/f", "reader": 99, "credit": 100}
    ),
    "dial.open": lambda world, box, cat: world.link.request(
        "dial.open", {"container": box, "reader": 98, "host": "h", "port": 80, "credit": 100}
    ),
    "container.stats": lambda world, box, cat: world.link.request(
        "container.stats", {"container": box}
    ),
    "container.start": lambda world, box, cat: world.link.request(
        "container.start", {"container": box}
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_guest_that_is_stopped_ends_what_is_asked_of_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stopped() -> None:
        world = await World().open()
        box, other = await world.spawn(), await world.spawn()
        cat = await world.process(box, "cat")
        engine_says_it_runs(monkeypatch)
        world.guest(box).pause(paused=True)
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(ContainerUnresponsive, match="does not answer"):
            await OPERATIONS[name](world, box, cat)
        assert 10 <= loop.time() - began <= 20
        began = loop.time()
        with pytest.raises(ContainerUnresponsive):  # the next is told at once
            await world.link.request("container.stats", {"container": box})
        await world.process(other, "cat")
        assert loop.time() - began < 0.1, "and nobody else notices"
        assert (world.state(box), world.state(other)) == ("unresponsive", "running")
        world.guest(box).pause(paused=False)
        await asyncio.sleep(1)
        assert world.state(box) == "running"
        if name == "process.destroy":  # what was said is done, late as it is
            await world.link.close()
            return
        again = await world.link.request("process.ask", {"process": cat, "settle": True}, b"z\n")
        assert again.body["reason"] == "input", "what ran goes on"
        left = [each for each in world.guest(box)._processes.values() if each.status is None]
        started = name == "container.start"
        assert len(left) == 1 + started, "a process that was given up is not left behind"
        await world.link.close()

    simulated(stopped)


def engine_says_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest that is stopped, and not by its engine."""
    state = FakeEngine._state

    def running(self: FakeEngine, held: Any) -> Any:
        guest = held.guest
        if guest is None or not guest.paused:
            return state(self, held)
        guest.paused = False
        try:
            return state(self, held)
        finally:
            guest.paused = True

    monkeypatch.setattr(FakeEngine, "_state", running)


@pytest.mark.parametrize("engine_knows", [True, False])
def test_a_silent_one_holds_up_no_fresh_agent(
    engine_knows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def held() -> None:
        world = await World().open()
        mute, box = await world.spawn(), await world.spawn()
        waiting, running = await world.process(mute, "cat"), await world.process(box, "cat")
        ended = await world.process(mute, "true")
        await asyncio.sleep(1)
        if not engine_knows:
            engine_says_it_runs(monkeypatch)
        world.guest(mute).pause(paused=True)
        await world.another_agent()
        loop = asyncio.get_running_loop()
        began = loop.time()
        link = await world.joined("another")
        await world.spawn(link)
        kept = await world.joined()
        assert kept.known.containers.keys() == {mute, box}
        await kept.request("process.ask", {"process": running}, b"a\n")
        assert loop.time() - began < 0.1
        body = {"process": ended, "stream": 1, "offset": 0, "limit": 10}
        await kept.request("log.read", body)
        assert loop.time() - began < 0.1, "what ended is in files"
        told = ContainerPaused if engine_knows else ContainerUnresponsive
        with pytest.raises(told):
            await kept.request("process.ask", {"process": waiting}, b"a\n")
        with pytest.raises(told):
            await kept.request("container.stats", {"container": mute})
        assert world.state(mute, kept) == ("paused" if engine_knows else "unresponsive")
        with pytest.raises(ContainerUnresponsive):
            await kept.process(waiting)  # nobody may say that it is gone
        world.guest(mute).pause(paused=False)
        await asyncio.sleep(1)
        assert world.state(mute, kept) == "running"
        assert (await kept.process(waiting))["returncode"] is None
        reply = await kept.request("process.ask", {"process": waiting}, b"a\n")
        assert reply.body["out"] == 2
        for each in (kept, link, world.link):
            await each.close()

    simulated(held)


def test_a_kernel_that_comes_back_learns_what_became_of_its_processes() -> None:
    async def back() -> None:
        world = await World().open()
        mute = await world.spawn()
        lives, ends = await world.process(mute, "cat"), await world.process(mute, "cat")
        told: dict[str, Any] = {}
        for ident in (lives, ends):
            world.link.listen("process", ident, lambda info, i=ident: told.__setitem__(i, info))
        world.guest(mute).pause(paused=True)
        await world.another_agent()
        world.link._connect_to = world.agent.connect
        world.link._broke("a test")
        await asyncio.sleep(60)
        assert world.link.known.containers[mute]["state"] == "paused"
        assert not told, "nobody knows yet"
        guest = world.guest(mute)
        for process in list(guest._processes.values()):
            if process.meta and ends.encode() in process.meta:
                process.signal(9)
        guest.pause(paused=False)
        await asyncio.sleep(5)
        assert told[ends]["returncode"] == -9
        assert told.get(lives) is None or told[lives]["returncode"] is None
        await world.link.close()

    simulated(back)


def test_how_long_a_session_lives_outlives_its_agent() -> None:
    async def lives() -> None:
        world = await World().open()
        await world.spawn()
        for ttl, seconds in ((600.0, 500), (None, 10_000)):
            link = Link(Nowhere(), session="kept", ttl=ttl, connect=world.agent.connect)
            await link.open()
            await link.close()
            await world.another_agent()
            assert (world.session.durable, world.session.ttl) == (True, ttl)
            await asyncio.sleep(seconds)
            await world.agent.sessions.collect()
            assert world.session is not None
        await world.agent.sessions.end(world.session)
        await world.agent.sessions.collect()
        assert not world.disk.files

    simulated(lives)


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("fails", ["stop", "start", "recreate", "ensure_image"])
def test_a_reboot_that_fails_deletes_nothing(
    reset: bool, fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not reset and fails in ("recreate", "ensure_image"):
        return

    async def reboots() -> None:
        world = await World().open()
        box = await world.spawn()
        ref = world.agent.sessions.container(world.session, box).ref

        async def refuses(*unused: object) -> None:
            raise EngineError("Cannot do that: it will not.")

        with monkeypatch.context() as patch:
            patch.setattr(world.engine, fails, refuses)
            with pytest.raises(EngineError, match="will not"):
                await world.link.request(
                    "container.reboot", {"container": box, "reset_filesystem": reset}
                )
            assert len(world.engine.world.containers) == 1
            if fails != "start":
                assert ref in world.engine.world.containers
            await asyncio.sleep(1)
            untouched = fails in ("stop", "ensure_image")
            assert world.state(box) == ("running" if untouched else "exited")
        await world.link.request("container.reboot", {"container": box})
        await world.link.request("container.stats", {"container": box})
        assert world.state(box) == "running"
        await world.link.close()

    simulated(reboots)


def test_destroying_with_grace_keeps_the_last_words() -> None:
    async def says(p: Any) -> int:
        await p.write(b"up\n")
        await asyncio.Event().wait()
        return 0

    async def destroyed() -> None:
        world = World()
        world.engine.programs["says"] = says
        await world.open()
        ident = uuid.uuid4().hex
        spec = {"image": "debian", "command": ["says"]}
        await world.link.request("container.spawn", {"container": ident, "spec": spec})
        told: list[Any] = []
        world.link.listen("process", ident, told.append)
        await asyncio.sleep(1)
        await world.link.request("container.destroy", {"container": ident, "grace": 5})
        assert (told[-1]["returncode"], told[-1]["out"], told[-1]["ended"]) == (-15, 3, True)
        await world.link.close()

    simulated(destroyed)


def test_one_whose_machine_is_not_heard_of_is_unreachable_and_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def cut() -> None:
        world = await World().open()
        container = await world.spawn()
        known = world.engine.inspect
        words = "its node n1 does not answer"

        async def said(ref: str) -> State:
            return replace(await known(ref), status="running", error=words)

        world.guest(container).pause(paused=True)
        monkeypatch.setattr(world.engine, "inspect", said)
        with pytest.raises(ContainerUnresponsive, match=words):
            await world.link.request("container.stats", {"container": container})
        assert world.state(container) == "unreachable"
        monkeypatch.setattr(world.engine, "inspect", known)
        world.guest(container).pause(paused=False)
        async with asyncio.timeout(60):
            while world.state(container) != "running":
                await asyncio.sleep(0.1)

    simulated(cut)


def test_what_its_engine_takes_away_has_failed_in_its_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def evicted() -> None:
        world = await World().open()
        container = await world.spawn()
        guest = world.guest(container)

        async def said(ref: str) -> State:
            return State("exited", taken="EvictionByEvictionAPI: drained")

        monkeypatch.setattr(world.engine, "inspect", said)
        guest.exit(137)
        async with asyncio.timeout(60):
            while world.state(container) != "failed":
                await asyncio.sleep(0.1)
        with pytest.raises(ContainerFailed, match="drained"):
            await world.link.request("container.stats", {"container": container})

    simulated(evicted)
