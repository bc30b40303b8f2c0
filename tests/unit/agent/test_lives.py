"""A container's lives: restarted past us, rebooted in vain, made twice; and what is about two.

In a world without clocks (``test_handed_in``).
"""

from __future__ import annotations

import asyncio
import uuid
from functools import partial
from typing import Any

import pytest
from unit.agent.test_handed_in import SPOOL, simulated
from unit.agent.test_silence import Nowhere, World

from tfnz_notebook._link.files.download import Download
from tfnz_notebook._link.link import Link
from tfnz_notebook._link.reader import Reader
from tfnz_notebook._wire import link as wire
from tfnz_notebook.agent.container.container import LAST
from tfnz_notebook.agent.process.command import Command
from tfnz_notebook.agent.process.process import Process
from tfnz_notebook.agent.process.writes import Write, Writes
from tfnz_notebook.agent.sessions import LATE
from tfnz_notebook.errors import (
    ContainerGone,
    ContainerPaused,
    ContainerUnresponsive,
    EngineError,
    EngineGone,
    FileError,
    LinkClosed,
    Misuse,
    TfnzError,
)


def test_what_was_typed_in_another_life_is_typed_again() -> None:
    """Its kernel says again what no agent has answered, and the container was restarted since."""

    async def lives() -> None:
        world = await World().open()
        box, ident = await world.spawn(), uuid.uuid4().hex
        # What the agent had noted when it was killed, and its container with it.
        Writes(SPOOL / box, world.disk).note(ident, f"{ident} begins", Write(0, 5))
        await world.another_agent()
        link = await world.joined()
        body = {"container": box, "process": ident, "command": ["cat"], "text": "", "env": []}
        async with asyncio.timeout(1):
            await link.request("process.spawn", {**body, "last": True}, b"words")
        asked = {"process": ident, "stream": 1, "offset": 0, "limit": 100}
        await asyncio.sleep(1)
        assert (await link.request("log.read", asked)).payload == b"words"
        await link.close()

    simulated(lives)


def test_a_spawn_that_fails_takes_nothing_from_who_has_its_id_by_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its container was restarted past us meanwhile, and its kernel had asked again."""

    async def twice() -> None:
        world = await World().open()
        box, ident, told = await world.spawn(), uuid.uuid4().hex, asyncio.Event()
        found = world.agent.sessions.container(world.session, box)

        async def fails(*unused: object, **more: object) -> None:
            await told.wait()
            raise ContainerGone("Cannot spawn a process: the container has ended. Spawn another.")

        with monkeypatch.context() as patch:
            patch.setattr(Process, "spawn", fails)
            first = asyncio.create_task(found.spawn(ident, Command(["cat"], "cat")))
            await asyncio.sleep(1)
        found._records.discard()
        second = await found.spawn(ident, Command(["cat"], "cat"))
        told.set()
        with pytest.raises(ContainerGone):
            await first
        assert found.processes[ident] is second
        await world.link.close()

    simulated(twice)


def test_a_start_is_answered_whatever_its_container_s_end_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def ends() -> None:
        world = await World().open()
        box = await world.spawn()
        found = world.agent.sessions.container(world.session, box)

        async def forever(*unused: object) -> None:
            await asyncio.Event().wait()

        async def slowly(*unused: object) -> None:
            await asyncio.sleep(1)

        monkeypatch.setattr(found, "_say_start", forever)
        monkeypatch.setattr(found._neighbours, "gone", slowly)
        starting = asyncio.create_task(world.link.request("container.start", {"container": box}))
        await asyncio.sleep(1)
        await world.link.request("container.destroy", {"container": box})
        with pytest.raises(ContainerGone, match="it was destroyed"):
            async with asyncio.timeout(5):
                await starting
        await world.link.close()

    simulated(ends)


@pytest.mark.parametrize(("asks", "does"), [("reboot", "stop"), ("commit", "commit")])
def test_what_is_asked_right_after_an_end_is_not_ended_by_it(
    asks: str, does: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ends() -> None:
        world = await World().open()
        box = await world.spawn()
        engine = getattr(world.engine, does)

        async def slowly(*told: Any) -> Any:
            await asyncio.sleep(2 * LAST)
            return await engine(*told)

        monkeypatch.setattr(world.engine, does, slowly)
        world.guest(box).exit(3)
        async with asyncio.timeout(5):
            while world.state(box) != "exited":
                await asyncio.sleep(LAST / 100)
        await world.link.request(f"container.{asks}", {"container": box, "name": "made"})
        await world.link.close()

    simulated(ends)


def test_a_reboot_that_only_seems_to_fail_is_seen_once_the_engine_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def reboots() -> None:
        world = await World().open()
        box = await world.spawn()
        start = world.engine.start

        async def gone(*unused: object, **more: object) -> Any:
            raise EngineGone("Cannot reach the engine: it is down.")

        async def starts(ref: str) -> None:
            await start(ref)
            for name in ("isolate", "inspect"):
                patch.setattr(world.engine, name, gone)

        with monkeypatch.context() as patch:
            patch.setattr(world.engine, "start", starts)
            with pytest.raises(EngineGone):
                await world.link.request("container.reboot", {"container": box})
            await asyncio.sleep(60)
            assert world.state(box) == "exited"
        await asyncio.sleep(10)
        assert world.state(box) == "running"
        await world.link.request("container.stats", {"container": box})
        await world.link.close()

    simulated(reboots)


def test_what_a_dead_agent_had_made_goes_though_another_made_it_anew() -> None:
    async def twice() -> None:
        world = await World().open()
        await world.another_agent()
        link = await world.joined()
        box = await world.spawn(link)
        found = world.agent.sessions.container(world.session, box)
        image = await world.engine.ensure_image("debian", "never", lambda _: None)
        late = await world.engine.create(found.spec, image)
        await asyncio.sleep(LATE + 1)
        assert late not in world.engine.world.containers
        assert [found.ref] == list(world.engine.world.containers)
        await link.close()

    simulated(twice)


def test_a_spawn_that_is_said_again_has_the_name_of_what_a_dead_agent_had_made() -> None:
    async def again() -> None:
        world = await World().open()
        box = await world.spawn(name="web")
        spec = world.agent.sessions.container(world.session, box).spec
        await world.link.request("container.destroy", {"container": box})
        image = await world.engine.ensure_image("debian", "never", lambda _: None)
        made = await world.engine.create(spec, image)  # and killed, before it could be started
        remove = world.engine.remove

        async def slowly(ref: str) -> None:
            await asyncio.sleep(5)
            await remove(ref)

        world.engine.remove = slowly  # type: ignore[method-assign]
        await world.another_agent()
        link = await world.joined()
        assert await world.spawn(link, box, name="web") == box
        assert made not in world.engine.world.containers
        assert world.state(box, link) == "running"
        await link.close()

    simulated(again)


@pytest.mark.parametrize("operation", ["allow", "disallow"])
def test_what_is_about_two_containers_ends_with_the_other(operation: str) -> None:
    async def two() -> None:
        world = await World().open()
        one, other = await world.spawn(), await world.spawn()
        body = {"container": one, "other": other}
        await world.link.request("container.allow", body)

        async def never(*unused: object) -> None:
            await asyncio.Event().wait()

        world.engine.isolate = never  # type: ignore[method-assign]
        asked = asyncio.create_task(world.link.request(f"container.{operation}", body))
        await asyncio.sleep(1)
        mute = ContainerUnresponsive("Cannot use it: its guest does not answer.")
        world.agent.sessions.container(world.session, other).scope.interrupt(mute)
        with pytest.raises(ContainerUnresponsive):
            await asyncio.wait_for(asked, 1)
        await world.link.close()

    simulated(two)


def test_a_spawn_that_was_cancelled_is_undone_before_its_container_has_started() -> None:
    async def undone() -> None:
        world = await World().open()
        start = world.engine.start

        async def starts(ref: str) -> None:
            await asyncio.sleep(5)
            await start(ref)

        world.engine.start = starts  # type: ignore[method-assign]
        box, ident = uuid.uuid4().hex, uuid.uuid4().hex
        spec = {"image": "debian", "sleep": True}
        await world.link.request("container.spawn", {"container": box, "spec": spec})
        body = {"container": box, "process": ident, "command": ["cat"], "text": "", "env": []}
        undo = partial(world.link.take_back, "process.destroy", {"process": ident, "grace": 0.0})
        asked = asyncio.create_task(world.link.request("process.spawn", body, undo=undo))
        await asyncio.sleep(1)
        asked.cancel()
        await asyncio.sleep(0)
        world.link._broke("test")
        await asyncio.sleep(60)
        assert not [each for each in world.guest(box)._processes.values() if each.status is None]
        await world.link.close()

    simulated(undone)


@pytest.mark.parametrize(
    "why",
    [ContainerPaused("Cannot use the container: it is paused."), LinkClosed("Cannot reach it.")],
    ids=["paused", "away"],
)
def test_what_cannot_be_undone_now_is_undone_later(why: TfnzError) -> None:
    async def later() -> None:
        world, asked = await World().open(), list[str]()

        async def request(name: str, body: object) -> None:
            asked.append(name)
            if asked.count("process.destroy") < 3:
                raise why

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(world.link, "request", request)
            world.link.take_back("process.destroy", {})
            await asyncio.sleep(60)
        assert asked.count("process.destroy") == 3
        await world.link.close()

    simulated(later)


@pytest.mark.parametrize("restarts", [False, True])
def test_a_main_process_that_nobody_waits_for_any_more_is_known(restarts: bool) -> None:
    async def starts() -> None:
        world = await World().open()
        box = uuid.uuid4().hex
        spec = {"image": "debian", "sleep": True, "command": ["sleep", "1000"]}
        await world.link.request("container.spawn", {"container": box, "spec": spec})
        await world.link.request("container.stats", {"container": box})
        guest, found = world.guest(box), world.agent.sessions.container(world.session, box)
        hears, held = guest.fed, list[Any]()
        guest.fed = lambda *said: held.append(said)  # it is stopped
        with pytest.raises(ContainerUnresponsive):
            await world.link.request("container.start", {"container": box})
        if restarts:
            await world.engine.stop(found.ref, 0.0)
            await world.engine.start(found.ref)
        else:
            guest.fed = hears
            for said in held:
                hears(*said)
        await asyncio.sleep(60)
        truth = [each for each in world.guest(box)._processes.values() if each.status is None]
        known = world.link.known.processes.get(box, {}).values()
        told = [each for each in known if each["returncode"] is None]
        assert len(truth) == len(told) == (0 if restarts else 1)
        if restarts:
            await world.link.request("container.start", {"container": box})
        await world.link.close()

    simulated(starts)


def test_of_two_who_start_it_at_once_one_is_told_that_it_was_started() -> None:
    async def starts() -> None:
        world = await World().open()
        box = uuid.uuid4().hex
        spec = {"image": "debian", "sleep": True, "command": ["sleep", "1000"]}
        await world.link.request("container.spawn", {"container": box, "spec": spec})
        both = (world.link.request("container.start", {"container": box}) for _ in range(2))
        said = await asyncio.gather(*both, return_exceptions=True)
        (error,) = [each for each in said if isinstance(each, BaseException)]
        assert isinstance(error, Misuse)
        assert world.agent.sessions.container(world.session, box).main is not None
        await world.link.close()

    simulated(starts)


def test_one_that_ends_and_is_started_before_we_hear_of_either_runs() -> None:
    async def starts() -> None:
        world = await World().open()
        box = await world.spawn()
        found = world.agent.sessions.container(world.session, box)
        inspect, moved = world.engine.inspect, False

        async def inspects(ref: str) -> Any:
            nonlocal moved
            state = await inspect(ref)
            if state.status == "exited" and not moved:
                moved = True
                await world.engine.start(ref)
                await asyncio.sleep(0.1)
            return state

        world.engine.inspect = inspects  # type: ignore[method-assign]
        await world.engine.stop(found.ref, 0.0)
        await asyncio.sleep(60)
        assert moved
        assert world.state(box) == "running"
        await world.link.request("container.stats", {"container": box})
        await world.link.close()

    simulated(starts)


def test_an_engine_that_errs_leaves_no_folders() -> None:
    async def leaves() -> None:
        world = await World().open()
        world.disk.files[SPOOL / ("d" * 32) / "ended"] = b"of a container that is gone"

        async def errs(*unused: object) -> None:
            raise EngineGone("Cannot reach the engine: it is down.")

        world.engine.sweep = errs  # type: ignore[method-assign]
        await world.another_agent()
        await asyncio.sleep(1)
        assert not world.disk.files
        await world.link.close()

    simulated(leaves)


def test_what_goes_ahead_to_be_made_is_not_gone_when_the_link_breaks() -> None:
    async def made() -> None:
        world = await World().open()
        box, ident, told = await world.spawn(), uuid.uuid4().hex, list[Any]()
        world.link.listen("process", ident, told.append)
        body = {"container": box, "process": ident, "command": ["cat"], "text": ""}
        body["env"] = [f"NAME{number}={number:01000}" for number in range(2000)]
        goes, go_on = world.link._large.ahead, asyncio.Event()

        async def ahead(*said: Any) -> Any:
            await go_on.wait()
            return await goes(*said)

        world.link._large.ahead = ahead  # type: ignore[method-assign]
        asked = asyncio.create_task(world.link.request("process.spawn", body))
        await asyncio.sleep(1)
        world.link._broke("test")
        await asyncio.sleep(10)
        go_on.set()
        await asked
        await asyncio.sleep(10)
        assert None not in told
        assert world.link.known.process(ident) is not None
        await world.link.close()

    simulated(made)


def test_what_a_kernel_said_over_a_connection_that_it_left_is_not_done() -> None:
    """It was given up, or is said again; and it may be read after what came over the newer one."""

    async def leaves() -> None:
        world = await World().open()
        box, ident = await world.spawn(), uuid.uuid4().hex
        server, body = world.agent.server, world.link._hello()
        left = next(iter(server.clients))
        server.incoming(b"newer", wire.encode(wire.request(1, "hello", body)))
        body = {"container": box, "process": ident, "command": ["cat"], "text": "", "env": []}
        await asyncio.sleep(0.01)
        server.incoming(left, wire.encode(wire.request(99, "process.spawn", body)))
        await asyncio.sleep(1)
        assert ident not in world.agent.sessions.container(world.session, box).processes
        await world.link.close()

    simulated(leaves)


def test_what_a_spawn_s_readers_read_goes_on_though_the_link_breaks_with_its_reply() -> None:
    async def reads() -> None:
        world = await World().open()
        link, box, ident, got = world.link, await world.spawn(), uuid.uuid4().hex, bytearray()
        reader = Reader(link, ident, 1, 0, got.extend, lambda error: None)
        body = {"container": box, "process": ident, "command": ["cat"], "text": "", "env": []}
        body["readers"] = [[1, reader.number, reader.credit]]
        answers = link._answer

        def answer(message: Any) -> None:
            answers(message)
            if message.name == "process.spawn":
                link._broke("test")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(link, "_answer", answer)
            await link.request("process.spawn", body)
        await asyncio.sleep(10)
        await link.request("process.stdin", {"process": ident}, b"words")
        await asyncio.sleep(10)
        assert got == b"words"
        await link.close()

    simulated(reads)


def test_a_file_is_not_put_without_what_came_before_the_link_broke() -> None:
    async def puts() -> None:
        world = await World().open()
        link, box = world.link, await world.spawn()
        body = {"container": box, "path": "/f", "transfer": "a" * 32}
        await link.request("file.put", {**body, "offset": 0, "last": False}, b"one ")
        link._broke("test")
        with pytest.raises(FileError, match="between two pieces.*Put it again"):
            await link.request("file.put", {**body, "offset": 4, "last": True}, b"two")
        with pytest.raises(FileError, match="no such file"):
            await Download(link).fetch(box, "/f")
        await link.request("file.put", {**body, "offset": 0, "last": False}, b"one ")
        with pytest.raises(FileError, match="between two pieces"):
            await link.request("file.put", {**body, "offset": 5, "last": True}, b"two")
        for offset, piece in ((0, b"one "), (4, b"two")):
            await link.request("file.put", {**body, "offset": offset, "last": offset > 0}, piece)
        assert await Download(link).fetch(box, "/f") == b"one two"
        await link.close()

    simulated(puts)


def test_an_engine_that_errs_when_an_agent_starts_is_asked_again() -> None:
    async def starts() -> None:
        world = await World().open()
        errors = [EngineError("Cannot find: it says that it failed."), EngineGone("Cannot: away.")]

        async def connect(*where: Any) -> Any:
            if errors and broken:
                raise errors.pop()
            return await world.agent.connect(*where)

        broken = list[str]()
        link = Link(Nowhere(), session="kept", connect=connect)
        await link.open()
        broken.append("by the test")
        link._broke("test")
        await link.caught_up()
        assert not errors and not link.over
        await link.close()
        await world.link.close()

    simulated(starts)
