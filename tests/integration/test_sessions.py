"""Sessions: what outlives a kernel and what does not; one agent a world, found and ended."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from integration.polling import until
from integration.scripts import Script, run
from integration.world import World

from tfnz_notebook.errors import AgentError, ContainerGone, LinkClosed
from tfnz_notebook.location import Location

#: A kernel that spawns a container with a process in it, says their ids, and waits to be told.
KERNEL = """
import sys
from tfnz_notebook.location import Location
where, session = sys.argv[1:]
location = Location(where, session=session or None)
node = location.best_node()
container = node.spawn_container("debian", sleep=True, tag="found").wait_until_ready()
process = container.spawn_process("seq 1 500; read line; echo told $line")
next(iter(process.lines()))
print(container.id, process.id, location.session)
sys.stdin.readline()
"""


def kernel(world: World, where: str, session: str = "") -> Script:
    return Script(world, KERNEL, where, session)


def ids(script: Script) -> list[str]:
    """What the kernel said: container, process, session."""
    until(lambda: script.lines or script.process.poll() is not None, 30, "the kernel is up")
    assert script.lines, script.errors
    return script.lines[0][1].split()


def test_a_durable_session_is_found_again_with_all_output(world: World, where: str) -> None:
    session = f"durable-{os.getpid()}"
    with kernel(world, where, session) as script:
        container_id, process_id, named = ids(script)
        assert named == session
        script.process.kill()
        script.process.wait()
    with Location(where, session=session) as location:
        assert location.on_disconnect == "keep"
        container = location.container("found")
        assert container.id == container_id
        (process,) = container.all_processes()
        assert process.id == process_id
        got: list[bytes] = []
        process.attach(lambda process, data: got.append(data))
        process.stdin(b"by another kernel\n")
        expected = b"".join(b"%d\n" % n for n in range(1, 501)) + b"told by another kernel\n"
        assert process.wait_until_complete(timeout=20) == expected
        assert b"".join(got) == expected
    with Location(where, session=session) as location:
        container = location.container("found")
        (process,) = container.all_processes(ended=True)
        assert process.stdout == expected, "the log of an ended process stays"
        assert process.returncode == 0
        container.destroy()
        assert location.containers() == []
        with pytest.raises(ContainerGone):
            location.container("found")


def test_two_kernels_share_a_durable_session(world: World, where: str) -> None:
    session = f"shared-{os.getpid()}"
    with kernel(world, where, session) as script, Location(where, session=session) as location:
        container_id = ids(script)[0]
        container = location.container(container_id[:8])
        later = container.spawn_process("echo from the second")
        assert later.wait_until_complete() == b"from the second\n"
        script.process.stdin.write("\n")
        script.process.stdin.flush()
        script.wait(30)
        assert container.run_process("echo still here").stdout == b"still here\n"
        container.destroy()


def test_a_durable_session_ends_when_its_time_to_live_is_over(
    own_world: Callable[..., World], where: str
) -> None:
    world = own_world(TFNZ_SESSION_GRACE="0.5")
    with Location(where, session="brief", ttl=0.5) as location:
        location.best_node().spawn_container("debian", sleep=True).wait_until_ready()
        assert len(world.holds(where)) == 1
    until(lambda: not world.holds(where), 20, "it was collected")


def test_disconnecting_destroys_what_is_not_durable(world: World, where: str) -> None:
    location = Location(where)
    container = location.best_node().spawn_container("debian", sleep=True).wait_until_ready()
    process = container.spawn_process("sleep 1000")
    assert container.id in world.holds(where)
    assert location.on_disconnect == "destroy"
    location.disconnect()
    assert container.id not in world.holds(where)
    for use in (
        lambda: location.best_node(),
        lambda: container.spawn_process("true"),
        lambda: process.stdin(b"x"),
    ):
        with pytest.raises(LinkClosed, match=r"^Cannot .*disconnected.*Location\(\)"):
            use()
    location.disconnect()


def test_the_end_of_a_script_is_the_end_of_its_session(world: World, where: str) -> None:
    with kernel(world, where) as script:
        container_id = ids(script)[0]
        script.process.stdin.write("\n")
        script.process.stdin.flush()
        script.wait(30)
    assert container_id not in world.holds(where)


def test_a_kernel_that_was_killed_leaves_nothing_behind(
    own_world: Callable[..., World], where: str
) -> None:
    world = own_world(TFNZ_SESSION_GRACE="1")
    with kernel(world, where) as script:
        container_id = ids(script)[0]
        assert container_id in world.holds(where)
        os.kill(script.process.pid, signal.SIGKILL)
        script.process.wait()
        until(lambda: container_id not in world.holds(where), 30, "its session was collected")


def test_an_exception_in_a_script_ends_its_session_too(world: World, where: str) -> None:
    source = KERNEL.replace("sys.stdin.readline()", "raise SystemExit(3)")
    with Script(world, source, where, "") as script:
        container_id = ids(script)[0]
        script.process.wait(30)
        assert script.process.returncode == 3
    assert container_id not in world.holds(where)


def test_one_agent_serves_every_kernel_of_a_world(world: World, where: str) -> None:
    with Location(where) as first, Location(where) as second:
        assert first.session != second.session
        pid = world.agents()[where]
        code = f"from tfnz_notebook.location import Location\nprint(Location({where!r}).engine)"
        assert run(world, code).strip() == where
        assert world.agents()[where] == pid
        assert second.containers() == []


@pytest.mark.engines("host", "podman", "docker", anywhere=True)
def test_ten_kernels_at_once_start_one_agent(own_world: Callable[..., World], where: str) -> None:
    world = own_world()
    code = f"from tfnz_notebook.location import Location\nprint(Location({where!r}).engine)"
    scripts = [Script(world, code) for _ in range(10)]
    for script in scripts:
        with script:
            assert script.wait(60).strip() == where
    log = next(world.runtime.glob("*.log")).read_text()
    assert list(world.agents()) == [where]
    assert "Traceback" not in log


def test_an_idle_agent_ends(own_world: Callable[..., World], where: str) -> None:
    world = own_world(TFNZ_AGENT_IDLE="0.5")
    with Location(where):
        assert where in world.agents()
    until(lambda: not world.agents(), 20, "the agent has ended")
    with Location(where) as location:
        assert location.engine == where


@pytest.mark.host
def test_a_runtime_directory_that_others_may_enter_is_refused(
    own_world: Callable[..., World],
) -> None:
    world = own_world()
    world.runtime.chmod(0o755)
    with pytest.raises(AgentError, match=r"^Cannot use the runtime directory .*chmod 700"):
        Location("host")
    world.runtime.chmod(0o700)


@pytest.mark.host
def test_what_an_agent_keeps_is_for_its_user_alone(own_world: Callable[..., World]) -> None:
    world = own_world()
    with Location("host") as location:
        container = location.best_node().spawn_container("debian", sleep=True)
        container.run_process("seq 1 2000000")
        for path in (
            world.runtime,
            world.state,
            *world.state.rglob("*"),
            *world.runtime.rglob("*.sock"),
        ):
            if path.is_dir() or path.is_file():
                allowed = 0o077 if path.is_dir() else 0o066
                parents_closed = (world.home.stat().st_mode & 0o077) == 0
                assert path.stat().st_mode & allowed == 0 or parents_closed, path
        assert world.runtime.stat().st_mode & 0o077 == 0
        assert Path(world.state).stat().st_mode & 0o077 == 0
