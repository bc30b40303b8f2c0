"""Agent and link in a world of the test's own: no socket, no file, no clock but the test's."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from simulation.nodes import Clock, Node

from tfnz_notebook._link.ends import Address, Place
from tfnz_notebook._link.link import Link
from tfnz_notebook.agent.disk import File
from tfnz_notebook.agent.door.tickets import Tickets
from tfnz_notebook.agent.operations import ANSWERS
from tfnz_notebook.agent.process.records import TOGETHER
from tfnz_notebook.agent.server import Server
from tfnz_notebook.agent.sessions import Sessions
from tfnz_notebook.agent.world import World
from tfnz_notebook.testing import FakeEngine

#: No folder of this machine.
SPOOL = Path("/nowhere/spool")


class MemoryFile:
    def __init__(self, files: dict[Path, bytes], path: Path) -> None:
        self.files, self.path = files, path

    def append(self, data: bytes | memoryview) -> int:
        self.files[self.path] += bytes(data)
        return len(data)

    def size(self) -> int:
        return len(self.files[self.path])

    def cut(self, size: int) -> None:
        self.files[self.path] = self.files[self.path][:size]

    def reserve(self, offset: int, size: int) -> None:
        pass

    def close(self) -> None:
        pass


class MemoryDisk:
    def __init__(self) -> None:
        self.files: dict[Path, bytes] = {}

    def create(self, path: Path) -> File:
        self.files[path] = b""
        return MemoryFile(self.files, path)

    def extend(self, path: Path) -> File:
        self.files.setdefault(path, b"")
        return MemoryFile(self.files, path)

    def read(self, path: Path, offset: int = 0, limit: int = -1) -> bytes:
        if path not in self.files:
            raise FileNotFoundError(path)
        return self.files[path][offset:][: None if limit < 0 else limit]

    def replace(self, path: Path, data: bytes) -> None:
        self.files[path] = data

    def rename(self, path: Path, to: Path) -> None:
        self.files[to] = self.files.pop(path)

    def cut(self, path: Path, size: int) -> None:
        self.files[path] = self.files[path][:size]

    def list(self, folder: Path) -> list[tuple[str, int]]:
        inside = {path: path.relative_to(folder) for path in self.files if folder in path.parents}
        return [(name.parts[0], len(self.files[path])) for path, name in inside.items()]

    def remove(self, path: Path) -> None:
        self.files.pop(path, None)

    def remove_all(self, folder: Path) -> None:
        for path in [path for path in self.files if folder in path.parents]:
            del self.files[path]


class Nowhere:
    where = "here"

    def find(self) -> Address:
        raise AssertionError("no address is needed")


class Line:
    """A message that is sent is received in the loop's next turn."""

    def __init__(
        self, server: Server, received: Callable[[list[bytes]], None], identity: bytes
    ) -> None:
        self.server, self.received, self.identity, self.open = server, received, identity, True

    def send(self, parts: list[bytes]) -> None:
        asyncio.get_running_loop().call_soon(self.server.incoming, self.identity, parts)

    def look(self) -> None:
        pass

    def close(self, linger: float = 0.0) -> None:
        self.open = False


class Router:
    """The agent's end of the lines that are open."""

    def __init__(self) -> None:
        self.lines: dict[bytes, Line] = {}

    def send(self, identity: bytes, parts: list[bytes]) -> bool:
        line = self.lines.get(identity)
        if line is None or not line.open:
            return False
        asyncio.get_running_loop().call_soon(line.received, parts)
        return True

    def close(self) -> None:
        self.lines.clear()


class Agent:
    """A server with its sessions, over engine and disk that outlive it."""

    def __init__(self, engine: FakeEngine, disk: MemoryDisk) -> None:
        world = World(disk=disk, wall=lambda: 5.0, alive=lambda pid, started: True)
        self.sessions = Sessions(engine, "me", SPOOL, world=world)
        tickets = Tickets(b"k" * 32)
        self.server = Server(self.sessions, ANSWERS, name="here", tickets=tickets, about=dict)
        self.router = Router()
        self.server.router = self.router  # type: ignore[assignment]  # it is all it needs

    async def connect(
        self, place: Place, received: Callable[[list[bytes]], None], ended: Callable[[str], None]
    ) -> Line:
        line = Line(self.server, received, b"%d" % len(self.router.lines))
        self.router.lines[line.identity] = line
        return line


def simulated(test: Callable[[], Awaitable[None]]) -> None:
    """Run it: nobody waits, for when nothing is left to do now, it is later."""
    clock = Clock(0)
    task = Node(clock, "all").create_task(test())
    assert clock.run(task.done, clock.now + 1_000_000), "all wait for ever"
    task.result()


async def ran(link: Link, where: str, *command: str, **more: Any) -> dict[str, Any]:
    """A process to its end; what was told of it."""
    ident, over = uuid.uuid4().hex, asyncio.Event()
    told: dict[str, Any] = {}

    def heard(info: dict[str, Any] | None) -> None:
        told.update(info or {"gone": True})
        if told.get("ended") or info is None:
            over.set()

    link.listen("process", ident, heard)
    body = {"container": where, "process": ident, "command": list(command), "text": "x", "env": []}
    await link.request("process.spawn", {**body, "said": 1000, **more})
    await over.wait()
    return told


def test_hours_pass_in_no_time_and_nothing_is_left_on_the_disk() -> None:
    async def hours() -> None:
        disk, engine = MemoryDisk(), FakeEngine()
        await engine.open()
        agent = Agent(engine, disk)
        link = Link(Nowhere(), connect=agent.connect, client="c" * 32)
        await link.open()
        assert link.session == "s-" + "c" * 16
        where = uuid.uuid4().hex
        spec = {"image": "debian", "sleep": True}
        await link.request("container.spawn", {"container": where, "spec": spec})
        began = asyncio.get_running_loop().time()
        told = await ran(link, where, "sleep", "7200", last=True)
        assert asyncio.get_running_loop().time() - began >= 7200
        assert (told["returncode"], told["started"]) == (0, 5.0)
        assert told["ran"] >= 7200
        assert (await ran(link, where, "echo", "hello"))["said"] == [b"hello\n", b""]
        await asyncio.sleep(2 * TOGETHER)
        assert [path.name for path in disk.files if path.parent == SPOOL / where]
        await link.close()
        assert not disk.files
        await engine.close()

    simulated(hours)


def test_another_agent_takes_over_from_the_disk_that_it_is_handed() -> None:
    async def over() -> None:
        disk, engine = MemoryDisk(), FakeEngine()
        await engine.open()
        first = Agent(engine, disk)
        link = Link(Nowhere(), session="kept", connect=first.connect)
        await link.open()
        where = uuid.uuid4().hex
        await link.request(
            "container.spawn", {"container": where, "spec": {"image": "debian", "sleep": True}}
        )
        ended = await ran(link, where, "echo", "before")
        first.router.close()
        await first.server.close()
        first.sessions.close()
        second = Agent(engine, disk)
        await second.sessions.adopt(second.server.container_changed, second.server.process_changed)
        other = Link(Nowhere(), session="kept", connect=second.connect)
        await other.open()
        await other.caught_up()
        assert list(other.known.containers) == [where]
        body = {"process": ended["process"], "stream": 1, "offset": 0, "limit": 100}
        assert (await other.request("log.read", body)).payload == b"before\n"
        await other.request("container.destroy", {"container": where})
        await other.close()
        assert not disk.files
        await engine.close()

    simulated(over)
