"""Containers that are paused, or stopped and started past us; guests that are stopped. For real."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from integration import engine_api
from integration.polling import Clock, until
from integration.world import World

from tfnz_notebook.agent.container.states import OVER
from tfnz_notebook.container import Container
from tfnz_notebook.errors import (
    ContainerGone,
    ContainerPaused,
    ContainerUnresponsive,
    EngineError,
    LinkClosed,
    TfnzError,
    WaitTimeout,
)
from tfnz_notebook.location import Location

pytestmark = pytest.mark.engines("podman", "docker")


class Place:
    """A world with a durable session, and the engine's own hand on its containers."""

    def __init__(self, world: World, where: str, location: Location) -> None:
        self.world, self.where, self.location = world, where, location

    def box(self, **options: Any) -> Container:
        node = self.location.best_node()
        return node.spawn_container("busybox", **(options or {"sleep": True})).wait_until_ready()

    def engine(self, container: Container, word: str) -> None:
        """What somebody else does with it."""
        ident = self.world.container(self.where, container.id)["Id"]
        engine_api.ask(self.where, "POST", f"/containers/{ident}/{word}")

    def guest(self, container: Container) -> int:
        """Its process id on this machine."""
        return int(self.world.container(self.where, container.id)["State"]["Pid"])


@pytest.fixture
def place(own_world: Callable[..., World], where: str) -> Iterator[Place]:
    world = own_world()
    with Location(where, session="silence") as location:
        yield Place(world, where, location)
        for container in location.containers():
            container.destroy()


def becomes(container: Container, state: str) -> None:
    until(lambda: container.state == state, 20, f"it is {state}")


def test_paused_by_us_and_by_others(place: Place) -> None:
    box = place.box()
    cat = box.spawn_process("cat")
    assert cat.stdin(b"a\n", return_reply=True) == b"a\n"
    pauses: list[tuple[Callable[[], object], Callable[[], object]]] = [
        (box.pause, box.unpause),
        (lambda: place.engine(box, "pause"), lambda: place.engine(box, "unpause")),
    ]
    for pause, unpause in pauses:
        pause()
        becomes(box, "paused")
        with Clock() as clock, pytest.raises(ContainerPaused, match="unpause"):
            box.run_process("true")
        assert clock.seconds < 2
        unpause()
        becomes(box, "running")
        assert cat.stdin(b"b\n", return_reply=True, timeout=20) == b"b\n"
    box.pause()
    box.destroy()
    with pytest.raises(ContainerGone):
        box.unpause()


@pytest.mark.parametrize("how", ["paused", "stopped"])
def test_a_silent_one_delays_no_fresh_agent(place: Place, how: str) -> None:
    box = place.box()
    cat = box.spawn_process("cat")
    place.world.kill_agent(place.where)
    with Clock() as usual, Location(place.where) as other:
        other.best_node()
    pid = place.guest(box)
    place.engine(box, "pause") if how == "paused" else os.kill(pid, signal.SIGSTOP)
    place.world.kill_agent(place.where)
    with Clock() as clock, Location(place.where) as other:
        other.best_node()
    assert clock.seconds < 3 * max(usual.seconds, 1)
    becomes(box, "paused" if how == "paused" else "unresponsive")
    place.engine(box, "unpause") if how == "paused" else os.kill(pid, signal.SIGCONT)
    becomes(box, "running")
    assert cat.stdin(b"b\n", return_reply=True, timeout=20) == b"b\n"


@pytest.mark.parametrize("options", [{"sleep": True}, {"command": ["sleep", "1000"]}])
def test_stopped_and_started_past_us(place: Place, options: dict[str, Any]) -> None:
    box = place.box(**options)
    old = box.spawn_process("sleep 1000")
    place.engine(box, "stop?t=1")
    becomes(box, "exited")
    assert old.wait(10) is not None
    place.engine(box, "start")
    becomes(box, "running")
    assert box.run_process("echo a").stdout == b"a\n"


def test_a_reboot_that_fails_deletes_nothing(place: Place) -> None:
    source = place.world.home / "mounted"
    source.mkdir()
    box = place.box(sleep=True, volumes=[(source, "/data")])
    box.put("/kept", "kept")
    source.rmdir()  # now the engine refuses to start it
    try:
        box.reboot()
    except TfnzError:
        assert box.state == "exited"
        source.mkdir()
        box.reboot()
    assert box.fetch("/kept") == b"kept"


def test_its_last_words_are_heard(place: Place) -> None:
    heard: list[bytes] = []
    codes: list[int | None] = []
    box = place.location.best_node().spawn_container(
        "busybox",
        command="trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.05; done",
        stdout_callback=lambda container, data: heard.append(data),
        termination_callback=lambda container, code: codes.append(code),
    )
    until(lambda: b"".join(heard) == b"up\n", 20, "it is up")
    box.destroy(grace=8)
    until(lambda: codes, 10, "its end is told")
    assert (b"".join(heard), codes, box.returncode) == (b"up\nbye\n", [7], 7)


def test_many_that_end_at_once_are_all_told(place: Place) -> None:
    node = place.location.best_node()
    made = [node.spawn_container("busybox", command=["echo", str(n)]) for n in range(25)]
    until(lambda: all(each.state in OVER for each in made), 60, "all are over")
    assert [each._info for each in made if each.state != "exited"] == []
    assert [each.returncode for each in made] == [0] * 25
    assert [each.logs() for each in made] == [b"%d\n" % n for n in range(25)]


@pytest.mark.engines("host")
def test_where_nothing_can_be_paused_that_is_told(where: str) -> None:
    with Location(where) as location:
        box = location.best_node().spawn_container("host", sleep=True).wait_until_ready()
        with pytest.raises(EngineError, match=r"^Cannot pause the container: host cannot"):
            box.pause()
        assert box.run_process("echo a").stdout == b"a\n"


@pytest.mark.parametrize("how", ["paused", "stopped", "agent"])
def test_a_file_on_its_way_ends_with_who_carries_it(place: Place, tmp_path: Path, how: str) -> None:
    """Or with the time that it is given, for one that is paused may go on; the old one stays."""
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(64 << 30)
    box = place.box()
    box.put("/srv/way/file", "old")
    pid = place.guest(box)
    with ThreadPoolExecutor() as beside:
        given = 4 if how == "paused" else None
        putting = beside.submit(box.put, "/srv/way/file", large, timeout=given)
        until(lambda: len(box.listdir("/srv/way")) == 2, 20, "it is on its way")
        if how == "agent":
            place.world.kill_agent(place.where)
        else:
            place.engine(box, "pause") if how == "paused" else os.kill(pid, signal.SIGSTOP)
        with pytest.raises((WaitTimeout, ContainerUnresponsive, LinkClosed)):
            putting.result(60)
    if how != "agent":
        place.engine(box, "unpause") if how == "paused" else os.kill(pid, signal.SIGCONT)
        becomes(box, "running")
    until(lambda: [e.name for e in box.listdir("/srv/way")] == ["file"], 20, "nothing is left")
    assert box.fetch("/srv/way/file") == b"old"
