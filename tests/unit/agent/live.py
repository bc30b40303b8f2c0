"""A whole agent in the test's own loop, over an engine in memory, on a real socket."""

import asyncio
import shutil
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tfnz_notebook._base import endpoints, paths, running
from tfnz_notebook._link.link import Link
from tfnz_notebook._link.views.viewer import LivePlace, viewer
from tfnz_notebook.agent.service import Options, Service, label
from tfnz_notebook.agent.sessions import Sessions
from tfnz_notebook.testing import FakeEngine, Program

NAME = "fake"
OWNER = "somebody"


async def count(p: Program) -> int:
    """Write so many numbered lines, one a turn of the loop."""
    for number in range(int(p.argv[1])):
        await p.write(b"line %d\n" % number)
        await asyncio.sleep(0)
    return 0


async def until(met: Callable[[], Any], timeout: float = 10.0) -> Any:
    """Poll until it is true; its value."""
    deadline = time.monotonic() + timeout
    while not (value := met()):
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.002)
    return value


async def met(sessions: Sessions) -> None:
    """What an earlier agent left was met, or is known to be silent; what was over is cleared."""
    for session in sessions:
        for each in session.containers.values():
            await each.looked.wait()
    if sessions._cleaning is not None:
        await sessions._cleaning


class LiveAgent:
    """``service`` is the agent; ``link`` a kernel's, in a session of its own."""

    def __init__(self, runtime: Path) -> None:
        self.runtime = runtime
        self.engine = FakeEngine(programs={"count": count}, owner=label(OWNER, NAME))
        self.links: list[Link] = []

    async def start(self) -> None:
        """Listen; again after :meth:`stop` as another agent of that name."""
        options, target = Options(NAME, self.runtime), endpoints.resolve(NAME)
        address = f"ipc://{paths.socket(self.runtime, NAME)}"
        self.claim = running.claim(target, address, self.runtime, paths.state())
        self.service = Service(options, self.engine, target, OWNER)
        await self.service.start()
        await met(self.service.sessions)
        self.claim.listening()

    async def stop(self) -> None:
        """End, and leave what runs to the next."""
        await self.service.close()
        self.claim.release()

    async def kernel(self) -> Link:
        """A link with a session."""
        link = Link(LivePlace(NAME))
        self.links.append(link)
        await link.open()
        return link

    async def viewer(self, process: str, ticket: str) -> Link:
        """A link of a view."""
        link = viewer(NAME, process, ticket)
        self.links.append(link)
        await link.open()
        return link


async def container(link: Link, name: str = "box") -> str:
    """A container in the link's session; its id."""
    ident = uuid.uuid4().hex
    spec = {"image": "debian", "sleep": True, "name": name}
    await link.request("container.spawn", {"container": ident, "spec": spec})
    return ident


async def process(link: Link, where: str, *command: str) -> tuple[str, str]:
    """A process in a container, and its ticket."""
    ident = uuid.uuid4().hex
    body = {"container": where, "process": ident, "command": list(command), "text": command[0]}
    await link.request("process.spawn", {**body, "env": []})
    reply = await link.request("process.ticket", {"process": ident})
    assert reply.body["agent"] == NAME
    return ident, reply.body["ticket"]


@asynccontextmanager
async def live_agent(patch: pytest.MonkeyPatch) -> AsyncIterator[LiveAgent]:
    """One that listens, and is gone with all links afterwards."""
    # Short enough for a socket's path.
    home = Path(tempfile.mkdtemp(prefix="tfnz-"))
    for name in ("runtime", "state", "config"):
        (home / name).mkdir(mode=0o700)
        patch.setenv(f"TFNZ_{name.upper()}", str(home / name))
    agent = LiveAgent(home / "runtime")
    await agent.engine.open()
    await agent.start()
    try:
        yield agent
    finally:
        for link in agent.links:
            await link.close(1.0)
        await agent.stop()
        await agent.engine.close()
        shutil.rmtree(home, ignore_errors=True)
