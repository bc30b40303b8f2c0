"""Listening here for a port there.

Each accepted connection is dialled anew, so a listener goes on after its container was rebooted or
the link was mended. A port that has never answered may be of a server that is still starting: there
a dial that is refused is tried again, for ten seconds or until the client goes. Once it was open, a
refusal is one.

Back-pressure goes all the way: what the local client does not read is not asked of the container
(credit rises only while the transport's buffer is low), and the local socket is not read while
the container's side has no room.

A cut is never a clean end: a connection lingers for no second (SO_LINGER), so whatever closes its
socket resets it, the end of this process too, unless both sides have closed their halves before.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Callable
from typing import Final

from tfnz_notebook._link.link import Link
from tfnz_notebook._link.ports.dial import Dial, Unseen
from tfnz_notebook.errors import PortClosed, TfnzError, TunnelError

#: Bytes in the transport's buffer above which the container is held back.
HIGH_WATER: Final = 1 << 20
#: Seconds that a connection waits for a port that was never open, and between its attempts: from
#: the first to the second.
STARTING: Final = 10.0
POLL: Final = (0.02, 0.25)
#: Bytes that a client may say meanwhile; more waits in its socket.
EARLY: Final = 64 << 10

_RESET: Final = struct.pack("ii", 1, 0)
_LINGER: Final = struct.pack("ii", 0, 0)


class Pipe(asyncio.Protocol):
    """One local connection and its dial."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._transport: asyncio.Transport
        self._dial: Dial | None = None
        self._waiting = bytearray()
        self._eof = False
        #: The client has closed its half, or all of it.
        self._left = asyncio.Event()
        self._held = 0
        self._paused = False
        self._reading = True

    # -- the local side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER)
        self._socket: socket.socket = transport.get_extra_info("socket")
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._listener.pipes.add(self)
        self._listener.link.background(self._connect())

    async def _connect(self) -> None:
        try:
            dial = await self._dialled()
        except TfnzError:
            # Nobody listens there: the local client sees a reset, as it would in the container.
            self._transport.abort()
            return
        except BaseException:  # the link has ended
            self._transport.abort()
            raise
        if self._transport.is_closing():
            dial.close()
            return
        self._listener.answered.add(self._listener.port)
        self.writable()

    async def _dialled(self) -> Dial:
        listener, delay = self._listener, POLL[0]
        until = asyncio.get_running_loop().time() + STARTING
        while True:
            into = self._socket if listener.straight else None
            dial = self._dial = Dial(listener.link, listener.container, listener.port, self, into)
            try:
                await dial.connect()
            except Unseen:
                listener.straight = False
                continue
            except PortClosed:
                late = asyncio.get_running_loop().time() >= until
                if late or self._left.is_set() or listener.port in listener.answered:
                    raise
            else:
                return dial
            try:
                async with asyncio.timeout(delay):
                    await self._left.wait()
            except TimeoutError:
                delay = min(delay * 1.5, POLL[1])

    def data_received(self, data: bytes) -> None:
        dial = self._dial
        if dial is None or self._waiting or len(data) > dial.room_left:
            self._waiting += data
            if dial is None or dial.connected or len(self._waiting) >= EARLY:
                self._stop_reading()  # else it must be heard going
            self.writable()
        else:
            dial.send(data)

    def eof_received(self) -> bool:
        self._eof = True
        self._left.set()
        self.writable()
        return True  # our half stays open: the container may still answer

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.pipes.discard(self)
        self._left.set()
        if self._dial is not None:
            self._dial.close()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        held, self._held = self._held, 0
        if held and self._dial is not None:
            self._dial.taken(held)

    def _stop_reading(self) -> None:
        if self._reading and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()

    # -- the container's side

    def received(self, payload: bytes) -> None:
        """Bytes from the container."""
        self._transport.write(payload)
        if self._paused:
            self._held += len(payload)
        elif self._dial is not None:
            self._dial.taken(len(payload))

    def ended(self) -> None:
        """The container closed its half."""
        if not self._transport.is_closing():
            self._transport.write_eof()

    def writable(self) -> None:
        """The container's side has room: send what waits, then read on."""
        dial = self._dial
        if dial is None or dial.over or not dial.connected:
            return
        if self._waiting and dial.room_left:
            size = min(len(self._waiting), dial.room_left)
            dial.send(bytes(memoryview(self._waiting)[:size]))
            del self._waiting[:size]
        if self._waiting:
            return
        if self._eof:
            self._eof = False
            dial.send_eof()
        if not self._reading and dial.room_left and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()

    def dropped(self, number: int) -> None:
        """The connection in the container is gone."""
        if number:
            self._transport.abort()
        elif not self._transport.is_closing():
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
            self._transport.close()


class Listener:
    """A local port that leads into a container."""

    def __init__(
        self,
        link: Link,
        container: str,
        port: int,
        answered: set[int],
        closed: Callable[[Listener], None],
    ) -> None:
        """``answered``: of the container's ports those that were open once."""
        self.link = link
        self.container = container
        self.port = port
        self.local = 0
        self.answered = answered
        self.pipes: set[Pipe] = set()
        #: What comes out of the container may go straight into the client's socket.
        self.straight = True
        self._closed = closed
        self._server: asyncio.Server | None = None

    async def listen(self, bind: str, port: int) -> None:
        """Raises TunnelError."""
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: Pipe(self), bind, port, backlog=128
            )
        except OSError as error:
            raise TunnelError(_cannot_listen(bind, port, error)) from None
        self.local = int(self._server.sockets[0].getsockname()[1])

    @property
    def open(self) -> bool:
        """Whether it listens."""
        return self._server is not None

    def close(self) -> None:
        """Stop listening and drop every connection. Idempotent."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for pipe in list(self.pipes):
            pipe.dropped(errno.ECONNRESET)
        self._closed(self)


def _cannot_listen(bind: str, port: int, error: OSError) -> str:
    where = f"{bind}:{port}" if port else bind
    if error.errno == errno.EADDRINUSE:
        return (
            f"Cannot attach a tunnel: {where} is in use on this machine. "
            "Give another localport, or None for a free one."
        )
    if error.errno == errno.EACCES:
        return f"Cannot attach a tunnel: {where} needs privileges. Give a localport above 1023."
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
    return f"Cannot attach a tunnel: {where}: {reason}. Give an address of this machine as bind."
