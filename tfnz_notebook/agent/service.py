"""One agent's life: claim the name, open the engine, adopt, serve, collect, end when idle."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import re
import signal
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import zmq

from tfnz_notebook import __version__, engines
from tfnz_notebook._wire.link import SESSION_GRACE
from tfnz_notebook.agent.door import keys
from tfnz_notebook.agent.door.admission import Door
from tfnz_notebook.agent.door.router import Router
from tfnz_notebook.agent.door.tickets import Tickets, kept_secret
from tfnz_notebook.agent.operations import ANSWERS
from tfnz_notebook.agent.server import Server
from tfnz_notebook.agent.sessions import Sessions
from tfnz_notebook.engines.base import Engine
from tfnz_notebook.engines.launch.binary import locate
from tfnz_notebook.errors import AgentError

log = logging.getLogger(__name__)

#: Seconds without a session after which an agent that was started on demand ends.
IDLE: Final = float(os.environ.get("TFNZ_AGENT_IDLE", "600"))
#: Seconds to finish what is half done before an agent ends.
DRAIN: Final = 20.0
GRACE: Final = float(os.environ.get("TFNZ_SESSION_GRACE", str(SESSION_GRACE)))


def state_directory() -> Path:
    """Where spools and the owner's name are: ``$TFNZ_STATE`` or ``~/.local/state/tfnz``."""
    configured = os.environ.get("TFNZ_STATE")
    base = os.environ.get("XDG_STATE_HOME")
    return (
        Path(configured)
        if configured
        else (Path(base) if base else Path.home() / ".local" / "state") / "tfnz"
    )


def owner() -> str:
    """The name under which engines hold things for this user: made once, kept in a file.

    A random one, not the uid: two machines may share one engine, and tests must not adopt what
    belongs to the user who runs them.
    """
    path = state_directory() / "owner"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        if known := path.read_text().strip():
            return known
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_text(uuid.uuid4().hex + "\n")
    try:
        # link() fails if another agent was quicker; then its name counts.
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    return path.read_text().strip()


@dataclass(slots=True)
class Options:
    """What ``tfnz-agent serve`` was told."""

    where: str | None
    runtime: Path
    bind: str | None = None
    stay: bool = False


class Running(Exception):
    """Another agent serves this engine already; ``about`` is its announcement."""

    def __init__(self, about: dict[str, Any]) -> None:
        super().__init__(about)
        self.about = about


class Claim:
    """The lock that makes an agent the only one for its engine; held until the process ends."""

    def __init__(self, runtime: Path, name: str) -> None:
        self.path = runtime / f"{name}.pid"
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(self.path, flags, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Running(self._told()) from None

    def _told(self) -> dict[str, Any]:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            # The other one writes its announcement once it listens.
            with contextlib.suppress(ValueError):
                told = json.loads(os.pread(self._file, 4096, 0))
                if isinstance(told, dict):
                    return told
            time.sleep(0.02)
        raise AgentError("Cannot join the agent that is starting: it does not come up.")

    def tell(self, about: dict[str, Any]) -> None:
        """Say where this agent listens."""
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps(about).encode(), 0)

    def release(self) -> None:
        """Take the announcement back."""
        os.ftruncate(self._file, 0)


class Service:
    """One agent. ``name`` is the stem of its files in the runtime directory."""

    def __init__(self, options: Options, engine: Engine, name: str, owned_by: str) -> None:
        self.options = options
        self.engine = engine
        self.where = options.where or engine.name
        self._socket = options.runtime / f"{name}.sock"
        spool = state_directory() / "spool" / name
        self.sessions = Sessions(engine, owned_by, spool, grace=GRACE)
        self.server = Server(
            self.sessions,
            ANSWERS,
            name=name if options.bind is None else "",
            tickets=Tickets(kept_secret(state_directory() / "secrets" / name)),
            about=dict(engine.about()),
        )
        self._context: zmq.Context[Any] = zmq.Context(1)
        self._door: Door | None = None
        self._stop = asyncio.Event()

    async def start(self) -> str:
        """Adopt what is there and listen; the address."""
        await self.sessions.adopt(self.server.container_changed, self.server.process_changed)
        router = Router(self._context, self.server.incoming)
        if self.options.bind is None:
            # Connecting needs write permission on the socket's directory: 0700, see Options.
            self._socket.unlink(missing_ok=True)
            address = f"ipc://{self._socket}"
        else:
            address = self.options.bind
            self._require_keys(router, address)
        try:
            router.socket.bind(address)
        except zmq.ZMQError as error:
            raise AgentError(f"Cannot listen on {address}: {error.strerror}.") from None
        self.server.router = router
        router.start()
        return address

    def _require_keys(self, router: Router, address: str) -> None:
        """Arm CURVE. Raises AgentError: without keys nothing is bound."""
        if urlsplit(address).scheme != "tcp":
            raise AgentError(f"Cannot listen on {address!r}: give tcp://host:port.")
        folder = keys.directory() / "authorized"
        if not any(folder.glob("*.key")):
            raise AgentError(
                f"Cannot listen on {address}: nobody is authorized, and without keys anybody could "
                "connect. Run 'tfnz-agent authorize KEY' with the public key of a client."
            )
        public, secret = keys.load(keys.directory() / "server.key_secret")
        if secret is None:
            raise AgentError("Cannot listen: server.key_secret has no secret key.")
        self._door = Door(self._context, router.socket, folder)
        router.socket.curve_publickey = public
        router.socket.curve_secretkey = secret
        router.socket.curve_server = True

    async def serve(self) -> None:
        """Collect garbage until told to stop, or idle for long enough."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        idle_since = time.monotonic()
        period = max(0.2, min(2.0, GRACE / 10, IDLE / 10))
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(period):
                    await self._stop.wait()
            await self.sessions.collect()
            self.server.collect()
            if len(self.sessions) or self.options.stay:
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since > IDLE:
                log.info("idle for %.0f s, ending", IDLE)
                return
        await self._drain()

    async def _drain(self) -> None:
        """Finish what is half done: a container that is being made would be lost."""
        deadline = time.monotonic() + DRAIN
        while self.sessions.busy or self.server.busy:
            if time.monotonic() > deadline:
                return
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Let go of everything; containers and their processes go on."""
        if self._door is not None:
            self._door.close()
        await self.server.close()
        self.sessions.close()
        self._context.destroy(linger=500)
        if self.options.bind is None:
            self._socket.unlink(missing_ok=True)


async def run(options: Options, announce: Callable[[dict[str, Any]], None]) -> None:
    """Run an agent to its end; ``announce(dict)`` is called once it listens.

    Raises :class:`Running` when another agent serves that engine already, NoEngine, AgentError.
    """
    where = options.where or os.environ.get("TFNZ_LOCATION") or engines.usual()
    # As the kernel side names the files; an agent for the network is another than the local one.
    name = re.sub(r"[^a-z0-9._-]", "_", where.lower()) + ("-tcp" if options.bind else "")
    # Each agent adopts and reaps what carries its own owner's label, so two that share an engine
    # must not share that.
    owned_by = f"{owner()}-{name}"
    engine = engines.create(where, runtime=options.runtime, guest=locate(), owner=owned_by)
    claim = Claim(options.runtime, name)  # before opening, which may start the engine's service
    try:
        await engine.open()
        service = Service(options, engine, name, owned_by)
        await _live(service, claim, announce)
    finally:
        claim.release()
        await engine.close()


async def _live(service: Service, claim: Claim, announce: Callable[[dict[str, Any]], None]) -> None:
    try:
        address = await service.start()
        about = {"where": service.where, "socket": address, "pid": os.getpid()}
        about["version"] = __version__
        claim.tell(about)
        announce(about)
        await service.serve()
    finally:
        await service.close()
