"""The socket of this machine: each connection is a client, whole messages in and out.

Connecting needs write permission on the socket's directory, which is 0700; who connects is asked
for all the same.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tfnz_notebook._wire.stream import BUFFER, Messages, framed
from tfnz_notebook.agent.door import earlier
from tfnz_notebook.errors import AgentError, ProtocolError

log = logging.getLogger(__name__)

BACKLOG: Final = 1024
_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid: unix(7), SO_PEERCRED

Incoming = Callable[[bytes, list[bytes]], None]


class Listener:
    """One bound socket, and who is connected. ``gone`` is told of each that is not any more."""

    def __init__(
        self,
        incoming: Incoming,
        gone: Callable[[bytes], None],
        garbage: Callable[[bytes, ProtocolError], None],
    ) -> None:
        self._connections: dict[bytes, _Connection] = {}
        self._incoming = incoming
        self._gone = gone
        self._garbage = garbage
        self._numbers = itertools.count(1)
        self._server: asyncio.Server | None = None

    async def listen(self, path: Path) -> None:
        """Bind, over what a dead agent left, and accept. Raises AgentError."""
        loop = asyncio.get_running_loop()
        try:
            path.unlink(missing_ok=True)  # noqa: ASYNC240  # in a directory of ours, on this machine
            self._server = await loop.create_unix_server(self._made, path, backlog=BACKLOG)
        except OSError as error:
            raise AgentError(f"Cannot listen on {path}: {error.strerror or error}.") from None

    def _made(self) -> _Connection:
        return _Connection(self, next(self._numbers).to_bytes(8, "big"))

    def send(self, identity: bytes, parts: list[bytes]) -> bool:
        """Queue a message; False if that client is not connected any more."""
        connection = self._connections.get(identity)
        return connection is not None and connection.send(parts)

    def close(self) -> None:
        """Accept and receive no more; what is queued goes out."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections.values()):
            connection.close()


class _Connection(asyncio.BufferedProtocol):
    def __init__(self, listener: Listener, identity: bytes) -> None:
        self._of = listener
        self._identity = identity
        self._messages = Messages()
        self._room = self._messages.room
        #: How it speaks; known with its first byte.
        self._earlier: earlier.Frames | None = None
        self._heard = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        sock = transport.get_extra_info("socket")
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, user, _ = _CREDENTIALS.unpack(raw)
        if user not in (os.geteuid(), 0):
            log.warning("user %d connected, and was sent away", user)
            transport.abort()
            return
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self._transport = transport
        self._of._connections[self._identity] = self  # noqa: SLF001  # the two are one

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # it takes what there is
        self._room = self._messages.room
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        if not self._heard and self._room[0] == earlier.SIGNATURE and self._transport is not None:
            self._earlier = earlier.Frames()
            self._transport.write(earlier.GREETING)
        self._heard = True
        try:
            if self._earlier is None:
                whole = self._messages.filled(nbytes)
            else:
                whole = self._earlier.feed(bytes(self._room[:nbytes]))
            for parts in whole:
                self._of._incoming(self._identity, parts)  # noqa: SLF001
        except ProtocolError as error:
            self._of._garbage(self._identity, error)  # noqa: SLF001
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # gone is gone
        if self._of._connections.pop(self._identity, None) is not None:  # noqa: SLF001
            self._of._gone(self._identity)  # noqa: SLF001

    def send(self, parts: list[bytes]) -> bool:
        if self._transport is None or self._transport.is_closing():
            return False
        for piece in framed(parts) if self._earlier is None else [earlier.framed(parts)]:
            self._transport.write(piece)
        return True

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
