"""The ROUTER socket on the asyncio loop: messages in, messages out, nothing else.

ZeroMQ's file descriptor is edge-triggered: it tells that something changed, not that something
is there. So after each send as after each receive the socket's events are looked at again,
and receiving goes on until nothing is left (source: zmq_getsockopt(3), ZMQ_FD).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import zmq

from tfnz_notebook._wire.operations import MAX_FRAME

log = logging.getLogger(__name__)

#: Messages taken from the socket before the loop gets its turn.
BURST = 64
#: Payloads from this size on are handed to ZeroMQ without a copy.
NO_COPY = 64 << 10

Incoming = Callable[[bytes, list[bytes]], None]


class Router:
    """One bound ROUTER socket."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], incoming: Incoming) -> None:
        self.socket = context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 500)
        self.socket.setsockopt(zmq.SNDHWM, 0)  # readers' credit bounds what is queued
        self.socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        self.socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME)
        self._incoming = incoming
        self._loop = asyncio.get_running_loop()
        self._pending: asyncio.Handle | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to receive; the socket is bound."""
        self._loop.add_reader(self.socket.fileno(), self._receive)
        self._wake()

    def _wake(self) -> None:
        if self._pending is None and not self._closed:
            self._pending = self._loop.call_soon(self._receive)

    def _receive(self) -> None:
        self._pending = None
        for _ in range(BURST):
            try:
                # Asked, not tried: an exception costs more than a message.
                if self._closed or not int(self.socket.get(zmq.EVENTS)) & zmq.POLLIN:
                    return
                identity, *parts = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.ZMQError as error:
                if not self._closed:
                    log.warning("receiving: %s", error)
                return
            self._incoming(identity, parts)
        self._wake()

    def send(self, identity: bytes, parts: list[bytes]) -> bool:
        """Queue a message; False if that client is not connected any more."""
        if self._closed:
            return False
        try:
            last = len(parts) - 1
            self.socket.send(identity, zmq.SNDMORE | zmq.NOBLOCK)
            for index, part in enumerate(parts):
                more = zmq.SNDMORE if index < last else 0
                self.socket.send(part, more | zmq.NOBLOCK, copy=len(part) < NO_COPY)
        except zmq.ZMQError:
            return False
        # Sending may have consumed the edge that told of a message to receive.
        if int(self.socket.get(zmq.EVENTS)) & zmq.POLLIN:
            self._wake()
        return True

    def close(self) -> None:
        """Stop receiving, let what is queued go out, close."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self.socket.fileno())
            self.socket.close()
