"""Finding the agent of an engine, or starting one.

Which agent that is, ``_base`` knows: :mod:`endpoints` resolves the name, :mod:`running` tells who
runs. One that is not there, or is of an earlier version, is started by whoever gets the lock on
``<name>.lock``, as ``python -m tfnz_notebook.agent serve --where W --runtime DIR --announce``, in
a session of its own so that an interrupt meant for a cell does not reach it, and with a variable
that names the endpoint we mean. It announces itself with one line of JSON on stdout: ``{"where",
"socket", "pid"}``, the socket as ZeroMQ writes it, or ``{"error": ...}`` as ``errors.to_wire``
makes it; or it announces another, if there was one after all.

Everything here blocks; the link calls it in a worker thread.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tfnz_notebook._base import endpoints, paths, running
from tfnz_notebook._base.descriptors import readable
from tfnz_notebook._base.endpoints import Target
from tfnz_notebook._base.running import Agent
from tfnz_notebook._link import patience
from tfnz_notebook._link.agents.remote import RemotePlace
from tfnz_notebook._link.ends import Address, Place
from tfnz_notebook.errors import AgentError, LinkClosed, Misuse, from_wire

#: Seconds for an agent to listen. Another may have to end, it has to find its engine, and may have
#: to start a service.
START_TIMEOUT: Final = 90.0
#: The last is for tests: see testing.py.
KNOWN: Final = ("podman", "docker", "host", "kubernetes", "fake")
#: Those that name more than an engine.
SCHEMES: Final = ("docker", "ssh", "kubernetes")

#: -P: what lies in the current directory must not be taken for a module.
AGENT: Final = ("-P", "-m", "tfnz_notebook.agent")

#: Agents we started: Popen objects complain when collected before their process has ended.
_started: list[subprocess.Popen[bytes]] = []


@atexit.register
def _let_go() -> None:
    for child in _started:
        if child.poll() is None:
            child.returncode = 0  # it outlives us by design: no warning when we forget it


def place(where: str | None, server_key: str | None = None) -> Place:
    """The place named ``where``; ``None`` as ``Location(None)``. Raises Misuse, AgentError."""
    if where is None:
        where = os.environ.get("TFNZ_LOCATION") or None
    if where is not None and where.startswith("tcp://"):
        return RemotePlace(where, server_key)
    if server_key is not None:
        raise Misuse(
            "Cannot use server_key: only agents on 'tcp://host:port' have one. Leave it out."
        )
    scheme, address, _ = (where or "").partition("://")
    known = SCHEMES if address else KNOWN
    if where is not None and (scheme if address else endpoints.kind(where)) not in known:
        raise Misuse(
            f"Cannot open location {where!r}: no such kind of place. Give 'podman', 'docker', "
            "'docker://context', 'ssh://user@host', 'host', 'kubernetes://context/namespace' or "
            "'tcp://host:2020'."
        )
    return LocalPlace(where, paths.private(paths.runtime()))


class LocalPlace:
    """An engine that is reached through an agent on this machine."""

    def __init__(self, where: str | None, runtime: Path) -> None:
        self._where = where
        self._runtime = runtime
        #: What the name meant when it was first looked for: a place stays where it is.
        self._target: Target | None = None

    @property
    def where(self) -> str:
        """The engine's name, once one is chosen."""
        return self._target.where if self._target is not None else self._where or "auto"

    def find(self) -> Address:
        """The address of a live agent of this version or a later one, started if none lives."""
        for child in _started:
            child.poll()
        target = self._target = self._target or self._resolved()
        agent = self._live(target)
        if agent is not None:
            return Address(agent.socket)
        with self._turn(target):
            agent = self._live(target)
            return Address(agent.socket) if agent is not None else self._start(target)

    def _resolved(self) -> Target:
        """Which engine is meant: where several may be, the one whose agent runs already."""
        possible = endpoints.targets(self._where)
        if len(possible) == 1:
            return possible[0]
        for target in possible:
            names = dict.fromkeys((target.name, target.former))
            if any(running.look_up(name, self._runtime, paths.state()) for name in names if name):
                return target
        chosen = endpoints.usual()
        return next(target for target in possible if target.where == chosen)

    def _live(self, target: Target) -> Agent | None:
        agent = running.look_up(target.name, self._runtime, paths.state())
        return agent if agent and agent.listens and not agent.outdated else None

    @contextmanager
    def _turn(self, target: Target) -> Iterator[None]:
        """One starts it at a time."""
        path = paths.turn(self._runtime, target.name)
        descriptor = self._opened(path, os.O_RDWR)
        try:
            deadline = time.monotonic() + START_TIMEOUT
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise AgentError(
                            f"Cannot start the agent of {self.where!r}: another process has held "
                            f"{path} for {START_TIMEOUT:.0f} s. End that process."
                        ) from None
                    time.sleep(0.02)
            yield
        finally:
            os.close(descriptor)

    def _opened(self, path: Path, flags: int) -> int:
        with paths.usable("runtime directory", self._runtime, "TFNZ_RUNTIME"):
            return os.open(path, flags | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def _start(self, target: Target) -> Address:
        paths.socket(self._runtime, target.name)
        log_path = paths.log(self._runtime, target.name)
        log = self._opened(log_path, os.O_WRONLY | os.O_APPEND)
        command = [sys.executable, *AGENT, "serve"]
        command += ["--where", self.where, "--runtime", str(self._runtime), "--announce"]
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=target.environment(_environment()),
                start_new_session=True,
            )
        except OSError as error:
            raise AgentError(
                f"Cannot start the agent of {self.where!r}: {sys.executable}: {error.strerror}."
            ) from None
        finally:
            os.close(log)
        _started.append(child)
        try:
            agent = f"the agent for {self.where}"
            with patience.told(f"starting {agent} …", f"started {agent}"):
                line = _first_line(child, START_TIMEOUT)
        except TimeoutError:
            child.kill()
            raise AgentError(
                f"Cannot start the agent of {self.where!r}: it did not listen within "
                f"{START_TIMEOUT:.0f} s. Its log is {log_path}.",
                log=_tail(log_path),
            ) from None
        return self._announced(line, child, log_path)

    def _announced(self, line: bytes, child: subprocess.Popen[bytes], log_path: Path) -> Address:
        try:
            told = json.loads(line)
            error, address = told.get("error"), told.get("socket")
        except (ValueError, AttributeError):
            error = address = None
        if error:
            child.wait()
            raise from_wire(error)
        if not isinstance(address, str):
            if (number := _killed_by(child)) is not None:
                raise LinkClosed(
                    f"Cannot start the agent of {self.where!r}: signal {number} ended it while it "
                    "started. Try again."
                )
            tail = _tail(log_path)
            raise AgentError(
                f"Cannot start the agent of {self.where!r}: it ended without a word on where it "
                f"listens. The end of its log, {log_path}:\n{tail}",
                log=tail,
            )
        return Address(address)


def _environment() -> dict[str, str]:
    """Ours; and the package is found even if it is only here because of this directory."""
    environment = dict(os.environ)
    home = str(Path(__file__).resolve().parents[3])
    if home not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        paths = [home, *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment


def _first_line(child: subprocess.Popen[bytes], timeout: float) -> bytes:
    """What it writes up to a newline or its end, whichever comes first; closes the pipe."""
    assert child.stdout is not None
    line = b""
    deadline = time.monotonic() + timeout
    with child.stdout as pipe:
        while not line.endswith(b"\n") and len(line) < 1 << 16:
            left = deadline - time.monotonic()
            if left <= 0 or not readable(pipe.fileno(), seconds=left):
                raise TimeoutError
            piece = os.read(pipe.fileno(), 4096)
            if not piece:
                break
            line += piece
    return line


def _killed_by(child: subprocess.Popen[bytes]) -> int | None:
    """The signal that ended a child which closed its output; None if it exited, or is killed here.

    Somebody ended it: not its own fault, unlike an exit, and the next one may fare better.
    """
    try:
        code = child.wait(1)
    except subprocess.TimeoutExpired:
        child.kill()
        return None
    return -code if code < 0 else None


def _tail(path: Path) -> str:
    try:
        return path.read_bytes()[-4096:].decode("utf-8", "replace").strip()
    except OSError:
        return ""
