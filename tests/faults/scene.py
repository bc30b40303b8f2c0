"""One engine in a world of a test's own: locations, containers with the writer, leftovers."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from faults.check import Stream
from faults.leftovers import Watch
from integration.polling import until
from integration.world import World

from tfnz_notebook.container import Container
from tfnz_notebook.errors import ContainerGone, FileError, LinkClosed
from tfnz_notebook.location import Location
from tfnz_notebook.node import Node
from tfnz_notebook.process import Process

T = TypeVar("T")
#: Where the writer is in every container of these tests.
WRITER = "/writer"


@dataclass
class Scene:
    """What a test does on one engine."""

    world: World
    where: str
    writer: Path
    locations: list[Location] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.watch = Watch(self.world, self.where)

    def location(self, **options: Any) -> Location:
        """A location of this process; disconnected when the test ends."""
        self.locations.append(Location(self.where, **options))
        return self.locations[-1]

    def box(
        self, location: Location | None = None, node: Node | None = None, **options: Any
    ) -> Container:
        """A sleeping busybox with the writer in it."""
        location = location or self.location()
        options = {"image": "busybox", "sleep": True, **options}
        container = (node or location.best_node()).spawn_container(**options).wait_until_ready()
        binary = self.writer.read_bytes()
        until(lambda: self._installed(container, binary), 60, "the writer is in the container")
        self.watch.look()
        return container

    @staticmethod
    def _installed(container: Container, binary: bytes) -> bool:
        """Whether it arrived: a transfer is not repeated when the agent is killed meanwhile."""
        try:
            container.put(WRITER, binary, mode=0o755)
        except (LinkClosed, ContainerGone, FileError):
            return False
        return True

    @property
    def agent(self) -> int:
        """The agent's process id; 0 while there is none."""
        return self.world.agents().get(self.where, 0)


def close(scenes: list[Scene]) -> None:
    """Disconnect, stop the agents, look for leftovers; remove them, and fail if there were."""
    world = scenes[0].world
    try:
        for scene in scenes:
            scene.watch.look()
            for location in scene.locations:
                location.disconnect()
        stopped = world.tfnz_agent("stop")
        assert stopped.returncode == 0, stopped.stderr
        for scene in scenes:
            scene.watch.settle()
    finally:
        left = world.close()
    assert not left, "left behind:\n" + "\n".join(left)


def command(seed: int, **options: float) -> list[str]:
    """The argv of a writer."""
    return [WRITER, f"seed={seed}", *(f"{name}={value:.0f}" for name, value in options.items())]


def read(process: Process, stream: Stream) -> None:
    """Read a process's stdout to its end, checking it."""
    for chunk in process.chunks():
        stream.feed(chunk)


def at_once(function: Callable[[Any], T], of: Iterable[Any]) -> list[T]:
    """Call it for each, in a thread each; the results, or the first exception."""
    with ThreadPoolExecutor(64) as pool:
        return list(pool.map(function, of))


def environment() -> dict[str, str]:
    """For scripts that import what these tests share."""
    home = str(Path(__file__).parents[1])
    return {"PYTHONPATH": os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])}
