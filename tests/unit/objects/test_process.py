"""A process: its end, its output, its stdin, its callbacks."""

import asyncio
import json
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
from unit.link.scripted_agent import FakeProcess, ScriptedAgent

from tfnz_notebook._link import thread
from tfnz_notebook.container import Container
from tfnz_notebook.errors import (
    CommandNotFound,
    ContainerGone,
    LinkClosed,
    Misuse,
    ProcessGone,
    QuotaFull,
    WaitTimeout,
)
from tfnz_notebook.process import Process


def test_what_it_is(agent: ScriptedAgent, container: Container) -> None:
    process = container.spawn_process("sleep 5")
    assert process.id == process.uuid
    assert len(process.id) == 32
    assert (process.command, process.pid, process.returncode) == ("sleep 5", 42, None)
    assert process.container is container
    assert repr(process) == f"<Process 'sleep 5': pid 42, in {container._called}>"
    agent.end(process.id, 3)
    assert process.wait(10) == process.returncode == 3
    assert "ended with 3" in repr(process)
    assert not process.timed_out


def test_nobody_else_makes_one() -> None:
    with pytest.raises(Misuse, match=r"container\.spawn_process"):
        Process()


def test_a_command_that_is_not_there(agent: ScriptedAgent, container: Container) -> None:
    def refuse(*_: object) -> Any:
        raise CommandNotFound("Cannot run '/x': it is not there. Look.")

    agent.answers["process.spawn"] = refuse
    with pytest.raises(CommandNotFound):
        container.spawn_process(["/x"], lambda p, d: None)
    assert container.processes == []
    assert not container._link._sinks


def test_waiting_has_an_end(container: Container) -> None:
    process = container.spawn_process("sleep 1000")
    for wait in (process.wait, process.wait_until_complete):
        with pytest.raises(WaitTimeout, match=r"within 0\.01 s"):
            wait(timeout=0.01)
        with pytest.raises(TimeoutError):
            wait(0)
    assert process.returncode is None


def test_callbacks_have_run_when_waiting_is_over(
    agent: ScriptedAgent, container: Container
) -> None:
    got: list[Any] = []
    process = container.spawn_process(
        "x",
        lambda p, data: got.append((p, data)),
        lambda p, code: got.append(code),
        lambda p, data: got.append(data),
    )
    agent.write(process.id, b"out")
    agent.write(process.id, b"err", stream=2)
    agent.end(process.id, 1)
    process.wait(10)
    assert sorted(got[:2], key=str) == [(process, b"out"), b"err"]
    assert got[2:] == [1]


def test_the_end_is_told_after_the_output_before_it_and_before_that_after_it(
    agent: ScriptedAgent, container: Container
) -> None:
    got: list[Any] = []
    process = container.spawn_process(
        "x", lambda p, data: got.append(data), lambda p: got.append("end")
    )
    agent.write(process.id, b"a")
    agent.end(process.id, eof=False)
    agent.write(process.id, b"b")
    agent.until(lambda: b"b" in got)
    assert got == [b"a", "end", b"b"]


def test_slow_callbacks_hold_back_the_waiting(agent: ScriptedAgent, container: Container) -> None:
    gate = threading.Event()
    process = container.spawn_process("x", lambda p, data: gate.wait(20))
    agent.write(process.id, b"a")
    agent.end(process.id)
    with pytest.raises(WaitTimeout):
        process.wait(0.05)
    gate.set()
    process.wait(10)


def test_waiting_for_oneself_in_a_callback_does_not_hang(
    agent: ScriptedAgent, container: Container
) -> None:
    got: list[int] = []
    process = container.spawn_process("x", None, lambda p: got.append(p.wait(10)))
    agent.end(process.id, 4)
    process.wait(10)
    assert got == [4]


def test_a_callback_that_raises_stops_nothing(
    agent: ScriptedAgent, container: Container, capsys: pytest.CaptureFixture[str]
) -> None:
    ended: list[int] = []

    def broken(process: Process, data: bytes) -> None:
        raise ZeroDivisionError("oops")

    process = container.spawn_process("x", broken, lambda p, code: ended.append(code))
    agent.write(process.id, b"a")
    agent.end(process.id)
    process.wait(10)
    assert ended == [0]
    assert capsys.readouterr().err.count("ZeroDivisionError: oops") == 1


def test_iterating_follows_its_output(agent: ScriptedAgent, container: Container) -> None:
    process = container.spawn_process("x")
    chunks = iter(process)
    agent.write(process.id, b"one")
    assert next(chunks) == b"one"
    agent.write(process.id, b"two")
    agent.end(process.id)
    assert b"".join(chunks) == b"two"
    with pytest.raises(StopIteration):
        next(chunks)


@pytest.mark.parametrize(
    ("output", "tty", "lines"),
    [
        (b"a\nb\n", False, [b"a", b"b"]),
        (b"a\r\nb", False, [b"a\r", b"b"]),
        (b"a\r\nb\r\n", True, [b"a", b"b"]),
        (b"\n\n", False, [b"", b""]),
        (b"", False, []),
        (b"x" * (12 << 20), False, None),
    ],
)
def test_lines(
    agent: ScriptedAgent,
    container: Container,
    output: bytes,
    tty: bool,
    lines: list[bytes] | None,
) -> None:
    process = container.spawn_process("x", tty=tty)
    agent.write(process.id, output)
    agent.end(process.id)
    found = list(process.lines())
    if lines is None:
        assert len(found) > 1
        assert b"".join(found) == output
    else:
        assert found == lines


def test_reading_that_is_given_up_is_closed(agent: ScriptedAgent, container: Container) -> None:
    process = container.spawn_process("x")
    agent.write(process.id, b"one\ntwo\n")
    for line in process.lines():
        assert line == b"one"
        break
    agent.until(lambda: agent.named("reader.close"))
    assert process.returncode is None


async def test_everything_can_be_awaited(agent: ScriptedAgent, container: Container) -> None:
    got: list[Any] = []
    process = await container.aio.spawn_process("x", lambda p, d: got.append((p, d)))
    agent.write(process.id, b"one\ntwo\n")

    async def follow() -> list[bytes]:
        return [line async for line in process.lines()]

    following = asyncio.create_task(follow())
    agent.end(process.id, 2)
    assert await process == b"one\ntwo\n"
    assert await process.aio.wait(10) == 2
    assert await following == [b"one", b"two"]
    assert [chunk async for chunk in process] == [b"one\ntwo\n"]
    assert b"".join(data for _, data in got) == b"one\ntwo\n"
    with pytest.raises(ProcessGone):
        await process.aio.stdin(b"x")


async def test_callbacks_of_a_coroutine_run_on_its_loop(
    agent: ScriptedAgent, container: Container
) -> None:
    threads: list[int] = []
    process = await container.aio.spawn_process(
        "x", lambda p, d: threads.append(threading.get_ident())
    )
    agent.write(process.id, b"a")
    agent.end(process.id)
    await process
    assert threads == [threading.get_ident()]


async def test_blocking_in_a_coroutine_runs_them_too(
    agent: ScriptedAgent, container: Container
) -> None:
    got: list[Any] = []
    process = container.spawn_process("x", lambda p, d: got.append(d), lambda p: got.append("end"))
    agent.write(process.id, b"a")
    agent.end(process.id)
    process.wait(10)
    assert got == [b"a", "end"]


async def test_cancelling_an_await_leaves_the_process(container: Container) -> None:
    process = container.spawn_process("sleep 1000")
    task = asyncio.create_task(process.aio.wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert container.processes == [process]


# -- stdin


def test_stdin(agent: ScriptedAgent, container: Container) -> None:
    process = container.spawn_process("cat")
    assert process.stdin(b"abc") is None
    process.stdin(bytes(1_000_000))
    assert agent.processes[process.id].stdin == b"abc" + bytes(1_000_000)
    assert len(agent.named("process.stdin")) == 3
    process.close_stdin()
    assert agent.named("process.close_stdin")


def ask(reply: bytes, *, tty: bool) -> Callable[[ScriptedAgent, Any], Any]:
    def answer(agent: ScriptedAgent, message: Any) -> Any:
        stream = agent.processes[message.body["process"]].streams[1]
        start = stream.head
        stream.data += reply
        told = {"reason": "input", "out_from": start, "out": stream.head, "err_from": 0, "err": 0}
        return told, None

    return answer


@pytest.mark.parametrize(
    ("tty", "drop", "reply"),
    [
        (True, True, b"answer\r\n$ "),
        (True, False, b"q\r\nanswer\r\n$ "),
        (False, True, b"q\r\nanswer\r\n$ "),
    ],
)
def test_a_reply(
    agent: ScriptedAgent, container: Container, tty: bool, drop: bool, reply: bytes
) -> None:
    agent.answers["process.ask"] = ask(b"q\r\nanswer\r\n$ ", tty=tty)
    process = container.spawn_process("sh", tty=tty)
    agent.write(process.id, b"$ ")
    agent.until(lambda: agent.processes[process.id].streams[1].head)
    assert process.stdin(b"q\n", return_reply=True, drop_echo=drop, timeout=5) == reply
    (message,) = agent.named("process.ask")
    assert message.payload == b"q\n"
    assert (message.body["timeout"], message.body["settle"]) == (5.0, True)


def test_an_echo_without_a_reply(container: Container) -> None:
    process = container.spawn_process("cat")
    with pytest.raises(Misuse, match="return_reply=True"):
        process.stdin(b"x", drop_echo=True)
    with pytest.raises(Misuse, match="encode"):
        process.stdin("x")  # type: ignore[arg-type]


# -- signals, sizes, the end


def test_signals(agent: ScriptedAgent, container: Container) -> None:
    process = container.spawn_process("x")
    process.signal("HUP")
    process.signal(9, tree=True)
    told = [(m.body["signal"], m.body["target"]) for m in agent.named("process.signal")]
    assert told == [(1, 0), (9, 2)]


def test_resizing(agent: ScriptedAgent, container: Container) -> None:
    process = container.spawn_process("x", tty=True, size=(30, 100))
    (spawned,) = agent.named("process.spawn")
    assert (spawned.body["rows"], spawned.body["columns"]) == (30, 100)
    process.resize(40, 120)
    (message,) = agent.named("process.resize")
    assert (message.body["rows"], message.body["columns"]) == (40, 120)
    with pytest.raises(Misuse):
        process.resize(0, 1)
    with pytest.raises(Misuse, match="tty=True"):
        container.spawn_process("x").resize(1, 1)
    with pytest.raises(Misuse, match="tty=True"):
        container.spawn_process("x", size=(1, 1))


def test_destroying_calls_back_and_a_second_time_is_an_error(container: Container) -> None:
    codes: list[int] = []
    process = container.spawn_process("x", None, lambda p, code: codes.append(code))
    assert container.destroy_process(process) == 0
    assert codes == [-15]
    for use in (
        lambda: container.destroy_process(process),
        process.destroy,
        lambda: process.stdin(b"x"),
        lambda: process.stdin(b"x", return_reply=True),
        process.close_stdin,
        lambda: process.signal(1),
    ):
        with pytest.raises(ProcessGone, match="has ended with code -15"):
            use()


def test_a_process_of_another_container(container: Container) -> None:
    other = container.node.spawn_container("nginx")
    process = other.spawn_process("x")
    for wrong in (process, None, "x", other):
        with pytest.raises(Misuse, match="none of"):
            container.destroy_process(wrong)  # type: ignore[arg-type]


def test_with_its_container_it_is_gone(agent: ScriptedAgent, container: Container) -> None:
    process = container.spawn_process("x")
    done = container.spawn_process("y")
    agent.write(done.id, b"kept")
    agent.end(done.id)
    assert done.wait_until_complete(10) == b"kept"
    container.destroy()
    assert done.wait_until_complete() == b"kept"
    assert done.stdout == b"kept"
    with pytest.raises(ContainerGone, match="was destroyed"):
        process.stdin(b"x")
    assert process.wait() == process.returncode == -9


def test_too_much_at_once(
    agent: ScriptedAgent, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfnz_notebook._link.reader.MAX_BYTES", 10)
    process = container.spawn_process("x")
    agent.write(process.id, bytes(20))
    agent.end(process.id)
    with pytest.raises(QuotaFull, match="in pieces"):
        process.wait_until_complete(10)
    with pytest.raises(QuotaFull):
        _ = process.stdout
    assert process.log(5, limit=10) == bytes(10)


def test_attaching_replays(agent: ScriptedAgent, container: Container) -> None:
    process = container.spawn_process("x")
    agent.write(process.id, b"before ")
    agent.end(process.id, 6)
    process.wait(10)
    got: list[Any] = []
    assert process.attach(lambda p, d: got.append(d), lambda p, code: got.append(code)) is process
    process.wait(10)
    assert got == [b"before ", 6]


def test_arguments_are_checked_before_anything_is_sent(
    agent: ScriptedAgent, container: Container
) -> None:
    bad: list[dict[str, Any]] = [
        {"env": ["A"]},
        {"cwd": "relative"},
        {"cwd": "/a/../b"},
        {"user": ""},
        {"timeout": -1},
        {"retain": "some"},
        {"data_callback": 5},
        {"termination_callback": "x"},
        {"stderr_callback": 5},
    ]
    for options in bad:
        with pytest.raises(ValueError, match=r"Cannot .*: .*\."):
            container.spawn_process("x", **options)
    for command in ("", [], 5, b"x"):
        with pytest.raises(Misuse):
            container.spawn_process(command)  # type: ignore[arg-type]
    process = container.spawn_process("x")
    for use in (
        lambda: process.wait(-1),
        lambda: process.log(-1),
        lambda: process.log(stream="both"),  # type: ignore[arg-type]
        lambda: process.lines(-1),
        lambda: process.signal("NOPE"),
        lambda: container.destroy_process(process, grace=-1),
    ):
        with pytest.raises(Misuse):
            use()
    assert len(agent.named("process.spawn")) == 1
    assert not agent.named("process.destroy")


def kept_waiting(agent: ScriptedAgent, name: str, then: Callable[[], object]) -> None:
    """A request that is not answered, but ``then`` done."""

    def keep(_scripted: ScriptedAgent, _message: Any) -> Any:
        then()
        return NotImplemented

    agent.answers[name] = keep


def test_an_interrupted_spawn_leaves_nothing_behind(
    agent: ScriptedAgent, container: Container
) -> None:
    kept_waiting(agent, "process.spawn", lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        container.spawn_process("x", lambda p, d: None)
    agent.until(lambda: container.processes == [])
    assert container.location.nodes()
    (spawn,) = agent.named("process.spawn")
    assert not agent.named("process.destroy")  # there is nothing to destroy yet
    agent.processes[spawn.body["process"]] = process = FakeProcess(
        spawn.body["process"], spawn.body["container"]
    )
    agent.answer(spawn, {"info": process.info()})
    (message,) = agent.until(lambda: agent.named("process.destroy"))
    assert message.body["process"] == spawn.body["process"]


def test_an_interrupted_spawn_that_is_refused_leaves_nothing_to_undo(
    agent: ScriptedAgent, container: Container
) -> None:
    kept_waiting(agent, "process.spawn", lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        container.spawn_process("x")
    (spawn,) = agent.named("process.spawn")
    agent.refuse(spawn, CommandNotFound("Cannot run 'x': it is not there. Look."))
    agent.until(lambda: not container._link._pending)
    assert container.location.nodes()
    assert not agent.named("process.destroy")


@pytest.mark.parametrize("cut", [0, 1])
async def test_a_cancelled_spawn_is_undone_whenever_the_cancel_comes(
    agent: ScriptedAgent, container: Container, cut: int
) -> None:
    arrived = threading.Event()
    kept_waiting(agent, "process.spawn", arrived.set)
    task = asyncio.create_task(container.aio.spawn_process("x"))
    assert await asyncio.to_thread(arrived.wait, 10)
    (spawn,) = agent.named("process.spawn")
    process = FakeProcess(spawn.body["process"], spawn.body["container"])
    agent.processes[process.ident] = process
    if cut == 0:  # before its answer
        task.cancel()
        await asyncio.wait([task])
        agent.answer(spawn, {"info": process.info()})
    else:  # after it, but before this loop has turned
        agent.answer(spawn, {"info": process.info()})
        agent.until(lambda: not container._link._pending)
        agent.until(lambda: thread.wait(settled()))
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()
    await asyncio.to_thread(agent.until, lambda: agent.named("process.destroy"))


async def settled() -> bool:
    """All that the I/O loop had to do is done."""
    for _ in range(5):
        await asyncio.sleep(0)
    return True


def test_after_a_disconnect(container: Container) -> None:
    process = container.spawn_process("x")
    container.location.disconnect()
    with pytest.raises(LinkClosed):
        process.stdin(b"x")
    with pytest.raises(LinkClosed):
        list(process)


def test_a_recording(agent: ScriptedAgent, container: Container) -> None:
    process = container.spawn_process("sh -c 'echo a'", env={"TOKEN": "a secret"}, tty=True)
    written = agent.processes[process.id].streams[1]
    written.data += b"a\r\nb\r\n"
    read = agent._log_read

    def with_times(message: Any) -> Any:
        told, piece = read(message)
        times = {"times": [[1, 0, 20], [1, 3, 1500]]} if message.body.get("times") else {}
        return told | times, piece

    agent._log_read = with_times  # type: ignore[method-assign]
    process.stdin(b"typed")
    head, *events = map(json.loads, process.recording().splitlines())
    assert head["title"] == "sh -c 'echo a'" and "secret" not in str(head)
    assert events == [[0.02, "o", "a\r\n"], [1.5, "o", "b\r\n"]]
