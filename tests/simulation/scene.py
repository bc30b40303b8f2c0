"""The world put together: an agent at a time, links that find or start it, what outlives both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tfnz_notebook._link.ends import Address, Place
from tfnz_notebook._link.link import Link
from tfnz_notebook.agent.container.labels import is_spare
from tfnz_notebook.agent.door.tickets import Tickets
from tfnz_notebook.agent.operations import ANSWERS
from tfnz_notebook.agent.server import Server
from tfnz_notebook.agent.sessions import Sessions
from tfnz_notebook.agent.world import World
from tfnz_notebook.engines.base import LABEL_CONTAINER
from tfnz_notebook.errors import LinkClosed, TfnzError

from .disk import Disk, Platter
from .engine import Client, Guest, Machine
from .network import Line, Router
from .nodes import Clock, Node

#: No folder of this machine.
SPOOL = Path("/nowhere/spool")
OWNER = "somebody"
#: Seconds between two collections, and that a link waits for an agent to listen.
PERIOD, STARTING = 7.0, 60.0
#: Seconds within which an agent listens, whatever its containers do.
SOON = 3.0


class Agent:
    """One agent's life, as ``agent.service`` has it, without sockets."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.node = Node(scene.clock, "agent")
        self.disk = Disk(scene.platter)
        self.engine = Client(scene.machine, self.node)
        self.listens = False
        self.watching: asyncio.Future[None] | None = None
        world = World(
            disk=self.disk, wall=scene.wall, alive=lambda pid, started: False, ident=scene.ident
        )
        with self.node.within():
            self.sessions = Sessions(self.engine, OWNER, SPOOL, grace=scene.grace, world=world)
            self._note, self.sessions.taken.note = self.sessions.taken.note, self._taken  # type: ignore[method-assign]
            self.server = Server(
                self.sessions, ANSWERS, name="here", tickets=Tickets(b"k" * 32), about=dict
            )
            lost = self.server.lost if scene.local else None
            self.router = Router(self.node, self.server.incoming, lost)
            self.life = self.node.create_task(self._live())

    def _taken(self, spare: str, labels: Mapping[str, str]) -> None:
        self._note(spare, labels)
        self.scene.became[spare] = labels[LABEL_CONTAINER]

    async def _live(self) -> None:
        began, machine = self.node.time(), self.scene.machine
        try:
            await self.engine.open()
            await self.sessions.adopt(self.server.container_changed, self.server.process_changed)
        except TfnzError as error:
            self.scene.refused(self, error)
            return
        except OSError:  # it says what it died of, and the next may have more luck
            self.kill()
            return
        self.server.router = self.router  # type: ignore[assignment]  # it is all it needs
        self.listens = True
        # The engine answers within a second; nobody else may be waited for, but a disk that failed
        # for what became of spares.
        late = self.node.time() > began + SOON and not self.node.was_stalled
        late = late and not self.scene.platter.failed
        if late and machine.troubled < began:
            told = {"message": f"it listened after {self.node.time() - began:.1f} s only"}
            self.scene.clock.complaints.append(("agent", told))
        self.scene.listening()
        self.watching = asyncio.ensure_future(self.sessions.watch())
        while True:
            await asyncio.sleep(PERIOD)
            await self.sessions.collect()
            self.server.collect()

    async def stop(self) -> None:
        """End, and leave what runs to the next."""
        self.listens = False
        self.life.cancel()
        if self.watching is not None:
            self.watching.cancel()
        await self.server.close()
        self.sessions.close()
        await self.engine.close()
        await asyncio.sleep(0.05)
        self.kill()

    def kill(self) -> None:
        """As SIGKILL does."""
        if self.node.alive:
            self.listens = False
            self.disk.revoke()
            self.engine.revoke()
            self.node.kill()
            self.router.close()
            if self.scene.agent is self:
                self.scene.ended(LinkClosed("Cannot reach the agent: it has ended. Try again."))


class Watched(Link):
    """A link that notes why it broke."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.broke: list[str] = []

    def _broke(self, reason: str, undone: int = 0) -> None:
        self.broke.append(reason)
        super()._broke(reason, undone)


class Here:
    """The place of all links."""

    where = "here"

    def find(self) -> Address:
        raise AssertionError("no address is needed")


class Scene:
    """Everything."""

    def __init__(self, seed: object, *, grace: float = 120.0) -> None:
        self.clock = Clock(seed)
        self.grace = grace
        #: Whether the agent is this machine's; else it is reached over a network.
        self.local = self.clock.random() < 0.7
        self.platter = Platter(self.clock)
        self.machine = Machine(self.clock, OWNER)
        self.director = Node(self.clock, "director")
        self.agent: Agent | None = None
        self.agents = 0
        #: Which containers were made of spares, by the ids of those.
        self.became: dict[str, str] = {}
        #: How far the wall clock is off.
        self.jumped = 0.0
        #: Every line there ever was.
        self.lines: list[Line] = []
        self.links: list[Watched] = []
        #: Until when no agent can be reached.
        self.down_until = 0.0
        self._waiting: list[asyncio.Future[None]] = []

    def wall(self) -> float:
        """What people's clocks show."""
        return 1_000_000.0 + self.clock.now + self.jumped

    def guest(self, container: str) -> Guest | None:
        """The guest of a container."""
        held = next((e for e in self.held() if self.ours(e) == container), None)
        return held.guest if held is not None else None

    def held(self) -> list[Any]:
        """What the engine holds."""
        return list(self.machine.core.world.containers.values())

    def ours(self, held: Any) -> str:
        """Our id of what the engine holds; of a spare, that which it was made under."""
        return self.became.get(held.spec.id, held.spec.id)

    def spares(self) -> list[Any]:
        """What the engine holds that nobody has asked for yet."""
        return [e for e in self.held() if is_spare(e.labels) and e.spec.id not in self.became]

    # -- the agent

    def start(self) -> Agent:
        """A fresh one."""
        self.agents += 1
        self.agent = Agent(self)
        return self.agent

    def listening(self) -> None:
        """It can be connected to."""
        self._settle(None)

    def refused(self, agent: Agent, error: TfnzError) -> None:
        """It could not start."""
        self.ended(error)
        agent.kill()

    def ended(self, error: TfnzError) -> None:
        """Nobody need wait for it any more."""
        self._settle(error)

    def _settle(self, error: TfnzError | None) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if each.done():
                continue
            if error is None:
                each.set_result(None)
            else:
                each.set_exception(type(error)(str(error)))

    # -- links

    async def connect(
        self, place: Place, received: Callable[[list[bytes]], None], ended: Callable[[str], None]
    ) -> Line:
        """What a link does for its line: find the agent, or start it."""
        node: Node = asyncio.get_running_loop()  # type: ignore[assignment]
        if self.clock.now < self.down_until:
            raise LinkClosed("Cannot reach the agent: the network is down. Wait.")
        if self.agent is None or not self.agent.node.alive:
            self.start()
        assert self.agent is not None
        if not self.agent.listens:
            listening = node.create_future()
            self._waiting.append(listening)
            try:
                async with asyncio.timeout(STARTING):
                    await listening
            except TimeoutError:
                raise LinkClosed("Cannot reach the agent: it does not start. Look.") from None
        agent = self.agent
        if not agent.listens:
            raise LinkClosed("Cannot reach the agent: it has just ended. Try again.")
        identity = self.clock.chance.randbytes(5)
        line = Line(agent.router, identity, node, received, ended)
        self.lines.append(line)
        agent.router.lines[identity] = line
        return line

    def link(self, client: str, session: str | None = None, **more: Any) -> Link:
        """A link, to be opened."""
        made = Watched(Here(), session=session, connect=self.connect, client=client, **more)
        self.links.append(made)
        return made

    def line(self, client: Link) -> Line | None:
        """Its connection now."""
        return client._line  # type: ignore[return-value]

    def ident(self) -> str:
        """An id, as ``uuid4().hex``."""
        return self.clock.chance.randbytes(16).hex()
