"""The picture of a process: its tail in order, its end, and what stays when its container goes."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from unit.link.scripted_agent import ScriptedAgent

from tfnz_notebook._link.thread import wait
from tfnz_notebook.container import Container
from tfnz_notebook.process import Process
from tfnz_notebook.widgets.display import Still
from tfnz_notebook.widgets.output import ProcessPicture, process_picture


def still(picture: ProcessPicture, *, final: bool = False) -> Still:
    return wait(picture.still(final=final))


def until(met: Callable[[], Any], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def write(agent: ScriptedAgent, process: Process, data: bytes, stream: int = 1) -> None:
    """It writes, and its log has it."""
    log = agent.processes[process.id].streams[stream]
    head = log.head + len(data)
    agent.write(process.id, data)
    until(lambda: log.head == head)


@pytest.fixture
def process(container: Container) -> Process:
    return container.spawn_process("make <all>")


def test_while_it_runs(agent: ScriptedAgent, process: Process) -> None:
    write(agent, process, b"\x1b[32mone\x1b[m\n")
    picture = process_picture(process, rows=5)
    assert (picture.kind, picture.options) == ("output", {"rows": 5})
    assert picture.subject == f"process:{process.id}"
    found = still(picture)
    assert found.text.startswith("one\n[make <all> in nginx ")
    assert "when last seen · 12 B]" in found.text
    assert ">one</span>" in found.html and "make &lt;all&gt;" in found.html
    assert still(picture) == found  # nothing in it ticks


def test_its_end(agent: ScriptedAgent, process: Process) -> None:
    picture = process_picture(process)
    write(agent, process, b"out\n")
    agent.end(process.id, 3)
    wait(picture.over())
    until(lambda: process.returncode is not None)
    found = still(picture, final=True)
    assert found.text.startswith("out\n") and "exit 3" in found.text and "exit 3" in found.html
    assert "exit 3" in picture.text


def test_what_was_dropped_of_a_tail_is_said(agent: ScriptedAgent, process: Process) -> None:
    agent.processes[process.id].streams[1].base = 2_000_000
    write(agent, process, b"line\n" * 100_000)
    found = still(process_picture(process))
    assert "2.38 MiB above, the first 1.91 MiB of it dropped" in found.text.partition("\n")[0]


def test_the_first_still_is_short_and_the_next_has_what_fits(
    agent: ScriptedAgent, process: Process
) -> None:
    write(agent, process, b"".join(b"line %d\n" % n for n in range(2000)))
    picture = process_picture(process)
    first, second = still(picture), still(picture)
    assert "line 1999" in first.html and "line 1999" in second.html
    assert "line 1000\n" not in first.html and "line 1000\n" in second.html


def test_only_the_tail_of_much(agent: ScriptedAgent, process: Process) -> None:
    write(agent, process, b"".join(b"line %d\n" % n for n in range(100_000)))
    found = still(process_picture(process))
    assert "MiB above: process.log() has all of it" in found.text.partition("\n")[0]
    assert "line 99999\n" in found.text and "line 99999\n" in found.html
    assert len(found.text) + len(found.html) < 80_000
    first = found.text.splitlines()[1]
    assert first.startswith("line ") and len(first) == len("line 99999")


def test_the_order_of_both_streams(
    agent: ScriptedAgent, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: dict[int, bytes] = {1: b"a\nc\n", 2: b"b\nd\n"}

    def read(message: Any) -> Any:
        body = message.body
        piece = said[body["stream"]][body["offset"] :][: body["limit"]]
        told = {"offset": body["offset"], "head": 4, "base": 0, "eof": False}
        if body.get("order"):
            told["order"] = [[1, 0], [2, 0], [1, 2], [2, 2]]
        return told, piece

    monkeypatch.setattr(agent, "_log_read", read)
    assert still(process_picture(process)).text.startswith("a\nb\nc\nd\n")


def test_a_terminal_is_drawn(agent: ScriptedAgent, container: Container) -> None:
    process = container.spawn_process("sh", tty=True)
    write(agent, process, b"\x1b[2;3Hhere\x1b[1;1Htop")
    assert still(process_picture(process)).text.startswith("top\n  here\n[sh in ")


def test_what_it_said_last_outlives_its_container(
    agent: ScriptedAgent, process: Process, container: Container
) -> None:
    picture = process_picture(process)
    still(picture)
    over: list[bool] = []

    async def watch() -> None:
        await picture.over()
        over.append(True)

    from tfnz_notebook._link.thread import io

    io().soon(lambda: io().loop.create_task(watch()))
    until(lambda: container._last_looks)
    write(agent, process, b"last words\n")
    container.destroy()
    until(lambda: over)
    agent.processes.clear()  # its log went with it
    assert still(picture, final=True).text.startswith("last words\n")
    assert not container._last_looks


def test_no_ticket_from_an_agent_that_has_none(process: Process) -> None:
    assert wait(process_picture(process).direct()) is None


def test_a_ticket(agent: ScriptedAgent, process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"ticket": "secret", "agent": "podman"}
    monkeypatch.setattr(agent, "_process_ticket", lambda _: (answer, None), raising=False)
    direct = wait(process_picture(process).direct())
    assert direct == {"agent": "podman", "process": process.id, "ticket": "secret"}


def test_what_has_written_has_begun(agent: ScriptedAgent, process: Process) -> None:
    """Of a container's first process nobody tells a pid."""
    process._info["pid"] = 0
    picture = process_picture(process)
    assert "starting when last seen" in still(picture).text
    write(agent, process, b"six lines\n")
    assert "running when last seen" in still(picture).text
