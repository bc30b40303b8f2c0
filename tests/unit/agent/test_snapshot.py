"""What a kernel is told when it comes, and of what others do in its session."""

from __future__ import annotations

import uuid

import pytest
from unit.agent.live import NAME, LiveAgent, container, live_agent, process, until

from tfnz_notebook._link.link import Link
from tfnz_notebook._link.views.viewer import LivePlace
from tfnz_notebook.agent import snapshot
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


@pytest.mark.parametrize("page", [1, 2000, snapshot.PAGE])
async def test_who_comes_later_is_told_all_whatever_a_page_holds(
    agent: LiveAgent, monkeypatch: pytest.MonkeyPatch, page: int
):
    monkeypatch.setattr(snapshot, "PAGE", page)
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


async def test_a_listing_comes_in_pages(agent: LiveAgent, monkeypatch):
    monkeypatch.setattr(snapshot, "PAGE", 1000)
    link = await kernel(agent)
    where = await container(link)
    made = [(await process(link, where, "true"))[0] for _ in range(20)]
    found: list[str] = []
    pages = 0
    while True:
        body = {"container": where, "after": found[-1] if found else None}
        reply = (await link.request("process.list", body)).body
        found += [info["process"] for info in reply["processes"]]
        pages += 1
        if not reply["more"]:
            break
    assert found == made
    assert pages > 3


async def test_the_end_of_a_log_is_followed_without_asking_again(agent: LiveAgent):
    """What a card shows of a container that has said much already."""
    link = await kernel(agent)
    where = uuid.uuid4().hex
    spec = {"image": "debian", "command": ["count", "20000"]}
    await link.request("container.spawn", {"container": where, "spec": spec})
    await until(lambda: (link.known.process(where) or {}).get("ended"))
    told: list[dict] = []
    tail = Tail(link, where, lambda: told.append(tail.said))
    await until(lambda: told and told[-1]["out"].endswith("line 19999"))
    assert told[-1]["out"].splitlines()[0] == "line 19800"
    assert all(len(said["out"]) <= BYTES for said in told)
    tail.close()
