"""``timeout=`` of every public call: all of it ends by then, whatever the agent does not answer."""

import inspect
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from unit.link.scripted_agent import ScriptedAgent

from tfnz_notebook._calls import deadline
from tfnz_notebook._calls.faces import face
from tfnz_notebook._container import ports
from tfnz_notebook._wire.operations import OPERATIONS
from tfnz_notebook.container import Container
from tfnz_notebook.errors import Misuse, WaitTimeout
from tfnz_notebook.image import Image
from tfnz_notebook.location import Location
from tfnz_notebook.node import Node
from tfnz_notebook.plots.model import Plot
from tfnz_notebook.process import Process
from tfnz_notebook.tunnel import Tunnel
from tfnz_notebook.volume import Volume
from tfnz_notebook.waits import tcp

#: They wait for nobody: all that they do is done here.
HERE = {"Container.attach_tunnel", "Container.destroy_tunnel", "Tunnel.destroy", "Plot.stop"}


def faces() -> Iterator[tuple[str, Callable[..., object]]]:
    for kind in (Location, Node, Container, Process, Tunnel, Volume, Image, Plot):
        for name in dir(kind):
            if isinstance(inspect.getattr_static(kind, name), face):
                yield f"{kind.__name__}.{name}", getattr(kind, name)


def test_every_call_that_waits_can_be_bounded() -> None:
    for name, method in faces():
        assert ("timeout" in inspect.signature(method).parameters) is (name not in HERE), name


@pytest.fixture
def mute(agent: ScriptedAgent, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on the agent answers nothing but pings."""
    for module in (deadline, ports):
        monkeypatch.setattr(module, "WORD", 0.05)

    def begin() -> None:
        for name in OPERATIONS.keys() - {"hello", "ping", "bye"}:
            agent.answers[name] = lambda *_: NotImplemented

    return begin


def test_whatever_is_not_answered_ends_by_its_deadline(
    agent: ScriptedAgent,
    location: Location,
    container: Container,
    mute: Callable[[], None],
    tmp_path: Path,
) -> None:
    node, process = location.node("first"), container.spawn_process("sleep 1000")
    terminal = container.spawn_process("sh", tty=True)
    volume = location.create_volume("notes")
    other = node.spawn_container("nginx").wait_until_ready(10)
    image = location._image({"id": "sha256:1", "tags": ["nginx:latest"]})
    archive = tmp_path / "image.tar"
    archive.write_bytes(b"x")
    mute()
    calls: dict[str, Callable[[float], Any]] = {
        "Location.nodes": lambda t: location.nodes(timeout=t),
        "Location.node": lambda t: location.node(timeout=t),
        "Location.ranked_nodes": lambda t: location.ranked_nodes(timeout=t),
        "Location.best_node": lambda t: location.best_node(timeout=t),
        "Location.run": lambda t: location.run("nginx", "true", timeout=t),
        "Location.create_volume": lambda t: location.create_volume("more", timeout=t),
        "Location.volume": lambda t: location.volume("notes", timeout=t),
        "Location.all_volumes": lambda t: location.all_volumes(timeout=t),
        "Location.destroy_volume": lambda t: location.destroy_volume(volume, timeout=t),
        "Location.prepare": lambda t: location.prepare("nginx", timeout=t),
        "Location.volume_sizes": lambda t: location.volume_sizes(timeout=t),
        "Location.images": lambda t: location.images(timeout=t),
        "Location.image": lambda t: location.image("nginx", timeout=t),
        "Location.pull": lambda t: location.pull("nginx", timeout=t),
        "Location.pull_all": lambda t: location.pull_all(["nginx"], timeout=t),
        "Location.build": lambda t: location.build("mine", "FROM nginx", timeout=t),
        "Location.load": lambda t: location.load(archive, timeout=t),
        "Image.inspect": lambda t: image.inspect(timeout=t),
        "Image.remove": lambda t: image.remove(timeout=t),
        "Image.save": lambda t: image.save(tmp_path / "saved.tar", timeout=t),
        "Node.stats": lambda t: node.stats(timeout=t),
        "Node.spawn_container": lambda t: node.spawn_container("nginx", timeout=t),
        "Container.start": lambda t: container.start(timeout=t),
        "Container.stdin": lambda t: container.stdin(b"x", timeout=t),
        "Container.logs": lambda t: container.logs(timeout=t),
        "Container.stats": lambda t: container.stats(timeout=t),
        "Container.ip": lambda t: container.ip(timeout=t),
        "Container.allow_connection_from": lambda t: container.allow_connection_from(
            other, timeout=t
        ),
        "Container.disallow_connection_from": lambda t: container.disallow_connection_from(
            other, timeout=t
        ),
        "Container.pause": lambda t: container.pause(timeout=t),
        "Container.unpause": lambda t: container.unpause(timeout=t),
        "Container.commit": lambda t: container.commit("mine", timeout=t),
        "Container.fork": lambda t: container.fork(timeout=t),
        "Container.reboot": lambda t: container.reboot(timeout=t),
        "Container.put": lambda t: container.put("/a", b"x", timeout=t),
        "Container.fetch": lambda t: container.fetch("/a", timeout=t),
        "Container.listdir": lambda t: container.listdir(timeout=t),
        "Container.mkdir": lambda t: container.mkdir("/a", timeout=t),
        "Container.spawn_process": lambda t: container.spawn_process("x", timeout=t),
        "Container.plot": lambda t: container.plot("x", timeout=t),
        "Container.run_process": lambda t: container.run_process("x", timeout=t),
        "Container.spawn_shell": lambda t: container.spawn_shell(timeout=t),
        "Container.destroy_process": lambda t: container.destroy_process(process, timeout=t),
        "Container.all_processes": lambda t: container.all_processes(ended=True, timeout=t),
        "Container.wait_until": lambda t: container.wait_until(tcp(80), timeout=t),
        "Process.log": lambda t: process.log(timeout=t),
        "Process.recording": lambda t: process.recording(timeout=t),
        "Process.elided": lambda t: process.elided(timeout=t),
        "Process.attach": lambda t: process.attach(lambda p, d: None, timeout=t),
        "Process.wait": lambda t: process.wait(timeout=t),
        "Process.wait_until_complete": lambda t: process.wait_until_complete(timeout=t),
        "Process.stdin": lambda t: process.stdin(b"x", return_reply=True, timeout=t),
        "Process.close_stdin": lambda t: process.close_stdin(timeout=t),
        "Process.signal": lambda t: process.signal("INT", timeout=t),
        "Process.resize": lambda t: terminal.resize(24, 80, timeout=t),
        "Process.destroy": lambda t: process.destroy(timeout=t),
        "Volume.size": lambda t: volume.size(timeout=t),
        "Volume.destroy": lambda t: volume.destroy(timeout=t),
        "Node.destroy_container": lambda t: node.destroy_container(other, timeout=t),
        "Container.destroy": lambda t: container.destroy(timeout=t),
    }
    asks_nobody = {  # they look at what was told, and the waits for a port have tests of their own
        *("Location.containers", "Location.container", "Node.all_containers"),
        *("Container.wait_until_ready", "Container.wait_tcp", "Container.wait_http_200"),
        *("Location.disconnect", "Plot.wait"),
    }
    assert calls.keys() == {name for name, _ in faces()} - HERE - asks_nobody
    for name, call in calls.items():
        began = time.monotonic()
        with pytest.raises(WaitTimeout, match="^Cannot "):
            call(0.02)
        assert time.monotonic() - began < 5, name
        with pytest.raises(Misuse, match="timeout is a str"):
            call("soon")  # type: ignore[arg-type]  # which is what it is about
    began = time.monotonic()
    location.disconnect(timeout=0.02)
    assert time.monotonic() - began < 5


def test_a_command_that_is_late_to_start_is_undone(
    agent: ScriptedAgent, container: Container, mute: Callable[[], None]
) -> None:
    mute()
    with pytest.raises(WaitTimeout) as raised:
        container.run_process("x", timeout=0.02)
    assert raised.value.details == {"stdout": b"", "stderr": b"", "returncode": -9}
    (spawn,) = agent.named("process.spawn")
    agent.answer(spawn, {"info": {"process": spawn.body["process"], "container": container.id}})
    agent.until(lambda: agent.named("process.destroy"))


def test_callbacks_that_could_not_be_attached_are_waited_for_by_nobody(
    agent: ScriptedAgent, container: Container
) -> None:
    process = container.spawn_process("x")
    agent.answers["reader.open"] = lambda *_: NotImplemented
    with pytest.raises(WaitTimeout):
        process.attach(lambda p, d: None, timeout=0.02)
    agent.end(process.id, 3)
    assert process.wait(10) == 3


def test_opening_a_location_is_bounded(agent: ScriptedAgent) -> None:
    agent.answers["hello"] = lambda *_: NotImplemented
    with pytest.raises(WaitTimeout, match="Cannot open a location"):
        Location("podman", timeout=0.05)
