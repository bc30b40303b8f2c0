"""Agents that run for this user: found by their locked pid files, asked with a hello."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tfnz_notebook import __version__
from tfnz_notebook._doctor.findings import Finding
from tfnz_notebook._link.ends import Address
from tfnz_notebook._link.link import Link
from tfnz_notebook.errors import TfnzError

PATIENCE: Final = 5.0
_STOP: Final = ((signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0))


@dataclass(frozen=True, slots=True)
class Agent:
    """One that holds the lock on its pid file. ``where`` also finds it: ``Link`` asks for that."""

    name: str
    where: str
    pid: int
    socket: str
    path: Path

    def find(self) -> Address:
        """As ``_link.ends.Place`` has it; here nothing is ever started."""
        return Address(self.socket)


def running(runtime: Path) -> Iterator[Agent]:
    """Agents whose sockets are in that directory."""
    for path in sorted(runtime.glob("*.pid")):
        try:
            if _locked(path):
                told = json.loads(path.read_text())
                pid, where = int(told["pid"]), str(told["where"])
                if pid > 1 and _has_open(pid, path):
                    yield Agent(path.stem, where, pid, str(told["socket"]), path)
        except (OSError, ValueError, KeyError, TypeError):
            continue  # ended meanwhile, or is starting, or none of ours


def _locked(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _has_open(pid: int, path: Path) -> bool:
    """That process is the one that holds the lock: whatever the file says."""
    with contextlib.suppress(OSError):
        wanted = path.stat()
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if os.path.samestat(each.stat(), wanted):
                    return True
    return False


async def ask(agent: Agent) -> Finding:
    """Its version and engine, in its own words."""
    topic = f"agent {agent.name}"
    at = f"pid {agent.pid}"
    if not agent.socket.startswith("ipc://"):
        said = f"{at}, listens at {agent.socket}"
        return Finding(topic, "ok", said, facts={"pid": agent.pid, "socket": agent.socket})
    link = Link(agent)
    remedy = "tfnz-agent stop; its containers go on, and the next notebook starts another agent"
    try:
        async with asyncio.timeout(PATIENCE):
            await link.open()
    except TimeoutError:
        return Finding(topic, "note", f"{at}: does not answer", remedy, {"pid": agent.pid})
    except TfnzError as error:
        return Finding(topic, "note", f"{at}: {error}", remedy, {"pid": agent.pid})
    finally:
        await link.close(PATIENCE)
    facts = {"pid": agent.pid, "version": link.agent, "engine": link.engine, "about": link.about}
    said = f"{at}, version {link.agent}, for {link.engine}"
    if link.agent != __version__:
        said += f"; this package is {__version__}"
        return Finding(topic, "note", said, remedy, facts)
    return Finding(topic, "ok", said, facts=facts)


async def end(agent: Agent) -> bool:
    """TERM, then KILL; False if it is still there."""
    loop = asyncio.get_running_loop()
    for number, patience in _STOP:
        try:
            os.kill(agent.pid, number)
        except ProcessLookupError:
            return True
        deadline = loop.time() + patience
        while loop.time() < deadline:
            try:
                if not _locked(agent.path):
                    return True
            except OSError:
                return True
            await asyncio.sleep(0.05)
    return False
