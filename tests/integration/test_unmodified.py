"""An image whose own first process must be PID 1: what objects are then, and are not."""

from collections.abc import Callable

import pytest
from integration.polling import until
from integration.world import World

from tfnz_notebook.container import Container
from tfnz_notebook.errors import CommandNotFound, ContainerFailed, Misuse, SpawnFailed
from tfnz_notebook.location import Location

pytestmark = pytest.mark.engines("podman", "docker", each=True)
Spawn = Callable[..., Container]

#: An init: must be PID 1, reaps, writes now and then, and ends in its own way.
INIT = """
[ $$ = 1 ] || exit 100
trap 'echo down; exit 7' TERM
echo up; echo complaint >&2
n=0; while :; do n=$((n + 1)); echo line $n; sleep 0.05 & wait $!; done
"""


def test_objects_are_as_ever_and_say_what_is_weaker(spawn: Spawn) -> None:
    got: list[bytes] = []
    ended: list[int] = []
    container = spawn(
        command=INIT,
        entrypoint="unmodified",
        env={"GREETING": "hello"},
        pre_boot_files={"/etc/app.conf": b"conf\n"},
        stdout_callback=lambda _, piece: got.append(piece),
        termination_callback=lambda _, code: ended.append(code),
    ).wait_until_ready()
    assert container.run_process("cat /proc/1/comm; echo $GREETING").stdout == b"sh\nhello\n"
    assert container.fetch("/etc/app.conf") == b"conf\n"
    shell = container.spawn_shell()
    shell.stdin(b"echo $((6 * 7))\n")
    until(lambda: b"42\r\n" in shell.stdout, 20, "a shell answers")
    sleeper = container.spawn_process("sleep 1000 & echo $!; wait")
    until(lambda: sleeper.stdout.endswith(b"\n"), 20, "a process runs")
    container.destroy_process(sleeper)
    gone = f"kill -0 {sleeper.stdout.decode().strip()}"
    assert container.run_process(gone, check=False).returncode != 0, "its tree went along"
    with pytest.raises(CommandNotFound):
        container.run_process(["no-such-command"])

    until(lambda: b"line 3\n" in container.logs("stdout"), 20, "its output is here")
    assert container.logs("stdout").startswith(b"up\nline 1\nline 2\n")
    assert container.logs("stderr") == b"complaint\n"
    until(lambda: b"".join(got).startswith(b"up\nline 1\n"), 20, "and its callbacks hear it")
    assert container.main.pid == 1
    assert container.main.returncode is None

    assert "PID 1" in container.about["entrypoint"]
    for refused in (
        lambda: container.stdin(b"x"),
        lambda: container.main.signal("TERM"),
        lambda: container.destroy_process(container.main),
        container.start,
    ):
        with pytest.raises(Misuse):
            refused()

    container.destroy(grace=20)
    until(lambda: ended, 20, "its end is told")
    assert ended == [7]
    assert b"".join(got).endswith(b"down\n"), "to the last word"


def test_it_ends_by_itself_and_begins_again(spawn: Spawn) -> None:
    command = "rm -f /tmp/go; while [ ! -e /tmp/go ]; do sleep 0.1; done; echo over; exit 3"
    container = spawn(command=command, entrypoint="unmodified")
    container.wait_until_ready()
    container.put("/tmp/go", b"")
    until(lambda: container.state == "exited", 30, "it ends")
    assert container.returncode == 3
    assert container.logs("stdout") == b"over\n"
    container.reboot()
    container.put("/tmp/go", b"")
    until(lambda: container.state == "exited", 30, "it ends again")
    early = spawn(command="echo no >&2; exit 3", entrypoint="unmodified")
    try:
        early.wait_until_ready()
        until(lambda: early.state == "exited", 30, "it ended before or after it was met")
    except ContainerFailed as error:
        assert "no" in str(error)  # noqa: PT017
    assert early.returncode == 3


def test_another_agent_goes_on(own_world: Callable[..., World], where: str) -> None:
    """No line of the first process's output is lost, and none is there twice."""
    world = own_world()
    with Location(where) as location:
        container = location.best_node().spawn_container(
            "debian", command=INIT, entrypoint="unmodified"
        )
        container.wait_until_ready()
        process = container.spawn_process("cat")
        until(lambda: b"line 5\n" in container.logs("stdout"), 20, "it writes")
        world.kill_agent(where)
        process.stdin(b"through\n")
        until(lambda: process.stdout == b"through\n", 30, "what was spawned goes on")
        told = container.logs("stdout").splitlines()
        until(lambda: len(container.logs("stdout").splitlines()) > len(told) + 3, 20, "and it")
        lines = container.logs("stdout").splitlines()
        assert lines[:4] == [b"up", b"line 1", b"line 2", b"line 3"]
        assert lines[1:] == [b"line %d" % number for number in range(1, len(lines))]
        assert container.about["entrypoint"]
        location.best_node().destroy_container(container)


def test_where_the_images_user_is_not_root(spawn: Spawn) -> None:
    container = spawn(command=INIT, entrypoint="unmodified", user="daemon", workdir="/tmp")
    container.wait_until_ready()
    assert container.run_process("id -un; pwd").stdout == b"daemon\n/tmp\n"
    assert container.run_process("id -un", user="daemon").stdout == b"daemon\n"
    with pytest.raises(SpawnFailed, match="guest is not root and cannot change"):
        container.run_process("id -un", user="root")
    container.put("/tmp/mine", b"x")
    assert "cannot change users" in container.about["user"]
    assert container.listdir("/tmp")


def test_what_sleeps_has_no_first_process(spawn: Spawn) -> None:
    with pytest.raises(Misuse, match="sleep"):
        spawn(entrypoint="unmodified", sleep=True)
