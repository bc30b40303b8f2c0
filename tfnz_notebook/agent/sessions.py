"""Sessions: who owns containers, and when they are collected.

A session lives as long as one of its clients does; a durable one until its time to live has
passed, or for good. What the engine still holds of a session nobody comes back for is reaped
after the same grace, also by a fresh agent: labels on the containers say whose they are.
Volumes are never collected.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Final

from tfnz_notebook._wire.link import SESSION_GRACE
from tfnz_notebook.agent.container import forks, labels
from tfnz_notebook.agent.container.container import Container
from tfnz_notebook.agent.container.neighbours import Neighbours
from tfnz_notebook.agent.container.spares import Spares
from tfnz_notebook.agent.container.states import OVER
from tfnz_notebook.agent.container.taken import Taken
from tfnz_notebook.agent.disk import Disk
from tfnz_notebook.agent.former import Former
from tfnz_notebook.agent.process.kept.ended import Ended
from tfnz_notebook.agent.process.process import Process
from tfnz_notebook.agent.scope import Scope
from tfnz_notebook.agent.sparse import Sparse
from tfnz_notebook.agent.world import REAL, World, now
from tfnz_notebook.engines.base import LABEL_CONTAINER, LABEL_OWNER, ContainerSpec, Engine, Found
from tfnz_notebook.errors import ContainerGone, LinkClosed, Misuse, ProcessGone, TfnzError

log = logging.getLogger(__name__)

#: Seconds after which an engine has made what an agent asked for before it died.
LATE: Final = 30.0
#: Seconds after which an engine that broke off is asked for its events again.
WATCH_AGAIN: Final = 5.0


@dataclass(slots=True)
class Member:
    """One client (one Location in one kernel) of a session."""

    client: str
    seen: float
    #: Process id and start time (clock ticks since boot) of a kernel on this machine, else None.
    pid: tuple[int, int] | None = None

    def alive(self, at: float, grace: float, world: World) -> bool:
        """Whether it pinged lately or, on this machine, still runs (a busy kernel cannot ping)."""
        if at - self.seen < grace:
            return True
        return self.pid is not None and world.alive(*self.pid)


class Event(Enum):
    """What happens to a session."""

    JOIN = "a client is there"
    LEAVE = "its last client said good-bye, or was not heard of for too long"
    END = "nobody is waited for any more"
    CLEAR = "its containers are gone"


#: What a session can be, and what makes it something else: ``held`` by clients, ``left`` by them,
#: ``ending`` with its containers, which is tried until it has ``ended``. An event without a row
#: changes nothing. Nobody joins what is ending: its name is then another session's.
NEXT: Final[dict[tuple[str, Event], str]] = {
    ("left", Event.JOIN): "held",
    ("held", Event.LEAVE): "left",
    ("left", Event.END): "ending",
    ("ending", Event.CLEAR): "ended",
}


@dataclass(slots=True, eq=False)
class Session:
    """A named set of containers."""

    name: str
    durable: bool = False
    #: Seconds without any client after which a durable session ends; None is never.
    ttl: float | None = None
    members: dict[str, Member] = field(default_factory=dict)
    idle_since: float = field(default_factory=now)
    containers: dict[str, Container] = field(default_factory=dict)
    #: What is done for it that is about none of these.
    scope: Scope = field(default_factory=Scope)
    #: What waits for a spawn, if that was asked for.
    spares: Spares | None = None
    state: str = "left"

    def happens(self, event: Event) -> None:
        """Be what that makes of it."""
        self.state = NEXT.get((self.state, event), self.state)

    @property
    def over(self) -> bool:
        """Whether nothing more is made in it."""
        return self.state in ("ending", "ended")

    def join(self, member: Member) -> None:
        """A client is there."""
        self.members[member.client] = member
        self.happens(Event.JOIN)

    def leave(self, client: str, at: float) -> None:
        """A client was last heard of then."""
        if self.members.pop(client, None) is not None:
            self.idle_since = max(self.idle_since, at)
        if not self.members:
            self.happens(Event.LEAVE)

    def expired(self, at: float, grace: float, world: World) -> bool:
        """Whether nobody is there any more, for long enough."""
        for client, member in list(self.members.items()):
            if not member.alive(at, grace, world):
                self.leave(client, member.seen)
        if self.state != "left":
            return self.state == "ending"  # some of its containers could not be removed
        # Counted from the last sign of life, so that a vanished kernel is waited for once.
        waits = self.ttl if self.durable else grace
        return waits is not None and at - self.idle_since >= waits


class Kept:
    """What durable sessions were told of their lives, for the next agent: one small file.

    Labels on containers say what their session was told before they were made; this is newer.
    """

    def __init__(self, path: Path, disk: Disk) -> None:
        self._path, self._disk = path, disk
        self._before: dict[str, tuple[bool, float | None]] = {}

    def read(self) -> dict[str, tuple[bool, float | None]]:
        """By name: durable, seconds to live."""
        try:
            told = json.loads(self._disk.read(self._path))
            self._before = {str(name): (bool(d), ttl) for name, (d, ttl) in told.items()}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.warning("how long sessions last is lost: %s", error)
        return self._before

    def write(self, told: dict[str, tuple[bool, float | None]]) -> None:
        """Have exactly that kept. A full disk costs the next agent that, no more."""
        if told == self._before:
            return
        try:
            if told:
                self._disk.replace(self._path, json.dumps(told).encode())
            else:
                self._disk.remove(self._path)
            self._before = told
        except OSError as error:
            log.warning("how long sessions last is not kept: %s", error)


class Sessions:
    """Every session of this agent, and the one place that knows where a container is."""

    def __init__(
        self,
        engine: Engine,
        owner: str,
        spool: Path,
        former: Former | None = None,
        *,
        grace: float = SESSION_GRACE,
        world: World = REAL,
    ) -> None:
        self.engine = engine
        self.owner = owner
        self.spool = spool
        self.world = world
        self.former = former
        self.grace = grace
        self.neighbours = Neighbours(engine, spool, world.disk)
        self._sessions: dict[str, Session] = {}
        #: Those that are ending while another has their name.
        self._replaced: list[Session] = []
        self._kept = Kept(spool.with_name(f"{spool.name}.sessions"), world.disk)
        self._said = Sparse(log)
        #: What nobody wants and its engine would not remove: it is asked again, now and then.
        self._stays: set[str] = set()
        self.taken = Taken(spool.with_name(f"{spool.name}.taken"), world.disk)
        #: What an earlier agent was told of durable sessions.
        self._earlier: dict[str, tuple[bool, float | None]] = {}
        engine.waits = self._waits
        engine.found_lacking = self._found_lacking
        self._cleaning: asyncio.Task[None] | None = None
        #: Ids of what never ran; and whether it is gone.
        self._half_made = set[str]()
        self._removed = asyncio.Event()
        self._looking: set[asyncio.Future[None]] = set()

    # -- finding

    def __iter__(self) -> Iterator[Session]:
        return iter([*self._sessions.values(), *self._replaced])

    def __len__(self) -> int:
        return len(self._sessions) + len(self._replaced)

    def get(self, name: str) -> Session | None:
        """The session of that name, if there is one."""
        return self._sessions.get(name)

    @property
    def busy(self) -> bool:
        """Whether a container is being made, which the next agent could not go on with."""
        made = ("pulling", "creating", "starting")
        return any(each.state in made for each in self._held())

    def join(
        self, name: str, member: Member, durable: bool, ttl: float | None, *, again: bool = False
    ) -> Session:
        """The session, made if need be, with that member in it.

        ``again``: it comes back, and what others said of the session since holds.
        """
        session = self._sessions.get(name)
        if session is None or session.over:
            if session is not None:
                self._replaced.append(session)
            kept = self._earlier.pop(name, None) if again else None
            session = self._sessions[name] = Session(name, *(kept or (durable, ttl)))
        elif durable and not again:
            session.durable, session.ttl = True, ttl
        session.join(member)
        if session.durable:
            self._keep()
        return session

    def seen(self, session: Session, client: str) -> None:
        """A client said something, so it lives."""
        member = session.members.get(client)
        if member is not None:
            member.seen = now()

    def container(self, session: Session, ident: str) -> Container:
        """A container of the session. Raises ContainerGone."""
        found = session.containers.get(ident)
        if found is None:
            raise ContainerGone(
                "Cannot use this container: it was destroyed, or its session has ended. "
                "Spawn another one."
            )
        return found

    async def process(self, session: Session, ident: str) -> tuple[Container, Process | Ended]:
        """A process of any container of the session, and where it is. Raises ProcessGone.

        What is known of one whose container was not met yet, that container decides.
        """
        return await self._looked((session,), ident)

    def holder(self, ident: str) -> Container:
        """A container of any session, for who has a ticket. Raises ContainerGone."""
        session = next((each for each in self if ident in each.containers), Session(""))
        return self.container(session, ident)

    async def viewed(self, ident: str) -> tuple[Container, Process | Ended]:
        """A process of any session, for who has a ticket. Raises ProcessGone."""
        return await self._looked(tuple(self), ident)

    async def _looked(
        self, sessions: Collection[Session], ident: str
    ) -> tuple[Container, Process | Ended]:
        for container in self._containers(sessions):
            await container.recalled.wait()
        with contextlib.suppress(ProcessGone):
            return self._process(sessions, ident)
        for container in self._containers(sessions):
            if (coming := container.coming.get(ident)) is not None:
                await coming.wait()
        unmet = [each for each in self._containers(sessions) if not each.met]
        for container in unmet:
            await container.looked.wait()
        try:
            return self._process(sessions, ident)
        except ProcessGone:
            for container in unmet:
                container.check_met()
            raise

    async def known(
        self, session: Session, idents: Iterable[str]
    ) -> tuple[list[Process | Ended], bool]:
        """Those of the processes that are known; and whether that is all there are.

        It is not while a container of the session was not met.
        """
        for container in self._containers((session,)):
            await container.looked.wait()
        found = []
        for ident in idents:
            with contextlib.suppress(ProcessGone):
                found.append(self._process((session,), ident)[1])
        return found, all(container.met for container in self._containers((session,)))

    def anywhere(self, ident: str) -> tuple[Container, Process | Ended]:
        """A process of any session, as far as containers were met. Raises ProcessGone."""
        return self._process(self, ident)

    def _held(self) -> Iterator[Container]:
        """All that the engine holds for us, what nobody has asked for yet included."""
        for session in self:
            yield from session.containers.values()
            yield from session.spares or ()

    def spares(self, session: Session) -> Spares:
        """Those of the session."""

        def make(spec: ContainerSpec, changed: Callable[[Container], None]) -> Container:
            created = self.world.wall()
            spec = labels.labelled(
                dataclasses.replace(spec, id=self.world.ident(), sleep=True),
                owner=self.owner,
                session=session.name,
                durable=session.durable,
                ttl=session.ttl,
                tag="",
                created=created,
                spare=True,
            )
            return Container(
                self.engine,
                session.name,
                spec,
                self.spool,
                changed,
                lambda *_: None,
                self.neighbours,
                created=created,
                world=self.world,
            )

        if session.spares is None:
            session.spares = Spares(make, self.taken, renames=self.engine.renames)
        return session.spares

    @staticmethod
    def _containers(sessions: Iterable[Session]) -> list[Container]:
        return [container for session in sessions for container in session.containers.values()]

    @staticmethod
    def _process(sessions: Iterable[Session], ident: str) -> tuple[Container, Process | Ended]:
        for session in sessions:
            for container in session.containers.values():
                if ident in container.processes:
                    return container, container.processes[ident]
        raise ProcessGone(
            "Cannot use this process: its container was destroyed or rebooted, or it ended long "
            "ago and so many others since (TFNZ_KEEP_PROCESSES). Spawn another one."
        )

    # -- ending

    async def leave(self, session: Session, client: str) -> None:
        """A client said good-bye. The last one of a session that is not durable ends it."""
        session.leave(client, now())
        if not session.members:
            if not session.durable:
                await self.end(session)
            else:
                self._keep()

    async def end(self, session: Session) -> None:
        """Destroy the session's containers and forget it."""
        session.happens(Event.END)
        session.scope.interrupt(
            LinkClosed("Cannot finish: the session has ended. Make another Location().")
        )
        results = await asyncio.gather(
            *(container.destroy() for container in list(session.containers.values())),
            *([session.spares.end()] if session.spares is not None else []),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, Exception):
                log.warning("session %s: %s", session.name, result)
        session.containers = {
            ident: container
            for ident, container in session.containers.items()
            if container.state != "destroyed"
        }
        if session.containers or (session.spares is not None and session.spares.left):
            return
        session.happens(Event.CLEAR)
        if session in self._replaced:
            self._replaced.remove(session)
        elif self._sessions.get(session.name) is session:
            del self._sessions[session.name]
            if session.durable:
                self._keep()

    async def collect(self) -> None:
        """End the sessions whose time has come; run now and then."""
        at = now()
        for session in self:
            if session.expired(at, self.grace, self.world):
                log.info("session %s: nobody is left, its containers go", session.name)
                await self.end(session)
            for container in list(session.containers.values()):
                if container.state == "destroyed":  # by others, past us
                    del session.containers[container.ident]
            if session.spares is not None:
                session.spares.clear()
        stays, self._stays = self._stays, set()
        for ref in stays:
            self._beside(self._remove(ref))
        self.taken.tidy()
        self._keep()

    # -- what an earlier agent left

    async def adopt(
        self,
        changed: Callable[[Container], None],
        process_changed: Callable[[Container, Process | Ended], None],
    ) -> None:
        """Take over every container of ours that the engine holds. EngineGone, AgentError.

        An agent that does not know what it has would tell its kernels that all of it is gone. So it
        knows the containers from here on; each is met in a task of its own, and holds up nobody.
        """
        found = await self.engine.find({LABEL_OWNER: self.owner})
        durable = self._earlier = dict(self._kept.read())
        if any(labels.is_spare(each.labels) for each in found):
            await self.taken.read()
        self.taken.keep({_ident(each) for each in found})
        left: list[Found] = []
        containers = []
        for each, there in ((self.taken.seen(each), each) for each in found):
            if self.former is not None and not self.former.ours(each, self.spool):
                continue
            known = labels.known(each)
            if known is None or each.state.status == "created" or labels.is_spare(each.labels):
                # Ours by its owner, but it never ran: an agent died between creating and starting.
                # Or nobody has asked for it, and who might have has gone.
                left.append(each)
                continue
            session = self._sessions.get(known.session)
            if session is None:
                kept = durable.get(known.session, (known.durable, known.ttl))
                session = self._sessions[known.session] = Session(known.session, *kept)
            container = Container(
                self.engine,
                session.name,
                known.spec,
                self.spool,
                changed,
                process_changed,
                self.neighbours,
                tag=known.tag,
                origin=known.origin,
                ref=each.ref,
                created=known.created,
                forget=self.taken.forget,
                world=self.world,
            )
            if labels.is_spare(there.labels):
                container.made = dataclasses.replace(known.spec, id=_ident(there))
            session.containers[container.ident] = container
            if each.state.status in ("running", "paused") and known.spec.network is None:
                self.neighbours.found(container)
            containers.append((container, each.state))
        turn = asyncio.Lock()
        for container, state in containers:  # each fence is told of all
            container.adopt(state, turn)
        self._keep()
        self._half_made = {_ident(each) for each in left}
        self._cleaning = asyncio.create_task(self._clean(left))
        self._beside(self._clean_late())
        if containers:
            log.info("adopting %d containers of an earlier agent", len(containers))

    async def watch(self) -> None:
        """Hear of what others do with our containers, as long as the engine tells."""
        while True:
            self._look_at(None)  # what happened while nobody listened
            try:
                await self.engine.watch(self._look_at)
                return
            except TfnzError as error:
                log.info("the engine's events: %s", error)
                await asyncio.sleep(WATCH_AGAIN)

    def _waits(self, ref: str, words: str) -> None:
        for container in self._held():
            if container.ref == ref:
                container.waits(words)

    def _found_lacking(self) -> None:
        for container in self._held():
            if container.state not in OVER:
                container.tell()

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)

    def _look_at(self, ref: str | None) -> None:
        for container in list(self._held()):
            if container.ref == ref or (ref is None and container.state in ("exited", "paused")):
                container.look_soon()

    async def cleared(self, ident: str) -> None:
        """What an earlier agent had begun to make under that id is gone: the name is free again."""
        if ident in self._half_made:
            await self._removed.wait()

    async def _clean(self, left: list[Found]) -> None:
        """Remove what never ran, and spools and sockets of what went while no agent was there."""
        for each in left:
            await self._remove(each.ref)
        self._removed.set()
        held = list(self._held())
        try:
            await self.engine.sweep({each.made_ident for each in held})
        except TfnzError as error:
            log.warning("what this machine holds of containers that are gone stays: %s", error)
        known = {each.ident for each in held}
        with contextlib.suppress(TfnzError):
            for image in forks.left(await self.engine.images(), self.owner, known):
                await self.engine.remove_image(image, force=True)
        tidied = self._tidied()
        while not tidied:
            await asyncio.sleep(LATE)
            tidied = self._tidied()

    def _tidied(self) -> bool:
        """Whether no spool is left of a container that is gone; False: the disk does not say."""
        disk = self.world.disk
        try:
            names = [name for name, _ in disk.list(self.spool)]
        except OSError as error:
            self._said.warning("spools of containers that are gone stay for now: %s", error)
            return False
        known = {each.ident for each in self._held()}
        for name in names:
            if name not in known:
                disk.remove_all(self.spool / name)
        return True

    async def _clean_late(self) -> None:
        """Remove what the engine was still making when we came, for an agent that had died."""
        found = None
        while found is None:
            await asyncio.sleep(LATE)
            with contextlib.suppress(TfnzError):
                found = await self.engine.find({LABEL_OWNER: self.owner})
        for each in found:
            if each.state.status == "created" and not self._ours(each):
                await self._remove(each.ref)

    def _ours(self, found: Found) -> bool:
        """Whether it is one that we know, or may be one that is being made."""
        ours = (each for each in self._held() if each.made_ident == _ident(found))
        return any(each.ref in ("", found.ref) for each in ours)

    def _keep(self) -> None:
        """Have the next agent know how long sessions last that have something to keep."""
        durable = (each for each in self if each.durable and not each.over)
        kept = (each for each in durable if each.containers or each.members)
        self._kept.write({each.name: (True, each.ttl) for each in kept})

    async def _remove(self, ref: str) -> None:
        try:
            await self.engine.remove(ref)
        except TfnzError as error:
            self._said.warning("%s stays for now: %s", ref[:12], error)
            self._stays.add(ref)

    def close(self) -> None:
        """Let go of all guests; what runs goes on."""
        for task in (self._cleaning, *self._looking):
            if task is not None:
                task.cancel()
        for session in self:
            if session.spares is not None:
                session.spares.close()
        for container in self._held():
            container.close()


def _ident(found: Found) -> str:
    return found.labels.get(LABEL_CONTAINER, "")


def session_name(wanted: str | None) -> str | None:
    """A valid session name, or None. Raises Misuse: labels and file names are made of it."""
    if wanted is None:
        return None
    if not wanted or len(wanted) > 64 or not all(c.isalnum() or c in "-_." for c in wanted):
        raise Misuse(
            f"Cannot use {wanted!r} as a session's name. "
            "Use up to 64 letters, digits, '-', '_' and '.'."
        )
    return wanted
