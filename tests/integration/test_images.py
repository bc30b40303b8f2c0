"""An image's way through all of it: built, spawned of, forked, prepared; with real guests."""

from pathlib import Path

import pytest
from integration.polling import until

from tfnz_notebook.errors import BuildFailed, CommandNotFound, ContainerFailed, EngineError
from tfnz_notebook.location import Location
from tfnz_notebook.node import Node

in_containers = pytest.mark.engines("podman", "docker")


@pytest.mark.long  # tests/contract and the units have each step of it
@in_containers
def test_what_is_built_is_spawned_of_and_forked(
    location: Location, node: Node, tmp_path: Path
) -> None:
    (tmp_path / "told").write_text("text")
    said: list[str] = []
    name = f"tfnz-way-{location.session[-8:]}".lower()
    image = location.build(name, "FROM busybox\nCOPY told /told\n", tmp_path, callback=said.append)
    made = [image]
    try:
        assert "told" in "".join(said)
        box = node.spawn_container(image, sleep=True, env={"A": "1"})
        assert box.fetch("/told") == b"text"
        box.put("/more", "words")
        fork = box.fork()
        assert fork.fetch("/more") == b"words"
        assert fork.run_process("echo $A").stdout == b"1\n"
        assert any(fork.image in tag for each in location.images() for tag in each.tags)
        made.append(box.commit(f"{name}-made"))
        assert made[1].save(tmp_path / "image.tar") == (tmp_path / "image.tar").stat().st_size
        fork.destroy(), box.destroy()
        assert not any(fork.image in tag for each in location.images() for tag in each.tags)
    finally:
        for each in reversed(made):
            each.remove(force=True)
    with pytest.raises(BuildFailed, match="step 2/2.*said last: 'why'"):
        location.build(name, "FROM busybox\nRUN echo why; exit 3\n")


@in_containers
def test_a_spare_becomes_what_is_spawned(location: Location, node: Node) -> None:
    wishes = {"memory": "96m", "pids": 500}
    location.prepare("busybox", spares=1, **wishes)  # type: ignore[arg-type]
    script = "echo $A $(id -u) $(cat /told); exec sleep 1000"
    web = node.spawn_container(
        "busybox",
        name=f"spare-{location.session[-8:]}",
        command=script,
        env={"A": "1"},
        user="65534",
        pre_boot_files={"/told": b"text"},
        **wishes,  # type: ignore[arg-type]
    )
    web.wait_until_ready()
    until(lambda: web.logs() == b"1 65534 text\n", 10, "it said so")
    assert web.name == f"spare-{location.session[-8:]}"
    web.reboot()
    until(lambda: web.logs() == b"1 65534 text\n", 10, "and again, after a reboot")
    web.destroy()
    location.prepare("busybox", spares=1, **wishes)  # type: ignore[arg-type]
    none = node.spawn_container("busybox", command=["/no/such"], **wishes)  # type: ignore[arg-type]
    with pytest.raises((ContainerFailed, CommandNotFound), match="/no/such"):
        none.wait_until_ready()
    location.prepare("busybox", spares=0, **wishes)  # type: ignore[arg-type]


@pytest.mark.engines("host")
def test_the_host_has_no_images_and_says_so(location: Location) -> None:
    with pytest.raises(EngineError, match="Cannot build an image: host has this machine's own"):
        location.build("none", "FROM busybox")
