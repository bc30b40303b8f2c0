"""A viewer's link: the words it says, and that it starts no agent."""

import time
from pathlib import Path

import pytest
from unit.link.scripted_agent import FakeProcess, ScriptedAgent

from tfnz_notebook._link import link as link_module
from tfnz_notebook._link.link import Link
from tfnz_notebook._link.thread import wait
from tfnz_notebook._link.views.viewer import viewer
from tfnz_notebook.errors import LinkClosed, Misuse, ProcessGone

PROCESS, TICKET = "a" * 32, "b" * 64


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "RETRY", (0.01, 0.05))
    monkeypatch.setattr(link_module, "NO_AGENT", 0.3)


@pytest.fixture
def agent(agent: ScriptedAgent) -> ScriptedAgent:
    """It has the process."""
    agent.processes[PROCESS] = FakeProcess(PROCESS, "c" * 32)
    return agent


def opened() -> Link:
    link = viewer("podman", PROCESS, TICKET)
    wait(link.open())
    return link


def test_hello_says_which_process_and_shows_the_ticket(agent: ScriptedAgent) -> None:
    link = opened()
    (hello,) = agent.named("hello")
    assert (hello.body["viewer"], hello.body["process"], hello.body["ticket"]) == (
        True,
        PROCESS,
        TICKET,
    )
    assert not {"session", "durable", "pid", "pid_start"} & set(hello.body)
    wait(link.close(1.0))
    assert agent.named("bye")


@pytest.mark.parametrize(
    "name",
    ["", "..", ".hidden", "../podman", "a/b", "/tmp/x", "tcp://host:1", "a b", "A", "x" * 65, "é"],
)
def test_what_is_no_agents_name_is_looked_for_nowhere(name: str) -> None:
    with pytest.raises(Misuse, match="not an agent's name"):
        viewer(name, PROCESS, TICKET)


def test_an_agent_that_is_not_there_is_not_started(runtime: Path) -> None:
    link = viewer("podman", PROCESS, TICKET)
    with pytest.raises(LinkClosed, match="it does not run here"):
        wait(link.open())
    assert list(runtime.iterdir()) == []
    (runtime / "podman.sock").write_text("no socket")
    with pytest.raises(LinkClosed, match="it does not run here"):
        wait(viewer("podman", PROCESS, TICKET).open())


def test_another_agent_is_waited_for_and_gone_on_with(agent: ScriptedAgent) -> None:
    link = opened()
    agent.close()
    later = ScriptedAgent(agent.path.parent)
    try:
        later.until(lambda: later.named("hello"))
        assert later.named("hello")[0].body["ticket"] == TICKET
        wait(link.request("ping", {}))
    finally:
        wait(link.close(1.0))
        later.close()


def test_it_does_not_wait_for_ever(agent: ScriptedAgent) -> None:
    link = opened()
    wait(link.caught_up())  # what there is was told
    told: list[object] = []
    link.listen("process", PROCESS, told.append)
    began = time.monotonic()
    agent.close()
    agent.until(lambda: link.over)
    assert time.monotonic() - began >= 0.2
    assert set(told) == {None}
    with pytest.raises(LinkClosed):
        wait(link.request("ping", {}))


def test_a_process_that_went_while_no_agent_was_there(agent: ScriptedAgent) -> None:
    def gone(*unused: object) -> None:
        raise ProcessGone("Cannot use this process: it is gone.")

    link = opened()
    wait(link.caught_up())  # what there is was told
    told: list[object] = []
    link.listen("process", PROCESS, told.append)
    agent.close()
    later = ScriptedAgent(agent.path.parent, answers={"hello": gone})
    later.until(lambda: told == [None])
    assert link.over
    later.close()


def test_what_happens_to_its_container_ends_its_process(agent: ScriptedAgent) -> None:
    link = opened()
    wait(link.caught_up())  # what there is was told
    told: list[object] = []
    link.listen("process", PROCESS, told.append)
    info = {"process": PROCESS, "pid": 7}
    agent.event("process", {"process": PROCESS, "info": info, "number": 1})
    gone = {"container": "c" * 32, "info": {"state": "destroyed"}}
    agent.event("container", {**gone, "number": 2})
    agent.until(lambda: None in told)
    assert told[-2:] == [info, None]
    wait(link.close(1.0))
