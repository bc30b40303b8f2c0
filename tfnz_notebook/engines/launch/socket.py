"""The guest's socket in a directory that the container can write.

The directory is bind-mounted into the container, whose root can put anything there: a symbolic
link to another socket of this machine, a file, a fifo. So nothing is followed: the directory is
opened without links, the socket in it with ``O_PATH | O_NOFOLLOW``, its kind is checked on that
very handle, and the connection goes through ``/proc/self/fd``, which names the same object
(and knows no 108 byte limit on paths).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import socket
import stat
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Final

from tfnz_notebook.engines.base import Closed, Received
from tfnz_notebook.engines.launch import rank
from tfnz_notebook.engines.launch.stream import TransportStream
from tfnz_notebook.errors import ContainerGone, EngineGone

NAME: Final = "guest.sock"
#: How long a guest that is only starting is waited for, in seconds.
PATIENCE: Final = 10.0
#: The first pause between two attempts; a guest listens about 1 ms after its exec.
_FIRST_PAUSE: Final = 0.001
_LAST_PAUSE: Final = 0.05


class Unsafe(Exception):
    """What lies at the socket's place is not a socket."""


def make_directory(path: Path) -> Path:
    """A fresh private directory for one container's socket."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    path.chmod(0o700)  # whatever the umask says
    return path


def leave_files(path: Path, files: Mapping[str, bytes]) -> None:
    """Leave them in a fresh directory, for the guest to write: each below ``files``."""
    for name, content in files.items():
        place = path / "files" / name.lstrip("/")
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.touch(mode=0o600)
        place.write_bytes(content)


def drop_directory(path: Path) -> None:
    """Remove it with what the container left there; links are removed, never followed."""
    assert shutil.rmtree.avoids_symlink_attacks or sys.platform == "win32"
    shutil.rmtree(path, ignore_errors=True)


def folder(runtime: Path, owner: str) -> Path:
    """Where the directories of this owner's containers are. Short, for whoever binds a path."""
    return runtime / "guests" / hashlib.sha256(owner.encode()).hexdigest()[:12]


def sweep(folder: Path, kept: Collection[str]) -> None:
    """Drop the directories in ``folder`` but for those of the containers ``kept``.

    An agent that was killed may leave one whose container was not made yet, or not any more.
    """
    for path in folder.glob("*"):
        if path.name not in kept:
            drop_directory(path)


def dial(directory: Path) -> socket.socket:
    """A connected, non-blocking socket. OSError while nothing listens; Unsafe for a non-socket."""
    if not hasattr(os, "O_PATH"):  # not Linux: containers live in a virtual machine anyway
        raise Unsafe("sockets are only shared with containers on Linux")
    where = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        handle = os.open(NAME, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=where)
    finally:
        os.close(where)
    try:
        if not stat.S_ISSOCK(os.fstat(handle).st_mode):
            raise Unsafe(f"{NAME} is not a socket")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            # Non-blocking first: a listener with a full backlog must not hold the loop.
            sock.setblocking(False)
            sock.connect(f"/proc/self/fd/{handle}")
        except BaseException:
            sock.close()
            raise
    finally:
        os.close(handle)
    return sock


async def connect(
    directory: Path,
    received: Received,
    closed: Closed,
    running: Callable[[], Awaitable[bool]],
    patience: float = PATIENCE,
) -> TransportStream:
    """A stream to the guest; waits for one that is only starting.

    ``running`` is asked now and then whether waiting makes sense. Raises ContainerGone when not,
    EngineGone when the guest stays silent, PermissionError when its socket is another user's.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    pause = _FIRST_PAUSE
    asked = loop.time()
    sock: socket.socket | None = None
    while sock is None:
        try:
            sock = dial(directory)
            continue
        except PermissionError:
            raise
        except (OSError, Unsafe) as error:
            cause = error
        if loop.time() - asked > 0.1:
            if not await running():
                raise ContainerGone(
                    "Cannot connect to the container: it is not running. "
                    "Look at its logs, or spawn another."
                )
            asked = loop.time()
        if loop.time() > deadline:
            why = str(cause) if isinstance(cause, Unsafe) else os.strerror(cause.errno or 0)
            raise EngineGone(
                f"Cannot connect to the container's guest within {patience:g} s: {why}. "
                "Destroy the container and spawn another."
            )
        await asyncio.sleep(pause)
        pause = min(pause * 1.3, _LAST_PAUSE)
    rank.raise_guest(sock)
    try:
        _, stream = await loop.create_unix_connection(
            lambda: TransportStream(received, closed), sock=sock
        )
    except BaseException:
        with contextlib.suppress(OSError):
            sock.close()
        raise
    stream.folder = directory
    stream.deliver()
    return stream
