"""A process's stdin: what was written, until the process took it.

Bytes are kept until the guest says that the process's pipe has them, so that a broken connection
loses and repeats nothing. At most the guest's window is on the way; ``HELD`` more may wait here.
What the guest has received outlives this agent, so a write is answered when the guest has it all.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from tfnz_notebook._wire.guest import WINDOW_IN
from tfnz_notebook._wire.window import Sender
from tfnz_notebook.agent.container.guest import Guest
from tfnz_notebook.agent.container.inflow import Inflow
from tfnz_notebook.errors import ProcessGone

#: Bytes the agent holds for a process that does not read.
HELD: Final = 4 << 20


class Stdin(Inflow):
    """Offsets count bytes since the process started: acknowledged <= ``received`` <= ``head``."""

    def __init__(self, guest: Guest) -> None:
        super().__init__(guest)
        self.received = 0
        #: Who writes while others wait for room, in order.
        self.turn = asyncio.Lock()
        self._closed = False

    @property
    def head(self) -> int:
        """One past the last byte that was written."""
        return self.window.head

    def begin(self, offset: int, *, closed: bool) -> None:
        """Start at the offset an earlier agent had reached."""
        self.window = Sender(offset, window=WINDOW_IN)
        self.received = offset
        self._closed = self._eof_sent = closed

    def write(self, chunk: bytes) -> None:
        """Queue bytes. Raises ProcessGone after :meth:`close`."""
        if self._closed:
            raise ProcessGone("Cannot write to stdin: it was closed. Spawn another process.")
        super().write(chunk)

    async def room(self) -> None:
        """Wait until less than ``HELD`` waits here, or nobody will read it any more."""
        while self.head - self.window.acked > HELD and not self.over:
            await self.moved()

    async def arrived(self, upto: int) -> None:
        """Wait until the guest has everything before ``upto``, or nobody will read it any more."""
        while self.received < upto and not self.over:
            await self.moved()

    def close(self, *, hold: bool = False) -> None:
        """End of file after what is queued; with ``hold`` not before a second call without."""
        self._closed = True
        self._ending = not hold
        self.push()

    def push(self) -> None:
        """Send what may be sent now, and learn when the guest has it."""
        before = self.window.sent
        super().push()
        if self.window.sent > before:
            self._guest.barrier(partial(self._has, self.window.sent))

    def _has(self, upto: int) -> None:
        """The guest has everything before ``upto``."""
        self.received = max(self.received, upto)
        self._moved.set()

    def acknowledged(self, upto: int) -> None:
        """The process's pipe has everything before ``upto``. ProtocolError if it cannot have."""
        self._forget(upto)
        self._has(upto)
        self.push()

    def refused(self) -> None:
        """The process closed its stdin; what is queued goes nowhere, as with any pipe."""
        self._closed = self._eof_sent = True
        self.release()

    def release(self) -> None:
        """Nobody will read it any more."""
        super().release()
        self.received = self.head

    def resumed(self, received: int) -> None:
        """The connection is back; the guest has everything before ``received``."""
        self._forget(received)
        self._has(received)
        self.window.rewind()
        self._eof_sent = False
        self.push()
