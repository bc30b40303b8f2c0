"""One connection as bytes that are awaited: what HTTP is spoken on.

asyncio's own streams would do, but for one thing: a connection that an upgrade takes over must
give up its transport and *every* byte it holds, and ``StreamReader`` keeps those to itself.
"""

from __future__ import annotations

import asyncio
from typing import Final

#: Unread bytes at which reading pauses.
_HIGH: Final = 256 << 10


class Wire(asyncio.Protocol):
    """One connection: bytes in through :meth:`read`, out through :meth:`write`."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._chunks: list[bytes] = []
        self._held = 0
        self._ended = False
        self._error: Exception | None = None
        self._paused_writing = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._chunks.append(data)
        self._held += len(data)
        if self._held > _HIGH and self.transport is not None:
            self.transport.pause_reading()
        self._wake(self._reader)

    def eof_received(self) -> bool:
        self._ended = True
        self._wake(self._reader)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._error = exc
        self._wake(self._reader)
        self._wake(self._writer)

    def pause_writing(self) -> None:
        self._paused_writing = True

    def resume_writing(self) -> None:
        self._paused_writing = False
        self._wake(self._writer)

    @staticmethod
    def _wake(waiter: asyncio.Future[None] | None) -> None:
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def read(self) -> bytes:
        """All bytes that are there, at least one; empty at the end. OSError if it broke."""
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._ended:
                return b""
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        return self.take()

    def take(self) -> bytes:
        """The unread bytes, now; reading goes on."""
        data = b"".join(self._chunks)
        self._chunks.clear()
        self._held = 0
        if self.transport is not None and not self._ended:
            self.transport.resume_reading()
        return data

    @property
    def idle(self) -> bool:
        """It is open, and nothing came that nobody asked for."""
        open_ = self.transport is not None and not self.transport.is_closing()
        return open_ and not self._ended and not self._chunks

    async def write(self, data: bytes) -> None:
        """Send; waits while the transport is full. OSError if the connection broke."""
        if self._error is not None:
            raise self._error
        if self.transport is None or self.transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        self.transport.write(data)
        while self._paused_writing and not self._ended:
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer

    def close(self) -> None:
        """Drop it; idempotent."""
        if self.transport is not None:
            self.transport.abort()
