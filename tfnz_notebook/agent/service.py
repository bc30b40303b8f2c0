"""One agent's life: claim what it owns, open the engine, listen, adopt, collect, end when idle."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tfnz_notebook import engines
from tfnz_notebook._base import endpoints, paths, running
from tfnz_notebook._base.endpoints import Target
from tfnz_notebook._base.running import Agent, Claim
from tfnz_notebook._wire.link import SESSION_GRACE
from tfnz_notebook.agent.door.listener import Listener
from tfnz_notebook.agent.door.tickets import Tickets, kept_secret
from tfnz_notebook.agent.former import Former
from tfnz_notebook.agent.operations import ANSWERS
from tfnz_notebook.agent.server import Server
from tfnz_notebook.agent.sessions import Sessions
from tfnz_notebook.agent.world import now
from tfnz_notebook.engines.base import Engine
from tfnz_notebook.engines.launch.binary import locate

log = logging.getLogger(__name__)

#: Seconds without a session after which an agent that was started on demand ends.
IDLE: Final = float(os.environ.get("TFNZ_AGENT_IDLE", "600"))
#: Seconds to finish what is half done before an agent ends.
DRAIN: Final = 20.0
GRACE: Final = float(os.environ.get("TFNZ_SESSION_GRACE", str(SESSION_GRACE)))


def owner(state: Path) -> str:
    """The name under which engines hold things for this user: made once, kept in a file.

    A random one, not the uid: two machines may share one engine, and tests must not adopt what
    belongs to the user who runs them. Raises AgentError if nothing can be kept there.
    """
    with paths.usable("state directory", state, "TFNZ_STATE"):
        fresh = f"{uuid.uuid4().hex}\n".encode()
        return paths.kept_once(paths.owner(state), fresh).decode().strip()


@dataclass(slots=True)
class Options:
    """What ``tfnz-agent serve`` was told."""

    where: str | None
    runtime: Path
    bind: str | None = None
    stay: bool = False


class Service:
    """One agent, at ``target``; ``owner`` is this user's name on what the engine holds."""

    def __init__(self, options: Options, engine: Engine, target: Target, owner: str) -> None:
        self.options = options
        self.engine = engine
        self._socket = paths.socket(options.runtime, target.name)
        state, key, former = paths.state(), target.key, target.former
        self._former = Former(label(owner, former), state, former) if former else None
        spool = paths.spool(state, key)
        self.sessions = Sessions(engine, label(owner, key), spool, self._former, grace=GRACE)
        before = self._former.secret if self._former is not None else None
        with paths.usable("state directory", state, "TFNZ_STATE"):
            secret = kept_secret(paths.secret(state, key), before)
        self.server = Server(
            self.sessions,
            ANSWERS,
            name=target.name if options.bind is None else "",
            tickets=Tickets(secret),
            about=engine.about,
        )
        self._stop = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> str:
        """Know what is there, and listen; the address. What is there is met meanwhile."""
        await self.sessions.adopt(self.server.container_changed, self.server.process_changed)
        if self.options.bind is not None:
            # Whoever stays on this machine needs no ZeroMQ, nor the time to load it.
            from tfnz_notebook.agent.door.network import Network

            self.server.router = Network(self.options.bind, self.server.incoming)
            return self.options.bind
        listener = Listener(self.server.incoming, self.server.lost, self.server.garbage)
        await listener.listen(self._socket)
        self.server.router = listener
        return f"ipc://{self._socket}"

    async def serve(self) -> None:
        """Collect garbage until told to stop, or idle for long enough."""
        loop = asyncio.get_running_loop()
        self._watching = loop.create_task(self.sessions.watch())
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        idle_since = now()
        period = max(0.2, min(2.0, GRACE / 10, IDLE / 10))
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(period):
                    await self._stop.wait()
            await self.sessions.collect()
            self.server.collect()
            if len(self.sessions) or self.options.stay:
                idle_since = now()
            elif now() - idle_since > IDLE:
                log.info("idle for %.0f s, ending", IDLE)
                return
        await self._drain()

    async def _drain(self) -> None:
        """Finish what is half done: a container that is being made would be lost."""
        deadline = now() + DRAIN
        while self.sessions.busy or self.server.busy:
            if now() > deadline:
                return
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Let go of everything; containers and their processes go on."""
        if self._watching is not None:
            self._watching.cancel()
        await self.server.close()
        self.sessions.close()
        if self._former is not None:
            self._former.sweep()
        if self.options.bind is None:
            self._socket.unlink(missing_ok=True)


def label(owner: str, key: str) -> str:
    """What is on the things of an agent: each adopts and reaps what carries its own."""
    return f"{owner}-{key}"


async def run(options: Options, announce: Callable[[Agent], None]) -> None:
    """Run an agent to its end; ``announce`` is called once it listens.

    Raises :class:`.Running` when another agent serves that already, NoEngine, AgentError.
    """
    where = options.where or os.environ.get("TFNZ_LOCATION") or endpoints.usual()
    target = endpoints.resolve(where)
    if options.bind is not None:
        target = target.on_network()
    state = paths.state()
    named = owner(state)
    engine = engines.create(
        where,
        runtime=options.runtime,
        guest=locate(),
        owner=label(named, target.key),
        former=label(named, target.former) if target.former else "",
        environ=target.environment(os.environ),
    )
    address = options.bind or f"ipc://{paths.socket(options.runtime, target.name)}"
    # Before the engine is opened, which may start its service.
    claim = running.claim(target, address, options.runtime, state)
    try:
        with paths.usable("runtime directory", options.runtime, "TFNZ_RUNTIME"):
            await engine.open()
        await _live(Service(options, engine, target, named), claim, announce)
    finally:
        claim.listening(listens=False)
        await engine.close()
        claim.release()


async def _live(service: Service, claim: Claim, announce: Callable[[Agent], None]) -> None:
    try:
        await service.start()
        claim.listening()
        announce(claim.about)
        await service.serve()
    finally:
        await service.close()
