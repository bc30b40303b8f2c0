"""A location: nodes, containers, volumes, one-shot runs, and what an import costs."""

import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from unit.children import in_a_child
from unit.link.scripted_agent import ScriptedAgent

from tfnz_notebook.container import Container
from tfnz_notebook.errors import (
    AgentError,
    ContainerGone,
    Misuse,
    TfnzError,
    VolumeError,
    WaitTimeout,
)
from tfnz_notebook.location import Location
from tfnz_notebook.node import Node
from tfnz_notebook.volume import Volume


def test_what_it_is(location: Location) -> None:
    assert repr(location) == "<Location 'podman': session s-test>"
    assert (location.where, location.engine, location.connected) == ("podman", "podman", True)
    location.disconnect()
    assert repr(location) == "<Location 'podman': disconnected>"
    assert not location.connected


@pytest.mark.parametrize(
    "options",
    [
        {"where": "nowhere"},
        {"where": ""},
        {"where": 5},
        {"session": "a b"},
        {"session": ""},
        {"ttl": 5},
        {"session": "a", "ttl": -1},
        {"callbacks": "process"},
        {"callbacks": "loop"},
        {"server_key": "x"},
    ],
)
@pytest.mark.usefixtures("agent")
def test_bad_arguments(options: dict[str, Any]) -> None:
    with pytest.raises(Misuse, match=r"Cannot .*: .*\. .*\."):
        Location(**{"where": "podman", **options})


def test_nodes(agent: ScriptedAgent, location: Location) -> None:
    assert [node.name for node in location.nodes()] == ["first", "second"]
    assert location.best_node().name == "second"
    assert [node.name for node in location.ranked_nodes()] == ["second", "first"]
    assert [node.name for node in location.ranked_nodes(bias_memory=False)] == ["second", "first"]
    node = location.node("first")
    assert node == location.nodes()[0]
    assert hash(node) == hash(location.nodes()[0])
    assert node != location.node("second")
    assert repr(node) == "<Node 'first': 1.5 of 2 cores and 1 GiB free>"
    assert node.stats() == {
        "cpus": 2,
        "cpu_free": 1.5,
        "memory": 8 << 30,
        "memory_free": 1 << 30,
        "containers": 0,
    }
    # who only spawns there does not wait until an engine has looked at all that runs
    counted = [each.body["counted"] for each in agent.named("node.list")]
    assert counted == [False] * (len(counted) - 1) + [True]
    with pytest.raises(Misuse, match="'first', 'second'"):
        location.node("third")
    with pytest.raises(Misuse):
        location.node("")
    with pytest.raises(Misuse, match="best_node"):
        Node()


def test_a_location_without_nodes(agent: ScriptedAgent, location: Location) -> None:
    agent.answers["node.list"] = lambda a, m: ({"nodes": []}, None)
    assert location.nodes() == []
    with pytest.raises(TfnzError, match="has none"):
        location.best_node()


def test_a_container_is_spawned_where_it_was_asked_for(
    agent: ScriptedAgent, location: Location
) -> None:
    node = location.node("first")
    container = node.spawn_container("nginx", env=[("A", "1")], pre_boot_files=[("/a", b"x")])
    (message,) = agent.named("container.spawn")
    assert message.body["spec"]["node"] == "first"
    assert message.body["spec"]["env"] == {"A": "1"}
    assert message.payload is not None
    assert node.all_containers() == [container]
    assert location.node("second").all_containers() == []


def test_bad_containers_are_not_sent(agent: ScriptedAgent, location: Location) -> None:
    node = location.best_node()
    for options in ({"env": ["A=1"]}, {"pre_boot_files": [("/a", ["x"])]}, {"stdout_callback": 5}):
        with pytest.raises(Misuse):
            node.spawn_container("nginx", **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="as an image: it has spaces"):
        node.spawn_container("Not An Image")
    assert not agent.named("container.spawn")


def test_containers_are_found_again(agent: ScriptedAgent, location: Location) -> None:
    first = location.best_node().spawn_container("nginx", name="web")
    second = location.best_node().spawn_container("redis", tag="store")
    assert location.containers() == [first, second]
    assert location.container("web") is first
    assert location.container("store") is second
    assert location.container(second.id) is second
    assert location.container(first.id[:8]) is first
    with pytest.raises(ContainerGone, match="lists them"):
        location.container("other")


def test_another_kernel_finds_them_too(agent: ScriptedAgent) -> None:
    with Location("podman", session="mine") as one:
        container = one.best_node().spawn_container("nginx", name="web").wait_until_ready(10)
        process = container.spawn_process("x")
        agent.write(process.id, b"hello ")
        with Location("podman", session="mine") as two:
            same = two.container("web")
            assert same is not container
            assert same.id == container.id
            (found,) = same.all_processes()
            got: list[Any] = []
            found.attach(lambda p, data: got.append(data), lambda p, code: got.append(code))
            agent.write(process.id, b"again")
            agent.end(process.id, 3)
            found.wait(10)
            assert b"".join(got[:-1]) == b"hello again"
            assert got[-1] == 3
            assert found.stdout == b"hello again"


def test_running_one_command(agent: ScriptedAgent, location: Location) -> None:
    def spawn(scripted: ScriptedAgent, message: Any) -> Any:
        reply = scripted._process_spawn(message)
        scripted.write(message.body["process"], b"out")
        scripted.end(message.body["process"], 0)
        return reply

    agent.answers["process.spawn"] = spawn
    assert location.run("debian", ["uname"], env={"A": "1"}, memory="64m") == (b"out", b"", 0)
    spec = agent.named("container.spawn")[0].body["spec"]
    assert (spec["sleep"], spec["memory"], spec["env"]) == (True, 64 << 20, {"A": "1"})
    agent.until(lambda: agent.named("container.destroy"))
    with pytest.raises(Misuse, match="'colour' is no option"):
        location.run("debian", "x", colour="red")
    with pytest.raises(Misuse):
        location.run("debian", "")
    agent.until(lambda: not agent.containers)


def test_a_volume_of_another_is_mounted_and_stays_its_owners(
    agent: ScriptedAgent, location: Location
) -> None:
    told: dict[str, Any] = {"foreign": True}

    def refuse(*_: object) -> Any:
        raise VolumeError("Cannot make the volume 'theirs': it is not ours.", **told)

    agent.answers["volume.create"] = refuse
    location.best_node().spawn_container("nginx", volume=["theirs:/data"])
    (spawn,) = agent.named("container.spawn")
    assert spawn.body["spec"]["volumes"] == [["theirs", "/data", False]]
    with pytest.raises(VolumeError):
        location.create_volume("theirs")
    told.clear()
    with pytest.raises(VolumeError):
        location.best_node().spawn_container("nginx", volume=["theirs:/data"])


def test_volumes(agent: ScriptedAgent, location: Location) -> None:
    made: set[str] = set()
    agent.answers["volume.create"] = lambda a, m: (made.add(m.body["name"]) or {}, None)
    agent.answers["volume.remove"] = lambda a, m: (made.discard(m.body["name"]) or {}, None)
    agent.answers["volume.list"] = lambda a, m: (
        {"volumes": [{"name": name, "size": 7} for name in sorted(made)]},
        None,
    )
    volume = location.create_volume("data")
    assert (volume.tag, volume.name, repr(volume)) == ("data", "data", "<Volume 'data'>")
    assert location.all_volumes() == [volume] == [location.volume("data")]
    assert location.volume_sizes() == {"data": volume.size()} == {"data": 7}
    location.best_node().spawn_container("nginx", volumes=[(volume, "/data", "ro")])
    spec = agent.named("container.spawn")[0].body["spec"]
    assert spec["volumes"] == [["data", "/data", True]]
    location.destroy_volume(volume)
    with pytest.raises(VolumeError, match="create_volume"):
        location.volume("data")
    with pytest.raises(VolumeError, match="Cannot measure"):
        volume.size()
    location.create_volume("other").destroy()
    assert location.all_volumes() == []
    with pytest.raises(Misuse):
        location.create_volume("a b")
    with pytest.raises(Misuse):
        location.destroy_volume("data")  # type: ignore[arg-type]
    with pytest.raises(Misuse, match="create_volume"):
        Volume()


async def test_it_can_be_used_with_async_with(agent: ScriptedAgent) -> None:
    async with Location("podman") as location:
        assert len(await location.aio.nodes()) == 2
    assert not location.connected
    assert agent.named("bye")


def test_callbacks_on_a_thread_though_a_loop_runs(agent: ScriptedAgent) -> None:
    import asyncio
    import threading

    got: list[int] = []

    async def main() -> None:
        with Location("podman", callbacks="thread") as location:
            container = location.best_node().spawn_container("nginx")
            process = container.spawn_process("x", lambda p, d: got.append(threading.get_ident()))
            agent.write(process.id, b"a")
            agent.until(lambda: got)  # blocks the loop, as 20ft's time.sleep does

    asyncio.run(main())
    assert got[0] != threading.get_ident()


def test_after_a_fork_it_belongs_to_the_parent(location: Location, container: Container) -> None:
    said = in_a_child(lambda: container.spawn_process("x"))
    assert said.startswith("ForkedError: ")  # which is a LinkClosed
    assert "forked" in said
    assert location.nodes()


def test_the_end_of_the_interpreter_says_bye(agent: ScriptedAgent) -> None:
    source = (
        "from tfnz_notebook.location import Location\n"
        "location = Location('podman')\n"
        "container = location.best_node().spawn_container('nginx')\n"
        "process = container.spawn_process('x', lambda p, d: None)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", source], capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(agent.named("bye")) == 1


def test_an_import_loads_neither_zeromq_nor_an_agent() -> None:
    source = "import tfnz_notebook.location, sys\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert not {"zmq", "tfnz_notebook.agent", "tfnz_notebook.engines", "h11"} & loaded


def test_too_many_locations_are_refused_in_a_sentence(agent: ScriptedAgent) -> None:
    def open_all() -> str:
        used = len(list(Path("/proc/self/fd").iterdir()))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 40, used + 40))
        made = []
        try:
            while len(made) < 100:
                made.append(Location("podman"))
        except AgentError as error:
            return f"{len(made)}: {error}"
        return "all of them"

    said = in_a_child(open_all)
    assert re.match(r".?\d+: Cannot reach the agent of 'podman': .*ulimit -n", said), said


def test_any_node_is_the_freest(location: Location) -> None:
    assert location.node() == location.best_node()


def test_run_waits_for_the_end_which_a_callback_may_bring(
    agent: ScriptedAgent, location: Location
) -> None:
    with pytest.raises(WaitTimeout, match="wait for the location's end"):
        location.run(timeout=0.02)
    container = location.best_node().spawn_container(
        "nginx", termination_callback=location.disconnect
    )
    agent.end(container.id, 0)
    location.run(timeout=20)
    assert not location.connected


def test_every_name_of_20fts_sdk_is_accounted_for() -> None:
    told = (Path(__file__).parents[3] / "docs" / "20ft.md").read_text()
    theirs = """
    Location run complete disconnect node ranked_nodes create_volume ensure_volume destroy_volume
    all_volumes volume endpoint_for external_container ensure_image_uploaded all_locations
    tunnel_onto wait_tcp wait_http_200 destroy_tunnel spawn_container destroy_container stats
    all_containers container_status_update start private_ip stdin attach_tunnel all_tunnels
    allow_connection_from disallow_connection_from spawn_process run_process spawn_shell
    destroy_process all_processes create_ssh_server destroy_ssh_server fetch put reboot
    ExternalContainer Docker Cluster WebEndpoint localport snapshot rollback Postgresql Mezzanine
    SilverStripe Waitable Killable Connectable Taggable TaggedCollection wait_until_ready is_ready
    """
    missing = [name for name in theirs.split() if not re.search(rf"\b{name}\b", told)]
    assert not missing
    kept = {"run", "disconnect", "node", "ranked_nodes", "create_volume", "volume", "all_volumes"}
    assert all(hasattr(Location, name) for name in kept)
