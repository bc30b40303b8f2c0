"""Who may connect to whom, in an agent over an engine in memory."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from unit.agent.live import LiveAgent, live_agent, until

from tfnz_notebook._link.link import Link
from tfnz_notebook.agent.disk import RealDisk
from tfnz_notebook.engines.base import LABEL_CONTAINER
from tfnz_notebook.errors import ContainerGone, EngineError, Misuse


@pytest.fixture
async def agent(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LiveAgent]:
    async with live_agent(monkeypatch) as made:
        yield made


@pytest.fixture
async def link(agent: LiveAgent) -> Link:
    return await agent.kernel()


async def spawn(link: Link, **spec: Any) -> str:
    """A running container's id."""
    ident = uuid.uuid4().hex
    told = {"image": "debian", "sleep": True, **spec}
    await link.request("container.spawn", {"container": ident, "spec": told})
    await link.request("container.stats", {"container": ident})
    return ident


async def ask(link: Link, what: str, container: str, other: str) -> None:
    await link.request(f"container.{what}", {"container": container, "other": other})


def held(agent: LiveAgent, ident: str) -> Any:
    """The container as the engine has it."""
    (found,) = [
        each
        for each in agent.engine.world.containers.values()
        if each.labels[LABEL_CONTAINER] == ident
    ]
    return found


def fence(agent: LiveAgent, ident: str) -> tuple[set[str], set[str]]:
    """From whom it is reached, and whom it reaches: ids."""
    names = {
        ref: each.labels[LABEL_CONTAINER] for ref, each in agent.engine.world.containers.items()
    }
    told = held(agent, ident).fence
    assert told is not None, "it was never fenced off"
    sources, targets = ({names[ref] for ref in refs if ref in names} for refs in told)
    return sources, targets


ALONE: tuple[set[str], set[str]] = (set(), set())


async def test_a_container_is_fenced_off_before_it_is_used(agent: LiveAgent, link: Link) -> None:
    a = await spawn(link)
    assert fence(agent, a) == ALONE


async def test_who_asks_for_a_network_has_no_fence(agent: LiveAgent, link: Link) -> None:
    a, b = await spawn(link, network="bridge"), await spawn(link)
    assert held(agent, a).fence is None
    for pair in ((a, b), (b, a)):
        with pytest.raises(Misuse, match="network='bridge'"):
            await ask(link, "allow", *pair)
    assert fence(agent, b) == ALONE


async def test_allowed_one_way_and_taken_back(agent: LiveAgent, link: Link) -> None:
    a, b, c = [await spawn(link) for _ in range(3)]
    for _ in range(2):  # again is fine: a kernel repeats what was not answered
        await ask(link, "allow", a, b)
    assert (fence(agent, a), fence(agent, b), fence(agent, c)) == (
        ({b}, set()),
        (set(), {a}),
        ALONE,
    )
    for pair in ((b, a), (a, c)):
        with pytest.raises(Misuse, match="Cannot disallow"):
            await ask(link, "disallow", *pair)
    await ask(link, "allow", b, a)
    assert fence(agent, a) == ({b}, {b})
    await ask(link, "disallow", a, b)
    assert (fence(agent, a), fence(agent, b)) == ((set(), {b}), ({a}, set()))


async def test_containers_of_another_session_are_not_known(agent: LiveAgent, link: Link) -> None:
    a, stranger = await spawn(link), await spawn(await agent.kernel())
    for pair in ((a, stranger), (stranger, a)):
        for what in ("allow", "disallow"):
            with pytest.raises(ContainerGone):
                await ask(link, what, *pair)


async def test_a_reboot_keeps_it(agent: LiveAgent, link: Link) -> None:
    a, b = await spawn(link), await spawn(link)
    await ask(link, "allow", a, b)
    for reset in (False, True):
        before = held(agent, a).ref
        await link.request("container.reboot", {"container": a, "reset_filesystem": reset})
        assert (held(agent, a).ref != before) is reset
        assert (fence(agent, a), fence(agent, b)) == (({b}, set()), (set(), {a}))
    await restart(agent)
    assert fence(agent, a) == ({b}, set())


async def test_while_one_is_away_its_address_may_be_anothers(
    agent: LiveAgent, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = await spawn(link), await spawn(link)
    await ask(link, "allow", a, b)
    seen = []
    start = agent.engine.start

    async def watched(ref: str) -> None:
        seen.append(fence(agent, a))
        await start(ref)

    monkeypatch.setattr(agent.engine, "start", watched)
    await link.request("container.reboot", {"container": b})
    assert seen == [ALONE]
    assert fence(agent, a) == ({b}, set())


async def test_it_ends_with_either(agent: LiveAgent, link: Link) -> None:
    a, b, c = [await spawn(link) for _ in range(3)]
    await ask(link, "allow", a, b)
    await ask(link, "allow", c, a)
    await link.request("container.destroy", {"container": b})
    assert fence(agent, a) == (set(), {c})
    held(agent, a).guest.exit(0)
    await until(lambda: fence(agent, c) == ALONE)
    assert not agent.service.sessions.neighbours._allowed
    spool = agent.service.sessions.spool
    assert not list(spool.glob("*/allowed*"))


async def restart(agent: LiveAgent) -> None:
    """Another agent comes, and sets every fence."""
    await agent.stop()
    for each in agent.engine.world.containers.values():
        each.fence = None
    await agent.start()


async def test_a_later_agent_knows_it_and_cuts_nothing(
    agent: LiveAgent, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = await spawn(link), await spawn(link)
    await ask(link, "allow", a, b)
    told: list[tuple[int, int]] = []
    isolate = agent.engine.isolate

    async def watched(ref: str, sources: Any = (), targets: Any = ()) -> None:
        told.append((len(sources), len(targets)))
        await isolate(ref, sources, targets)

    monkeypatch.setattr(agent.engine, "isolate", watched)
    await restart(agent)
    assert (fence(agent, a), fence(agent, b)) == (({b}, set()), (set(), {a}))
    assert set(told) == {(1, 0), (0, 1)}, "a moment without what is allowed ends connections"
    assert oct((agent.service.sessions.spool / a / "allowed").stat().st_mode & 0o777) == "0o600"


async def test_what_runs_under_a_later_agent_is_not_ended_for_a_fence(
    agent: LiveAgent,
    link: Link,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    a = await spawn(link)

    async def fails(*_: object) -> None:
        raise EngineError("Cannot keep it apart.")

    monkeypatch.setattr(agent.engine, "isolate", fails)
    await restart(agent)
    assert agent.service.sessions.neighbours._there[a].state == "running"
    assert f"container {a} may be open to others: Cannot keep it apart." in caplog.text


@pytest.mark.parametrize("text", ["", "{", "7", '{"a": 1}'])
async def test_what_was_written_badly_allows_nothing(
    agent: LiveAgent, link: Link, text: str
) -> None:
    a, b = await spawn(link), await spawn(link)
    await ask(link, "allow", a, b)
    (agent.service.sessions.spool / a / "allowed").write_text(text)
    await restart(agent)
    assert fence(agent, a) == ALONE


async def test_restarted_past_us(
    agent: LiveAgent, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = await spawn(link), await spawn(link)
    await ask(link, "allow", a, b)
    ref, again, inspect = held(agent, a).ref, asyncio.Event(), agent.engine.inspect

    async def later(ref: str) -> Any:
        await again.wait()  # the agent looks only when it runs again
        return await inspect(ref)

    monkeypatch.setattr(agent.engine, "inspect", later)
    await agent.engine.stop(ref, 0)
    await agent.engine.start(ref)
    again.set()
    await until(lambda: held(agent, a).fence is not None)
    assert fence(agent, a) == ({b}, set())


async def test_an_engine_that_fails_leaves_nothing_allowed(
    agent: LiveAgent, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = await spawn(link), await spawn(link)
    isolate = agent.engine.isolate

    async def fails(ref: str, sources: Any = (), targets: Any = ()) -> None:
        if targets:
            raise EngineError("Cannot do this.")
        await isolate(ref, sources, targets)

    monkeypatch.setattr(agent.engine, "isolate", fails)
    with pytest.raises(EngineError, match="Cannot do this"):
        await ask(link, "allow", a, b)
    assert (fence(agent, a), fence(agent, b)) == (ALONE, ALONE)
    with pytest.raises(Misuse):
        await ask(link, "disallow", a, b)


async def test_who_runs_already_is_told_that_nothing_parts_it(
    agent: LiveAgent, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was thought to be apart when it was spawned, and found out by a trial behind that."""
    one, over = [await spawn(link) for _ in range(2)]
    await link.request("container.destroy", {"container": over})
    assert link.known.containers[one]["about"] == {}
    none = {"isolation": "none: one reached another"}
    monkeypatch.setattr(agent.engine, "lacks", lambda spec: none)
    agent.engine.found_lacking()
    await until(lambda: link.known.containers[one]["about"] == none)
    assert over not in link.known.containers


async def test_one_that_cannot_be_fenced_off_never_runs(
    agent: LiveAgent, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise EngineError("Cannot keep it apart.")

    monkeypatch.setattr(agent.engine, "isolate", fails)
    with pytest.raises(EngineError, match="apart"):
        await spawn(link)
    await until(lambda: not agent.engine.world.containers)


async def test_a_full_disk_costs_the_memory_alone(
    agent: LiveAgent,
    link: Link,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    a, b = await spawn(link), await spawn(link)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(RealDisk, "replace", full)
        await ask(link, "allow", a, b)
    assert fence(agent, a) == ({b}, set())
    assert "who may connect to it is not kept: [Errno 28] No space left" in caplog.text
    assert not (agent.service.sessions.spool / a / "allowed").exists()


async def test_many_at_once_end_as_the_last_word_has_it(agent: LiveAgent, link: Link) -> None:
    a, *others = [await spawn(link) for _ in range(6)]
    await asyncio.gather(*(ask(link, "allow", a, each) for each in others))
    assert fence(agent, a) == (set(others), set())
    await asyncio.gather(*(ask(link, "disallow", a, each) for each in others[1:]))
    assert fence(agent, a) == ({others[0]}, set())
    kept = json.loads((agent.service.sessions.spool / a / "allowed").read_text())
    assert kept == [others[0]]
