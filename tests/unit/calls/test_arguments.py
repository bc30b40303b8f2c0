"""Bad input is refused before anything is sent, with a message that names the remedy."""

import re
import signal
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from tfnz_notebook._base import names
from tfnz_notebook._calls import arguments, follow
from tfnz_notebook._calls.spec import container_spec
from tfnz_notebook.errors import FileError, ImageNameInvalid, Misuse, TfnzError, TooLarge

MESSAGE = re.compile(r"Cannot [^:]+.*: .+\. .+[.)]", re.DOTALL)


def refused(kind: type[TfnzError], function: Any, *given: Any, **named: Any) -> str:
    with pytest.raises(kind) as caught:
        function(*given, **named)
    assert isinstance(caught.value, ValueError)
    assert MESSAGE.fullmatch(str(caught.value)), caught.value
    return str(caught.value)


def test_image_names(subtests: pytest.Subtests) -> None:
    rows: list[str] = [
        "nginx",
        "debian:12",
        "library/nginx",
        "ghcr.io/a/b-c_d:1.0",
        "localhost:5000/x",
        "a--b",
        "localhost/x:T",
        "nginx@sha256:" + "a" * 64,
        "sha256:" + "0" * 12,
    ]
    for name in rows:
        with subtests.test(repr(name)[:60]):
            assert arguments.image(name) == name


def test_malformed_image_names(subtests: pytest.Subtests) -> None:
    rows: list[str] = [
        "",
        " ",
        "Nginx",
        "nginx:",
        "a b",
        "-x",
        "a//b",
        "a\0",
        "../x",
        "http://nginx",
        "x" * 5000,
    ]
    for name in rows:
        with subtests.test(repr(name)[:60]):
            refused(ImageNameInvalid, arguments.image, name)


def test_an_image_that_is_no_text() -> None:
    assert "bytes" in refused(Misuse, arguments.image, b"nginx")
    assert "Give its name" in refused(Misuse, arguments.image, 7)


def test_env_is_a_dict_or_pairs() -> None:
    expected = {"A": "1", "B": "x y"}
    assert arguments.environment("x", {"A": 1, "B": "x y"}) == expected
    assert arguments.environment("x", [("A", "1"), ["B", "x y"]]) == expected
    assert arguments.environment("x", None) == {}


def test_env_that_is_no_pairs(subtests: pytest.Subtests) -> None:
    rows: list[object] = [
        "A=1",
        ["A=1"],
        [("A",)],
        {"A=B": "1"},
        {"": "1"},
        {1: "1"},
        {"A": None},
        {"A": b"1"},
        3,
        {"A": "\0"},
        {"A": True},
        {"A": ["b"]},
        [("A", "b", "c")],
    ]
    for env in rows:
        with subtests.test(repr(env)[:60]):
            refused(Misuse, arguments.environment, "spawn a process", env)


def test_memory(subtests: pytest.Subtests) -> None:
    rows: list[tuple[Any, int | None]] = [
        (None, None),
        (1 << 20, 1 << 20),
        ("512m", 512 << 20),
        ("2 GiB", 2 << 30),
        ("1.5g", 3 << 29),
        ("1048576", 1 << 20),
        ("64MB", 64 << 20),
        ("1024k", 1 << 20),
    ]
    for given, size in rows:
        with subtests.test(repr(given)[:60]):
            assert arguments.memory(given) == size


def test_memory_that_is_none(subtests: pytest.Subtests) -> None:
    rows: list[object] = ["lots", "", "-1m", 0, -5, 1.5, True, "1q", [1]]
    for given in rows:
        with subtests.test(repr(given)[:60]):
            refused(Misuse, arguments.memory, given)


def test_a_string_is_for_the_shell_and_a_list_is_not() -> None:
    assert arguments.argv("x", "ls | wc") == (["/bin/sh", "-c", "ls | wc"], "ls | wc")
    assert arguments.argv("x", ["ls", "a b"]) == (["ls", "a b"], "ls 'a b'")
    assert arguments.argv("x", (PurePosixPath("/bin/ls"), "")) == (["/bin/ls", ""], "/bin/ls ''")


def test_commands_that_are_none(subtests: pytest.Subtests) -> None:
    rows: list[object] = [
        "",
        "  ",
        [],
        [""],
        ["ls", 1],
        b"ls",
        {"a": 1},
        None,
        5,
        "a\0b",
        ["a\0"],
        "half \ud800 a pair",
    ]
    for command in rows:
        with subtests.test(repr(command)[:60]):
            refused(Misuse, arguments.argv, "spawn a process", command)


def test_what_no_linux_starts(subtests: pytest.Subtests) -> None:
    """execve(2): 128 KiB a string, and its end."""
    most = (128 << 10) - 1
    rows: list[tuple[Any, Any, Any]] = [
        (arguments.argv, "x" * most, "x" * (most + 1)),
        (arguments.argv, ["echo", "ü" * (most // 2)], ["echo", "ü" * (most // 2 + 1)]),
        (arguments.environment, {"A": "x" * (most - 2)}, {"A": "x" * (most - 1)}),
    ]
    for function, fits, does_not in rows:
        with subtests.test(repr(fits)[:20]):
            assert function("spawn a process", fits)
            said = refused(TooLarge, function, "spawn a process", does_not)
            assert "at most 128 KiB go" in said


def test_ports_out_of_range(subtests: pytest.Subtests) -> None:
    rows: list[object] = [0, -1, 65536, 1 << 40, "80", 80.0, None, True]
    for port in rows:
        with subtests.test(repr(port)[:60]):
            refused(Misuse, arguments.port, "attach a tunnel", port)


def test_sizes_that_are_none(subtests: pytest.Subtests) -> None:
    rows: list[object] = [None, 24, (24,), (0, 80), (24, 10000), ("24", 80), "24x80"]
    for size in rows:
        with subtests.test(repr(size)[:60]):
            refused(Misuse, arguments.size, "resize", size)


def test_durations_that_are_none(subtests: pytest.Subtests) -> None:
    rows: list[object] = [-1, "5", True, float("nan"), float("inf"), [5]]
    for value in rows:
        with subtests.test(repr(value)[:60]):
            refused(Misuse, arguments.seconds, "wait", "timeout", value)


def test_paths_that_lead_elsewhere(subtests: pytest.Subtests) -> None:
    rows: list[str] = [
        "x",
        "./x",
        "../x",
        "/../x",
        "",
        "/a/../b",
        "/a/../../x",
        "/..",
        "/a\0",
        "/" + "x" * 5000,
    ]
    for path in rows:
        with subtests.test(repr(path)[:60]):
            refused(FileError, arguments.path, "put", path)


def test_paths() -> None:
    assert arguments.path("put", "/etc/..a/b..") == "/etc/..a/b.."
    assert arguments.path("put", PurePosixPath("/etc/x")) == "/etc/x"
    refused(Misuse, arguments.path, "put", b"/x")


def test_pre_boot_files() -> None:
    expected = {"/a": b"1", "/b": b"2"}
    assert arguments.files([("/a", b"1"), ("/b", "2")]) == expected
    assert arguments.files({"/a": bytearray(b"1"), PurePosixPath("/b"): b"2"}) == expected
    assert arguments.files(None) == {}


def test_pre_boot_files_that_are_none(subtests: pytest.Subtests) -> None:
    rows: list[tuple[object, type[TfnzError]]] = [
        ([("/a", [b"1"])], Misuse),
        ([(["/a"], b"1")], Misuse),
        ([["/a"], b"1"], Misuse),
        ({"/a": None}, Misuse),
        (7, Misuse),
        ([("/a", b"1", b"2")], Misuse),
        (["/a"], Misuse),
        ("/a", Misuse),
        ([("/a", None)], Misuse),
        ([("a", b"1")], FileError),
        ([("../a", b"1")], FileError),
        ([("/half\ud800", b"1")], FileError),
        ([("/a", bytes(64 << 20))], TooLarge),
    ]
    for files, kind in rows:
        with subtests.test(repr(files)[:60]):
            refused(kind, arguments.files, files)


def test_volumes() -> None:
    class Named(arguments.NamedVolume):
        tag = "data"

    assert arguments.volumes(None) == []
    given = [(Named(), "/data"), ["/srv", "/srv", "ro"], (Path("/x"), "/x", "rw")]
    assert arguments.volumes(given) == [
        ["data", "/data", False],
        ["/srv", "/srv", True],
        ["/x", "/x", False],
    ]


def test_volumes_that_are_none(subtests: pytest.Subtests) -> None:
    rows: list[tuple[object, type[TfnzError]]] = [
        ("/data", Misuse),
        (["/a"], Misuse),
        ({"/a": "/b"}, Misuse),
        ([("data", "/b")], Misuse),
        ([("/a", "b")], FileError),
        ([("/a", "/b", "w")], Misuse),
        ([("/a",)], Misuse),
        (5, Misuse),
    ]
    for volumes, kind in rows:
        with subtests.test(repr(volumes)[:60]):
            refused(kind, arguments.volumes, volumes)


def test_signals() -> None:
    assert names.signal_number("TERM") == names.signal_number("sigterm") == 15
    assert names.signal_number(signal.SIGKILL) == 9
    for wrong in ("NOPE", -1, 65, 1.5, True):
        refused(Misuse, names.signal_number, wrong)


def test_text_for_stdin_is_told_to_be_encoded() -> None:
    assert "encode" in refused(Misuse, arguments.stdin, "ls\n")
    assert arguments.stdin(memoryview(b"x")) == b"x"


def test_what_to_put(tmp_path: Path) -> None:
    assert arguments.contents("put", "é") == "é".encode()
    assert arguments.contents("put", bytearray(b"x")) == b"x"
    refused(FileError, arguments.contents, "put", tmp_path)
    refused(Misuse, arguments.contents, "put", 5)


def test_container_options_that_are_none(subtests: pytest.Subtests) -> None:
    rows: list[dict[str, Any]] = [
        {"cpu": 0},
        {"cpu": "1"},
        {"pids": 0},
        {"name": "a b"},
        {"name": "-a"},
        {"pull": "often"},
        {"user": -1},
        {"user": ""},
        {"hostname": 5},
        {"labels": "x"},
        {"labels": ["a"]},
        {"labels": {"a": 1}},
        {"tag": ""},
        {"command": []},
        {"entrypoint": 5},
        {"entrypoint": "unmodified", "sleep": True},
        {"capabilities": "NET_ADMIN"},
        {"capabilities": 5},
        {"capabilities": ["NET_ADMIN", ""]},
        {"capabilities": ["NET"]},
        {"capabilities": ["CAP_CAP_KILL"]},
        {"capabilities": ["KILL\n"]},
        {"capabilities": [12]},
        {"memory": "lots"},
        {"memory": 1},
    ]
    for options in rows:
        with subtests.test(repr(options)[:60]):
            refused(Misuse, container_spec, "nginx", options)


def test_an_entrypoint_that_is_none() -> None:
    spec, _ = container_spec("nginx", {"entrypoint": "unmodified", "command": ["x"]})
    assert (spec["unmodified"], spec["command"]) == (True, ["x"])
    assert "entrypoint" not in spec
    spec, _ = container_spec("nginx", {"entrypoint": ["unmodified"]})
    assert spec["entrypoint"] == ["unmodified"]


def test_what_a_cluster_alone_can_be_asked_for() -> None:
    spec, _ = container_spec(
        "nginx",
        {
            "runtime_class": "gvisor",
            "node_selector": {"disk": "fast"},
            "tolerations": ["a=b:NoSchedule", "c", {"key": "d", "tolerationSeconds": 3}],
            "pull_secrets": "ours",
            "gpus": {"amd.com/gpu": 1},
        },
    )
    assert spec["runtime_class"] == "gvisor"
    assert spec["node_selector"] == {"disk": "fast"}
    assert spec["tolerations"] == [
        {"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"},
        {"key": "c", "operator": "Exists"},
        {"key": "d", "tolerationSeconds": 3},
    ]
    assert spec["pull_secrets"] == ["ours"]
    assert spec["gpus"] == {"amd.com/gpu": 1}
    assert container_spec("nginx", {"gpus": 2})[0]["flags"]["gpus"]["count"] == 2, "anywhere"
    assert not {"gpus", "tolerations"} & set(container_spec("nginx", {})[0])
    for wrong in (
        {"gpus": 0},
        {"gpus": {"amd.com/gpu": 0}},
        {"tolerations": 1},
        {"node_selector": "x"},
        {"pull_secrets": [""]},
        {"runtime_class": 1},
    ):
        with pytest.raises(Misuse, match=r"^Cannot spawn a container: .*\. .*\."):
            container_spec("nginx", wrong)


def test_a_whole_spec() -> None:
    spec, files = container_spec(
        "nginx",
        {
            "env": [("A", "1")],
            "sleep": True,
            "volumes": [("/srv", "/srv", "ro")],
            "pre_boot_files": {"/a": b"1"},
            "command": "nginx -g x",
            "memory": "64m",
            "cpu": 0.5,
            "pids": 10,
            "user": 1000,
            "workdir": "/tmp",
            "name": "web",
            "tag": "web",
            "labels": {"a": "b"},
            "network": "none",
            "entrypoint": "/entry point",
            "capabilities": ["NET_ADMIN", "cap_sys_ptrace"],
            "new_privileges": True,
        },
    )
    assert files == {"/a": b"1"}
    assert spec == {
        "image": "nginx",
        "env": {"A": "1"},
        "sleep": True,
        "volumes": [["/srv", "/srv", True]],
        "command": ["/bin/sh", "-c", "nginx -g x"],
        "entrypoint": ["/entry point"],
        "capabilities": ["NET_ADMIN", "SYS_PTRACE"],
        "new_privileges": True,
        "memory": 64 << 20,
        "cpu": 0.5,
        "pids": 10,
        "user": "1000",
        "workdir": "/tmp",
        "name": "web",
        "tag": "web",
        "labels": {"a": "b"},
        "network": "none",
        "read_only": False,
        "pull": "missing",
        "hostname": None,
        "flags": {},
    }


async def _coroutine(process: object, data: bytes) -> None: ...


def test_callbacks_that_are_none(subtests: pytest.Subtests) -> None:
    rows: list[object] = [5, "f", _coroutine]
    for function in rows:
        with subtests.test(repr(function)[:60]):
            refused(Misuse, follow.callback, "spawn a process", "data_callback", function)


def test_who_wants_the_return_code(subtests: pytest.Subtests) -> None:
    rows: list[tuple[Any, bool]] = [
        (lambda process: 0, False),
        (lambda process, returncode: 0, True),
        (lambda process, code: 0, True),
        (lambda *given: 0, True),
        (lambda process, *more: 0, True),
        (lambda process, verbose=False: 0, False),
        (lambda process, returncode=None: 0, True),
        (lambda process, *, keyword=1: 0, False),
        (print, True),
        ([].append, False),
    ]
    for function, takes in rows:
        with subtests.test(repr(function)[:60]):
            assert follow.takes_returncode(function) is takes
