"""What a view's own link may do at the agent, and what not."""

from __future__ import annotations

from functools import partial

import pytest
from unit.agent.live import NAME, LiveAgent, container, live_agent, process, until
from unit.wire.bodies import body_of

from tfnz_notebook._link.views.viewer import gate
from tfnz_notebook._wire.operations import OPERATIONS, Scope
from tfnz_notebook.agent import clients
from tfnz_notebook.errors import AgentError, ContainerGone, LinkClosed, PortClosed, ProcessGone

#: A question to which any viewer gets an answer.
LOG = {"stream": 1, "offset": 0, "limit": 10}


@pytest.fixture
async def agent(monkeypatch):
    async with live_agent(monkeypatch) as made:
        yield made


class Sink:
    """Takes one stream."""

    def __init__(self) -> None:
        self.bytes = b""
        self.ended = False

    def data(self, offset: int, payload: bytes) -> None:
        assert offset == len(self.bytes)
        self.bytes += payload

    def eof(self, offset: int) -> None:
        self.ended = True

    def broken(self, error: Exception, final: bool) -> None: ...
    def mended(self) -> None: ...
    def begins(self) -> None: ...


async def test_a_viewer_reads_and_controls_its_process(agent: LiveAgent):
    kernel = await agent.kernel()
    ident, ticket = await process(kernel, await container(kernel), "cat")
    view = await agent.viewer(ident, ticket)
    assert view.session == ""
    assert view.about["container"] == "box"
    told: list = []
    view.listen("process", ident, told.append)
    sink = Sink()
    body = {"reader": view.reader(sink), "process": ident, "stream": 1, "offset": 0, "credit": 99}
    await view.request("reader.open", body)
    await view.request("process.stdin", {"process": ident}, b"hello\n")
    await view.request("process.close_stdin", {"process": ident})
    await until(lambda: sink.ended and told and told[-1]["ended"])
    assert sink.bytes == b"hello\n"
    assert told[-1]["returncode"] == 0
    reply = await view.request("log.read", {**body, "limit": 3, "offset": 2})
    assert reply.payload == b"llo"
    assert (await view.process(ident))["out"] == 6


async def test_a_viewer_signals_resizes_and_destroys(agent: LiveAgent):
    kernel = await agent.kernel()
    where = await container(kernel)
    ident, ticket = await process(kernel, where, "sleep", "60")
    view = await agent.viewer(ident, ticket)
    await view.request("process.resize", {"process": ident, "rows": 5, "columns": 40})
    await until(lambda: (view.known.process(ident) or {}).get("rows") == 5)
    told: list = []
    view.listen("process", ident, told.append)
    await view.request("process.signal", {"process": ident, "signal": 15, "target": 0})
    await until(lambda: told and told[-1]["returncode"] == -15)
    ident, ticket = await process(kernel, where, "sleep", "60")
    view = await agent.viewer(ident, ticket)
    reply = await view.request("process.destroy", {"process": ident, "grace": 0.1})
    assert reply.body["survivors"] == 0
    with pytest.raises(ProcessGone, match="has ended"):
        await view.request("process.destroy", {"process": ident})


@pytest.mark.parametrize("name", sorted(row.name for row in OPERATIONS.values() if not row.viewer))
async def test_everything_else_is_refused(agent: LiveAgent, name: str):
    kernel = await agent.kernel()
    where = await container(kernel)
    ident, ticket = await process(kernel, where, "sleep", "60")
    view = await agent.viewer(ident, ticket)
    body = body_of(OPERATIONS[name], container=where, process=ident)
    with pytest.raises(AgentError, match=f"Cannot do '{name}' here"):
        await view.request(name, body)
    assert (await kernel.process(ident))["pid"]


@pytest.mark.parametrize(
    "name",
    sorted(row.name for row in OPERATIONS.values() if row.viewer and row.scope is Scope.PROCESS),
)
async def test_another_process_is_refused(agent: LiveAgent, name: str):
    kernel = await agent.kernel()
    where = await container(kernel)
    mine, ticket = await process(kernel, where, "sleep", "60")
    other, _ = await process(kernel, where, "sleep", "60")
    view = await agent.viewer(mine, ticket)
    with pytest.raises(AgentError, match="the ticket is for another one"):
        await view.request(name, body_of(OPERATIONS[name], process=other))


async def test_a_wrong_ticket_opens_nothing(agent: LiveAgent):
    kernel = await agent.kernel()
    where = await container(kernel)
    mine, ticket = await process(kernel, where, "sleep", "60")
    other, _ = await process(kernel, where, "sleep", "60")
    nobody = "9" * 32
    for asked, shown in ((other, ticket), (mine, "0" * 64), (mine, ""), ("", ""), (nobody, ticket)):
        with pytest.raises(AgentError, match="the ticket is not one for it"):
            await agent.viewer(asked, shown)


async def test_a_ticket_needs_the_session_of_the_process(agent: LiveAgent):
    mine, stranger = await agent.kernel(), await agent.kernel()
    ident, _ = await process(mine, await container(mine), "cat")
    with pytest.raises(ProcessGone):
        await stranger.request("process.ticket", {"process": ident})


async def test_a_viewer_hears_of_its_process_alone(agent: LiveAgent):
    kernel = await agent.kernel()
    where = await container(kernel)
    mine, ticket = await process(kernel, where, "cat")
    other, _ = await process(kernel, where, "cat")
    view = await agent.viewer(mine, ticket)
    heard: list[tuple[str, str]] = []

    def note(listening: str, info: dict | None) -> None:
        if info is not None:  # else it is the end of the link
            heard.append((listening, info.get("process", "a container")))

    for ident in (mine, other, ""):
        view.listen("process", ident, partial(note, ident))
    view.listen("container", "", partial(note, "container"))
    for ident in (other, mine):
        await kernel.request("process.destroy", {"process": ident, "grace": 0.0})
    await until(lambda: (mine, mine) in heard)
    assert set(heard) == {(mine, mine), ("", mine)}


async def test_the_end_of_its_container_ends_the_process_for_a_viewer(agent: LiveAgent):
    kernel = await agent.kernel()
    where = await container(kernel)
    ident, ticket = await process(kernel, where, "cat")
    view = await agent.viewer(ident, ticket)
    told: list = []
    view.listen("process", ident, told.append)
    await kernel.request("container.destroy", {"container": where})
    await until(lambda: None in told)
    assert told[-2]["returncode"] is not None
    with pytest.raises((ProcessGone, ContainerGone)):
        await view.request("log.read", LOG | {"process": ident})
    with pytest.raises(ProcessGone):
        await agent.viewer(ident, ticket)
    assert told[-1] is None, "that was the last"


async def test_a_viewer_keeps_no_session_alive_and_ends_none(agent: LiveAgent):
    kernel = await agent.kernel()
    where = await container(kernel)
    ident, ticket = await process(kernel, where, "cat")
    view = await agent.viewer(ident, ticket)
    sessions = agent.service.sessions
    assert [session.name for session in sessions] == [kernel.session]
    await view.close()
    assert (await kernel.process(ident))["pid"]
    view = await agent.viewer(ident, ticket)
    await kernel.close()
    await until(lambda: len(sessions) == 0)
    assert await agent.engine.find({}) == []


async def test_a_viewer_outlives_the_agent_and_its_kernel(agent: LiveAgent):
    kernel = await agent.kernel()
    ident, ticket = await process(kernel, await container(kernel), "cat")
    view = await agent.viewer(ident, ticket)
    kernel._line.close()  # the kernel is killed: it says nothing
    kernel._end(LinkClosed("It is dead."))
    await agent.stop()
    await agent.start()
    await view.request("log.read", LOG | {"process": ident})  # waits for the mended link
    await view.request("process.stdin", {"process": ident}, b"still there\n")
    reader = {"process": ident, "stream": 1, "offset": 0}
    read = {**reader, "limit": 100}
    while not (reply := await view.request("log.read", read)).payload:
        pass
    assert reply.payload == b"still there\n"
    await agent.viewer(ident, ticket)


async def test_a_viewer_that_fell_silent_is_forgotten(agent: LiveAgent, monkeypatch):
    kernel = await agent.kernel()
    ident, ticket = await process(kernel, await container(kernel), "cat")
    view = await agent.viewer(ident, ticket)
    server = agent.service.server
    server.collect()
    assert len(server.clients) == 2
    monkeypatch.setattr(clients.link, "HEARTBEAT", 0.0)
    server.collect()
    assert [type(client) for client in server.clients.values()] == [clients.Client]
    # It was asleep: it goes on as after a break.
    assert (await view.request("log.read", LOG | {"process": ident})).body["eof"] is False


async def test_pages_connect_to_the_port_of_their_ticket_and_do_nothing_else(agent: LiveAgent):
    kernel = await agent.kernel()
    where, other = await container(kernel), await container(kernel, "other")
    ask = {"container": where, "port": 80}
    reply = await kernel.request("dial.ticket", ask)
    assert reply.body["agent"] == NAME
    ticket = reply.body["ticket"]
    pages = gate(NAME, where, 80, ticket)
    agent.links.append(pages)
    await pages.open()
    body = {"container": where, "reader": 1, "host": "127.0.0.1", "port": 80, "credit": 9}
    with pytest.raises(PortClosed):  # it was tried
        await pages.request("dial.open", body)
    for wrong in ({"port": 81}, {"container": other}, {"host": "10.0.0.1"}):
        with pytest.raises(AgentError, match="the port that their ticket is for"):
            await pages.request("dial.open", {**body, **wrong})
    for name, row in OPERATIONS.items():
        if row.scope is not Scope.LINK and name != "dial.open":
            with pytest.raises(AgentError, match="the port that their ticket is for"):
                await pages.request(name, body_of(row, container=where, process=where))
    _, view = await process(kernel, where, "cat")
    for wrong in (
        *((where, 80, "0" * 64), (where, 81, ticket), (other, 80, ticket), (where, 80, view)),
        (where, 80, agent.service.server.tickets.issue(where)),
    ):
        stranger = gate(NAME, *wrong)
        with pytest.raises(AgentError, match="the ticket is not one for it"):
            await stranger.open()
    ident, shown = await process(kernel, where, "cat")
    view_ = await agent.viewer(ident, shown)
    written = (await view_.request("dial.ticket", {"container": other, "port": 80})).body
    assert written == reply.body  # of its own container's, whatever it asks for
    await kernel.request("container.destroy", {"container": where})
    late = gate(NAME, where, 80, ticket)
    with pytest.raises(ContainerGone):
        await late.open()
