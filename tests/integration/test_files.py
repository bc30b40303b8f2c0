"""Files: put, fetch, list, mkdir, and those that are there before the first process."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tfnz_notebook._link.files import download, upload
from tfnz_notebook.container import Container
from tfnz_notebook.errors import FileError

Spawn = Callable[..., Container]


def absolute(box: Container, path: str) -> str:
    """The name that processes in the container have for a path that files are put to.

    On the host engine files live below a directory of the container, where processes start.
    """
    if box.location.engine != "host":
        return path
    return box.run_process("pwd").stdout.decode().strip() + path


@pytest.mark.parametrize("size", [0, 1, 300_000, 20 << 20])
def test_what_was_put_is_fetched(box: Container, size: int) -> None:
    data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    box.put("/tmp/round trip", data)
    assert box.fetch("/tmp/round trip") == data


def test_processes_see_what_was_put_and_we_what_they_write(box: Container) -> None:
    box.put("/tmp/seen", "grüße\n")
    seen = absolute(box, "/tmp/seen")
    assert box.run_process(["cat", seen]).stdout == "grüße\n".encode()
    box.run_process(["sh", "-c", f"echo theirs > {seen}"], check=True)
    assert box.fetch("/tmp/seen") == b"theirs\n"


def test_a_file_of_this_machine(box: Container, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(1 << 20))
    box.put("/tmp/from-here", source)
    assert box.fetch("/tmp/from-here") == source.read_bytes()


def test_where_a_pipe_cannot_be_opened_the_link_carries_the_bytes(
    box: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel in a container of its own that has the agent's socket, and no more."""
    asked = []

    def unseen(path: str, mode: int) -> None:
        asked.append(mode)
        raise FileNotFoundError(path)

    monkeypatch.setattr(download, "Pipe", unseen)
    monkeypatch.setattr(upload, "Pipe", unseen)
    data = os.urandom(2 << 20)
    (tmp_path / "source").write_bytes(data)
    box.put("/tmp/carried", tmp_path / "source")
    assert box.fetch("/tmp/carried") == data
    assert asked == [os.O_WRONLY, os.O_RDONLY]


def test_mode_owner_and_parents(box: Container) -> None:
    box.put("/tmp/deep/er/script", b"#!/bin/sh\necho ran\n", mode=0o750, user="1234:2345")
    (entry,) = box.listdir("/tmp/deep/er")
    assert (entry.name, entry.kind, entry.mode) == ("script", "file", 0o750)
    assert (entry.uid, entry.gid, entry.size) == (1234, 2345, 19)
    assert box.run_process([absolute(box, "/tmp/deep/er/script")]).stdout == b"ran\n"
    box.put("/tmp/deep/er/script", b"new")
    assert box.listdir("/tmp/deep/er")[0].mode == 0o750, "kept when none is given"


def test_a_new_file_replaces_the_old_one_whole(box: Container) -> None:
    box.put("/tmp/swapped", b"old" * 1000)
    path = absolute(box, "/tmp/swapped")
    process = box.spawn_process(f"exec 3<{path}; echo open; read line; cat <&3")
    assert next(iter(process)) == b"open\n"
    box.put("/tmp/swapped", b"new")
    process.stdin(b"go\n")
    assert process.wait_until_complete(timeout=10).endswith(b"old" * 1000)


def test_directories_are_made_and_listed(box: Container) -> None:
    box.mkdir("/tmp/made/below", parents=True, mode=0o700)
    box.mkdir("/tmp/made/below", exist_ok=True)
    with pytest.raises(FileError, match=r"^Cannot make .*exists"):
        box.mkdir("/tmp/made/below")
    with pytest.raises(FileError, match=r"^Cannot make "):
        box.mkdir("/tmp/no/such/parent")
    box.put("/tmp/made/file", b"12345")
    box.run_process(["ln", "-s", "file", absolute(box, "/tmp/made/link")], check=True)
    listed = {entry.name: entry for entry in box.listdir("/tmp/made")}
    assert list(listed) == ["below", "file", "link"]
    assert [entry.kind for entry in listed.values()] == ["directory", "file", "link"]
    assert listed["file"].size == 5
    assert listed["link"].link == "file"


def test_a_thousand_entries(box: Container) -> None:
    box.mkdir("/tmp/many", exist_ok=True)
    where = absolute(box, "/tmp/many")
    box.run_process(f"cd {where} && seq 1 1000 | xargs touch", check=True)
    assert len(box.listdir("/tmp/many")) == 1000


def test_names_are_bytes_that_may_be_anything(box: Container) -> None:
    name = "new\nline \N{SNOWMAN} 'quoted' -rf"
    box.put(f"/tmp/odd/{name}", b"odd")
    assert [entry.name for entry in box.listdir("/tmp/odd")] == [name]
    assert box.fetch(f"/tmp/odd/{name}") == b"odd"


def test_files_are_there_before_the_first_process(spawn: Spawn) -> None:
    container = spawn(sleep=True, pre_boot_files={"/etc/app/one.conf": b"\x00\xff", "/two": "text"})
    assert container.fetch("/etc/app/one.conf") == b"\x00\xff"
    assert container.fetch("/two") == b"text"
    spawned = spawn(
        command="cat etc/here" if container.location.engine == "host" else "cat /etc/here",
        pre_boot_files=[("/etc/here", b"early")],
    )
    spawned.main.wait(timeout=20)
    assert spawned.logs() == b"early"


@pytest.mark.engines("podman", "docker")
def test_a_file_before_boot_may_replace_one_of_the_image(spawn: Spawn) -> None:
    container = spawn(sleep=True, pre_boot_files={"/etc/os-release": b"NAME=Ours\n"})
    assert container.run_process("cat /etc/os-release").stdout == b"NAME=Ours\n"


def test_what_is_no_file_is_refused_in_words(box: Container) -> None:
    box.run_process(["mkfifo", absolute(box, "/tmp/pipe")], check=True)
    for call in (lambda: box.fetch("/tmp/pipe"), lambda: box.put("/tmp/pipe", b"x")):
        with pytest.raises(FileError, match=r"'/tmp/pipe': it is no file but a pipe, .*a process"):
            call()


def test_nothing_gets_out_through_links(box: Container) -> None:
    outside = absolute(box, "/tmp/out")
    box.run_process(["ln", "-sfn", "/../../../../../../tmp", outside], check=True)
    marker = f"tfnz-escaped-{os.getpid()}"
    try:
        box.put(f"/tmp/out/{marker}", b"x")
    except FileError:
        pass  # refusing is as good as staying inside
    assert not Path("/tmp", marker).exists()
    box.run_process(["rm", outside], check=True)
