"""Waiting for conditions: what each asks, what it says while it does not hold."""

import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from unit.link.scripted_agent import ScriptedAgent

from tfnz_notebook.container import Container
from tfnz_notebook.errors import ContainerFailed, FileError, Misuse, PortClosed, WaitTimeout
from tfnz_notebook.waits import Condition, exec, file, healthy, http, log, tcp  # noqa: A004

NEVER = tcp(1)


def dials(agent: ScriptedAgent, answers: dict[int, list[bytes | None]]) -> None:
    """Connections to a port get its next answer, the last one again and again; None: refused."""

    def dial(scripted: ScriptedAgent, message: Any) -> Any:
        left = answers.get(message.body["port"], [None])
        answer = left.pop(0) if len(left) > 1 else left[0]
        if answer is None:
            raise PortClosed("Cannot connect: refused. Start it.", errno=111)
        number = message.body["reader"]
        scripted._tell("dial.credit", {"reader": number, "upto": 1 << 16})
        scripted._tell("data", {"reader": number, "offset": 0}, answer)
        return {}, None

    agent.answers["dial.open"] = dial


def ends(agent: ScriptedAgent, *runs: tuple[int, bytes]) -> None:
    """Commands end one after the other with these codes and outputs, the last one for ever."""
    left = list(runs)

    def answer(scripted: ScriptedAgent, message: Any) -> Any:
        reply = scripted._process_spawn(message)
        code, said = left.pop(0) if len(left) > 1 else left[0]
        ident = message.body["process"]
        scripted.write(ident, said)
        scripted.end(ident, code)
        return reply

    agent.answers["process.spawn"] = answer


def lists(agent: ScriptedAgent, *names: list[str]) -> None:
    left = list(names)

    def answer(scripted: ScriptedAgent, message: Any) -> Any:
        found = left.pop(0) if len(left) > 1 else left[0]
        return {"entries": [{"name": each} for each in found]}, None

    agent.answers["file.list"] = answer


def lacking(container: Container, *conditions: Condition, **more: Any) -> str:
    with pytest.raises(WaitTimeout, match="^Cannot wait until it holds any longer") as caught:
        container.wait_until(*conditions, timeout=0.2, **more)
    return str(caught.value)


def test_all_of_them_hold_once_each(agent: ScriptedAgent, container: Container) -> None:
    dials(agent, {80: [None, b"HTTP/1.1 503 x\r\n", b"HTTP/1.1 204 x\r\n"], 5432: [None, b""]})
    ends(agent, (1, b"no"), (0, b"PONG\n"))
    lists(agent, [], ["other"], ["ready"])
    agent.write(container.id, b"starting\n")
    threading.Timer(0.1, lambda: agent.write(container.id, b"ready to accept\n")).start()
    conditions = (
        http(80, "/health", status=range(200, 300)),
        tcp(5432),
        exec(["redis-cli", "ping"], stdout="PONG"),
        file("/run/ready"),
        log(r"^ready to (accept|serve)$"),
    )
    assert container.wait_until(*conditions, timeout=20) is container
    said = [m.payload for m in agent.notes if m.name == "dial.data"]
    assert said[0].startswith(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")


def test_a_request_is_sent_as_there_is_room_for_it(
    agent: ScriptedAgent, container: Container
) -> None:
    def dial(scripted: ScriptedAgent, message: Any) -> Any:
        numbers.append(message.body["reader"])
        return {}, None

    def said() -> bytes:
        return b"".join(m.payload or b"" for m in agent.notes if m.name == "dial.data")

    def act() -> None:
        for upto in (10, 1000, 5000):
            agent.until(lambda: numbers)
            agent.event("dial.credit", {"reader": numbers[0], "upto": upto})
            agent.until(lambda upto=upto: len(said()) == upto or b"\r\n\r\n" in said())
        agent.event("data", {"reader": numbers[0], "offset": 0}, b"HTTP/1.1 200 OK\r\n")

    numbers = list[int]()
    agent.answers["dial.open"] = dial
    acting = threading.Thread(target=act)
    acting.start()
    container.wait_until(http(80, "/" + "x" * 2000), timeout=20)
    acting.join()
    assert said().endswith(b"\r\n\r\n")


def test_any_of_them(agent: ScriptedAgent, container: Container) -> None:
    dials(agent, {2: [b""]})
    assert container.wait_until(NEVER, tcp(2), any=True, timeout=10) is container
    with pytest.raises(WaitTimeout, match="any holds"):
        container.wait_until(NEVER, tcp(3), any=True, timeout=0.05)


@pytest.mark.parametrize(
    ("prepare", "condition", "says"),
    [
        (lambda a: None, tcp(9), "port 9: nothing listens there"),
        (
            lambda a: dials(a, {80: [b"HTTP/1.1 301 Moved\r\n"]}),
            http(status={200, 204}),
            "http://localhost:80/: it answered 'HTTP/1.1 301 Moved'",
        ),
        (lambda a: dials(a, {80: [b"SSH-2.0\r\n"]}), http(), "closed without an answer"),
        (
            lambda a: dials(a, {443: [b"HTTP/1.1 400 Bad\r\n"]}),
            http(443, scheme="https"),
            "https://localhost:443/: no TLS is to be had there",
        ),
        (lambda a: None, log("ready"), "log 'ready': it last said 'starting up'"),
        (lambda a: None, log("x", "stderr"), "log 'x': it said nothing"),
        (
            lambda a: ends(a, (2, b"no server\n")),
            exec("pg_isready -q"),
            "pg_isready -q: it ended with code 2: no server",
        ),
        (lambda a: ends(a, (0, b"LOADING")), exec("ping", stdout="PONG"), "no 'PONG': LOADING"),
        (lambda a: lists(a, ["y"]), file("/run/x"), "/run/x: it is not there"),
    ],
)
def test_what_is_lacking_is_said(
    agent: ScriptedAgent,
    container: Container,
    prepare: Callable[[ScriptedAgent], None],
    condition: Condition,
    says: str,
) -> None:
    dials(agent, {})
    prepare(agent)
    agent.write(container.id, b"starting up\n")
    said = lacking(container, condition)
    assert says in said
    assert "Its last words:\nstarting up" in said


def test_a_file_that_cannot_be_read(agent: ScriptedAgent, container: Container) -> None:
    def refused(scripted: ScriptedAgent, message: Any) -> Any:
        raise FileError("Cannot list '/nosuch': it is not there.", errno=2)

    agent.answers["file.list"] = refused
    assert "it cannot be read (Cannot list '/nosuch'" in lacking(container, file("/nosuch/x"))


def test_the_health_check_is_its_own(agent: ScriptedAgent, container: Container) -> None:
    with pytest.raises(Misuse, match="has no health check"):
        container.wait_until(healthy(), timeout=10)
    check = ["CMD-SHELL", "curl -f localhost || exit 1"]
    agent.set_state(container.id, "running", health=check)
    agent.until(lambda: container._info.get("health") == check)
    ends(agent, (1, b""), (0, b""))
    container.wait_until(healthy(), timeout=10)
    argv = agent.named("process.spawn")[-1].body["command"]
    assert argv == ["/bin/sh", "-c", "curl -f localhost || exit 1"]
    agent.set_state(container.id, "running", health=["CMD", "pg_isready"])
    agent.until(lambda: container._info.get("health") == ["CMD", "pg_isready"])
    container.wait_until(healthy(), timeout=10)
    assert agent.named("process.spawn")[-1].body["command"] == ["pg_isready"]


def test_an_attempt_that_hangs_is_given_up(
    agent: ScriptedAgent, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfnz_notebook._container.ports.ATTEMPT", 0.05)
    met: list[int] = []

    def dial(scripted: ScriptedAgent, message: Any) -> Any:
        met.append(message.body["reader"])
        return NotImplemented if len(met) == 1 else ({}, None)

    agent.answers["dial.open"] = dial
    container.wait_until(tcp(80), timeout=20)
    assert len(met) == 2


def test_it_ends_with_the_container(agent: ScriptedAgent, container: Container) -> None:
    dials(agent, {})
    agent.write(container.id, b"all done\n")
    agent.set_state(container.id, "exited", returncode=3)
    agent.until(lambda: container.state == "exited")
    assert container.wait_until(log("done"), timeout=10) is container
    for condition in (tcp(80), log("never")):
        with pytest.raises(ContainerFailed, match="exited with code 3"):
            container.wait_until(condition, timeout=10)


def test_conditions_that_are_none(container: Container) -> None:
    for make in (
        lambda: container.wait_until(),
        lambda: container.wait_until(80),  # type: ignore[arg-type]
        lambda: container.wait_until(tcp(80), timeout=-1),
        lambda: tcp(0),
        lambda: http(70000),
        lambda: http(path="/a b"),
        lambda: http(headers={"A": "b\r\nC: d"}),
        lambda: http(scheme="ftp"),
        lambda: log("("),
        lambda: log("x", "stdin"),  # type: ignore[arg-type]
        lambda: exec(""),
        lambda: file("/x", "("),
    ):
        with pytest.raises(Misuse):
            make()
    with pytest.raises(FileError):
        file("relative")
    assert str(log(re.compile("a b"))) == "log 'a b'"
