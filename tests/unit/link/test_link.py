"""The conversation with an agent: hello, requests, and going on after a break."""

import gc
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from unit.link.scripted_agent import CHUNK, ScriptedAgent

from tfnz_notebook._link import link as link_module
from tfnz_notebook._link import thread
from tfnz_notebook._wire import link as wire
from tfnz_notebook._wire.link import Kind, Message
from tfnz_notebook.container import Container
from tfnz_notebook.errors import (
    AgentError,
    ContainerGone,
    EngineError,
    LinkClosed,
    Misuse,
    ProcessGone,
    ProtocolError,
    to_wire,
)
from tfnz_notebook.location import Location


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "RETRY", (0.01, 0.05))
    monkeypatch.setattr(link_module, "PATIENCE", 5.0)


def again(agent: ScriptedAgent, *, keep: bool = True) -> ScriptedAgent:
    """The agent dies and another one takes its place, knowing its processes if ``keep``."""
    agent.close()
    return ScriptedAgent(agent.path.parent, after=agent if keep else None)


# -- the first words


def test_hello_says_who_we_are(agent: ScriptedAgent, location: Location) -> None:
    (hello,) = agent.named("hello")
    assert hello.body["version"] == wire.VERSION
    assert hello.body["pid"] == os.getpid()
    assert hello.body["session"] is None
    assert hello.body["durable"] is False
    stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    assert hello.body["pid_start"] == int(stat[19])
    assert location.session == "s-test"
    assert location.engine == "podman"


def test_a_durable_session_is_named(agent: ScriptedAgent) -> None:
    with Location("podman", session="mine", ttl=60) as location:
        assert location.session == "mine"
    (hello,) = agent.named("hello")
    assert (hello.body["session"], hello.body["durable"], hello.body["ttl"]) == ("mine", True, 60.0)


def test_an_agent_of_another_version(agent: ScriptedAgent) -> None:
    def refuse(_: ScriptedAgent, message: Message) -> Any:
        raise AgentError("Cannot talk to this agent: version 9. Run 'tfnz-agent stop'.")

    agent.answers["hello"] = refuse
    with pytest.raises(AgentError, match="tfnz-agent stop"):
        Location("podman")


def test_an_agent_that_does_not_answer(
    agent: ScriptedAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "HELLO_TIMEOUT", 0.1)
    agent.answers["hello"] = lambda a, m: NotImplemented
    with pytest.raises(LinkClosed, match="does not answer"):
        Location("podman")


# -- requests


def test_an_error_is_raised_as_what_it_was(agent: ScriptedAgent, location: Location) -> None:
    def fail(_: ScriptedAgent, message: Message) -> Any:
        raise EngineError("Cannot list: it is out. Wait.", status=500)

    agent.answers["node.list"] = fail
    with pytest.raises(EngineError, match="it is out") as caught:
        location.nodes()
    assert caught.value.details == {"status": 500}


def test_answers_may_come_in_any_order(agent: ScriptedAgent, location: Location) -> None:
    held: list[Message] = []

    def hold(scripted: ScriptedAgent, message: Message) -> Any:
        held.append(message)
        if len(held) == 3:
            for number, each in enumerate(reversed(held)):
                scripted._send(
                    scripted._identity, wire.reply(each, {"images": [{"id": str(number)}]})
                )
        return NotImplemented

    agent.answers["image.list"] = hold
    found: dict[int, list[str]] = {}

    def ask(number: int) -> None:
        found[number] = [image.id for image in location.images()]

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(3)]
    for each in threads:
        each.start()
        agent.until(lambda: len(held) == threads.index(each) + 1 or len(held) == 3)  # noqa: B023
    for each in threads:
        each.join(10)
    assert found == {0: ["2"], 1: ["1"], 2: ["0"]}


def test_a_late_answer_to_nobody_is_nothing(agent: ScriptedAgent, location: Location) -> None:
    agent.raw(wire.encode(Message(Kind.REPLY, 999, "node.list", {})))
    agent.event("process", {"process": "unknown", "info": {"process": "unknown"}, "number": 1})
    agent.event("data", {"reader": 999, "offset": 0}, b"x")
    agent.event("from a later version", {"reader": 1})
    assert location.nodes()
    assert len(agent.named("hello")) == 1


def test_pings_keep_the_session(agent: ScriptedAgent) -> None:
    hello = agent._hello
    agent.answers["hello"] = lambda a, m: ({**hello(m)[0], "heartbeat": 0.02}, None)
    with Location("podman"):
        agent.until(lambda: len(agent.named("ping")) >= 3)


# -- what happens after a break


def test_after_a_break_it_goes_on(agent: ScriptedAgent, location: Location) -> None:
    client = agent.named("hello")[0].body["client"]
    assert location.reachable
    agent.close()
    agent.until(lambda: not location.reachable)
    fresh = again(agent)
    try:
        assert location.nodes()
        assert location.reachable
        (hello,) = fresh.named("hello")
        assert hello.body["client"] == client
        assert hello.body["session"] == "s-test"
    finally:
        location.disconnect()
        fresh.close()


def test_repeatable_requests_are_repeated_and_others_fail(
    agent: ScriptedAgent, location: Location, container: Container
) -> None:
    agent.answers["node.list"] = lambda a, m: NotImplemented
    agent.answers["process.signal"] = lambda a, m: NotImplemented
    process = container.spawn_process("sleep 1000")
    results: dict[str, Any] = {}

    def ask(name: str, function: Any) -> None:
        try:
            results[name] = function()
        except LinkClosed as error:
            results[name] = error

    threads = [
        threading.Thread(target=ask, args=("nodes", location.nodes)),
        threading.Thread(target=ask, args=("signal", lambda: process.signal("HUP"))),
    ]
    for each in threads:
        each.start()
    agent.until(lambda: agent.named("node.list") and agent.named("process.signal"))
    ident = agent.named("node.list")[-1].ident
    fresh = again(agent)
    for each in threads:
        each.join(10)
    assert [node.name for node in results["nodes"]] == ["first", "second"]
    assert fresh.named("node.list")[0].ident == ident
    assert isinstance(results["signal"], LinkClosed)
    assert str(results["signal"]).startswith("Cannot reach the agent of 'podman'")
    assert not fresh.named("process.signal")
    location.disconnect()
    fresh.close()


def test_a_write_is_said_again_to_an_agent_that_knows_it_by_its_name(
    agent: ScriptedAgent,
    location: Location,
    container: Container,
) -> None:
    agent.answers["process.stdin"] = lambda a, m: NotImplemented
    process = container.spawn_process("cat")
    thread = threading.Thread(target=process.stdin, args=[b"once"])
    thread.start()
    agent.until(lambda: agent.named("process.stdin"))
    (first,) = agent.named("process.stdin")
    agent.close()
    fresh = again(agent)
    thread.join(10)
    said = [(each.body["write"], each.payload) for each in fresh.named("process.stdin")]
    assert said == [(first.body["write"], b"once")]
    location.disconnect()
    fresh.close()


@pytest.mark.parametrize("deaths", [1, 2, 3])
def test_a_container_that_was_being_made_is_asked_for_again(
    agent: ScriptedAgent, location: Location, deaths: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By agents that say yes, and die before they have done anything, however many."""
    files = [("/etc/motd", b"hello")]
    with monkeypatch.context() as patch:
        patch.setattr(ScriptedAgent, "_container_spawn", lambda agent, message: ({}, None))
        container = location.node("first").spawn_container("nginx", pre_boot_files=files)
        (first,) = agent.named("container.spawn")
        fresh = agent
        for _ in range(deaths - 1):
            fresh = again(fresh, keep=False)
            fresh.until(lambda dying=fresh: dying.named("container.spawn"))
    fresh = again(fresh, keep=False)
    assert container.wait_until_ready(10) is container
    (second,) = fresh.named("container.spawn")
    assert (second.body, second.payload) == (first.body, first.payload)
    location.disconnect()
    fresh.close()


def test_a_container_that_ran_and_is_not_known_any_more_is_gone(
    agent: ScriptedAgent, location: Location, container: Container
) -> None:
    fresh = again(agent, keep=False)
    agent.until(lambda: container.state == "destroyed")
    assert not fresh.named("container.spawn")
    location.disconnect()
    fresh.close()


def test_readers_go_on_where_they_were(
    agent: ScriptedAgent, location: Location, container: Container
) -> None:
    got: list[bytes] = []
    ended: list[int] = []
    process = container.spawn_process(
        "yes", lambda p, data: got.append(data), lambda p, code: ended.append(code)
    )
    agent.write(process.id, b"before ")
    agent.until(lambda: b"".join(got) == b"before ")
    fresh = again(agent)
    fresh.write(process.id, b"after")
    fresh.end(process.id, 7)
    assert process.wait(10) == 7
    assert b"".join(got) == b"before after"
    assert ended == [7]
    (opened,) = fresh.named("reader.open")
    assert opened.body["offset"] == len(b"before ")
    location.disconnect()
    fresh.close()


def test_what_ended_meanwhile_is_heard_of(
    agent: ScriptedAgent, location: Location, container: Container
) -> None:
    process = container.spawn_process("sleep 1")
    agent.processes[process.id].returncode = 5
    agent.processes[process.id].ended = True
    fresh = again(agent)
    assert process.wait(10) == 5
    location.disconnect()
    fresh.close()


def test_what_the_new_agent_does_not_know_is_gone(
    agent: ScriptedAgent, location: Location, container: Container
) -> None:
    ended: list[Any] = []
    process = container.spawn_process("sleep 1", None, lambda p, code: ended.append(code))
    fresh = again(agent, keep=False)
    with pytest.raises(ProcessGone, match="does not know it any more"):
        process.wait(10)
    assert ended == [None]
    with pytest.raises(ContainerGone):
        container.spawn_process("true")
    location.disconnect()
    fresh.close()


def test_an_agent_behind_our_back_is_greeted_again(
    agent: ScriptedAgent, location: Location
) -> None:
    agent.do(agent.clients.clear)
    agent.until(lambda: not agent.clients)
    assert location.nodes()
    assert len(agent.named("hello")) == 2


def test_an_agent_that_says_nonsense_is_left_and_greeted_again(
    agent: ScriptedAgent, location: Location
) -> None:
    for parts in ([b"\xff\xff"], [b""], [b"a", b"b", b"c"], wire.encode(wire.note("credit", {}))):
        before = len(agent.named("hello"))
        agent.raw(parts)
        agent.until(lambda: len(agent.named("hello")) > before)  # noqa: B023
        assert location.nodes()


def test_an_agent_that_does_not_understand_us(agent: ScriptedAgent, location: Location) -> None:
    error = to_wire(AgentError("what?"))
    agent.raw(wire.encode(Message(Kind.ERROR, 0, "protocol", error)))
    agent.until(lambda: len(agent.named("hello")) == 2)
    assert location.nodes()


def test_an_agent_that_stays_away(
    agent: ScriptedAgent, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "PATIENCE", 0.1)

    def nowhere() -> Any:
        raise LinkClosed("nobody")

    monkeypatch.setattr(location._link.place, "find", nowhere)
    agent.close()
    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(LinkClosed, match="Cannot reach the agent"):
            location.nodes()
    assert time.monotonic() - began < 5
    location.disconnect()


def test_an_agent_that_cannot_be_started_again_is_the_end(
    agent: ScriptedAgent, location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> Any:
        raise AgentError("Cannot start the agent: it is broken. Mend it.")

    monkeypatch.setattr(location._link.place, "find", refuse)
    agent.close()
    agent.until(lambda: not location.connected)
    with pytest.raises(LinkClosed):
        location.nodes()


# -- the end


def test_disconnecting_says_bye_and_is_idempotent(
    agent: ScriptedAgent, location: Location, container: Container
) -> None:
    process = container.spawn_process("sleep 1000")
    location.disconnect()
    location.disconnect()
    assert len(agent.named("bye")) == 1
    for use in (
        location.nodes,
        location.containers,
        container.destroy,
        lambda: container.spawn_process("true"),
        lambda: process.stdin(b"x"),
        lambda: process.wait(),
        lambda: process.stdout,
        lambda: container.attach_tunnel(80),
    ):
        with pytest.raises(LinkClosed, match="disconnected"):
            use()


def test_who_waits_hears_of_a_disconnect(location: Location, container: Container) -> None:
    process = container.spawn_process("sleep 1000")
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            process.wait()
        except LinkClosed as error:
            errors.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    location.disconnect()
    waiting.join(10)
    assert len(errors) == 1


def test_nothing_is_left_of_a_closed_link(agent: ScriptedAgent) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(3):
        Location("podman").disconnect()
    gc.collect()
    thread.wait(_turn())
    before = descriptors()
    for _ in range(10):
        Location("podman").disconnect()
    gc.collect()
    agent.until(lambda: descriptors() <= before + 2)


async def _turn() -> None:
    pass


# -- reading


def test_what_waits_here_is_bounded(agent: ScriptedAgent, container: Container) -> None:
    from tfnz_notebook._link.reader import WINDOW

    gate = threading.Event()
    total = 0

    def slow(process: object, data: bytes) -> None:
        nonlocal total
        gate.wait(20)
        total += len(data)

    process = container.spawn_process("yes", slow)
    size = 4 * WINDOW + 12345
    agent.write(process.id, bytes(size))
    (reader,) = [r for r in agent.readers.values() if r.process == process.id]
    agent.until(lambda: reader.offset == WINDOW)
    location_is_fine = container.location.nodes()
    assert location_is_fine
    assert reader.offset == WINDOW
    gate.set()
    agent.end(process.id)
    process.wait(20)
    assert total == size
    assert reader.credit - size <= WINDOW


def test_repeats_are_skipped_and_gaps_counted(agent: ScriptedAgent, container: Container) -> None:
    got: list[bytes] = []
    process = container.spawn_process("yes", lambda p, data: got.append(data))
    (reader,) = [r for r in agent.readers.values() if r.process == process.id]

    def say(offset: int, data: bytes) -> None:
        agent.event("data", {"reader": reader.number, "offset": offset}, data)

    say(0, b"abc")
    say(1, b"bcd")
    say(0, b"ab")
    say(10, b"k")
    agent.until(lambda: b"".join(got) == b"abcdk")
    (output,) = process._followers[0]._outputs.values()
    assert output.reader.elided == 6
    assert output.reader.offset == 11


@pytest.mark.parametrize("size", [0, 1, CHUNK, 3 * CHUNK + 7])
def test_a_whole_log_is_read(agent: ScriptedAgent, container: Container, size: int) -> None:
    process = container.spawn_process("x")
    data = os.urandom(size)
    agent.write(process.id, data)
    agent.write(process.id, b"to the other stream", stream=2)
    agent.end(process.id)
    assert process.wait_until_complete(20) == data
    assert process.wait_until_complete() == data
    assert process.stdout == data
    assert process.stderr == b"to the other stream"
    assert process.log(size // 2, limit=5) == data[size // 2 :][:5]


def test_of_a_log_whose_beginning_is_gone_the_rest_is_read(
    agent: ScriptedAgent, container: Container
) -> None:
    process = container.spawn_process("x", retain="tail")

    def drop() -> None:
        agent.processes[process.id].streams[1].base = 100

    agent.do(drop)
    agent.write(process.id, b"rest")
    agent.end(process.id)
    assert process.wait_until_complete(10) == b"rest"
    assert process.log(50) == b"rest"
    assert list(process) == [b"rest"]


# -- what an agent refuses


def test_a_request_that_an_agent_refuses_by_name_fails_alone(
    agent: ScriptedAgent, location: Location
) -> None:
    def refuse(_: ScriptedAgent, message: Message) -> Any:
        raise ProtocolError("image.list: 'x' is over its limit of 3.")

    agent.answers["image.list"] = refuse
    with pytest.raises(ProtocolError, match="over its limit"):
        location.images()
    assert [node.name for node in location.nodes()] == ["first", "second"]
    assert len(agent.named("hello")) == 1, "the link has not noticed"


def test_a_request_at_which_an_agent_breaks_off_is_said_twice_and_no_more(
    agent: ScriptedAgent, location: Location
) -> None:
    """One of them is poison; nobody knows which, and a third time would be for ever."""

    def break_off(_: ScriptedAgent, message: Message) -> Any:
        error = to_wire(ProtocolError("A header that is not msgpack: ValueError."))
        agent._send(agent._identity, Message(Kind.ERROR, 0, "protocol", error))
        return NotImplemented

    agent.answers["image.list"] = break_off
    with pytest.raises(ProtocolError, match=r"^Cannot list images: A header that is not"):
        location.images()
    assert len(agent.named("image.list")) == 2
    del agent.answers["image.list"]
    agent.answers["node.list"] = lambda a, m: ({"nodes": []}, None)
    assert location.nodes() == []
    assert location.reachable


def test_what_is_prepared_is_asked_for_again_of_another_agent(
    agent: ScriptedAgent, location: Location
) -> None:
    agent.answers["container.prepare"] = lambda a, m: ({"ready": m.body["spares"]}, None)
    location.prepare("nginx", spares=3, memory="1g", env={"A": "1"})
    location.prepare("debian", spares=1)
    location.prepare("debian", spares=0)
    asked = agent.named("container.prepare")
    assert [each.body["spares"] for each in asked] == [3, 1, 0]
    spec = asked[0].body["spec"]
    assert (spec["image"], spec["memory"], spec["sleep"]) == ("nginx", 1 << 30, True)
    for wrong in ({"spares": -1}, {"colour": "red"}, {"spares": 1000}):
        with pytest.raises(Misuse):
            location.prepare("nginx", **wrong)  # type: ignore[arg-type]
    agent.close()
    fresh = again(agent)
    try:
        (asked_again,) = fresh.until(lambda: fresh.named("container.prepare"))
        assert asked_again.body["spec"]["image"] == "nginx"
    finally:
        location.disconnect()
        fresh.close()
