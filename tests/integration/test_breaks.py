"""Agents that are killed, engines that go away: nothing of a process's output is lost."""

import hashlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from integration import engine_api
from integration.polling import until
from integration.proxy import Proxy
from integration.world import World

from tfnz_notebook.errors import LocationError
from tfnz_notebook.location import Location
from tfnz_notebook.process import Process

SLOW = "i=0; while [ $i -lt 200 ]; do i=$((i+1)); echo line $i; sleep 0.01; done"
FAST = (
    "import sys, hashlib\n"
    "block = bytes(range(256)) * 256\n"
    "digest = hashlib.sha256()\n"
    "for number in range(1000):\n"
    "    piece = number.to_bytes(8, 'big') + block[8:]\n"
    "    digest.update(piece); sys.stdout.buffer.write(piece)\n"
    "print(digest.hexdigest(), file=sys.stderr)\n"
)


@pytest.fixture
def fragile(own_world: Callable[..., World], where: str) -> Iterator[tuple[World, Location]]:
    """A world and a location whose agent may be killed."""
    world = own_world()
    with Location(where) as location:
        yield world, location


def test_a_killed_agent_is_replaced_and_output_goes_on(fragile: tuple[World, Location]) -> None:
    world, location = fragile
    container = location.best_node().spawn_container("debian", sleep=True).wait_until_ready()
    got: list[bytes] = []
    slow = container.spawn_process(SLOW, data_callback=lambda process, data: got.append(data))
    cat = container.spawn_process("cat")
    cat.stdin(b"before\n")
    ended = container.spawn_process("echo long ago; exit 3")
    ended.wait()
    until(lambda: b"".join(got).count(b"\n") > 50, 20, "it writes")
    world.kill_agent(location.engine)
    assert container.run_process("echo alive").stdout == b"alive\n"
    cat.stdin(b"after\n")
    cat.close_stdin()
    assert cat.wait_until_complete(timeout=30) == b"before\nafter\n"
    expected = b"".join(b"line %d\n" % n for n in range(1, 201))
    assert slow.wait_until_complete(timeout=30) == expected
    assert b"".join(got) == expected
    assert (ended.returncode, ended.stdout) == (3, b"long ago\n")


def test_a_fast_stream_survives_one_agent_after_another(fragile: tuple[World, Location]) -> None:
    world, location = fragile
    container = location.best_node().spawn_container("debian", sleep=True).wait_until_ready()
    digest, total = hashlib.sha256(), 0

    def count(process: Process, data: bytes) -> None:
        nonlocal total
        digest.update(data)
        total += len(data)

    process = container.spawn_process(["python3", "-c", FAST], data_callback=count)
    for part in (1, 2, 3):
        until(lambda part=part: total > part * 10_000_000, 30, "so much has come")
        world.kill_agent(location.engine)
    process.wait(timeout=60)
    assert total == 1000 << 16
    assert process.stderr.decode().strip() == digest.hexdigest()
    assert hashlib.sha256(process.stdout).digest() == digest.digest(), "and again, from the log"


def test_waits_and_iterations_outlive_the_agent(fragile: tuple[World, Location]) -> None:
    world, location = fragile
    container = location.best_node().spawn_container("debian", sleep=True).wait_until_ready()
    process = container.spawn_process(SLOW)
    lines = process.lines()
    first = [next(lines) for _ in range(20)]
    world.kill_agent(location.engine)
    assert [*first, *lines] == [b"line %d" % n for n in range(1, 201)]
    shell = container.spawn_shell()
    assert b"ready" in shell.stdin(b"echo rea''dy\n", return_reply=True)
    world.kill_agent(location.engine)
    # Questions are not repeated by themselves, other than spawning; so let it notice first.
    assert container.run_process("echo back").stdout == b"back\n"
    assert b"again" in shell.stdin(b"echo aga''in\n", return_reply=True, timeout=30)


def test_a_stopped_agents_containers_are_adopted(
    own_world: Callable[..., World], where: str
) -> None:
    world = own_world()
    first = Location(where, session="kept")
    container = (
        first.best_node().spawn_container("debian", sleep=True, tag="kept").wait_until_ready()
    )
    process = container.spawn_process(SLOW)
    first.disconnect()
    stopped = world.tfnz_agent("stop")
    assert "containers go on" in stopped.stdout
    assert world.agents() == {}
    with Location(where, session="kept") as again:
        found = again.container("kept")
        (process,) = found.all_processes(ended=True)  # it may have
        expected = b"".join(b"line %d\n" % n for n in range(1, 201))
        assert process.wait_until_complete(timeout=30) == expected
        found.destroy()


def test_a_session_nobody_comes_back_to_is_reaped_by_a_fresh_agent(
    own_world: Callable[..., World], where: str
) -> None:
    world = own_world(TFNZ_SESSION_GRACE="1.5")
    lost = Location(where)
    container = lost.best_node().spawn_container("debian", sleep=True).wait_until_ready()
    process = container.spawn_process("sleep 1000")
    world.kill_agent(where)
    # The kernel of that session goes on, and so does what it has.
    assert process.returncode is None
    assert container.run_process("echo mine").stdout == b"mine\n"
    lost.disconnect()
    with Location(where) as fresh:
        assert fresh.containers() == []


# --- the engine goes away ------------------------------------------------------------------------


@pytest.mark.engines("podman", "docker")
def test_an_engine_that_stops_in_the_middle(
    own_world: Callable[..., World], where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = engine_api.socket_path(where)
    world = own_world()
    path = world.home / "engine.sock"
    proxy = Proxy(path, real)
    with monkeypatch.context() as patch:
        patch.setenv(engine_api.SOCKETS[where][0], f"unix://{path}")
        location = Location(where)
    node = location.best_node()
    container = node.spawn_container("debian", sleep=True).wait_until_ready()
    process = container.spawn_process("cat")
    proxy.stop()
    with pytest.raises(LocationError, match=r"^Cannot .*\. .+"):
        node.spawn_container("debian", sleep=True).wait_until_ready(timeout=30)
    process.stdin(b"what runs goes on\n")
    process.close_stdin()
    assert process.wait_until_complete(timeout=20) == b"what runs goes on\n"
    proxy.start()
    again = node.spawn_container("debian", sleep=True)
    assert again.run_process("echo back").stdout == b"back\n"
    location.disconnect()
    proxy.stop()


def test_a_container_that_dies_ends_what_runs_in_it(
    world: World, where: str, location: Location
) -> None:
    container = location.best_node().spawn_container("debian", sleep=True).wait_until_ready()
    codes: list[int] = []
    process = container.spawn_process(
        "echo up; sleep 1000", termination_callback=lambda process, code: codes.append(code)
    )
    until(lambda: process.stdout == b"up\n", 10, "it runs")
    if where == "host":
        record = world.runtime / "host" / container.id / "state.json"
        os.kill(json.loads(record.read_text())["pid"], signal.SIGKILL)
    else:
        ident = world.container(where, container.id)["Id"]
        engine_api.ask(where, "POST", f"/containers/{ident}/kill?signal=KILL")
    until(lambda: container.state == "exited", 30, "its end was noticed")
    until(lambda: codes, 10, "its processes' end was told")
    assert codes[0] < 0
    assert process.stdout == b"up\n"
    container.destroy()
