"""Containers: how they come up, what they are given, what they tell, how they end."""

import contextlib
import os
import re
import time
from collections.abc import Callable

import pytest
from integration import engine_api
from integration.polling import Clock, until
from integration.web_server import SERVER
from integration.world import World

from tfnz_notebook.container import Container
from tfnz_notebook.errors import (
    ContainerError,
    ContainerFailed,
    ContainerGone,
    PortClosed,
)
from tfnz_notebook.location import Location
from tfnz_notebook.node import Node
from tfnz_notebook.widgets import explorer

Spawn = Callable[..., Container]
in_containers = pytest.mark.engines("podman", "docker")


# --- coming up -----------------------------------------------------------------------------------


def test_spawning_returns_at_once_and_waiting_returns_the_container(spawn: Spawn) -> None:
    with Clock() as clock:
        container = spawn(sleep=True)
    assert clock.seconds < 1.0
    assert container.wait_until_ready() is container
    assert container.state == "running"


def test_calls_that_need_it_running_wait(spawn: Spawn) -> None:
    assert spawn(sleep=True).spawn_process("echo up").wait_until_complete() == b"up\n"


def test_a_command_that_ends_at_once_has_ended_and_not_failed(spawn: Spawn) -> None:
    for code in (0, 3):
        container = spawn(command=["/bin/sh", "-c", f"echo said; exit {code}"])
        until(lambda c=container: c.state in ("exited", "failed"), 20, "it ends")  # type: ignore[misc]
        assert (container.state, container.returncode) == ("exited", code)
        assert container.logs() == b"said\n"
        with pytest.raises(ContainerFailed, match=f"code {code}.*last words:\nsaid"):
            container.wait_until_ready()


def test_a_container_is_a_context_manager(node: Node) -> None:
    with node.spawn_container("debian", sleep=True) as container:
        assert container.run_process("echo hello").stdout == b"hello\n"
    assert container.state == "destroyed"
    assert container.id not in {each.id for each in node.all_containers()}


async def test_everything_that_blocks_can_be_awaited(node: Node) -> None:
    async with await node.aio.spawn_container("debian", sleep=True) as container:
        assert await container is container
        assert (await container.aio.run_process("echo hello")).stdout == b"hello\n"
    assert container.state == "destroyed"


def test_location_run_is_one_command_in_a_container_of_its_own(location: Location) -> None:
    done = location.run("debian", "echo out; echo err >&2; exit 5", env={"A": "b"})
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 5)
    until(lambda: not location.containers(), 10, "its container is gone")


@in_containers
def test_a_real_web_server(spawn: Spawn) -> None:
    container = spawn("nginx")
    tunnel = container.wait_http_200()
    assert tunnel in container.all_tunnels()
    assert b"nginx: master process" in container.run_process("ps ax").stdout
    assert container.run_process("ps -o args= 1").stdout.strip() == b"tfnz-guest", "not nginx"


@in_containers
def test_the_guest_comes_before_what_it_runs(spawn: Spawn) -> None:
    container = spawn(sleep=True)
    assert container.run_process("cut -d' ' -f19 /proc/1/stat").stdout == b"-15\n"
    assert int(container.run_process("nice").stdout) >= 0


def test_waiting_for_a_page_fails_at_once_when_the_container_exits(spawn: Spawn) -> None:
    container = spawn(command="echo about to fail >&2; sleep 0.3; exit 3")
    with (
        Clock() as clock,
        pytest.raises(ContainerFailed, match="^Cannot wait for HTTP 200") as failed,
    ):
        container.wait_http_200()
    assert clock.seconds < 10
    assert "about to fail" in str(failed.value)
    assert failed.value.details["returncode"] == 3


def test_waiting_for_a_port(spawn: Spawn) -> None:
    container = spawn(sleep=True)
    with pytest.raises(PortClosed, match="^Cannot wait for port 8011"):
        container.wait_tcp(8011, timeout=0.3)
    container.spawn_process(["python3", "-c", f"import time\ntime.sleep(0.3)\n{SERVER}", "8011"])
    assert container.wait_tcp(8011, timeout=20) is container


def test_other_answers_are_not_200(spawn: Spawn) -> None:
    container = spawn(sleep=True)
    container.spawn_process(["python3", "-c", SERVER, "8012"])
    container.wait_tcp(8012, timeout=20)
    with pytest.raises(PortClosed, match="404"):
        container.wait_http_200(8012, path="not/there", timeout=0.5)


# --- what it is given ----------------------------------------------------------------------------


def test_command_env_and_workdir(spawn: Spawn) -> None:
    container = spawn(
        command=["/bin/sh", "-c", "echo $A; pwd; sleep 1000"], env={"A": "b c"}, workdir="/tmp"
    )
    until(lambda: container.logs() == b"b c\n/tmp\n", 10, "it has written both")
    assert container.run_process("echo $A").stdout == b"b c\n"


@in_containers
def test_name_tag_hostname_and_labels(
    world: World, where: str, location: Location, spawn: Spawn
) -> None:
    name = f"tfnz-test-{os.getpid()}"
    container = spawn(
        sleep=True, name=name, tag="mine", hostname="inside", labels={"team": "tests"}
    ).wait_until_ready()
    assert (container.name, container.tag, container.image) == (name, "mine", "debian")
    assert location.container("mine") is container
    assert container.run_process("cat /proc/sys/kernel/hostname").stdout == b"inside\n"
    told = world.container(where, container.id)
    assert told["Name"].strip("/") == name
    labels = told["Config"]["Labels"]
    assert labels["team"] == "tests"
    assert labels["io.tfnz.session"] == location.session
    assert float(labels["io.tfnz.created"]) <= time.time()


@in_containers
def test_it_has_no_privileges_to_gain(world: World, where: str, spawn: Spawn) -> None:
    container = spawn(sleep=True, pids=100).wait_until_ready()
    host = world.container(where, container.id)["HostConfig"]
    assert not host["Privileged"]
    assert not host.get("CapAdd")
    assert host["PidsLimit"] == 100
    assert b"NoNewPrivs:\t1" in container.run_process("cat /proc/self/status").stdout
    mounted = {mount["Source"] for mount in world.container(where, container.id)["Mounts"]}
    assert not any(path.endswith(("docker.sock", "podman.sock")) for path in mounted)


@in_containers
def test_an_image_of_nothing_will_do(spawn: Spawn) -> None:
    busybox = spawn("busybox", sleep=True).fetch("/bin/busybox")
    container = spawn("tfnz-empty", sleep=True)
    container.put("/busybox", busybox, mode=0o755)
    assert container.run_process(["/busybox", "echo", "hello"]).stdout == b"hello\n"


@in_containers
def test_a_read_only_root_and_another_user(spawn: Spawn) -> None:
    container = spawn(sleep=True, read_only=True, user="nobody")
    done = container.run_process("id -un; touch /x")
    assert done.stdout == b"nobody\n"
    assert b"Read-only file system" in done.stderr or b"Permission denied" in done.stderr
    assert container.run_process("touch /x", user="root").returncode != 0


@in_containers
def test_volumes_outlive_containers(location: Location, spawn: Spawn, node: Node) -> None:
    volume = location.create_volume(f"tfnz-test-{os.getpid()}")
    try:
        first = spawn(sleep=True, volumes=[(volume, "/data")])
        first.put("/data/kept", b"still here")
        node.destroy_container(first)
        second = spawn(sleep=True, volumes=[(volume, "/data", "ro")])
        assert second.fetch("/data/kept") == b"still here"
        assert second.run_process("touch /data/x").returncode != 0
        node.destroy_container(second)
        assert volume in location.all_volumes()
    finally:
        location.destroy_volume(volume)
    assert volume not in location.all_volumes()


# --- main process --------------------------------------------------------------------------------


@in_containers
def test_what_the_main_process_writes_is_in_the_engines_logs_too(
    world: World, where: str, spawn: Spawn
) -> None:
    container = spawn(command="echo to-stdout; echo to-stderr >&2; sleep 1000")
    until(lambda: b"to-stderr" in container.logs(), 10, "it writes")
    assert container.logs("stdout") == b"to-stdout\n"
    assert container.logs("stderr") == b"to-stderr\n"
    ident = world.container(where, container.id)["Id"]
    shown = until(lambda: raw_logs(where, ident), 10, "the engine collects it")
    assert b"to-stdout" in shown
    assert b"to-stderr" in shown


@in_containers
def test_a_card_shows_the_id_and_the_name_that_the_engines_tools_show(
    world: World, where: str, spawn: Spawn
) -> None:
    shown = explorer.as_text(explorer.card(spawn(sleep=True).wait_until_ready()))
    found = [each for each in engine_api.containers(where) if each["Id"][:12] in shown]
    assert [name for each in found for name in each["Names"] if name.strip("/") in shown]


def raw_logs(where: str, ident: str) -> bytes:
    import http.client

    connection = engine_api._Connection(engine_api.socket_path(where))
    try:
        connection.request("GET", f"/containers/{ident}/logs?stdout=1&stderr=1")
        return connection.getresponse().read()
    except http.client.HTTPException:
        return b""
    finally:
        connection.close()


def test_the_main_process_has_callbacks_and_a_stdin(spawn: Spawn) -> None:
    got: list[bytes] = []
    ended: list[tuple[Container, int]] = []
    container = spawn(
        command=[
            "/bin/sh",
            "-c",
            "while read line; do echo got $line; [ $line = end ] && exit 7; done",
        ],
        stdout_callback=lambda container, data: got.append(data),
        termination_callback=lambda container, code: ended.append((container, code)),
    ).wait_until_ready()
    container.stdin(b"one\n")
    until(lambda: b"".join(got) == b"got one\n", 10, "it answers")
    container.stdin(b"end\n")
    until(lambda: ended, 10, "it ends")
    assert ended == [(container, 7)]
    assert b"".join(got) == b"got one\ngot end\n"
    until(lambda: container.state == "exited", 10, "the container ends with it")
    assert container.returncode == 7
    assert container.logs() == b"got one\ngot end\n"


def test_a_sleeping_container_can_be_prepared_and_started(spawn: Spawn) -> None:
    container = spawn(command=["/bin/cat", "/etc/motd.test"], sleep=True, workdir="/")
    container.wait_until_ready()
    assert container.logs() == b""
    container.spawn_process("echo prepared > /etc/motd.test").wait_until_complete()
    try:
        assert container.start() is container
        until(lambda: container.logs() == b"prepared\n", 10, "the main process runs")
    finally:
        with contextlib.suppress(ContainerError):  # it has ended by itself, and is gone with it
            container.run_process("rm -f /etc/motd.test")


@in_containers
def test_a_server_started_later_serves_what_was_put_before(spawn: Spawn) -> None:
    container = spawn(
        "nginx", sleep=True, pre_boot_files=[("/usr/share/nginx/html/hello", b"before boot")]
    ).wait_until_ready()
    assert b"nginx: master" not in container.run_process("ps ax").stdout
    container.start()
    container.wait_http_200(path="hello")


# --- reboot, and the end -------------------------------------------------------------------------


def test_a_reboot_starts_anew_and_keeps_the_files(spawn: Spawn) -> None:
    container = spawn(command="echo started; sleep 1000", workdir="/").wait_until_ready()
    until(lambda: container.logs() == b"started\n", 10, "it runs")
    kept = f"/tmp/tfnz-{container.id}"
    container.run_process(f"echo kept > {kept}")
    sleeper = container.spawn_process("sleep 1000")
    try:
        assert container.reboot() is container
        assert sleeper.returncode is not None
        assert container.run_process(f"cat {kept}").stdout == b"kept\n"
        until(lambda: container.logs() == b"started\n", 10, "its main process runs again")
    finally:
        container.run_process(f"rm -f {kept}")


@in_containers
def test_a_reboot_may_reset_the_filesystem(spawn: Spawn) -> None:
    container = spawn(sleep=True, pre_boot_files={"/etc/given": b"given"})
    container.put("/etc/made", b"made")
    container.reboot(reset_filesystem=True)
    names = {entry.name for entry in container.listdir("/etc")}
    assert "given" in names
    assert "made" not in names


def test_a_destroyed_container_is_gone(world: World, where: str, node: Node) -> None:
    container = node.spawn_container("debian", sleep=True).wait_until_ready()
    process = container.spawn_process("sleep 1000")
    node.destroy_container(container)
    assert process.returncode is not None
    assert container.id not in world.holds(where)
    with pytest.raises(ContainerGone, match=r"^Cannot .*destroyed.*Spawn another"):
        node.destroy_container(container)


def test_one_that_was_never_up_can_be_destroyed(node: Node) -> None:
    container = node.spawn_container("debian", sleep=True)
    node.destroy_container(container)
    assert container.state == "destroyed"


def test_objects_say_what_they_are(node: Node, spawn: Spawn) -> None:
    container = spawn(sleep=True, tag="shown").wait_until_ready()
    process = container.spawn_process("sleep 1000")
    assert re.fullmatch(r"<Container 'shown': running>", repr(container))
    assert re.fullmatch(r"<Process 'sleep 1000': pid \d+, in shown>", repr(process))
    assert re.match(r"<Node '.*': [\d.]+ of \d+ cores", repr(node))
    container.destroy_process(process)
