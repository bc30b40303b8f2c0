"""Spares: taken where the wishes fit, made up for, no more than asked, gone with their session."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from unit.agent.live import LiveAgent, live_agent, met, process, until
from unit.agent.test_handed_in import MemoryDisk

from tfnz_notebook._link.link import Link
from tfnz_notebook._wire.guest import Feature
from tfnz_notebook.agent.container import labels, spares, taken
from tfnz_notebook.agent.container.taken import Taken
from tfnz_notebook.engines.base import LABEL_CONTAINER, ContainerSpec, Image
from tfnz_notebook.engines.fake.engine import FakeEngine
from tfnz_notebook.engines.fake.guest import FakeGuest
from tfnz_notebook.engines.kubernetes.pod.manifest import Remote
from tfnz_notebook.errors import AgentError, ContainerFailed, EngineGone, ImageMissing, Misuse

ASLEEP = {"image": "debian", "sleep": True}


@pytest.fixture
async def agent(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LiveAgent]:
    monkeypatch.setattr(spares, "BEHIND", 0.0)
    async with live_agent(monkeypatch) as made:
        yield made


async def prepare(link: Link, count: int = 1, **spec: Any) -> int:
    body = {"spec": {**ASLEEP, **spec}, "spares": count}
    ready: int = (await link.request("container.prepare", body)).body["ready"]
    return ready


async def asked(link: Link, *, files: dict[str, bytes] | None = None, **spec: Any) -> str:
    ident = uuid.uuid4().hex
    body = {"container": ident, "spec": {**ASLEEP, **spec}}
    await link.request("container.spawn", body, msgpack.packb(files) if files else None)
    return ident


async def up(link: Link, ident: str, state: str = "running") -> dict[str, Any]:
    await until(lambda: link.known.containers.get(ident, {}).get("state") == state)
    return link.known.containers[ident]


async def spawned(link: Link, **spec: Any) -> str:
    ident = await asked(link, **spec)
    await up(link, ident)
    return ident


def held(agent: LiveAgent) -> list[Any]:
    return list(agent.engine.world.containers.values())


def waiting(agent: LiveAgent) -> list[Any]:
    """Those that are there for nobody yet."""
    sessions = agent.service.sessions
    return [each for session in sessions if session.spares for each in session.spares]


def ready(agent: LiveAgent) -> int:
    return sum(each.state == "running" for each in waiting(agent))


async def said(link: Link, where: str) -> bytes:
    """What its main process wrote."""
    body = {"process": where, "stream": 1, "offset": 0, "limit": 1000}
    return (await link.request("log.read", body)).payload or b""


async def test_a_spawn_takes_one_and_it_is_made_up_for(agent: LiveAgent) -> None:
    link = await agent.kernel()
    assert await prepare(link, 2) == 2
    await link.caught_up()
    assert not link.known.containers, "nobody hears of them"
    before = {each.ref for each in held(agent)}
    where = await spawned(link)
    taken = agent.service.sessions.container(next(iter(agent.service.sessions)), where)
    assert taken.ref in before
    assert (await link.request("container.info", {"container": where})).body["info"]["ip"]
    await process(link, where, "cat")
    await until(lambda: ready(agent) == 2)
    assert len(held(agent)) == 3
    await link.request("container.destroy", {"container": where})
    assert len(held(agent)) == 2


async def test_what_it_is_for_is_said_when_it_is_taken(agent: LiveAgent) -> None:
    link = await agent.kernel()
    await prepare(link, env={"A": "before"})
    command = {"command": ["cat", "/told"], "entrypoint": []}
    options = {
        "sleep": False,
        "env": {"A": "1", "B": "2"},
        "user": "nobody",
        "name": "web",
        **command,
    }
    where = await asked(link, files={"/told": b"text"}, **options)
    await up(link, where, "exited")
    assert await said(link, where) == b"text"
    assert agent.engine.world.made <= 2, "it was the spare, and another is made"
    await until(lambda: ready(agent) == 1)
    where = await asked(link, sleep=False, command=["sleep", "1e9"], env={"A": "x"}, name="other")
    info = await up(link, where)
    assert (info["name"], info["engine_name"]) == ("other", "other")
    ident, _ = await process(link, where, "env")
    await until(lambda: (link.known.process(ident) or {}).get("ended"))
    body = {"process": ident, "stream": 1, "offset": 0, "limit": 1000}
    assert b"A=x\n" in ((await link.request("log.read", body)).payload or b"")


async def test_two_that_want_the_same_one(agent: LiveAgent) -> None:
    link = await agent.kernel()
    await prepare(link, 1)
    first, second = await asyncio.gather(asked(link), asked(link))
    await up(link, first), await up(link, second)
    refs = {each.ref for each in held(agent)}
    assert len(refs) >= 2
    sessions = agent.service.sessions
    both = [sessions.holder(each) for each in (first, second)]
    assert both[0].ref != both[1].ref
    assert sum(each.made is not None for each in both) == 1
    await until(lambda: ready(agent) == 1)
    assert len(held(agent)) == 3


async def test_never_more_than_asked(agent: LiveAgent) -> None:
    link = await agent.kernel()
    for count in (3, 1, 2, 0):
        await prepare(link, count)
        await until(lambda: len(held(agent)) == count)  # noqa: B023
    await asyncio.gather(prepare(link, 2), prepare(link, 2), prepare(link, 2))
    assert len(held(agent)) == 2
    await prepare(link, 1, memory=1 << 20)
    assert len(held(agent)) == 3, "another kind has its own"


@pytest.mark.parametrize(
    "wish",
    [
        {"memory": 1 << 30},
        {"cpu": 0.5},
        {"network": "none"},
        {"volumes": [["v", "/v", False]]},
        {"labels": {"a": "b"}},
        {"workdir": "/tmp"},
        {"flags": {"tty": True}},
        {"hostname": "web"},
        {"capabilities": ["NET_ADMIN"]},
        {"read_only": True},
        {"image": "busybox"},
    ],
    ids=lambda wish: next(iter(wish)),
)
async def test_one_that_does_not_fit_is_left(agent: LiveAgent, wish: dict[str, Any]) -> None:
    link = await agent.kernel()
    await prepare(link)
    (spare,) = waiting(agent)
    where = await asked(link, **wish)
    await up(link, where)
    assert waiting(agent) == [spare]
    await prepare(link, 0)
    await prepare(link, 1, **wish)  # and the other way round
    (spare,) = waiting(agent)
    await spawned(link)
    assert waiting(agent) == [spare]


async def test_what_was_set_in_it_nobody_can_take_away(agent: LiveAgent) -> None:
    link = await agent.kernel()
    await prepare(link, env={"SECRET": "x"})
    (spare,) = waiting(agent)
    await spawned(link, env={"OTHER": "y"})
    assert waiting(agent) == [spare]


async def test_an_image_that_is_another_by_now_is_not_used(agent: LiveAgent) -> None:
    link = await agent.kernel()
    await prepare(link, 2)
    old = {each.ref for each in held(agent)}
    agent.engine.world.images["debian"] = Image("sha256:newer", command=("sh",))
    where = await spawned(link)
    assert agent.service.sessions.holder(where).ref not in old
    await until(lambda: ready(agent) == 2 and len(held(agent)) == 3)
    assert not old & {each.ref for each in held(agent)}, "they are made anew"


@pytest.mark.parametrize(
    ("wish", "fits"),
    [
        ({}, True),
        ({"node": "memory"}, True),
        ({"node": "another"}, False),
        ({"node": "another", "anywhere": True}, True),
    ],
)
async def test_it_is_where_it_is_wished_to_be(
    agent: LiveAgent, wish: dict[str, Any], fits: bool
) -> None:
    link = await agent.kernel()
    await prepare(link)
    (spare,) = held(agent)
    where = await spawned(link, **wish)
    taken = agent.service.sessions.holder(where)
    assert (taken.ref == spare.ref, taken.info()["node"]) == (fits, "memory")


async def test_where_an_image_is_known_only_as_it_starts_a_newer_one_is_looked_for(
    agent: LiveAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ensure(image: str, pull: str, progress: object) -> Image:
        return Remote("", pull=pull)

    monkeypatch.setattr(agent.engine, "ensure_image", ensure)
    link = await agent.kernel()
    await prepare(link)
    (spare,) = held(agent)
    newer = await spawned(link, pull="always")
    assert agent.service.sessions.holder(newer).ref != spare.ref
    assert agent.service.sessions.holder(await spawned(link)).ref == spare.ref


async def test_one_that_no_other_name_can_be_given_is_left_by_who_wants_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(FakeEngine, "renames", False)
    async with live_agent(monkeypatch) as agent:
        link = await agent.kernel()
        await prepare(link)
        (spare,) = held(agent)
        assert agent.service.sessions.holder(await spawned(link, name="web")).ref != spare.ref
        assert agent.service.sessions.holder(await spawned(link)).ref == spare.ref


async def test_one_that_ends_is_replaced_until_that_has_no_point(agent: LiveAgent) -> None:
    link = await agent.kernel()
    await prepare(link)
    for _ in range(spares.ENDS - 1):
        (spare,) = held(agent)
        spare.guest.exit(137)
        await until(lambda: [e.ref for e in held(agent)] != [spare.ref] and ready(agent) == 1)  # noqa: B023
    (spare,) = held(agent)
    spare.guest.exit(137)
    await until(lambda: not held(agent))
    await spawned(link)
    assert len(held(agent)) == 1, "no more of them are made"
    await prepare(link)
    assert ready(agent) == 1, "but for who asks again"


async def test_one_that_is_removed_by_others_is_replaced(agent: LiveAgent) -> None:
    link = await agent.kernel()
    await prepare(link)
    watching = asyncio.ensure_future(agent.service.sessions.watch())
    (spare,) = held(agent)
    await agent.engine.remove(spare.ref)
    await until(lambda: [each.ref for each in held(agent)] not in ([], [spare.ref]))
    watching.cancel()


async def test_one_that_cannot_be_made_says_why_and_is_not_tried_again(agent: LiveAgent) -> None:
    link = await agent.kernel()
    with pytest.raises(ImageMissing):
        await prepare(link, 3, image="none")
    assert not held(agent)
    with pytest.raises(Misuse, match="with a name"):
        await prepare(link, name="web")
    with pytest.raises(Misuse, match="first process"):
        await prepare(link, unmodified=True)


async def test_a_session_that_ends_while_one_is_made_leaves_none(
    agent: LiveAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, begun = await agent.kernel(), asyncio.Event()
    start = agent.engine.start

    async def slow(ref: str) -> None:
        begun.set()
        await asyncio.sleep(0.05)
        await start(ref)

    await prepare(link, 1)
    monkeypatch.setattr(agent.engine, "start", slow)
    asking = asyncio.ensure_future(prepare(link, 2))
    await begun.wait()
    await agent.service.sessions.end(next(iter(agent.service.sessions)))
    await until(lambda: not held(agent))
    with pytest.raises(Exception, match="has ended|disconnected"):
        await asking


@pytest.mark.parametrize("name", [None, "web"])
async def test_a_spawn_that_is_given_up_leaves_nothing(agent: LiveAgent, name: str | None) -> None:
    link = await agent.kernel()
    for turns in range(16):
        await prepare(link, 1)
        where = await asked(link, name=name, sleep=False, command=["sleep", "1e9"])
        for _ in range(turns):
            await asyncio.sleep(0)
        await link.request("container.destroy", {"container": where})
        await until(lambda: ready(agent) == 1 and len(held(agent)) == 1)
    assert not agent.service.sessions.taken._told


@pytest.mark.parametrize("held_in", ["rename", "ensure_image"])
async def test_a_spawn_that_is_given_up_while_it_takes_one_leaves_nothing(
    agent: LiveAgent, monkeypatch: pytest.MonkeyPatch, held_in: str
) -> None:
    link, begun = await agent.kernel(), asyncio.Event()
    await prepare(link, 1)

    async def hold(*_: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(agent.engine, held_in, hold)
        where = await asked(link, name="web")
        await begun.wait()
        await link.request("container.destroy", {"container": where})
    await until(lambda: ready(agent) == 1 and len(held(agent)) == 1)
    assert not agent.service.sessions.taken._told


async def test_one_that_ends_under_our_hands_is_passed_over(
    agent: LiveAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = await agent.kernel()
    monkeypatch.setattr(FakeGuest, "_on_setup", lambda guest, _: guest.exit(137))
    await prepare(link)
    where = await spawned(link)
    container = agent.service.sessions.holder(where)
    assert container.made is None
    assert held(agent)


async def test_guests_that_cannot_be_told_later_are_no_spares(
    agent: LiveAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeGuest, "features", Feature(0))
    link = await agent.kernel()
    await prepare(link)
    assert agent.service.sessions.holder(await spawned(link)).made is None


async def test_what_cannot_be_done_is_the_spawns_error(agent: LiveAgent) -> None:
    link = await agent.kernel()
    await prepare(link)
    where = await asked(link, user="nobody-there")
    told = await up(link, where, "failed")
    assert told["error"]["class"] == ContainerFailed.__name__
    assert "nobody-there" in told["error"]["message"]
    await until(lambda: ready(agent) == 1 and len(held(agent)) == 1)


async def test_a_disk_that_is_full_costs_the_spare(agent: LiveAgent) -> None:
    link = await agent.kernel()
    await prepare(link)

    def full(ident: str, told: Any) -> None:
        raise OSError(28, "No space left on device")

    agent.service.sessions.taken.note = full  # type: ignore[method-assign]
    assert agent.service.sessions.holder(await spawned(link)).made is None


async def test_a_later_agent_knows_what_was_taken_and_removes_the_rest(agent: LiveAgent) -> None:
    link = await agent.kernel()
    await prepare(link)
    where = await asked(link, tag="mine", sleep=False, command=["sleep", "1e9"])
    await up(link, where)
    await until(lambda: ready(agent) == 1)
    made = agent.service.sessions.holder(where).made
    assert made is not None
    await agent.stop()
    await agent.start()
    await met(agent.service.sessions)
    container = agent.service.sessions.holder(where)
    assert (container.tag, container.made_ident, container.state) == ("mine", made.id, "running")
    await until(lambda: len(held(agent)) == 1)
    await until(lambda: link.up)
    with pytest.raises(Misuse, match="Cannot reboot this container: it was spawned under"):
        await link.request("container.reboot", {"container": where})
    await link.request("container.destroy", {"container": where})
    assert not held(agent)
    assert not agent.service.sessions.taken._path.exists(), "nothing is left written down"


async def test_it_is_told_again_after_each_start(agent: LiveAgent) -> None:
    link = await agent.kernel()
    await prepare(link)
    where = await asked(link, sleep=False, command=["sh", "-c", "echo told; sleep 1e9"])
    await up(link, where)
    made = agent.service.sessions.holder(where).made
    await link.request("container.reboot", {"container": where})
    await until(lambda: agent.service.sessions.holder(where).main is not None)
    assert (await up(link, where))["state"] == "running"
    assert agent.service.sessions.holder(where).made is made
    body = {"container": where, "reset_filesystem": True}
    await link.request("container.reboot", body)
    container = agent.service.sessions.holder(where)
    assert container.made is None and not agent.service.sessions.taken._told
    found = await agent.engine.find({LABEL_CONTAINER: where})
    assert [labels.is_spare(each.labels) for each in found] == [False]


async def test_a_session_without_any_costs_nothing(agent: LiveAgent) -> None:
    link = await agent.kernel()
    await spawned(link)
    assert next(iter(agent.service.sessions)).spares is None


def test_all_that_a_spec_has_is_either_said_late_or_has_to_be_the_same() -> None:
    fields = set(ContainerSpec.__dataclass_fields__)
    assert fields > spares.LATE
    assert fields - spares.LATE == spares.PLACED


@pytest.mark.parametrize("how", ["fewer", "over"])
async def test_one_that_cannot_be_removed_is_tried_again(
    agent: LiveAgent, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """An engine that is away for a while keeps none of them for good."""
    link = await agent.kernel()
    await prepare(link, 2)
    sessions, asked = agent.service.sessions, list[str]()

    async def refuse(ref: str) -> None:
        asked.append(ref)
        raise EngineGone("Cannot reach the engine: it is down. Start it.")

    with monkeypatch.context() as away:
        away.setattr(agent.engine, "remove", refuse)
        if how == "fewer":
            await prepare(link, 0)
        else:
            await link.close()
        await until(lambda: len(asked) == 2)
        await sessions.collect()
        await until(lambda: len(asked) == 4)
        (session,) = sessions
        assert session.spares is not None
        await until(lambda: len(session.spares.left) == 2)
        assert len(held(agent)) == 2
    await sessions.collect()
    await until(lambda: not held(agent))
    assert not session.spares.left
    assert (session.state == "ended") is (how == "over")


async def test_what_a_later_agent_cannot_remove_is_removed_later(
    agent: LiveAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepare(await agent.kernel(), 2)
    await agent.stop()

    async def refuse(ref: str) -> None:
        raise EngineGone("Cannot reach the engine: it is down. Start it.")

    with monkeypatch.context() as away:
        away.setattr(agent.engine, "remove", refuse)
        await agent.start()
        await agent.service.sessions.collect()
        await until(lambda: len(agent.service.sessions._stays) == 2)
        assert len(held(agent)) == 2
    await agent.service.sessions.collect()
    await until(lambda: not held(agent))


async def test_what_became_of_them_is_kept_as_long_as_they_are(tmp_path: Path) -> None:
    disk, path = MemoryDisk(), tmp_path / "taken"
    first = Taken(path, disk)
    for name in ("gone", "there"):
        first.note(name, {"for": name})
    later = Taken(path, disk)
    await later.read()
    later.keep({"there", "others"})
    again = Taken(path, disk)
    await again.read()
    assert list(again._told) == ["there"]

    with pytest.MonkeyPatch.context() as full:
        full.setattr(disk, "remove", fails)
        again.forget("there")
        again.tidy()
        assert path in disk.files
    again.tidy()
    assert path not in disk.files


def fails(*unused: object) -> Any:
    raise OSError(5, "Input/output error")


async def test_a_disk_that_errs_for_a_while_costs_nobody_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taken, "AGAIN", 0.01)
    disk, path = MemoryDisk(), tmp_path / "taken"
    Taken(path, disk).note("there", {"for": "somebody"})
    later = Taken(path, disk)
    with monkeypatch.context() as bad:
        bad.setattr(disk, "read", fails)
        reading = asyncio.create_task(later.read())
        await asyncio.sleep(0.05)
        assert not reading.done()
    await reading
    assert list(later._told) == ["there"]

    monkeypatch.setattr(taken, "PATIENCE", 0.05)
    monkeypatch.setattr(disk, "read", fails)
    with pytest.raises(AgentError, match=r"taken cannot be read .*Input/output error"):
        await Taken(path, disk).read()


async def test_what_is_no_record_is_no_reason_to_remove_anything(tmp_path: Path) -> None:
    disk, path = MemoryDisk(), tmp_path / "taken"
    disk.replace(path, b"[]")
    with pytest.raises(AgentError, match="cannot be read"):
        await Taken(path, disk).read()


async def test_one_that_fails_as_it_begins_ends_what_runs_in_it(
    agent: LiveAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = await agent.kernel()
    await prepare(link)
    where = await asked(link, sleep=False, command=["sleep", "1e9"])
    await up(link, where)
    container = agent.service.sessions.holder(where)
    await container._failed(EngineGone("Cannot reach the engine: it is down. Start it."))
    main = container.main
    assert main is not None and main.ended
    await up(link, where, "failed")
    info = link.known.process(where)
    assert info is not None and info["returncode"] == -9
