"""What a kernel is told when it comes, and of what others do in its session."""

from __future__ import annotations

import uuid

import pytest
from unit.agent.live import NAME, LiveAgent, container, live_agent, process, until

from tfnz_notebook._link.link import Link
from tfnz_notebook._link.views.viewer import LivePlace
from tfnz_notebook._wire import operations as wire
from tfnz_notebook.agent import snapshot
from tfnz_notebook.errors import ContainerFailed
from tfnz_notebook.widgets.explorer.tail import BYTES, Tail


@pytest.fixture
async def agent(monkeypatch):
    async with live_agent(monkeypatch) as made:
        yield made


async def kernel(agent: LiveAgent) -> Link:
    """One of several in a session."""
    link = Link(LivePlace(NAME), session="shared")
    agent.links.append(link)
    await link.open()
    await link.caught_up()
    return link


@pytest.mark.parametrize("page", [1, 2000, wire.PAGE])
async def test_who_comes_later_is_told_all_whatever_a_page_holds(
    agent: LiveAgent, monkeypatch: pytest.MonkeyPatch, page: int
):
    monkeypatch.setattr(wire, "PAGE", page)
    first = await kernel(agent)
    places = [await container(first, f"box{number}") for number in range(3)]
    running = [(await process(first, where, "sleep", "60"))[0] for where in places * 4]
    over = [(await process(first, places[0], "true"))[0] for _ in range(5)]
    await until(lambda: first.known.ended.get(places[0]) == 5)
    second = await kernel(agent)
    assert list(second.known.containers) == places
    known = {ident for held in second.known.processes.values() for ident in held}
    assert known == {*running, *over[-snapshot.RECENT :]}
    assert second.known.ended[places[0]] == 5
    assert second.known.processes == first.known.processes


async def test_what_another_kernel_does_arrives_as_events(agent: LiveAgent):
    first, second = await kernel(agent), await kernel(agent)
    where = await container(first)
    ident, _ = await process(first, where, "cat")
    await until(lambda: second.known.process(ident))
    await first.request("process.close_stdin", {"process": ident})
    await until(lambda: (second.known.process(ident) or {}).get("ended"))
    await first.request("container.destroy", {"container": where})
    await until(lambda: not second.known.containers)


async def test_the_main_process_is_told_of_before_its_container_runs(agent: LiveAgent):
    first, second = await kernel(agent), await kernel(agent)
    mains: list[bool] = []

    def heard(info: dict | None) -> None:
        if info is not None and info["state"] == "running":
            mains.append(second.known.process(info["container"]) is not None)

    second.listen("container", "", heard)
    spec = {"image": "debian", "command": ["sleep", "60"]}
    await first.request("container.spawn", {"container": uuid.uuid4().hex, "spec": spec})
    await until(lambda: mains)
    assert mains == [True]


async def test_a_short_process_takes_three_messages(agent: LiveAgent, monkeypatch):
    """The spawn; its reply; its end, with what it wrote."""
    link = await kernel(agent)
    where = await container(link)
    await until(lambda: link.known.containers[where]["state"] == "running")
    said: list[str] = []
    take = link._received
    assert link._line is not None
    send = link._line.send
    monkeypatch.setattr(link._line, "_received", lambda parts: (said.append("in"), take(parts)))
    monkeypatch.setattr(link._line, "send", lambda parts: (said.append("out"), send(parts)))
    told: list[dict] = []
    ident = uuid.uuid4().hex
    link.listen("process", ident, lambda info: told.append(info or {}))
    body = {"container": where, "process": ident, "command": ["echo", "a"], "text": "echo"}
    await link.request("process.spawn", {**body, "env": [], "last": True, "said": 100})
    await until(lambda: told and told[-1].get("ended"))
    await link.caught_up()
    assert said == ["out", "in", "in", "out", "in"], "the last two are the test's own ping"
    assert told[-1]["said"] == [b"a\n", b""]
    assert (told[-1]["returncode"], told[-1]["out"], told[-1]["err"]) == (0, 2, 0)


async def test_what_is_told_is_small_whatever_it_is_about(agent: LiveAgent, monkeypatch):
    """Exited containers that said much, processes of long command lines, and many of them."""
    first = await kernel(agent)
    chatty = [uuid.uuid4().hex for _ in range(12)]
    for where in chatty:
        command = ["count", "12000", "x" * 60_000]
        spec = {"image": "debian", "command": command, "tag": "t" * 60_000}
        await first.request("container.spawn", {"container": where, "spec": spec})
    where = await container(first)
    for _ in range(40):
        await process(first, where, "sleep", "60", *["x" * 10_000] * 6)
    for _ in range(300):
        await process(first, where, "true")
    await until(lambda: first.known.ended.get(where) == 300)
    for each in chatty:
        await until(lambda each=each: first.known.containers[each]["state"] == "exited", 30)
        assert 0 < len(first.known.containers[each]["log"]) <= wire.MAX_WORDS
        asked = (await first.request("container.info", {"container": each})).body
        assert wire.MAX_WORDS < len(asked["log"]) <= wire.MAX_TAIL
        assert asked["log"].endswith(b"line 11999\n")
        assert len(first.known.processes[each][each]["text"]) == wire.MAX_TEXT
    monkeypatch.setattr(wire, "PAGE", 16 << 10)
    sizes: list[int] = []
    send = agent.service.server.router.send

    def weigh(identity: bytes, parts: list[bytes]) -> bool:
        sizes.append(sum(map(len, parts)))
        return send(identity, parts)

    monkeypatch.setattr(agent.service.server.router, "send", weigh)
    second = await kernel(agent)
    listed = await second.request("process.list", {"container": where})
    assert len(listed.body["processes"]) == 340
    assert list(second.known.containers) == [*chatty, where]
    assert len(second.known.processes[where]) == 40 + snapshot.RECENT
    assert len(sizes) > 10
    most = 2 * wire.MAX_INFO + wire.MAX_WORDS  # of one thing, beside a full page
    assert max(sizes) < wire.PAGE + most


async def test_what_went_wrong_is_told_without_its_log_twice(agent: LiveAgent):
    link = await kernel(agent)
    where = uuid.uuid4().hex

    async def refused(*_: object) -> str:
        raise ContainerFailed("Cannot start: " + "no " * 10_000, log=b"word " * 20_000, code=7)

    agent.engine.create = refused  # type: ignore[method-assign]
    await link.request("container.spawn", {"container": where, "spec": {"image": "debian"}})
    await until(lambda: link.known.containers[where]["state"] == "failed")
    info = link.known.containers[where]
    assert len(info["log"]) == wire.MAX_WORDS
    assert info["error"]["details"] == {"code": 7}
    assert len(info["error"]["message"]) <= wire.MAX_INFO
    asked = (await link.request("container.info", {"container": where})).body
    assert len(asked["log"]) == wire.MAX_TAIL


async def test_the_end_of_a_log_is_followed_without_asking_again(agent: LiveAgent):
    """What a card shows of a container that has said much already."""
    link = await kernel(agent)
    where = uuid.uuid4().hex
    spec = {"image": "debian", "command": ["count", "20000"]}
    await link.request("container.spawn", {"container": where, "spec": spec})
    await until(lambda: (link.known.process(where) or {}).get("ended"))
    told: list[str] = []
    tail = Tail(link, where, lambda: told.append("".join(text for _, text in tail.said)))
    await until(lambda: told and told[-1].endswith("line 19999"))
    assert told[-1].splitlines()[0] == "line 19800"
    assert all(len(said) <= BYTES for said in told)
    tail.close()
