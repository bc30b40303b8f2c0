"""Finding the agent of an engine, or starting one.

In the runtime directory (``$TFNZ_RUNTIME``, else ``$XDG_RUNTIME_DIR/tfnz``, else
``/tmp/tfnz-<uid>``; 0700 and ours, or we refuse) each engine has ``<name>.sock``, ``<name>.lock``
and ``<name>.log``. A socket that accepts a connection is a live agent. Otherwise whoever gets the
lock starts one, as ``python -m tfnz_notebook.agent serve --where W --runtime DIR --announce``, in
a session of its own so that an interrupt meant for a cell does not reach it. It announces itself
with one line of JSON on stdout: ``{"where", "socket", "pid"}``, the socket as ZeroMQ writes it, or
``{"error": ...}`` as ``errors.to_wire`` makes it.

Everything here blocks; the link calls it in a worker thread.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import re
import socket
import stat
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tfnz_notebook._base.descriptors import readable
from tfnz_notebook._link import patience
from tfnz_notebook._link.agents.remote import RemotePlace
from tfnz_notebook._link.agents.upgrade import make_room, outdated
from tfnz_notebook._link.ends import Address, Place
from tfnz_notebook.errors import AgentError, LinkClosed, Misuse, from_wire

#: Seconds for an agent to listen. It has to find its engine, and may have to start a service.
START_TIMEOUT: Final = 60.0
#: Where no place is named, agents of these are joined if they live already, in this order.
PREFERRED: Final = ("podman", "docker")
KNOWN: Final = ("podman", "docker", "host", "fake")  # the last for tests: see testing.py
#: sun_path of Linux has 108 bytes with the closing zero; macOS 104.
MAX_SOCKET_PATH: Final = 103

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
    if where is not None and where not in KNOWN and not where.startswith("kubernetes://"):
        raise Misuse(
            f"Cannot open location {where!r}: no such kind of place. Give 'podman', 'docker', "
            "'host', 'kubernetes://context/namespace' or 'tcp://host:2020'."
        )
    return LocalPlace(where, runtime_directory())


def runtime_directory() -> Path:
    """The directory of sockets, made if need be. Raises AgentError if others could use it."""
    uid = os.geteuid()
    named = os.environ.get("TFNZ_RUNTIME")
    xdg = os.environ.get("XDG_RUNTIME_DIR")
    if named:
        path = Path(named).absolute()
    elif xdg and os.access(xdg, os.W_OK):
        path = Path(xdg, "tfnz")
    else:
        path = Path(f"/tmp/tfnz-{uid}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        raise AgentError(
            f"Cannot use the runtime directory {path}: {error.strerror}. "
            "Set TFNZ_RUNTIME to a directory of yours."
        ) from None
    cause = ""
    if not stat.S_ISDIR(status.st_mode):
        cause = "it is not a directory"
    elif status.st_uid != uid:
        cause = f"it belongs to uid {status.st_uid}"
    elif status.st_mode & 0o077:
        cause = f"others may enter it (mode {stat.S_IMODE(status.st_mode):o})"
    if cause:
        raise AgentError(
            f"Cannot use the runtime directory {path}: {cause}, and whoever enters it controls "
            "your containers. Make it yours alone (chmod 700), or set TFNZ_RUNTIME to another one."
        )
    return path


def file_name(where: str) -> str:
    """The stem of an engine's files in the runtime directory."""
    return re.sub(r"[^a-z0-9._-]", "_", where.lower())


class LocalPlace:
    """An engine that is reached through an agent on this machine."""

    def __init__(self, where: str | None, runtime: Path) -> None:
        self._where = where
        self._runtime = runtime

    @property
    def where(self) -> str:
        """The engine's name, once one is chosen."""
        return self._where or "auto"

    def find(self) -> Address:
        """The address of a live agent of this version or a later one, started if none lives."""
        for child in _started:
            child.poll()
        address = self._live()
        if address is not None and outdated(self._runtime, file_name(self.where)) is None:
            return address
        with self._lock():
            make_room(self._runtime, file_name(self.where))
            return self._live() or self._start()

    def _live(self) -> Address | None:
        for where in (self._where,) if self._where else PREFERRED:
            path = self._runtime / f"{file_name(where)}.sock"
            if accepts(path):
                self._where = where
                return Address(f"ipc://{path}")
        return None

    @contextmanager
    def _lock(self) -> Iterator[None]:
        path = self._runtime / f"{file_name(self.where)}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
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

    def _start(self) -> Address:
        log_path = self._runtime / f"{file_name(self.where)}.log"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        log = os.open(log_path, flags, 0o600)
        command = [sys.executable, *AGENT, "serve"]
        command += ["--where", self.where, "--runtime", str(self._runtime), "--announce"]
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_environment(),
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
            with patience.told(f"starting the agent for {self._where or 'the usual engine'} …"):
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
            error, path, where = told.get("error"), told.get("socket"), told.get("where")
        except (ValueError, AttributeError):
            error = path = where = None
        if error:
            child.wait()
            raise from_wire(error)
        if not isinstance(path, str):
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
        if self._where is None and isinstance(where, str):
            self._where = where
        return Address(path)


def _environment() -> dict[str, str]:
    """Ours; and the package is found even if it is only here because of this directory."""
    environment = dict(os.environ)
    home = str(Path(__file__).resolve().parents[3])
    if home not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        paths = [home, *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment


def accepts(path: Path) -> bool:
    """Whether somebody listens on that socket."""
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise AgentError(
            f"Cannot use the runtime directory {path.parent}: its path is too long for a socket. "
            "Set TFNZ_RUNTIME to a shorter one."
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(5.0)
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return False
    return True


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
