"""Bytes into a container: one channel's IN stream, as its guest's window and its connection allow.

Two things hold a sender of bulk back: the window, which bounds what the guest keeps of one stream,
and the connection's own queue, which all streams share (:attr:`Guest.writable`). What may not be
sent yet waits here, so that a signal, a size or an acknowledgement is never behind megabytes.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Type
from tfnz_notebook._wire.window import Sender
from tfnz_notebook.agent.container.guest import Guest
from tfnz_notebook.agent.world import Gate

#: Bytes in one frame: a fraction of the window, so that one frame never fills it.
PIECE: Final = wire.WINDOW_IN // 4


class Inflow:
    """What the guest has not acknowledged is kept here: a new connection may have to bring it."""

    def __init__(self, guest: Guest, channel: int = 0, window: int = wire.WINDOW_IN) -> None:
        self.channel = channel
        self.window = Sender(window=window)
        self._guest = guest
        #: The first one begins at window.acked. A deque as soon as there is one: it is large.
        self._pieces: deque[bytes] | None = None
        self._ending = self._eof_sent = False
        #: Nobody will read it any more.
        self.over = False
        self._moved = Gate()

    def write(self, chunk: bytes) -> None:
        """Send it, in its turn; nothing once it is over."""
        if self.over:
            return
        if self._pieces is None:
            self._pieces = deque()
        for start in range(0, len(chunk), PIECE):
            self._pieces.append(chunk[start : start + PIECE])
        self.window.add(len(chunk))
        self.push()

    def end(self) -> None:
        """End of file after what was written."""
        if not self.over:
            self._ending = True
            self.push()

    def push(self) -> None:
        """Send what may be sent now."""
        at, before = self.window.acked, self.window.sent
        for piece in self._pieces or ():
            if at == self.window.sent:
                if len(piece) > self.window.room:
                    break
                if not self._guest.writable:
                    self._guest.when_writable(self.push)
                    break
                self.window.send(len(piece))
                self._guest.send(wire.data(self.channel, 0, at, piece))
            at += len(piece)
        if self._ending and not self._eof_sent and self.window.sent == self.window.head:
            self._eof_sent = True
            self._guest.send(wire.fixed(Type.EOF, self.channel, self.window.head, stream=0))
        if self.window.sent > before:
            self._moved.set()

    def acknowledged(self, upto: int) -> None:
        """The guest's ACK. Raises ProtocolError for what was never sent."""
        self._forget(upto)
        self._moved.set()
        self.push()

    def _forget(self, upto: int) -> None:
        size = -self.window.acked
        self.window.acknowledge(upto)
        size += self.window.acked
        while self._pieces and size:
            piece = self._pieces.popleft()
            if len(piece) > size:
                self._pieces.appendleft(piece[size:])
            size -= min(size, len(piece))

    def release(self) -> None:
        """Nobody will read it any more: nothing is kept, and nobody waits."""
        self.over = True
        self._guest.stop_waiting(self.push)
        self._pieces = None
        self.window = Sender(self.window.head)
        self._moved.set()

    async def moved(self) -> None:
        """Wait until more was sent or acknowledged, or it is over."""
        self._moved.clear()
        await self._moved.wait()
