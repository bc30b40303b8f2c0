"""The agent's end of a connection to an in-memory guest."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from tfnz_notebook._wire.guest import Decoder
from tfnz_notebook.engines.base import Closed, Received, Stream

if TYPE_CHECKING:
    from tfnz_notebook.engines.fake.guest import FakeGuest

#: Bytes queued to the guest above which a stream is not writable, and below which it is again.
WRITE_HIGH: Final = 256 << 10
WRITE_LOW: Final = 64 << 10
#: A guest reads no more while so many bytes of its own wait for the agent.
ANSWERS: Final = 64 << 10


class FakeStream(Stream):
    """Both directions are a turn of the loop away, as they are on a socket."""

    def __init__(self, guest: FakeGuest, received: Received, closed: Closed) -> None:
        self._guest: FakeGuest | None = guest
        self._received, self._closed = received, closed
        self._to_guest: deque[bytes] = deque()
        self._to_agent: deque[bytes] = deque()
        #: Bytes that wait for the guest to read them.
        self.unread = 0
        self._unheard = 0  # bytes to the agent
        self._full = self._slow = False
        self._paused = False
        self._due = False
        self._drained = asyncio.Event()
        self.decoder = Decoder()

    # -- to the guest

    def write(self, data: bytes) -> None:
        if self._guest is not None:
            self._to_guest.append(bytes(data))
            self.unread += len(data)
            self._full = self._full or self.unread > WRITE_HIGH
            self._schedule()

    @property
    def slow(self) -> bool:
        """Set by tests: the guest reads nothing, as one that is stopped."""
        return self._slow

    @slow.setter
    def slow(self, slow: bool) -> None:
        self._slow = slow
        self._schedule()

    @property
    def writable(self) -> bool:
        return not self._full

    async def drain(self) -> None:
        while self._full:
            self._drained.clear()
            await self._drained.wait()

    def _feed(self) -> None:
        while self._to_guest and not self._slow and self._unheard < ANSWERS:
            if self._guest is None:
                return
            data = self._to_guest.popleft()
            self.unread -= len(data)
            self._guest.fed(self, data)
        if self._full and self.unread < WRITE_LOW:
            self._full = False
            self._drained.set()

    # -- from the guest

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._schedule()

    def deliver(self, data: bytes) -> None:
        """From the guest."""
        self._to_agent.append(data)
        self._unheard += len(data)
        self._schedule()

    def _hear(self) -> None:
        while self._to_agent and not self._paused and self._guest is not None:
            data = self._to_agent.popleft()
            self._unheard -= len(data)
            self._received(data)

    # -- both

    def _schedule(self) -> None:
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def wake(self) -> None:
        """Its guest goes on, perhaps."""
        self._schedule()

    def _turn(self) -> None:
        self._due = False
        if self._guest is not None and self._guest.paused:
            return
        self._hear()
        self._feed()
        if self._to_agent and not self._paused and self._guest is not None:  # said on the way
            self._schedule()

    def close(self) -> None:
        # After what was written before: a socket delivers that, too.
        self._paused = True
        asyncio.get_running_loop().call_soon(self.broke, None)

    def broke(self, cause: Exception | None) -> None:
        """End it, with ``closed`` said soon; idempotent. Tests cut a connection with this."""
        guest, self._guest = self._guest, None
        self._full = False
        self._drained.set()
        if guest is not None:
            guest.disconnected(self)
            # What was said before the end is heard before it, as on a socket.
            asyncio.get_running_loop().call_soon(self._finish, cause)

    def _finish(self, cause: Exception | None) -> None:
        self._closed(cause)
