"""Sessions: who counts as alive, when they end, and what a later agent takes over or reaps."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest
from unit.agent.live import met

from tfnz_notebook._base import proc
from tfnz_notebook._wire.link import request
from tfnz_notebook.agent.container.labels import known, labelled
from tfnz_notebook.agent.operations.container import spawn as container_spawn
from tfnz_notebook.agent.service import owner
from tfnz_notebook.agent.sessions import NEXT, Event, Member, Session, Sessions, session_name
from tfnz_notebook.agent.world import REAL
from tfnz_notebook.engines.base import ContainerSpec, Found, State
from tfnz_notebook.errors import AgentError, ContainerGone, Misuse, ProcessGone
from tfnz_notebook.testing import FakeEngine

SPEC = ContainerSpec(id="0" * 32, image="debian", env={"SECRET": "hunter2"}, name="box")


def test_a_member_lives_while_it_pings_or_its_process_runs():
    mine = (os.getpid(), proc.start_time(os.getpid()))
    assert Member("c", 100.0).alive(109.0, 10, REAL)
    assert not Member("c", 100.0).alive(111.0, 10, REAL)
    assert Member("c", 100.0, mine).alive(1000.0, 10, REAL), "busy, not gone"
    assert not Member("c", 100.0, (mine[0], mine[1] + 1)).alive(1000.0, 10, REAL), (
        "another's pid now"
    )


def test_a_vanished_client_is_waited_for_once():
    session = Session("s", idle_since=90.0)
    session.join(Member("c", 100.0))
    assert not session.expired(105.0, 10, REAL)
    assert session.expired(110.5, 10, REAL)


def test_durable_sessions_end_by_their_ttl_or_never():
    forever = Session("s", durable=True, idle_since=0.0)
    assert not forever.expired(1e9, 10, REAL)
    mortal = Session("s", durable=True, ttl=60, idle_since=0.0)
    assert not mortal.expired(59, 10, REAL)
    assert mortal.expired(60, 10, REAL)


async def test_a_ttl_is_what_was_said_last_whoever_comes_back(tmp_path, engine):
    def member(name: str) -> Member:
        return Member(name, time.monotonic())

    first = Sessions(engine, engine.owner, tmp_path, grace=10)
    first.join("s", member("one"), True, 600.0)
    first.join("s", member("two"), True, 2.0)
    assert first.join("s", member("one"), True, 600.0, again=True).ttl == 2.0
    first.close()
    later = Sessions(engine, engine.owner, tmp_path, grace=10)
    await later.adopt(lambda container: None, lambda container, process: None)
    assert later.join("s", member("one"), True, 600.0, again=True).ttl == 2.0
    assert later.join("s", member("three"), True, None).ttl is None
    later.close()


@pytest.mark.parametrize("wrong", ["", "a/b", "a b", "../x", "x" * 65, "a\n"])
def test_names_that_would_be_trouble(wrong):
    with pytest.raises(Misuse, match="Use up to 64"):
        session_name(wrong)


def test_labels_tell_what_adoption_needs_and_no_secret():
    life: dict[str, Any] = {"durable": True, "ttl": 5.0, "created": 1.0}
    spec = labelled(SPEC, owner="me", session="s", tag="t", origin="a cell", **life)
    assert "hunter2" not in str(spec.labels)
    told = known(Found("ref", spec.labels, State("running")))
    assert told is not None
    assert (told.session, told.durable, told.ttl) == ("s", True, 5.0)
    assert (told.tag, told.origin) == ("t", "a cell")
    assert (told.spec.id, told.spec.image, told.spec.name) == (SPEC.id, "debian", "box")


@pytest.mark.parametrize(
    "change",
    [
        {"io.tfnz.session": ""},
        {"io.tfnz.container": ""},
        {"io.tfnz.spec": "{"},
        {"io.tfnz.spec": "[]"},
        {"io.tfnz.spec": "{}"},
        {"io.tfnz.durable": "soon"},
    ],
)
def test_labels_of_somebody_else_are_not_known(change):
    spec = labelled(SPEC, owner="me", session="s", durable=False, ttl=None, tag="", created=1.0)
    assert known(Found("ref", {**spec.labels, **change}, State("running"))) is None


class Client:
    """What an operation needs of a client, without a socket."""

    def __init__(self, sessions: Sessions, session: Session) -> None:
        self.sessions, self.session, self.server = sessions, session, self

    def container_changed(self, container: Any) -> None:
        pass

    def process_changed(self, container: Any, process: Any) -> None:
        pass


async def spawned(sessions: Sessions, name: str, ident: str) -> Any:
    session = sessions.join(name, Member("c", time.monotonic()), False, None)
    body = {"container": ident, "spec": {"image": "debian", "sleep": True}}
    message = request(1, "container.spawn", body)
    await container_spawn(Client(sessions, session), message)  # type: ignore[arg-type]
    container = session.containers[ident]
    await container.running()
    return container


@pytest.fixture
async def engine():
    made = FakeEngine()
    await made.open()
    yield made
    await made.close()


async def test_a_later_agent_adopts_what_an_earlier_left(tmp_path, engine):
    first = Sessions(engine, engine.owner, tmp_path, grace=10)
    left = await spawned(first, "s", "a" * 32)
    first.close()
    orphan = tmp_path / ("b" * 32)
    orphan.mkdir()

    later = Sessions(engine, engine.owner, tmp_path, grace=10)
    await later.adopt(lambda container: None, lambda container, process: None)
    await met(later)
    session = later.get("s")
    assert session is not None
    container = later.container(session, left.ident)
    assert (container.state, container.spec.image, container.ref) == (
        "running",
        "debian",
        left.ref,
    )
    assert not orphan.exists(), "its container went while no agent was there"
    with pytest.raises(ContainerGone):
        later.container(session, "c" * 32)
    with pytest.raises(ProcessGone):
        await later.process(session, "c" * 32)

    # Nobody comes back for it.
    session.idle_since = time.monotonic() - 11
    await later.collect()
    assert later.get("s") is None
    assert (await engine.inspect(left.ref)).status == "gone"


async def test_the_last_client_takes_its_session_along(tmp_path, engine):
    sessions = Sessions(engine, engine.owner, tmp_path, grace=10)
    container = await spawned(sessions, "s", "a" * 32)
    session = sessions.get("s")
    sessions.join("s", Member("d", time.monotonic()), False, None)
    await sessions.leave(session, "c")
    assert sessions.get("s") is session
    await sessions.leave(session, "d")
    assert sessions.get("s") is None
    assert container.state == "destroyed"


async def test_what_could_not_go_with_its_session_goes_later_whoever_has_the_name(
    tmp_path, engine, monkeypatch
):
    sessions = Sessions(engine, engine.owner, tmp_path, grace=10)
    container = await spawned(sessions, "s", "a" * 32)
    first = sessions.get("s")

    async def refuse(ref: str, **_: object) -> None:
        raise AgentError("Cannot remove it: the engine is busy.")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "remove", refuse)
        await sessions.leave(first, "c")
    assert (first.state, list(first.containers)) == ("ending", [container.ident])
    again = sessions.join("s", Member("d", time.monotonic()), False, None)
    assert again is not first
    assert len(sessions) == 2
    await sessions.collect()
    assert (first.state, len(sessions)) == ("ended", 1)
    assert await engine.find({}) == []


def test_the_table_of_states_is_whole():
    assert {event for _, event in NEXT} == set(Event), "each event does something"
    assert not [row for row in NEXT if row[0] == "ended"], "an end is final"
    assert [row for row in NEXT if row[1] is Event.JOIN] == [("left", Event.JOIN)]


async def test_destroying_one_that_is_coming_up_leaves_nothing(tmp_path, engine):
    sessions = Sessions(engine, engine.owner, tmp_path, grace=10)
    container = await spawned(sessions, "s", "a" * 32)
    waiting = asyncio.create_task(container.running())
    await container.destroy()
    await container.destroy()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await engine.find({}) == []
    with pytest.raises(ContainerGone, match="destroyed"):
        await container.running()


def test_the_owner_is_made_once(tmp_path):
    assert owner(tmp_path / "state") == owner(tmp_path / "state")
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["owner"]


def test_a_state_directory_of_no_use_is_told(tmp_path):
    (tmp_path / "file").touch()
    for path in ("/proc/nowhere/state", tmp_path / "file", "/sys/kernel"):
        with pytest.raises(AgentError, match="^Cannot use the state directory .* Set TFNZ_STATE"):
            owner(Path(path))
