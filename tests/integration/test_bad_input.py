"""Bad input: each kind is refused with its class and a remedy, and what was there still works.

An engine that stops in the middle is in ``test_breaks``, garbage on the wire in ``test_garbage``,
no engine at all in ``test_no_engine``.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.refusal import refused
from integration.scripts import run
from integration.world import World

from tfnz_notebook.container import Container
from tfnz_notebook.errors import (
    CommandNotExecutable,
    CommandNotFound,
    ContainerFailed,
    ContainerGone,
    FileError,
    ImageMissing,
    ImageNameInvalid,
    LinkClosed,
    Misuse,
    ProcessGone,
    SpawnFailed,
    TfnzError,
    TunnelGone,
)
from tfnz_notebook.location import Location
from tfnz_notebook.node import Node

Spawn = Callable[..., Container]
Use = Callable[[Container, Node], object]
in_containers = pytest.mark.engines("podman", "docker")


@pytest.fixture
def works(box: Container) -> Iterator[Container]:
    """The container, which still works afterwards."""
    yield box
    assert box.run_process(["/bin/echo", "fine"]).stdout == b"fine\n"


# --- images --------------------------------------------------------------------------------------


@in_containers
def test_an_image_that_is_not_there(works: Container, spawn: Spawn) -> None:
    container = spawn("no-such-image-anywhere:1.0")
    with refused(ImageMissing, r"pull|spell|build|import|registry"):
        container.wait_until_ready(timeout=60)
    with refused(ImageMissing, r"pull|spell|build|import|registry"):
        container.spawn_process("true")
    never = spawn("no-such-image-anywhere:1.0", pull="never")
    with refused(ImageMissing, r"pull"):
        never.wait_until_ready(timeout=60)


# --- what cannot run -----------------------------------------------------------------------------


@in_containers
def test_an_entrypoint_that_is_missing(works: Container, spawn: Spawn) -> None:
    container = spawn(entrypoint=["/no/such/entrypoint"])
    with refused(ContainerFailed, r"command|entrypoint"):
        container.wait_until_ready(timeout=30)
        container.run_process("true")  # had it been up for a moment
    assert container.returncode in (126, 127)


@in_containers
def test_an_image_without_a_command(works: Container, spawn: Spawn) -> None:
    with refused(Misuse, r"command=|sleep=True"):
        spawn("tfnz-empty").wait_until_ready(timeout=30)


def test_a_command_that_is_not_found(works: Container) -> None:
    with refused(CommandNotFound, r"PATH|path|spell|install"):
        works.spawn_process(["no-such-program"])
    with refused(CommandNotFound, r"PATH|path|spell|install"):
        works.spawn_process(["/no/such/program"])
    assert CommandNotFound.returncode == 127
    assert works.run_process("no-such-program").returncode == 127, "the shell says it itself"


def test_a_command_that_is_not_executable(works: Container) -> None:
    with refused(CommandNotExecutable, r"chmod|executable|mode|script"):
        works.spawn_process(["/etc/passwd"])
    with refused(CommandNotExecutable, r"."):
        works.spawn_process(["/etc"])
    assert CommandNotExecutable.returncode == 126
    assert works.run_process("/etc/passwd").returncode == 126


@in_containers
def test_a_command_in_an_image_without_a_shell(works: Container, spawn: Spawn) -> None:
    container = spawn("tfnz-empty", sleep=True)
    with refused(CommandNotFound, r"shell|list|/bin/sh"):
        container.spawn_process("echo hello")


def test_an_unknown_user(works: Container) -> None:
    for user in ("no-such-user", "root:no-such-group"):
        with refused(SpawnFailed, r"user|uid|passwd"):
            works.spawn_process(["/bin/true"], user=user)


def test_a_working_directory_that_is_missing(works: Container) -> None:
    with refused(SpawnFailed, r"director|mkdir|cwd"):
        works.spawn_process(["/bin/true"], cwd="/no/such/directory")
    with refused(SpawnFailed, r"director|cwd"):
        works.spawn_process(["/bin/true"], cwd="/etc/passwd")
    with refused(FileError, "absolute"):
        works.spawn_process(["/bin/true"], cwd="relative")


# --- arguments of the wrong kind -----------------------------------------------------------------


def in_a_process(command: Any = "true", **wrong: Any) -> Use:
    return lambda box, node: box.spawn_process(command, **wrong)


def in_a_container(**wrong: Any) -> Use:
    return lambda box, node: node.spawn_container(**{"image": "debian", "sleep": True, **wrong})


#: Each argument once, with something that it cannot be; tests/unit/calls has the many forms.
WRONG: dict[str, tuple[Use, type[TfnzError], str]] = {
    "an image's name": (in_a_container(image="Nginx"), ImageNameInvalid, "as in 'nginx'"),
    "an image that is no string": (in_a_container(image=7), Misuse, "Give its name"),
    "a command": (in_a_process(command=["ls", 7]), Misuse, "Give|Name"),
    "a container's command": (in_a_container(command=[]), Misuse, "Give|Name"),
    "an environment": (in_a_process(env="A=b"), Misuse, "Give"),
    "a container's environment": (in_a_container(env={"A": None}), Misuse, "Give"),
    "files before boot": (in_a_container(pre_boot_files=[("/a", ["x"])]), Misuse, "Give"),
    "their path": (in_a_container(pre_boot_files={"/../x": b"x"}), FileError, "absolute path"),
    "where to put": (lambda box, node: box.put("../x", b"x"), FileError, "absolute path"),
    "what to fetch": (lambda box, node: box.fetch("relative"), FileError, "absolute path"),
    "what to make": (lambda box, node: box.mkdir(""), FileError, "absolute path"),
    "what to list": (lambda box, node: box.listdir("/nul\0"), FileError, "absolute path"),
    "a tunnel's port": (lambda box, node: box.attach_tunnel(65536), Misuse, "Give a"),
    "a port to wait for": (lambda box, node: box.wait_tcp(0), Misuse, "Give a"),
    "a web server's port": (lambda box, node: box.wait_http_200("80"), Misuse, "Give a"),  # type: ignore[arg-type]
    "memory": (in_a_container(memory="lots"), Misuse, "Write bytes"),
    "cpu": (in_a_container(cpu="1"), Misuse, "Give"),
    "pids": (in_a_container(pids=0), Misuse, "Give"),
    "a name": (in_a_container(name="a b"), Misuse, "Use|Give"),
    "when to pull": (in_a_container(pull="sometimes"), Misuse, "Give|Use|Write"),
    "volumes": (in_a_container(volumes="/data"), Misuse, "Give|Write"),
    "a volume's place": (in_a_container(volumes=[("/data", "data")]), FileError, "absolute path"),
    "a working directory": (in_a_container(workdir="data"), FileError, "absolute path"),
    "labels": (in_a_container(labels="x"), Misuse, "Give"),
    "a user": (in_a_container(user=""), Misuse, "Give"),
    "a callback": (in_a_container(stdout_callback=7), Misuse, "Give"),
    "a callback of the end": (in_a_container(termination_callback="f"), Misuse, "Give"),
}


def test_every_argument_is_looked_at(
    works: Container, node: Node, subtests: pytest.Subtests
) -> None:
    before = {container.id for container in node.all_containers()}
    for what, (use, kind, remedy) in WRONG.items():
        with subtests.test(what), refused(kind, remedy):
            use(works, node)
    assert {container.id for container in node.all_containers()} == before


def test_fetching_a_directory_or_nothing(works: Container) -> None:
    works.mkdir("/tmp/directory", exist_ok=True, parents=True)
    with refused(FileError, r"director"):
        works.fetch("/tmp/directory")
    with refused(FileError, r"spell|listdir|path|look|there"):
        works.fetch("/tmp/nothing-of-that-name")
    with refused(FileError, r"director"):
        works.put("/tmp/directory", b"x")
    with refused(FileError, r"."):
        works.listdir("/tmp/nothing-of-that-name")


def test_putting_what_is_no_content(works: Container, tmp_path: Path) -> None:
    for content in (7, None, ["x"]):
        with refused(Misuse, "Give bytes"):
            works.put("/tmp/x", content)  # type: ignore[arg-type]
    with refused(FileError, "Give a file"):
        works.put("/tmp/x", tmp_path / "missing")


def test_stdin_that_is_no_bytes(works: Container) -> None:
    process = works.spawn_process("cat")
    with refused(Misuse, "encode"):
        process.stdin("text")  # type: ignore[arg-type]
    with refused(Misuse, "Give bytes"):
        process.stdin(7)  # type: ignore[arg-type]
    with refused(Misuse, "return_reply"):
        process.stdin(b"x", drop_echo=True)
    with refused(Misuse, "tty=True"):
        process.resize(10, 10)
    with refused(Misuse, "as in 'TERM'"):
        process.signal("NONSENSE")
    works.destroy_process(process)


def test_objects_are_made_by_their_parents(where: str) -> None:
    from tfnz_notebook.process import Process

    for kind in (Container, Process, Node):
        with refused(Misuse, "Use "):
            kind()


# --- using what is no more -----------------------------------------------------------------------


def test_using_a_destroyed_container(works: Container, node: Node) -> None:
    container = node.spawn_container("debian", sleep=True).wait_until_ready()
    node.destroy_container(container)
    for use in (
        lambda: container.spawn_process("true"),
        lambda: container.spawn_shell(),
        lambda: container.wait_until_ready(),
        lambda: container.put("/x", b"x"),
        lambda: container.fetch("/etc/passwd"),
        lambda: container.stats(),
        lambda: container.logs(),
        lambda: container.attach_tunnel(80),
        lambda: container.reboot(),
        lambda: container.start(),
        lambda: node.destroy_container(container),
    ):
        with refused(ContainerGone, "Spawn another"):
            use()


def test_using_an_ended_process(works: Container) -> None:
    process = works.spawn_process(["/bin/true"])
    process.wait()
    for use in (
        lambda: process.stdin(b"x"),
        lambda: process.stdin(b"x", return_reply=True),
        lambda: process.signal("TERM"),
        lambda: works.destroy_process(process),
    ):
        with refused(ProcessGone, "Spawn another"):
            use()
    assert process.wait_until_complete() == b""


def test_using_a_destroyed_tunnel(works: Container) -> None:
    tunnel = works.attach_tunnel(80)
    works.destroy_tunnel(tunnel)
    with refused(TunnelGone, "attach_tunnel|Attach another"):
        tunnel.url()
    with refused(TunnelGone, "before"):
        works.destroy_tunnel(tunnel)


def test_using_a_disconnected_location(works: Container, where: str) -> None:
    location = Location(where)
    node = location.best_node()
    location.disconnect()
    for use in (location.best_node, location.containers, lambda: node.spawn_container("debian")):
        with refused(LinkClosed, r"Make another Location\(\)"):
            use()


def test_things_of_others_are_not_taken(works: Container, spawn: Spawn) -> None:
    other = spawn(sleep=True)
    process, tunnel = other.spawn_process("sleep 1000"), other.attach_tunnel(80)
    with refused(Misuse, "spawn_process made"):
        works.destroy_process(process)
    with refused(Misuse, "attach_tunnel made"):
        works.destroy_tunnel(tunnel)
    assert process.returncode is None


def test_a_container_that_exits_before_it_is_ready(works: Container, spawn: Spawn) -> None:
    container = spawn(command="echo last words >&2; exit 9")
    with refused(ContainerFailed, r"last words"):
        container.wait_until_ready(timeout=30)
        container.main.wait(timeout=30)
        container.run_process("true")
    assert container.returncode == 9
    assert b"last words" in container.logs()


def test_a_script_in_which_all_of_that_goes_wrong_still_ends_well(world: World, where: str) -> None:
    code = (
        "from tfnz_notebook.location import Location\n"
        f"c = Location({where!r}).best_node().spawn_container('debian', sleep=True)\n"
        "try: c.spawn_process(['/no/such/program'])\n"
        "except ValueError as error: print(error)\n"
    )
    assert run(world, code).startswith("Cannot ")
