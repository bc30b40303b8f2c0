"""A kernel or a guest that speaks garbage: it is dropped, everybody else does not notice."""

import random
import stat
from collections.abc import Callable
from pathlib import Path

import msgpack
import pytest
from integration.polling import Clock, until
from integration.world import World
from words import Words

from tfnz_notebook._wire import link
from tfnz_notebook.container import Container
from tfnz_notebook.errors import TfnzError
from tfnz_notebook.location import Location


def hello(**changes: object) -> bytes:
    body = {"version": link.VERSION, "version_min": 1, "client": "garbage", **changes}
    return bytes(msgpack.packb([0, 1, "hello", body]))


#: What a kernel may send first, wrong in every way but one.
MESSAGES: dict[str, list[bytes]] = {
    "nothing": [b""],
    "noise": [random.Random(20).randbytes(100_000)],
    "not a list": [bytes(msgpack.packb({"hello": 1}))],
    "unknown kind": [bytes(msgpack.packb([9, 1, "hello", {}]))],
    "unknown name": [bytes(msgpack.packb([0, 1, "rm -rf", {}]))],
    "no body": [bytes(msgpack.packb([0, 1, "hello", {}]))],
    "wrong types": [hello(version="one")],
    "a number out of range": [hello(version=1 << 63)],
    "a text too long": [hello(client="x" * 100_000)],
    "before hello": [bytes(msgpack.packb([0, 1, "ping", {}]))],
    "another version": [hello(version=99, version_min=98)],
    "a session like a path": [hello(session="../../etc")],
    "nested": [b"\x91" * 5000],
    "a promise of 4 GiB": [b"\xdb\xff\xff\xff\xff"],
}


def test_a_kernel_that_speaks_garbage(
    world: World, where: str, box: Container, subtests: pytest.Subtests
) -> None:
    for kind in MESSAGES:
        with subtests.test(kind):
            answered_with_an_error(world, where, box, kind)


def answered_with_an_error(world: World, where: str, box: Container, kind: str) -> None:
    pid = world.agents()[where]
    process = box.spawn_process("cat")
    with Words(world.socket(where)) as kernel:
        kernel.say(*MESSAGES[kind])
        (heard,) = kernel.hear() or ()
        answer, _, _, body = msgpack.unpackb(heard)
        assert answer == 2, "with an error"
        assert "message" in body
    process.stdin(b"undisturbed\n")
    process.close_stdin()
    assert process.wait_until_complete(timeout=10) == b"undisturbed\n"
    assert world.agents()[where] == pid


def test_a_kernel_that_turns_bad_later(world: World, where: str, box: Container) -> None:
    with Words(world.socket(where)) as kernel:
        kernel.say(hello())
        for kind in (1, 3):  # welcome, and what the session holds
            (heard,) = kernel.hear() or ()
            assert msgpack.unpackb(heard)[0] == kind
        for number, (name, body) in enumerate(
            [
                ("container.spawn", {"container": "x" * 32, "spec": {"image": 7, "volumes": [1]}}),
                ("container.spawn", {"container": "y" * 32, "spec": {"no": "such"}}),
                ("container.spawn", {"container": "../../../etc/x", "spec": {}}),
                ("process.signal", {"process": box.id, "signal": 9, "target": 77}),
                ("log.read", {"process": box.id, "stream": 9, "offset": 0, "limit": 1}),
                ("container.info", {"container": box.id}),
                (
                    "process.spawn",
                    {"container": box.id, "process": "p", "command": [], "text": "", "env": []},
                ),
            ],
            start=2,
        ):
            kernel.say(bytes(msgpack.packb([0, number, name, body])))
            (heard,) = kernel.hear() or ()
            assert msgpack.unpackb(heard)[0] == 2, f"{name} of another session is refused"
    assert box.run_process("echo fine").stdout == b"fine\n"


#: A guest that says whatever it is told to whoever connects. The shebang makes it PID 1.
LIAR = """#!/usr/bin/python3
import os, socket, sys
if sys.argv[1:] == ["version"]:
    print("tfnz-guest 1"); raise SystemExit
path = sys.argv[sys.argv.index("--socket") + 1]
server = socket.socket(socket.AF_UNIX)
server.bind(path)
server.listen()
while True:
    client, _ = server.accept()
    try:
        client.sendall({said!r})
        while client.recv(65536): pass
    except OSError: pass
    client.close()
"""
LIES = {
    "noise": random.Random(21).randbytes(50_000),
    "a frame of 4 GiB": b"\xff\xff\xff\xff\x01\x00\x00\x00\x00\x00\x00\x00",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_guest_that_speaks_garbage(
    own_world: Callable[..., World], where: str, lie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = own_world()
    guest = world.home / "guest"
    guest.write_text(LIAR.replace("{said!r}", repr(LIES[lie])))
    guest.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("TFNZ_GUEST_BINARY", str(guest))
        location = Location(where)
    with location:
        node = location.best_node()
        container = node.spawn_container("debian", sleep=True)
        with Clock() as clock, pytest.raises(TfnzError, match=r"^Cannot .*guest"):
            container.wait_until_ready(timeout=40)
        assert clock.seconds < 8
        pid = world.agents()[where]
        assert node.stats()["cpus"] >= 1, "the agent lives"
        container.destroy()
        assert world.agents()[where] == pid
    log = next(world.runtime.glob("*.log")).read_text()
    assert "Traceback" not in log, log[-2000:]


@pytest.mark.engines("podman", "docker")
def test_root_in_a_container_may_not_pose_as_the_guest_of_another(
    own_world: Callable[..., World], where: str
) -> None:
    """What a container can write is its own socket's directory: an impostor hurts itself alone."""
    world = own_world()
    with Location(where, session="impostor") as location:
        node = location.best_node()
        bad = node.spawn_container("debian", sleep=True, tag="bad").wait_until_ready()
        good = node.spawn_container("debian", sleep=True, tag="good").wait_until_ready()
        liar = LIAR.replace("{said!r}", repr(LIES["noise"])).replace(
            "server.bind(path)", "os.unlink(path); server.bind(path); print('bound', flush=True)"
        )
        bad.put("/liar", liar, mode=0o755)
        process = bad.spawn_process(["/liar", "--socket", "/.tfnz/run/guest.sock"])
        until(lambda: process.stdout == b"bound\n", 10, "it has taken the socket")
        bad.spawn_process("ln -sfn /etc/shadow /.tfnz/run/link").wait()
        world.kill_agent(where)
        assert good.run_process("echo good").stdout == b"good\n"
        assert Path(world.runtime).stat().st_mode & stat.S_IRWXO == 0
        for container in location.containers():
            container.destroy()
    assert Path("/etc/shadow").exists()
