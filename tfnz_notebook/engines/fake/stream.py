"""The agent's end of a connection to an in-memory guest."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from tfnz_notebook._wire.guest import Decoder
from tfnz_notebook.engines.base import Closed, Received, Stream

if TYPE_CHECKING:
    from tfnz_notebook.engines.fake.guest import FakeGuest


class FakeStream(Stream):
    """Both directions are a turn of the loop away, as they are on a socket."""

    def __init__(self, guest: FakeGuest, received: Received, closed: Closed) -> None:
        self._guest: FakeGuest | None = guest
        self._received, self._closed = received, closed
        self._queue: deque[bytes] = deque()
        self._paused = False
        self._due = False
        self.decoder = Decoder()

    def write(self, data: bytes) -> None:
        if self._guest is not None:
            asyncio.get_running_loop().call_soon(self._fed, bytes(data))

    def _fed(self, data: bytes) -> None:
        if self._guest is not None:
            self._guest.fed(self, data)

    @property
    def writable(self) -> bool:
        return True

    async def drain(self) -> None:
        """Memory takes everything."""

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._schedule()

    def close(self) -> None:
        # After what was written before: a socket delivers that, too.
        self._paused = True
        asyncio.get_running_loop().call_soon(self.broke, None)

    def deliver(self, data: bytes) -> None:
        """From the guest."""
        self._queue.append(data)
        self._schedule()

    def _schedule(self) -> None:
        if not self._due and self._queue:
            self._due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._due = False
        while self._queue and not self._paused and self._guest is not None:
            self._received(self._queue.popleft())

    def broke(self, cause: Exception | None) -> None:
        """End it, with ``closed`` said soon; idempotent. Tests cut a connection with this."""
        guest, self._guest = self._guest, None
        if guest is not None:
            guest.disconnected(self)
            # What was said before the end is heard before it, as on a socket.
            asyncio.get_running_loop().call_soon(self._finish, cause)

    def _finish(self, cause: Exception | None) -> None:
        self._closed(cause)
