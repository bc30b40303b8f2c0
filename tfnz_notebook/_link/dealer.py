"""A line to an agent on another machine: a ZeroMQ DEALER on the I/O loop.

ZeroMQ's file descriptor is edge-triggered: it becomes readable when something happened, and stays
silent about messages that are already there. Rule: after it woke us, receive until nothing is
left; after every send, which may have swallowed the wake-up, look whether something can be
received. Reconnecting is ours to do (``link``), so ZeroMQ's own is off, and a monitor socket tells
when the connection ends.

High-water marks are off on purpose: a full one makes ZeroMQ drop or block unseen, and the link's
credit bounds what can wait.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any, Final

import zmq
from zmq.utils.monitor import recv_monitor_message

from tfnz_notebook._link.ends import Address

#: Messages taken at once before other work of the loop gets its turn.
BATCH: Final = 64
#: Seconds for a TCP connection and its handshake; heartbeats of ZMTP notice a dead peer.
HANDSHAKE: Final = 10.0
TCP_HEARTBEAT: Final = 10.0
#: Sockets of one process, three a location: usually more than it may have descriptors.
SOCKETS: Final = 8192

_ENDED: Final = {
    zmq.EVENT_DISCONNECTED: "the connection ended",
    zmq.EVENT_CLOSED: "nothing listens there",
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "it does not know our key",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "the handshake failed; is its key the right one?",
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "the handshake failed (is its key the right one?)",
}


#: By the process that made each. pyzmq's own ``Context.instance`` may belong to somebody else, and
#: ``closed`` of one says False in a forked child: it has the parent's descriptors, not its threads.
#: The parent's stays referenced there, so that nothing of it is let go of.
_contexts: dict[int, zmq.Context[Any]] = {}


def _zmq() -> zmq.Context[Any]:
    """One context a process."""
    context = _contexts.get(os.getpid())
    if context is None:
        context = _contexts[os.getpid()] = zmq.Context()
        context.set(zmq.BLOCKY, False)
        context.set(zmq.MAX_SOCKETS, SOCKETS)
    return context


class Dealer:
    """One connection to one agent. ``ended`` is called once, with the reason, unless closed."""

    def __init__(
        self,
        address: Address,
        received: Callable[[list[bytes]], None],
        ended: Callable[[str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._received = received
        self._ended: Callable[[str], None] | None = ended
        self._again = False
        self._socket = socket = _zmq().socket(zmq.DEALER)
        socket.set(zmq.SNDHWM, 0)
        socket.set(zmq.RCVHWM, 0)
        socket.set(zmq.RECONNECT_IVL, -1)
        socket.set(zmq.CURVE_SERVERKEY, address.server_key)
        socket.set(zmq.CURVE_PUBLICKEY, address.public_key)
        socket.set(zmq.CURVE_SECRETKEY, address.secret_key)
        socket.set(zmq.IPV6, 1)
        socket.set(zmq.CONNECT_TIMEOUT, int(HANDSHAKE * 1000))
        socket.set(zmq.HANDSHAKE_IVL, int(HANDSHAKE * 1000))
        socket.set(zmq.HEARTBEAT_IVL, int(TCP_HEARTBEAT * 1000))
        socket.set(zmq.HEARTBEAT_TIMEOUT, int(2 * TCP_HEARTBEAT * 1000))
        try:
            self._monitor = socket.get_monitor_socket(sum(_ENDED))
        except zmq.ZMQError:
            socket.close(0)
            raise
        self._fd = socket.get(zmq.FD)
        self._monitor_fd = self._monitor.get(zmq.FD)
        socket.connect(address.url)
        self._loop.add_reader(self._fd, self._readable)
        self._loop.add_reader(self._monitor_fd, self.look)
        self._loop.call_soon(self.look)

    def send(self, parts: list[bytes]) -> None:
        """Queue a message; never blocks. A connection that is gone is told of by ``ended``."""
        socket = self._socket
        try:
            socket.send_multipart(parts, zmq.NOBLOCK)
        except zmq.Again:
            # The pipe went before the monitor said so: there is no high-water mark to be at.
            self._loop.call_soon(self._gone)
            return
        if socket.get(zmq.EVENTS) & zmq.POLLIN:
            self._later()

    def _readable(self) -> None:
        self._again = False
        socket = self._socket
        for _ in range(BATCH):
            # Asked, not tried: an exception costs more than a message.
            if socket.closed or not socket.get(zmq.EVENTS) & zmq.POLLIN:
                return
            parts = [socket.recv(zmq.NOBLOCK)]
            while socket.get(zmq.RCVMORE):
                parts.append(socket.recv(zmq.NOBLOCK))
            try:
                self._received(parts)
            except Exception:
                self._later()  # the loop reports it; what came after must not be stuck
                raise
        self._later()

    def _later(self) -> None:
        if not self._again:
            self._again = True
            self._loop.call_soon(self._readable)

    def look(self) -> None:
        """Hear what the monitor has to say; the first reason is the best (CLOSED comes last)."""
        while not self._socket.closed:
            try:
                event = recv_monitor_message(self._monitor, zmq.NOBLOCK)
            except zmq.Again:
                return
            if self._ended is None:
                continue
            reason = _ENDED.get(event["event"])
            if reason is not None:
                ended, self._ended = self._ended, None
                self._readable()  # what came before the end is read before it
                ended(reason)

    def _gone(self) -> None:
        self.look()  # it may know why
        if self._ended is not None:
            ended, self._ended = self._ended, None
            ended("the connection was lost")

    def close(self, linger: float = 0.0) -> None:
        """Let go; what was sent may still leave for ``linger`` seconds. Idempotent."""
        self._ended = None
        if self._socket.closed:
            return
        self._loop.remove_reader(self._fd)
        self._loop.remove_reader(self._monitor_fd)
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(int(linger * 1000))
