"""Who runs: agents' records, and the locks that make each the only one of its kind.

An agent holds the lock (flock) on two files for its life, and in both is its record::

    <state>/agents/KEY@HERE    it owns what engines hold under that key; from its first moment
    <runtime>/NAME.pid         it has the socket of that name; once it listens

Either alone would be enough where nobody removes files. Runtime directories are emptied under
living agents (``/tmp`` by age, ``/run/user`` at the last logout): who owns the containers is known
all the same, and an agent that nobody can reach any more is ended, not joined by a second owner.
The state directory may be on a full disk, on a file system without locks or one that knows no
owners, or be another than that of whoever has the socket already; then the runtime directory's
decides. HERE is one boot of one machine, and one set of pids on it: homes are shared, processes are
not.

A record is JSON: ``{"name", "where", "pid", "started", "version", "socket"}``, the socket as ZeroMQ
writes it, empty while the agent starts and while it ends; ``started`` is of proc.py. What a record
says counts only while that very process has that very file open, and it is locked: a stale one,
whose pid is somebody else's by now, is nobody's. What is signalled is held by its descriptor
(pidfd).

Agents of 0.1 had ``NAME.pid`` alone, without ``name`` and ``started``, and were called by their
engine's word at whatever endpoint. One that serves our endpoint makes room as any earlier version
does; then we hold its ``NAME.pid``, too, so that whoever starts another of 0.1 is told of us.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from tfnz_notebook import __version__
from tfnz_notebook._base import endpoints, paths, proc, versions
from tfnz_notebook._base.descriptors import readable
from tfnz_notebook._base.endpoints import Target
from tfnz_notebook.errors import AgentError, NoEngine

log = logging.getLogger(__name__)

#: Seconds for another agent to come up, or to finish what is half done and end.
PATIENCE: Final = 40.0
#: Seconds an agent may not listen where it says it does.
UNREACHABLE: Final = 2.0
_POLL: Final = 0.02
#: What file systems say that have no locks, and those that are full.
_WITHOUT: Final = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True, slots=True)
class Agent:
    """What a record says; see :meth:`runs`."""

    name: str
    where: str
    pid: int
    started: int
    version: str
    socket: str
    path: Path
    #: Of 0.1: the name says nothing of the endpoint.
    former: bool = False

    @property
    def runs(self) -> bool:
        """That process holds the lock on the file that says this."""
        return (
            proc.alive(self.pid, self.started)
            and proc.has_open(self.pid, self.path)
            and _locked(self.path)
        )

    @property
    def listens(self) -> bool:
        """Somebody accepts connections at its socket (on this machine; of others nobody knows)."""
        scheme, _, path = self.socket.partition("://")
        return accepts(Path(path)) if scheme == "ipc" else bool(self.socket)

    @property
    def outdated(self) -> bool:
        """It is of an earlier version than this package, and would make room."""
        return versions.older(self.version, __version__)

    def end(self, *steps: tuple[signal.Signals, float]) -> bool:
        """Signal it, and wait so many seconds for its end, step by step; whether it has ended.

        Nobody else is ever signalled. Raises AgentError where that cannot be made sure.
        """
        descriptor = -1
        try:
            descriptor = os.pidfd_open(self.pid)
            for number, patience in steps:
                if not self.runs:
                    return True
                signal.pidfd_send_signal(descriptor, number)
                if readable(descriptor, seconds=patience):
                    return True
        except ProcessLookupError:
            return True
        except OSError as error:
            raise AgentError(
                f"Cannot end the agent {self.name!r}: {error.strerror}. End it with "
                f"'kill {self.pid}'; its containers go on."
            ) from None
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        return False


def agents(runtime: Path, state: Path) -> list[Agent]:
    """Those that run for this user: of that state directory, and with sockets in that runtime one.

    One that only starts or ends is among them, and has no socket.
    """
    found: dict[int, Agent] = {}
    for agent in _records(runtime, state):
        if agent.pid not in found and agent.runs:
            found[agent.pid] = agent
    return sorted(found.values(), key=lambda agent: agent.name)


def look_up(name: str, runtime: Path, state: Path) -> Agent | None:
    """The agent of that name, if one runs."""
    known = _records(runtime, state)
    return next((agent for agent in known if agent.name == name and agent.runs), None)


def _records(runtime: Path, state: Path) -> Iterator[Agent]:
    folder, pattern = paths.agents(state), f"*@{proc.here()}"
    owners = sorted(folder.glob(pattern)) if paths.ours(folder) else []
    for path in (*owners, *sorted(runtime.glob("*.pid"))):
        if (agent := _read(path)) is not None:
            yield agent


class Running(Exception):
    """Another agent serves this already, and can be reached."""

    def __init__(self, agent: Agent) -> None:
        super().__init__(agent)
        self.agent = agent


class Claim:
    """What makes an agent the only one: the locks it holds, and what its records say."""

    def __init__(self, about: Agent) -> None:
        """``about``: itself, with the socket where it is going to listen."""
        self.about = about
        self._held: dict[Path, int] = {}

    def take(self, path: Path) -> bool:
        """Have the lock on that file; False if another has. OSError where there are no locks."""
        while True:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(path, flags, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _same(descriptor, path):
                    os.ftruncate(descriptor, 0)  # what it says is of an agent that was killed
                    self._held[path] = descriptor
                    return True
            except BlockingIOError:
                return False
            finally:
                if path not in self._held:  # or it was removed before we had the lock
                    os.close(descriptor)

    def tell(self, path: Path, *, listens: bool) -> None:
        """Say in that file who we are."""
        about = self.about if listens else replace(self.about, socket="")
        told = {key: value for key, value in asdict(about).items() if key not in ("path", "former")}
        text = json.dumps(told).encode()
        os.ftruncate(self._held[path], 0)
        if os.pwrite(self._held[path], text, 0) < len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def listening(self, *, listens: bool = True) -> None:
        """Say it in all of them; or that we do not any more."""
        for path in self._held:
            try:
                self.tell(path, listens=listens)
            except OSError as error:  # the disk is full; what holds is the lock
                log.warning("cannot write %s: %s", path, error.strerror)

    def release(self) -> None:
        """Let go: the next may come."""
        while self._held:
            path, descriptor = self._held.popitem()
            with contextlib.suppress(OSError):
                if _same(descriptor, path):
                    path.unlink()
            os.close(descriptor)


def claim(target: Target, address: str, runtime: Path, state: Path) -> Claim:
    """Become the agent of that target, going to listen at ``address``. Blocks.

    An earlier version makes room, and one that nobody can reach. Raises Running, AgentError.
    """
    pid, own = os.getpid(), paths.record(runtime, target.name)
    started = proc.start_time(pid)
    made = Claim(Agent(target.name, target.where, pid, started, __version__, address, own))
    try:
        with paths.usable("state directory", state, "TFNZ_STATE"):
            _own(made, paths.agents(state), target.key)
        with paths.usable("runtime directory", runtime, "TFNZ_RUNTIME"):
            _settle(made, own)
            # What an agent of 0.1 has under its key, no later one has: it was here.
            if target.former != target.name and paths.there(paths.secret(state, target.former)):
                _replace_former(made, target, runtime, state)
    except BaseException:
        made.release()
        raise
    return made


def _own(made: Claim, folder: Path, key: str) -> None:
    """Become the owner of what engines hold under that key."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not paths.ours(folder):
        log.warning(
            "no record in %s: it is not ours alone; the runtime directory's decides", folder
        )
        return
    ours = folder / f"{key}@{proc.here()}"
    try:
        for path in folder.glob(f"{key}@*"):  # of earlier boots, of containers that are gone
            broom = Claim(made.about)
            if path != ours and broom.take(path):
                broom.release()
        _settle(made, ours)
        made.tell(ours, listens=False)
    except OSError as error:
        if error.errno not in _WITHOUT | _FULL:
            raise
        log.warning("no record in %s: %s; the runtime directory's decides", folder, error.strerror)


def _settle(made: Claim, path: Path) -> None:
    """Have the lock on that file. Whoever has it is joined, waited for, or ended."""
    deadline = time.monotonic() + PATIENCE
    silent = 0.0
    while not made.take(path):
        holder = _read(path)
        if holder is not None and not holder.former and holder.name != made.about.name:
            path.unlink(missing_ok=True)  # kept for kernels of 0.1, who find us there now
            continue
        if holder is not None and holder.socket:
            listens = holder.listens
            silent = 0.0 if listens else silent or time.monotonic()
            if listens and not holder.outdated:
                raise Running(holder)
            if holder.runs and (holder.outdated or time.monotonic() - silent > UNREACHABLE):
                _make_room(holder)
                continue
        if time.monotonic() > deadline:
            raise AgentError(
                f"Cannot start the agent {made.about.name!r}: another process has held {path} for "
                f"{PATIENCE:.0f} s, and is no agent that can be spoken to. End that process."
            )
        time.sleep(_POLL)


def _replace_former(made: Claim, target: Target, runtime: Path, state: Path) -> None:
    """Have one of 0.1 end that serves our endpoint; hold its file, if the name is nobody's."""
    path = paths.record(runtime, target.former)
    deadline = time.monotonic() + PATIENCE
    while not made.take(path):
        holder = _read(path)
        if holder is None or not holder.runs:  # it starts, or ends
            if time.monotonic() > deadline or look_up(target.former, runtime, state) is not None:
                return
            time.sleep(_POLL)
        elif not holder.former or not _serves(holder, target):
            return
        else:
            _make_room(holder)
    paths.socket(runtime, target.former).unlink(missing_ok=True)  # of one that was killed
    made.tell(path, listens=True)  # a kernel that is sent to us can wait until we do


def _serves(former: Agent, target: Target) -> bool:
    """It is at that endpoint: its environment says so, or cannot be read."""
    environ = proc.environ(former.pid)
    if environ is None:
        return True
    try:
        meant = endpoints.resolve(former.where, environ)
    except NoEngine:
        return False
    return target.name in (meant.name, meant.on_network().name)


def _make_room(holder: Agent) -> None:
    if not holder.end((signal.SIGTERM, PATIENCE)):
        why = f"is of version {holder.version}" if holder.outdated else "cannot be reached"
        raise AgentError(
            f"Cannot replace the agent {holder.name!r} (pid {holder.pid}), which {why}: it does "
            f"not end. End it with 'kill {holder.pid}'; its containers go on."
        )


def _read(path: Path) -> Agent | None:
    """What a record says; None if it says nothing, yet or any more."""
    try:
        told = json.loads(path.read_text())
        pid, started = int(told["pid"]), told.get("started")
        return Agent(
            name=str(told.get("name") or path.stem),
            where=str(told["where"]),
            pid=pid,
            started=proc.start_time(pid) if started is None else int(started),
            version=str(told.get("version", "0")),
            socket=str(told.get("socket", "")),
            path=path,
            former="name" not in told,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _locked(path: Path) -> bool:
    """Somebody holds the lock. Asked in the shared way: who looks at once does not disturb."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _same(descriptor: int, path: Path) -> bool:
    """That is the file which lies there now."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def accepts(path: Path) -> bool:
    """Whether somebody listens on that socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(5.0)
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return False
    return True
