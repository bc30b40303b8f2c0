"""A process's stdin: what was written, until the process took it.

Bytes are kept until the guest says that the process's pipe has them, so that a broken connection
loses and repeats nothing. At most the guest's window is on the way; ``HELD`` more may wait here.
What the guest has received outlives this agent, so a write is answered when the guest has it all.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import Final

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Type
from tfnz_notebook.agent.container.guest import Guest
from tfnz_notebook.errors import ProcessGone

#: Bytes the agent holds for a process that does not read.
HELD: Final = 4 << 20
#: Bytes in one frame: a fraction of the window, so that one frame never fills it.
PIECE: Final = wire.WINDOW_IN // 4


class Stdin:
    """Offsets count bytes since the process started: ``acked`` <= ``received`` <= ``end``."""

    def __init__(self, guest: Guest) -> None:
        self.channel = 0
        self.end = 0
        self.received = 0
        #: Who writes while others wait for room, in order.
        self.turn = asyncio.Lock()
        self._guest = guest
        self._pieces: deque[bytes] = deque()
        self._acked = 0
        self._sent = 0
        self._closed = False
        self._held = False
        self._eof_sent = False
        self._over = False
        self._moved = asyncio.Event()

    def begin(self, offset: int, *, closed: bool) -> None:
        """Start at the offset an earlier agent had reached."""
        self._acked = self._sent = self.received = self.end = offset
        self._closed = self._eof_sent = closed

    def write(self, chunk: bytes) -> None:
        """Queue bytes. Raises ProcessGone after :meth:`close`."""
        if self._closed:
            raise ProcessGone("Cannot write to stdin: it was closed. Spawn another process.")
        for start in range(0, len(chunk), PIECE):
            self._pieces.append(chunk[start : start + PIECE])
        self.end += len(chunk)
        self._push()

    async def room(self) -> None:
        """Wait until less than ``HELD`` waits here, or nobody will read it any more."""
        while self.end - self._acked > HELD and not self._over:
            await self._change()

    async def arrived(self, upto: int) -> None:
        """Wait until the guest has everything before ``upto``, or nobody will read it any more."""
        while self.received < upto and not self._over:
            await self._change()

    async def _change(self) -> None:
        self._moved.clear()
        await self._moved.wait()

    def close(self, *, hold: bool = False) -> None:
        """End of file after what is queued; with ``hold`` not before a second call without."""
        self._closed = True
        self._held = hold
        self._push()

    def _push(self) -> None:
        at, before = self._acked, self._sent
        for piece in self._pieces:
            end = at + len(piece)
            if end > self._sent:
                if end > self._acked + wire.WINDOW_IN:
                    break
                self._guest.send(wire.data(self.channel, 0, at, piece))
                self._sent = end
            at = end
        if self._sent > before:
            self._guest.barrier(partial(self._has, self._sent))
        if self._closed and not self._held and self._sent == self.end and not self._eof_sent:
            self._eof_sent = True
            self._guest.send(wire.fixed(Type.EOF, self.channel, self.end, stream=0))

    def _has(self, upto: int) -> None:
        """The guest has everything before ``upto``."""
        self.received = max(self.received, upto)
        self._moved.set()

    def taken(self, upto: int) -> None:
        """The process's pipe has everything before ``upto``."""
        self._trim(upto)
        self._push()

    def _trim(self, upto: int) -> None:
        while self._pieces and self._acked + len(self._pieces[0]) <= upto:
            self._acked += len(self._pieces.popleft())
        if self._pieces and upto > self._acked:
            self._pieces[0] = self._pieces[0][upto - self._acked :]
            self._acked = upto
        self._has(upto)

    def refused(self) -> None:
        """The process closed its stdin; what is queued goes nowhere, as with any pipe."""
        self._closed = self._eof_sent = True
        self.release()

    def release(self) -> None:
        """Nobody will read it any more."""
        self._over = True
        self._pieces.clear()
        self._acked = self._sent = self.received = self.end
        self._moved.set()

    def resumed(self, received: int) -> None:
        """The connection is back; the guest has everything before ``received``."""
        self._trim(received)
        self._sent = self._acked
        self._eof_sent = False
        self._push()
