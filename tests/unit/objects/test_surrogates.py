"""Text that no encoding can write is refused; what Python makes of bytes goes as those bytes."""

from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from unit.link.scripted_agent import ScriptedAgent

from tfnz_notebook.container import Container
from tfnz_notebook.errors import TfnzError
from tfnz_notebook.location import Location
from tfnz_notebook.node import Node

HALF = "a\ud800b"
#: The name ``b"a\xff"`` as ``os.listdir`` gives it (PEP 383).
BYTES = b"a\xff".decode("utf-8", "surrogateescape")


def test_half_a_pair_is_refused(location: Location, container: Container) -> None:
    node = location.node("first")
    process = container.spawn_process("cat")
    calls: list[Callable[[], Any]] = [
        lambda: Location(HALF),
        lambda: Location("podman", session=HALF),
        lambda: location.node(HALF),
        lambda: location.container(HALF),
        lambda: location.volume(HALF),
        lambda: location.create_volume(HALF),
        lambda: location.run("nginx", HALF),
        lambda: location.run(HALF, "true"),
        *(
            lambda name=name, value=value: node.spawn_container("nginx", **{name: value})
            for name, value in (
                *((each, HALF) for each in ("command", "tag", "name", "user", "workdir")),
                *((each, HALF) for each in ("hostname", "network", "entrypoint", "memory")),
                *((each, {HALF: "x"}) for each in ("env", "labels", "pre_boot_files")),
                *((each, {"/a": HALF}) for each in ("env", "labels", "pre_boot_files")),
                ("volumes", [(f"/{HALF}", "/a")]),
                ("volumes", [("/a", f"/{HALF}")]),
                ("capabilities", [HALF]),
            )
        ),
        lambda: container.spawn_process(HALF),
        lambda: container.spawn_process(["echo", HALF]),
        lambda: container.spawn_process("x", env={"A": HALF}),
        lambda: container.spawn_process("x", cwd=f"/{HALF}"),
        lambda: container.spawn_process("x", user=HALF),
        lambda: container.put(f"/{HALF}", b"x"),
        lambda: container.put("/a", HALF),
        lambda: container.fetch(f"/{HALF}"),
        lambda: container.listdir(f"/{HALF}"),
        lambda: container.mkdir(f"/{HALF}"),
        lambda: container.wait_http_200(fqdn=HALF, timeout=1),
        lambda: container.wait_http_200(path=HALF, timeout=1),
        lambda: container.attach_tunnel(80, bind=HALF),
        lambda: process.signal(HALF),
    ]
    for number, call in enumerate(calls):
        with pytest.raises(TfnzError, match="^Cannot ") as raised:
            call()
        assert str(raised.value).isprintable() or "\n" in str(raised.value), number
    assert container.location.nodes()


def test_bytes_that_are_no_text_arrive_as_they_are(
    agent: ScriptedAgent, location: Location, container: Container
) -> None:
    container.spawn_process(["ls", BYTES], env={"A": BYTES})
    (spawn,) = agent.named("process.spawn")
    assert spawn.body["command"] == ["ls", BYTES]
    assert spawn.body["env"] == [f"A={BYTES}"]
    container.put(f"/{BYTES}", BYTES)
    (put,) = agent.named("file.put")
    assert (put.body["path"], put.payload) == (f"/{BYTES}", b"a\xff")
    node: Node = location.node("first")
    node.spawn_container("nginx", pre_boot_files={f"/{BYTES}": BYTES})
    payload = agent.named("container.spawn")[-1].payload or b""
    files = msgpack.unpackb(payload, unicode_errors="surrogateescape")
    assert files == {f"/{BYTES}": b"a\xff"}
