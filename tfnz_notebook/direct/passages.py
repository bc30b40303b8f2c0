"""The ports that pages were let in to: each behind a name that nobody can guess.

Who is logged in to the Jupyter server shows a ticket for one port of one container, and gets an
address for it. That address alone is asked for from then on: a page in a sandbox has no origin, and
so browsers send none of the server's cookies with what it asks for. It is good until it was not
used for half a day, the container is gone, or the server ends.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from typing import Final

from tfnz_notebook._link.link import Link
from tfnz_notebook._link.ports.dial import Dial
from tfnz_notebook._link.views.viewer import gate, viewer
from tfnz_notebook.direct.rewriting import Rewriting
from tfnz_notebook.errors import TunnelError

#: Seconds without a request after which an address is forgotten; and how many there may be.
UNUSED: Final = 12 * 3600.0
MOST: Final = 256
#: Seconds that a link to the agent stays when no request needs it.
IDLE: Final = 60.0
#: Seconds to tell the agent that a link is gone; it notices by itself, later.
BYE: Final = 2.0


class Connection:
    """One connection to the port, with the pressure of who reads and who writes."""

    def __init__(self, passage: Passage) -> None:
        self._passage = passage
        self._arrived: deque[bytes] = deque()
        self._moved = asyncio.Event()
        self._taken = 0
        self._ended = self._cut = False
        self._dial: Dial

    async def open(self, link: Link, container: str, port: int) -> None:
        """Raises PortClosed, ContainerGone, LinkClosed."""
        self._dial = Dial(link, container, port, self)
        await self._dial.connect()

    async def read(self) -> bytes:
        """What came next; empty at the end. TunnelError if it was cut."""
        taken, self._taken = self._taken, 0
        if taken:
            self._dial.taken(taken)
        while not self._arrived:
            if self._ended:
                return b""
            self._check()
            await self._move()
        piece = self._arrived.popleft()
        self._taken = len(piece)
        return piece

    async def write(self, data: bytes) -> None:
        """Send it, as fast as it is read there. TunnelError if it was cut."""
        left = memoryview(data)
        while left:
            while not self._dial.room_left:
                self._check()
                await self._move()
            self._check()
            size = min(len(left), self._dial.room_left)
            self._dial.send(bytes(left[:size]))
            left = left[size:]

    def end(self) -> None:
        """No more will be written."""
        if not self._cut:
            self._dial.send_eof()

    def close(self) -> None:
        """Let go of it. Idempotent."""
        self._cut = True
        self._dial.close()
        self._moved.set()
        self._passage.left(self)

    def _check(self) -> None:
        if self._cut:
            raise TunnelError("Cannot go on with the connection: it was cut. Ask again.")

    async def _move(self) -> None:
        self._moved.clear()
        await self._moved.wait()

    # -- called by the dial

    def received(self, payload: bytes) -> None:
        """Bytes from the container."""
        self._arrived.append(payload)
        self._moved.set()

    def ended(self) -> None:
        """It will send no more."""
        self._ended = True
        self._moved.set()

    def writable(self) -> None:
        """It takes more."""
        self._moved.set()

    def dropped(self, number: int) -> None:
        """The connection is gone."""
        # Without an error both halves are closed, and that is an end.
        self._cut, self._ended = True, self._ended or not number
        self._moved.set()


class Passage:
    """One port, as long as its address is good."""

    def __init__(self, root: str, agent: str, container: str, port: int, ticket: str) -> None:
        """``root``: of the server's addresses for ports."""
        self.name = secrets.token_urlsafe(32)
        self.prefix = f"{root}/{self.name}"
        self.port = port
        self.rewriting = Rewriting(self.prefix, self.name[:8], port)
        self.used = time.monotonic()
        self._to = (agent, container, port, ticket)
        self._link: Link | None = None
        self._opening = asyncio.Lock()
        self._connections: set[Connection] = set()
        self._idle: asyncio.TimerHandle | None = None

    async def check(self) -> None:
        """Raise AgentError if the ticket is not good, ContainerGone, LinkClosed, Misuse."""
        await self._linked()
        self._rest()

    async def connect(self) -> Connection:
        """A new connection. Raises PortClosed, ContainerGone, LinkClosed, AgentError."""
        self.used = time.monotonic()
        made = Connection(self)
        self._connections.add(made)
        try:
            link = await self._linked()
            await made.open(link, self._to[1], self.port)
        except BaseException:
            self.left(made)
            raise
        return made

    async def _linked(self) -> Link:
        if self._idle is not None:
            self._idle.cancel()
        async with self._opening:
            if self._link is None or self._link.over:
                agent, container, port, ticket = self._to
                link = gate(agent, container, port, ticket)
                await link.open()
                self._link = link
            return self._link

    def left(self, connection: Connection) -> None:
        """That connection is over. Idempotent."""
        self._connections.discard(connection)
        self._rest()

    def _rest(self) -> None:
        if not self._connections and self._link is not None:
            if self._idle is not None:
                self._idle.cancel()
            self._idle = asyncio.get_running_loop().call_later(IDLE, self._part)

    def _part(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.background(link.close(BYE))

    def close(self) -> None:
        """End all connections."""
        for each in list(self._connections):
            each.close()
        if self._idle is not None:
            self._idle.cancel()
        self._part()


async def ticket_for(agent: str, process: str, port: int, shown: str) -> tuple[str, str]:
    """For who may use a process: of its container the id, and the ticket for that port.

    Raises AgentError, ProcessGone, ContainerGone, LinkClosed, Misuse.
    """
    link = viewer(agent, process, shown)
    await link.open()
    try:
        reply = await link.request("dial.ticket", {"container": process, "port": port})
    finally:
        link.background(link.close(BYE))
    return str(reply.body["container"]), str(reply.body["ticket"])


class Passages:
    """Those of one server."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._named: dict[str, Passage] = {}
        self._known: dict[tuple[str, str, int, str], Passage] = {}

    async def enter(self, agent: str, container: str, port: int, ticket: str) -> Passage:
        """The passage to that port. Raises AgentError, ContainerGone, LinkClosed, Misuse."""
        key = (agent, container, port, ticket)
        found = self._known.get(key) or Passage(self._root, *key)
        await found.check()
        self._forget()
        self._known[key] = self._named[found.name] = found
        found.used = time.monotonic()
        return found

    def named(self, name: str) -> Passage | None:
        """The one of that name, if it is good still."""
        found = self._named.get(name)
        if found is not None and time.monotonic() - found.used > UNUSED:
            self._forget()
            return None
        return found

    def _forget(self) -> None:
        by_use = sorted(self._known.items(), key=lambda each: each[1].used, reverse=True)
        for number, (key, each) in enumerate(by_use):
            if number >= MOST - 1 or time.monotonic() - each.used > UNUSED:
                del self._known[key], self._named[each.name]
                each.close()
