"""One owner: which agent is whose, whatever becomes of its files, and who is signalled."""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest
from integration import engine_api
from integration.polling import until
from integration.proxy import Proxy
from integration.world import World

import tfnz_notebook
from tfnz_notebook._base import paths, running
from tfnz_notebook.location import Location

#: Says what Location() raises, in one line.
OPEN = """
from tfnz_notebook.errors import TfnzError
from tfnz_notebook.location import Location
try: Location("host")
except TfnzError as error: print("raised", type(error).__name__, error)
"""


@pytest.mark.engines("podman", "docker")
def test_another_endpoint_has_another_agent(
    own_world: Callable[..., World], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it leads to the same engine: what one agent has is not the other's."""
    world, variable = own_world(), engine_api.SOCKETS[where][0]
    usual = f"unix://{engine_api.socket_path(where)}"
    other = world.home / "other.sock"
    proxy = Proxy(other, engine_api.socket_path(where))
    monkeypatch.setenv(variable, usual)
    with Location(where, session="kept") as first:
        box = first.best_node().spawn_container("busybox", sleep=True, tag="box")
        process = box.spawn_process("echo one; read line; echo two")
        until(lambda: process.stdout == b"one\n", 10, "it runs")
        assert not proxy.met
        monkeypatch.setenv(variable, f"unix://{other}")
        with Location(where, session="kept") as second:
            assert proxy.met
            assert second.about["address"] == f"unix://{other}"
            assert second.containers() == []
            assert len(running.agents(world.runtime, world.state)) == 2
        monkeypatch.setenv(variable, usual)
        with Location(where, session="kept") as again:
            assert again.about["address"] == usual
            assert [each.id for each in again.containers()] == [box.id]
        process.stdin(b"\n")
        assert process.wait_until_complete(10) == b"one\ntwo\n"
        box.destroy()
    proxy.stop()


def test_no_second_owner_comes_where_files_were_removed(
    own_world: Callable[..., World], where: str
) -> None:
    """As /tmp is emptied by age; what is taken away is what new kernels look for."""
    world = own_world()
    first = Location(where, session="kept")
    box = first.best_node().spawn_container("debian", sleep=True, tag="box")
    process = box.spawn_process("i=0; while read line; do echo $((i+=1)); done")
    process.stdin(b"\n")
    until(lambda: process.stdout == b"1\n", 10, "it runs")
    agent = world.agents()[where]
    for path in world.runtime.glob("*.*"):
        path.unlink()
    assert [each.pid for each in running.agents(world.runtime, world.state)] == [agent]
    with Location(where, session="kept") as second:
        (now,) = running.agents(world.runtime, world.state)
        assert now.pid != agent, "nobody could reach it any more"
        (found,) = second.container("box").all_processes()
        found.stdin(b"\n")
        found.close_stdin()
        assert found.wait_until_complete(20) == b"1\n2\n"
        assert process.wait_until_complete(20) == b"1\n2\n", "the first kernel follows"
        box.destroy()
    first.disconnect()


@pytest.mark.host
def test_who_has_the_pid_of_a_killed_agent_is_left_alone(own_world: Callable[..., World]) -> None:
    world = own_world()
    with Location("host"):
        record = paths.record(world.runtime, "host")
        told = json.loads(record.read_text())
    world.kill_agent("host")
    with subprocess.Popen(["sleep", "100"]) as sleeper:
        for path in (record, *paths.agents(world.state).iterdir()):
            path.write_text(json.dumps({**told, "pid": sleeper.pid}))
        assert world.tfnz_agent("status").stdout == "no agent runs\n"
        stopped = world.tfnz_agent("stop")
        assert (stopped.returncode, stopped.stdout) == (0, "")
        with Location("host") as location:
            assert location.engine == "host"
        assert sleeper.poll() is None
        sleeper.kill()


@pytest.mark.host
def test_one_agent_is_stopped_by_its_name_or_its_engines(own_world: Callable[..., World]) -> None:
    world = own_world()
    with Location("host", session="kept") as location:
        location.best_node()
    assert world.tfnz_agent("stop", "docker").stdout == ""
    at, version = paths.socket(world.runtime, "host"), tfnz_notebook.__version__
    (status,) = world.tfnz_agent("status").stdout.splitlines()
    assert status == f"host: pid {world.agents()['host']}, version {version}, on ipc://{at}"
    assert "stopped the agent host" in world.tfnz_agent("stop", "host").stdout
    assert not world.agents()
    assert not list(world.runtime.glob("*.pid"))


@pytest.mark.host
@pytest.mark.parametrize("named", ["/proc/nowhere/state", "file", "/sys/kernel"])
def test_a_state_directory_of_no_use_is_told_in_one_sentence(
    own_world: Callable[..., World], named: str
) -> None:
    world = own_world()
    (world.home / "file").touch()
    given = str(world.home / named) if named == "file" else named
    environment = world.environment(TFNZ_STATE=given)

    def said(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    for done in (said("-c", OPEN), said("-m", "tfnz_notebook.agent", "serve", "--where", "host")):
        told = done.stdout + done.stderr
        assert "Cannot use the state directory" in told and "Set TFNZ_STATE" in told, told
        assert len(told.splitlines()) == 1, told
    assert said("-m", "tfnz_notebook.agent", "status").stdout == "no agent runs\n"
