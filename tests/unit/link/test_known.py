"""What the agent told of a session: pages, changes in their order, what is missed."""

from __future__ import annotations

from typing import Any

import pytest
from unit.link.scripted_agent import FakeProcess, ScriptedAgent

from tfnz_notebook._link.known import RECENT, Known
from tfnz_notebook._link.thread import wait
from tfnz_notebook.container import Container
from tfnz_notebook.location import Location


def box(ident: str = "c", state: str = "running") -> dict[str, Any]:
    return {"container": ident, "state": state}


def run(ident: str, returncode: int | None = None, container: str = "c") -> dict[str, Any]:
    return {"process": ident, "container": container, "returncode": returncode}


@pytest.fixture
def known() -> Known:
    made = Known()
    made.begin()
    made.page([box()], [run("c"), run("p")], {"c": 7})
    assert made.missing() == ([], [])
    return made


def test_what_was_told_last_holds(known: Known) -> None:
    known.container_is(box(state="exited"))
    known.process_is(run("p", 3))
    assert known.containers["c"]["state"] == "exited"
    assert known.process("p") == run("p", 3)
    assert known.ended["c"] == 8


def test_an_end_counts_once_and_the_main_process_not_at_all(known: Known) -> None:
    for _ in range(2):
        known.process_is(run("p", 0))
        known.process_is(run("c", 0))
    assert known.ended["c"] == 8


def test_of_those_that_ended_the_last_are_kept(known: Known) -> None:
    for number in range(10):
        known.process_is(run(f"p{number}"))
        known.process_is(run(f"p{number}", 0))
    kept = [f"p{number}" for number in range(10 - RECENT, 10)]
    assert list(known.processes["c"]) == ["c", "p", *kept]
    assert known.ended["c"] == 17


def test_a_reboot_ends_all_that_ran(known: Known) -> None:
    known.container_is(box(state="starting"))
    assert known.process("p") is None
    assert "c" not in known.ended


def test_a_container_that_is_gone_takes_its_processes_along(known: Known) -> None:
    known.container_is(box(state="destroyed"))
    known.process_is(run("p", -9))  # its last word
    assert not known.containers and not known.processes and not known.ended


def test_who_listens_hears_of_its_own_and_who_wants_of_all(known: Known) -> None:
    heard: list[Any] = []
    known.listen("process", "p", lambda info: heard.append(("p", info)))
    known.listen("process", "", lambda info: heard.append(("", info)))
    known.process_is(run("p", 0), [b"out", b""])
    known.process_is(run("q"))
    with_output = {**run("p", 0), "said": [b"out", b""]}
    assert heard == [("p", with_output), ("", with_output), ("", run("q"))]
    assert "said" not in (known.process("p") or {}), "what it wrote is its listeners'"


def test_what_a_snapshot_does_not_name_is_missing(known: Known) -> None:
    known.listen("process", "long ago", lambda info: None)
    known.container_is(box("d"))
    known.begin()
    known.page([box()], [run("c")], {"c": 8})
    known.process_is(run("new"))  # an event, between two pages
    assert known.missing() == (["d"], ["p", "long ago"])


# -- over a link


def test_what_another_kernel_starts_is_known_without_asking(
    agent: ScriptedAgent, location: Location, container: Container
) -> None:
    asked = len(agent.requests)
    theirs = FakeProcess("f" * 32, container.id, "theirs")
    agent.do(lambda: agent._changed(process=theirs))
    agent.until(lambda: location._link.known.process("f" * 32))
    assert len(agent.requests) == asked


def test_a_lost_event_is_noticed(
    agent: ScriptedAgent, location: Location, container: Container
) -> None:
    """The connection is made anew, and with it comes the whole state."""
    identity = agent.clients[0]

    def lose() -> None:
        agent.numbers[identity] += 1
        agent.containers[container.id]["ip"] = "10.0.0.1"
        agent._changed(process=FakeProcess("e" * 32, container.id))

    agent.do(lose)
    agent.until(lambda: container._info.get("ip") == "10.0.0.1")
    assert len(agent.named("hello")) == 2
    wait(location._link.caught_up())
    assert location._link.known.process("e" * 32) is None, "nobody has such a process"
