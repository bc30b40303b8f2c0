"""Every operation ends, whatever happens while it is under way: with an answer or a typed error.

The rows are those of the protocol's table, the columns what may happen. Time is the world's, so a
minute costs nothing. What is known to hang stands in ``HANGS``, and has to: a mend deletes it.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from simulation.acts import ended
from simulation.engine import ECHO, FIFO, QUIET, Guest
from simulation.nodes import Node
from simulation.scene import Scene
from tfnz_notebook import errors
from tfnz_notebook._link.files.download import Download
from tfnz_notebook._link.link import Link
from tfnz_notebook._link.ports import dial
from tfnz_notebook._link.reader import Chunks
from tfnz_notebook._wire.operations import OPERATIONS
from tfnz_notebook.errors import EngineGone

#: All that an error may be: of the tree, and not its mere root.
_NAMED = [each for each in vars(errors).values() if isinstance(each, type)]
TYPES = {each for each in _NAMED if issubclass(each, errors.TfnzError)} - {errors.TfnzError}
#: What is made of more than one message.
COMPOUND = ("fetch", "iterate", "wait_for_the_end", "talk")


class Case:
    """A session with two kernels, two containers, a volume, a process that reads and answers."""

    def __init__(self, *, main: bool = False) -> None:
        self.spec = {"image": "debian", "sleep": not main, "command": ["sleep", "1e9"]}
        self.scene = scene = Scene(1)
        self.clock = scene.clock
        self.nodes = [Node(self.clock, f"kernel{number}") for number in (0, 1)]
        self.box, self.other, self.process = "b" * 32, "c" * 32, "d" * 32
        self.links: list[Link] = []
        for node in self.nodes:
            with node.within():
                self.links.append(scene.link(scene.ident(), "session"))
        self.link, self.beside = self.links
        self.done(self.nodes[0], self._set_up(), 60)
        self.done(self.nodes[1], self.beside.open(), 60)
        self.guest.files.put(FIFO, b"", 0o644, 0)

    async def _set_up(self) -> None:
        link = self.link
        await link.open()
        for ident in (self.box, self.other):
            await link.request("container.spawn", {"container": ident, "spec": self.spec})
            await ended(link, "container", ident, lambda told: told["state"] == "running")
        await self.spawn(self.process)
        await link.request("volume.create", {"name": "volume"})
        body = {"container": self.box, "transfer": "1", "path": "/file", "last": True}
        await link.request("file.put", body, b"content")

    async def spawn(self, ident: str) -> None:
        words = ["script", "1", *["i", "o5"] * 50]
        body = {"container": self.box, "process": ident, "command": words, "text": "p", "env": []}
        await self.link.request("process.spawn", body)

    def begin(self, work: Any, node: int = 0) -> asyncio.Task[Any]:
        return self.nodes[node].create_task(work)

    def wait(self, seconds: float, met: Callable[[], object] = lambda: False) -> bool:
        return self.clock.run(met, self.clock.now + seconds)

    def done(self, node: Node, work: Any, seconds: float) -> Any:
        task = node.create_task(work)
        assert self.wait(seconds, task.done), "the world could not be set up"
        return task.result()

    @property
    def guest(self) -> Guest:
        guest = self.scene.guest(self.box)
        assert guest is not None
        return guest

    # -- what is asked

    def ask(self, name: str) -> Any:
        """The operation, as a kernel would ask for it."""
        if name == "hello":
            with self.nodes[0].within():
                return self.scene.link(self.scene.ident(), "session").open()
        if name in COMPOUND:
            return getattr(self, name)()
        body, payload = self._body(name)
        return self.link.request(name, body, payload)

    def _body(self, name: str) -> tuple[dict[str, Any], bytes | None]:
        container, process = {"container": self.box}, {"process": self.process}
        fresh = self.scene.ident()
        words = {"command": ["true"], "text": "true", "env": []}
        allowed = container | {"other": self.other}
        more: dict[str, tuple[dict[str, Any], bytes | None]] = {
            "volume.create": ({"name": "another"}, None),
            "volume.remove": ({"name": "volume"}, None),
            "container.prepare": ({"spec": self.spec | {"sleep": True}, "spares": 1}, None),
            "image.inspect": ({"image": "debian"}, None),
            "image.pull": ({"image": "debian"}, None),
            "image.remove": ({"image": "alpine"}, None),
            "image.save": ({"image": "debian", "reader": 6, "credit": 100}, None),
            "image.load": ({"transfer": fresh, "last": True}, b"no archive"),
            "image.build": ({"transfer": fresh, "last": True, "name": "made"}, b"no context"),
            "container.commit": (container | {"name": "made"}, None),
            "container.spawn": ({"container": fresh, "spec": self.spec}, None),
            "container.allow": (allowed, None),
            "container.disallow": (allowed, None),
            "process.spawn": (container | {"process": fresh} | words, None),
            "process.info": ({"processes": [self.process]}, None),
            "process.signal": (process | {"signal": 0, "target": 2}, None),
            "process.destroy": (process | {"grace": 1.0}, None),
            "process.stdin": (process, b"x"),
            "process.resize": (process | {"rows": 30, "columns": 90}, None),
            "process.ask": (process, b"x"),
            "log.read": (process | {"stream": 1, "offset": 0, "limit": 100}, None),
            "reader.open": (process | {"reader": 9, "stream": 1, "offset": 0, "credit": 100}, None),
            "reader.close": ({"reader": 9}, None),
            "file.put": (
                container | {"transfer": fresh, "path": "/put", "last": True},
                b"x" * 9999,
            ),
            "file.get": (container | {"path": "/file", "reader": 8, "credit": 100}, None),
            "file.list": (container | {"path": "/"}, None),
            "file.mkdir": (container | {"path": "/made"}, None),
            "dial.open": (
                container | {"reader": 7, "host": "127.0.0.1", "port": ECHO, "credit": 100},
                None,
            ),
        }
        if name in more:
            return more[name]
        about = container | process
        return {key: about[key] for key in OPERATIONS[name].fields if key in about}, None

    async def fetch(self) -> None:
        """Of what never comes."""
        await Download(self.link).fetch(self.box, FIFO)

    async def iterate(self) -> None:
        """All that the process writes, to its end."""
        chunks = Chunks(self.link, self.process, 1, 0)
        await chunks.reader.open()
        while await chunks.next():
            pass

    async def wait_for_the_end(self) -> None:
        """Of the process."""
        await ended(self.link, "process", self.process, lambda told: told["ended"])

    async def talk(self) -> None:
        """Through a connection, whose other end is silent."""
        await dial.http_status(self.link, self.box, QUIET, "localhost", "/")


# -- what may happen, and how long an operation may then take


def container_destroyed(case: Case) -> None:
    case.begin(case.beside.request("container.destroy", {"container": case.box}), 1)


def guest_stopped(case: Case) -> None:
    case.guest.node.stall()


def mute_from_hello_on(case: Case) -> None:
    case.guest.mute = "from HELLO on"
    assert case.scene.agent is not None
    case.scene.agent.kill()
    case.wait(0.1, lambda: case.link.up)


def mute_after_the_request(case: Case) -> None:
    case.guest.mute = "now"


def engine_gone(case: Case) -> None:
    case.scene.machine.gone = math.inf


def agent_killed(case: Case) -> None:
    assert case.scene.agent is not None
    case.scene.agent.kill()


def link_down(case: Case) -> None:
    case.scene.down_until = case.clock.now + 60
    for link in case.links:
        if (line := case.scene.line(link)) is not None:
            line.cut()


def session_ended(case: Case) -> None:
    agent = case.scene.agent
    assert agent is not None
    if (session := agent.sessions.get("session")) is not None:
        agent.node.create_task(agent.sessions.end(session))


def container_killed(case: Case) -> None:
    """Past us, as ``docker kill`` does."""
    for guest in case.scene.machine.guests:
        guest.exit(137)


def main_process_ended(case: Case) -> None:
    for guest in case.scene.machine.guests:
        with guest.node.within():
            guest.terminate()


def while_it_is_destroyed(case: Case) -> None:
    case.scene.machine.slow = case.clock.now + 10
    container_destroyed(case)
    case.wait(0.02)


def while_it_is_rebooted(case: Case) -> None:
    case.scene.machine.slow = case.clock.now + 10
    case.begin(case.beside.request("container.reboot", {"container": case.box}), 1)
    case.wait(0.02)


def after_a_destroy_that_failed(case: Case) -> None:
    case.scene.machine.gone = case.clock.now + 1
    task = case.begin(case.beside.request("container.destroy", {"container": case.box}), 1)
    case.wait(2.0)
    assert isinstance(task.exception(), EngineGone)


@dataclass(frozen=True)
class Fault:
    """``seconds``: after which nothing may be under way any more; ``first``: it comes before it is
    asked for; ``main``: in a container that has a main process.
    """

    befall: Callable[[Case], None]
    seconds: float
    first: bool = False
    main: bool = False

    @property
    def name(self) -> str:
        return self.befall.__name__

    def during(self, case: Case, name: str) -> asyncio.Task[Any]:
        """Ask, and let it happen while the guest has not answered yet."""
        if self.first:
            self.befall(case)
            return case.begin(case.ask(name))
        guest = case.guest
        if name not in COMPOUND:
            guest.node.stall()
        task = case.begin(case.ask(name))
        case.wait(1.0)
        self.befall(case)
        guest.node.resume()
        return task


FAULTS = (
    Fault(container_destroyed, 3.0),
    Fault(guest_stopped, 30.0, first=True),
    Fault(mute_from_hello_on, 60.0, first=True),
    Fault(mute_after_the_request, 30.0, first=True),
    Fault(engine_gone, 30.0, first=True),
    Fault(agent_killed, 60.0),
    Fault(link_down, 120.0),
    Fault(session_ended, 3.0),
    Fault(container_killed, 3.0),
    Fault(main_process_ended, 5.0, main=True),
    Fault(while_it_is_destroyed, 30.0, first=True),
    Fault(while_it_is_rebooted, 60.0, first=True),
    Fault(after_a_destroy_that_failed, 30.0, first=True),
)
#: The container ends by them, and what waits for anything in it.
ENDS = {container_destroyed, session_ended, container_killed, main_process_ended}
#: Of what is made of several messages: what it need not end with, for it goes on afterwards.
GOES_ON = {
    "fetch": {engine_gone, while_it_is_rebooted, after_a_destroy_that_failed},
    "talk": {engine_gone, while_it_is_rebooted, after_a_destroy_that_failed},
    "iterate": {fault.befall for fault in FAULTS} - ENDS,
    "wait_for_the_end": {fault.befall for fault in FAULTS} - ENDS,
}
#: What hangs, by what happens. Each of them is a fault that waits for its mend.
HANGS: dict[str, set[str]] = {}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_operation_ends(fault: Fault) -> None:
    hung, untyped = set[str](), []
    for name in (*OPERATIONS, *COMPOUND):
        if fault.befall in GOES_ON.get(name, ()):
            continue
        case = Case(main=fault.main)
        task = fault.during(case, name)
        if not case.wait(fault.seconds, task.done):
            hung.add(name)
        elif (error := task.exception()) is not None and type(error) not in TYPES:
            untyped.append((name, error))
        case.clock.bury()
    known = HANGS.get(fault.name, set())
    assert not untyped
    assert not hung - known, "these do not end"
    assert not known - hung, "these end now: delete them from HANGS"


#: What has not ended, at a cancel at some await.
LEFT: set[str] = set()


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in ("hello", "bye")])
def test_an_operation_that_is_cancelled_leaves_nothing(name: str) -> None:
    whole, turns, left = False, 0, list[int]()
    while not whole:
        turns += 1
        assert turns < 200, "it takes longer than anybody thought"
        case = Case()
        task = case.begin(case.ask(name))
        case.clock.run(task.done, case.clock.now + 10, case.clock.turns + turns)
        whole = task.done()
        with case.nodes[0].within():
            task.cancel()
        assert case.wait(30.0, task.done)
        case.wait(5.0)
        agent = case.scene.agent
        assert agent is not None
        assert not case.link._pending, "an answer is still waited for"
        if agent.server._tasks:
            left.append(turns)
        again = case.begin(case.link.request("ping", {}))
        assert case.wait(1.0, again.done)
        again.result()
        case.clock.bury()
    assert bool(left) == (name in LEFT), f"cancelled after {left} turns, the agent is busy for ever"
