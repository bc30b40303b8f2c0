"""A specification as the create call's JSON, and files as tar."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tfnz_notebook.engines.base import ContainerSpec, Image, Mount
from tfnz_notebook.engines.docker import create as shape
from tfnz_notebook.engines.docker.exec import beside
from tfnz_notebook.errors import Misuse

IMAGE = Image("sha256:1", ("/entry",), ("cmd", "arg"), {"A": "1"}, "app:app", "/srv")


def spec(**options: Any) -> ContainerSpec:
    return ContainerSpec(id="c1", image="x", **options)


def made(**options: Any) -> dict[str, Any]:
    quirks = options.pop("quirks", shape.Quirks())
    run = options.pop("run", Path("/run/tfnz/guests/c1"))
    early = options.pop("early", False)
    guest = Path("/lib/guest")
    return shape.body(spec(**options), IMAGE, run=run, guest=guest, quirks=quirks, early=early)


def test_an_images_own_first_process_stays_as_it_is() -> None:
    body = beside.body(spec(unmodified=True), made(unmodified=True), {})
    assert not {"Entrypoint", "Cmd", "User"} & set(body)
    wishes = {"unmodified": True, "command": ("x", "y"), "user": "app"}
    body = beside.body(spec(**wishes), made(**wishes), {})
    assert ("Entrypoint" in body, body["Cmd"], body["User"]) == (False, ["x", "y"], "app")
    for wish, early in (({"sleep": True}, {}), ({"entrypoint": ("x",)}, {}), ({}, {"/v/f": b""})):
        with pytest.raises(Misuse, match="unmodified"):
            beside.body(spec(unmodified=True, **wish), made(**wish), early)


def test_the_guest_beside_it_is_of_the_same_user() -> None:
    words = ["/.tfnz/guest", "init", "--beside", "--socket", "/.tfnz/run/guest.sock", "--sleep"]
    assert beside.found({}) == beside.Beside("0:0", words)
    assert beside.found({"User": "root:root", "WorkingDir": "/srv"}) == beside.Beside(
        "0:0", [*words, "--user", "root:root", "--cwd", "/srv"]
    )
    assert beside.found({"User": "33"}) == beside.Beside("33", [*words, "--user", "33"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, ["--user", "app:app", "--cwd", "/srv", "--", "/entry", "cmd", "arg"]),
        (
            {"sleep": True},
            ["--user", "app:app", "--cwd", "/srv", "--sleep", "--", "/entry", "cmd", "arg"],
        ),
        ({"command": ("x",)}, ["--user", "app:app", "--cwd", "/srv", "--", "/entry", "x"]),
        ({"entrypoint": ("/e",)}, ["--user", "app:app", "--cwd", "/srv", "--", "/e"]),
        (
            {"entrypoint": ("/e",), "command": ("x",)},
            ["--user", "app:app", "--cwd", "/srv", "--", "/e", "x"],
        ),
        ({"entrypoint": (), "command": ("x",)}, ["--user", "app:app", "--cwd", "/srv", "--", "x"]),
        (
            {"user": "0", "workdir": "/"},
            ["--user", "0", "--cwd", "/", "--", "/entry", "cmd", "arg"],
        ),
        ({"user": "", "workdir": ""}, ["--", "/entry", "cmd", "arg"]),
        (
            {"command": ("--sleep", "--")},
            ["--user", "app:app", "--cwd", "/srv", "--", "/entry", "--sleep", "--"],
        ),
    ],
)
def test_guest_command(options: dict[str, Any], told: list[str]) -> None:
    command = shape.guest_command(spec(**options), IMAGE)
    assert command == ["init", "--socket", "/.tfnz/run/guest.sock", *told]


def test_nothing_to_run() -> None:
    with pytest.raises(Misuse, match="sleep=True"):
        shape.guest_command(spec(), Image("i"))
    assert shape.guest_command(spec(sleep=True), Image("i"))[-1] == "--sleep"


def test_guest_is_root_and_unprivileged() -> None:
    body = made()
    assert (body["User"], body["Entrypoint"]) == ("0:0", ["/.tfnz/guest"])
    host = body["HostConfig"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["Privileged"] is False
    assert host["Init"] is False
    assert host["AutoRemove"] is False
    assert "CapAdd" not in host
    assert host["PidsLimit"] == 4096
    assert "Ulimits" not in host


def test_more_for_who_asks() -> None:
    host = made(capabilities=("NET_ADMIN", "KILL"), new_privileges=True)["HostConfig"]
    assert host["CapAdd"] == ["NET_ADMIN", "KILL"]
    assert host["SecurityOpt"] == []
    assert host["Privileged"] is False


def test_limits() -> None:
    host = made(cpu=0.5, memory=1 << 26, pids=7, network="none", read_only=True)["HostConfig"]
    assert host["NanoCpus"] == 500_000_000
    assert host["Memory"] == host["MemorySwap"] == 1 << 26
    assert (host["PidsLimit"], host["NetworkMode"], host["ReadonlyRootfs"]) == (7, "none", True)
    host = made(quirks=shape.Quirks(ulimits=(10, 20)))["HostConfig"]
    assert host["Ulimits"] == [
        {"Name": "nofile", "Soft": 10, "Hard": 10},
        {"Name": "nproc", "Soft": 20, "Hard": 20},
    ]


def test_socket_transport_mounts() -> None:
    mounts = made(mounts=(Mount("v", "/data/"), Mount("/etc", "/x", read_only=True)))["HostConfig"][
        "Mounts"
    ]
    assert [(m["Type"], m["Source"], m["Target"], m["ReadOnly"]) for m in mounts] == [
        ("volume", "v", "/data", False),
        ("bind", "/etc", "/x", True),
        ("bind", "/run/tfnz/guests/c1", "/.tfnz/run", False),
        ("bind", "/lib/guest", "/.tfnz/guest", True),
    ]


def test_exec_transport_volume() -> None:
    body = made(run=None)
    assert body["Volumes"] == {"/.tfnz": {}}
    assert "Mounts" not in body["HostConfig"]


def test_selinux_labels() -> None:
    host = made(quirks=shape.Quirks(selinux=True), mounts=(Mount("/home/me", "/x"),))["HostConfig"]
    assert host["Binds"] == [
        "/home/me:/x:rw",  # the user's own is not relabelled behind the user's back
        "/run/tfnz/guests/c1:/.tfnz/run:rw,Z",
        "/lib/guest:/.tfnz/guest:ro,z",
    ]


def test_an_overlay_stands_alone_among_a_binds_options() -> None:
    mounts = tuple(Mount("/a", f"/{option}", options=(option,)) for option in ("O", "U", "z"))
    host = made(mounts=mounts, quirks=shape.Quirks(podman=True, version="5"))["HostConfig"]
    assert host["Binds"] == ["/a:/O:O", "/a:/U:rw,U", "/a:/z:rw,z"]


def test_image_keeps_its_stop_signal_unless_asleep() -> None:
    assert "StopSignal" not in made()
    assert made(sleep=True)["StopSignal"] == "SIGTERM"


def test_a_guest_without_a_cgroup_is_told_so() -> None:
    assert "--no-cgroup" not in made()["Cmd"]
    assert "--no-cgroup" in made(quirks=shape.Quirks(cgroups=False))["Cmd"]


def test_environment_is_checked() -> None:
    assert shape.environment({"A": "", "B": "x=y"}) == ["A=", "B=x=y"]
    for bad in ({"": "x"}, {"A=": "x"}, {"A": 1}, {"A\0": "x"}, {1: "x"}):
        with pytest.raises(Misuse):
            shape.environment(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["x", "", "./x", "/a/../b", "/..", "..", "/a\0b", 7, None])
def test_paths_are_absolute_and_plain(path: Any) -> None:
    with pytest.raises(Misuse):
        shape.absolute(path, "a path")


def test_odd_paths_are_fine() -> None:
    assert shape.absolute("//a//b/./c..d/...", "a path") == "/a/b/c..d/..."


def test_tar_has_files_and_no_directories() -> None:
    long = "/" + "/".join(["d" * 60] * 5) + "/ü"
    raw = shape.tar({"/etc/x": b"one", long: b"two"})
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        members = archive.getmembers()
        content = [archive.extractfile(m).read() for m in members]  # type: ignore[union-attr]
    assert [m.name for m in members] == ["etc/x", long[1:]]
    assert content == [b"one", b"two"]
    assert {(m.mode, m.uid, m.gid, m.isreg()) for m in members} == {(0o644, 0, 0, True)}


def test_guest_tar() -> None:
    archived = shape.guest_tar(b"elf", {"/etc/hosts": b"1"})
    with tarfile.open(fileobj=io.BytesIO(archived)) as archive:
        run, guest, file = archive.getmembers()
    assert (run.name, run.isdir(), run.mode) == ("run", True, 0o700)
    assert (guest.name, guest.mode, guest.size) == ("guest", 0o755, 3)
    assert (file.name, file.mode, file.size) == ("files/etc/hosts", 0o600, 1)


def test_files_that_a_mount_would_hide_are_left_to_the_guest() -> None:
    mounts = (Mount("v", "/data/"), Mount("/etc", "/data/ro", read_only=True))
    image = replace(IMAGE, volumes=("/var/lib/db/",))
    early = ("/etc/hosts", "/data/x", "/data", "/var/lib/db/a/b", "/etc/resolv.conf")
    plain = ("/etc/hosts.allow", "/database", "/var/lib/other", "/etc/x")
    files = {f"/.{name}": name.encode() for name in early + plain}
    put, left = shape.before_boot(spec(mounts=mounts, files=files), image)
    assert left == {name: name.encode() for name in early}
    assert put == {name: name.encode() for name in plain}
    with pytest.raises(Misuse, match="'/data/ro' is mounted read-only"):
        shape.before_boot(spec(mounts=mounts, files={"/data/ro/x": b""}), image)
    assert "--files" not in made()["Cmd"]
    for run, where in ((Path("/run/c1"), "/.tfnz/run/files"), (None, "/.tfnz/files")):
        assert made(run=run, early=True)["Cmd"][3:5] == ["--files", where]
