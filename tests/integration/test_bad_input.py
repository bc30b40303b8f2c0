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


@pytest.mark.parametrize(
    "image", ["", "Nginx", "a b", "nginx:", "http://nginx", "../nginx", "x" * 5000]
)
def test_a_malformed_image_name(works: Container, node: Node, image: str) -> None:
    with refused(ImageNameInvalid, "as in 'nginx'"):
        node.spawn_container(image)


def test_an_image_that_is_no_string(works: Container, node: Node) -> None:
    with refused(Misuse, "Give its name"):
        node.spawn_container(7)  # type: ignore[arg-type]


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


@pytest.mark.parametrize("user", ["no-such-user", "root:no-such-group"])
def test_an_unknown_user(works: Container, user: str) -> None:
    with refused(SpawnFailed, r"user|uid|passwd"):
        works.spawn_process(["/bin/true"], user=user)


def test_a_working_directory_that_is_missing(works: Container) -> None:
    with refused(SpawnFailed, r"director|mkdir|cwd"):
        works.spawn_process(["/bin/true"], cwd="/no/such/directory")
    with refused(SpawnFailed, r"director|cwd"):
        works.spawn_process(["/bin/true"], cwd="/etc/passwd")
    with refused(FileError, "absolute"):
        works.spawn_process(["/bin/true"], cwd="relative")


@pytest.mark.parametrize(
    "command", ["", "   ", [], [""], None, 7, b"ls", ["ls", 7], {"ls": 1}, "a\0b"]
)
def test_a_command_that_is_none(works: Container, command: Any) -> None:
    with refused(Misuse, r"Give|Name"):
        works.spawn_process(command)


# --- arguments of the wrong kind -----------------------------------------------------------------


@pytest.mark.parametrize(
    "env",
    ["A=b", ["A=b"], [("A",)], {"A=B": "c"}, {"": "c"}, {"A": None}, {"A": ["b"]}, 7, {"A": "\0"}],
)
def test_an_environment_that_is_not_pairs(works: Container, node: Node, env: Any) -> None:
    with refused(Misuse, "Give"):
        works.spawn_process(["/bin/true"], env=env)
    with refused(Misuse, "Give"):
        node.spawn_container("debian", sleep=True, env=env)


@pytest.mark.parametrize(
    "files",
    [[["/a"], b"x"], [(["/a"], b"x")], [("/a", ["x"])], {"/a": None}, "/a", [("/a", "b", "c")], 7],
)
def test_pre_boot_files_of_the_wrong_shape(works: Container, node: Node, files: Any) -> None:
    with refused(Misuse, "Give"):
        node.spawn_container("debian", sleep=True, pre_boot_files=files)


@pytest.mark.parametrize("path", ["relative", "../x", "/../x", "/a/../../x", "", "/nul\0"])
def test_paths_that_lead_nowhere_or_out(works: Container, node: Node, path: str) -> None:
    with refused(FileError, "absolute path"):
        works.put(path, b"x")
    with refused(FileError, "absolute path"):
        works.fetch(path)
    with refused(FileError, "absolute path"):
        works.mkdir(path)
    with refused(FileError, "absolute path"):
        works.listdir(path)
    with refused(FileError, "absolute path"):
        node.spawn_container("debian", sleep=True, pre_boot_files={path: b"x"})


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


@pytest.mark.parametrize("port", [0, -1, 65536, 1 << 40, "80", 80.0, None, True])
def test_a_port_out_of_range(works: Container, port: Any) -> None:
    for use in (works.attach_tunnel, works.wait_tcp, works.wait_http_200):
        with refused(Misuse, "Give a"):
            use(port)


@pytest.mark.parametrize(
    "options",
    [
        {"memory": "lots"}, {"memory": 1}, {"cpu": 0}, {"cpu": "1"}, {"pids": 0}, {"name": "a b"},
        {"pull": "sometimes"}, {"volumes": "/data"}, {"volumes": [("data", "/data")]},
        {"volumes": [("/data", "data")]}, {"workdir": "data"}, {"labels": "x"}, {"user": ""},
        {"stdout_callback": 7}, {"termination_callback": "f"},
    ],
    ids=str,
)  # fmt: skip
def test_options_of_the_wrong_kind(works: Container, node: Node, options: dict[str, Any]) -> None:
    with pytest.raises(TfnzError, match=r"^Cannot .*[Gg]ive|Write|Use") as caught:
        node.spawn_container("debian", sleep=True, **options)
    assert isinstance(caught.value, ValueError)


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
