"""Byte streams to a guest: straight over its socket, or through one exec of ``guest connect``.

Both are asyncio protocols that hand each piece to ``received`` as it comes and copy nothing but
what the exec framing forces. Flow control is the kernel's: a paused stream stops reading, the
socket (or the engine's proxy) fills, and the guest is held back; ``writable`` is the transport's
own watermark.

Measured (2 cores): asyncio's plain ``Protocol`` moves 3.8 GB/s from a Unix socket into a
callback; ``BufferedProtocol`` and a bare ``add_reader`` are within 10 % of it, so plain it is.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tfnz_notebook._base.names import fresh
from tfnz_notebook.engines.base import Closed, Received, Stream
from tfnz_notebook.errors import EngineGone

#: Queued bytes above which a stream is not writable, and below which it is again.
WRITE_HIGH: Final = 256 << 10
WRITE_LOW: Final = 64 << 10
#: What is kept of an exec's stderr, for the error message.
_STDERR: Final = 4096


class TransportStream(asyncio.Protocol, Stream):
    """A stream on a connected transport. Nothing is delivered before :meth:`deliver`."""

    def __init__(self, received: Received, closed: Closed) -> None:
        self._received = received
        self._closed: Closed | None = closed
        self._transport: asyncio.Transport | None = None
        self._full = False
        self._lost = False
        self._drained: asyncio.Future[None] | None = None
        self._begun = False  # deliver() was called
        self._paused = False  # by the user of the stream
        self._early: list[bytes] = []
        self._failure: Exception | None = None
        #: A directory of this machine that the guest has as well, with its socket.
        self.folder: Path | None = None

    # -- asyncio's side -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(WRITE_HIGH, WRITE_LOW)
        transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        # pause() stops the transport, yet one read may be under way or handed over by HTTP.
        if self._begun and not self._paused:
            self._received(data)
        else:
            self._early.append(data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self.resume_writing()
        self._end(exc)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _end(self, exc: Exception | None) -> None:
        """Say ``closed`` once. A reset is how sockets end when the far side had data unread."""
        closed, self._closed = self._closed, None
        if closed is None:
            return
        cause = self._failure or exc
        if isinstance(cause, OSError):
            cause = EngineGone(
                f"Cannot go on with the guest's stream: {cause}. It is connected again by itself."
            )
        closed(cause)

    # -- our side -----------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    @property
    def writable(self) -> bool:
        return not self._full

    async def drain(self) -> None:
        while self._full:
            if self._drained is None or self._drained.done():
                self._drained = asyncio.get_running_loop().create_future()
            # Several may wait; the cancellation of one must not end the others' wait.
            await asyncio.shield(self._drained)

    def pause(self) -> None:
        self._paused = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        self._paused = False
        if not self._begun:
            return
        while self._early and not self._paused:
            self._received(self._early.pop(0))
        if self._transport is not None and not self._paused:
            self._transport.resume_reading()

    def close(self) -> None:
        # Not close(): that waits for the queue to drain, for ever if the guest does not read.
        # What is queued cannot matter: whoever needs it says it again on the next connection.
        if self._transport is not None:
            self._transport.abort()

    def pipe(self) -> Path | None:
        if self.folder is None:
            return None
        path = self.folder / f"{fresh()}.pipe"
        try:
            os.mkfifo(path, 0o600)
        except OSError:
            return None
        return path

    def forget(self) -> None:
        """Close without a word to ``closed``: the caller never had this stream."""
        self._closed = None
        self.close()

    def deliver(self) -> None:
        """Begin to call ``received``: on a later turn of the loop, when its caller has us."""
        asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        self._begun = True
        if not self._paused and not self._lost:
            self.resume()


class BridgeStream(TransportStream):
    """The same through an engine's exec of ``guest connect``, in whatever frames it comes.

    Stderr is the bridge's complaint, kept for the error.
    """

    far = True

    def __init__(self, received: Received, closed: Closed) -> None:
        super().__init__(received, closed)
        self.stderr = b""
        #: Resolved when the guest has spoken (True), or the exec ended without a word (False).
        self.spoke: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def listen(self) -> None:
        """Read until the guest speaks (or the exec ends), holding what comes."""
        if self._transport is not None and not self.spoke.done():
            self._transport.resume_reading()

    def _said(self, pieces: Sequence[bytes | memoryview]) -> None:
        """What the guest said in one read: many frames are one piece to who receives it."""
        if not pieces:
            return
        if not self.spoke.done():
            self.spoke.set_result(True)
            if self._transport is not None and not self._begun:
                self._transport.pause_reading()
        TransportStream.data_received(self, b"".join(pieces))

    def _complained(self, piece: bytes) -> None:
        self.stderr = (self.stderr + piece)[-_STDERR:]

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.spoke.done():
            self.spoke.set_result(False)
        if self.stderr and self._failure is None and exc is None:
            said = self.stderr.decode("utf-8", "replace").strip()
            self._failure = EngineGone(
                f"Cannot go on with the guest's stream: {said}. It is connected again by itself."
            )
        super().connection_lost(exc)


class ExecStream(BridgeStream):
    """Docker's exec: output is framed, stdin is raw.

    The framing (``stdcopy``): stream u8 (1 stdout, 2 stderr), three zero bytes, size u32
    big-endian, payload. A frame is passed on in pieces as it comes, so its size bounds nothing
    here.
    """

    def __init__(self, received: Received, closed: Closed) -> None:
        super().__init__(received, closed)
        self._head = b""
        self._left = 0
        self._kind = 1

    def data_received(self, data: bytes) -> None:
        # One read may hold many frames (Docker's are 32 KiB at most): their bytes are one piece.
        pieces = []
        at, end = 0, len(data)
        while at < end:
            if self._left:
                piece = data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                if self._kind == 2:
                    self._complained(piece)
                else:
                    pieces.append(piece)
                continue
            need = 8 - len(self._head)
            self._head += data[at : at + need]
            at += need
            if len(self._head) == 8:
                self._kind, zero, self._left = struct.unpack(">B3sI", self._head)
                self._head = b""
                if self._kind > 2 or zero != b"\0\0\0":
                    self._garbage()
                    break
        self._said(pieces)

    def _garbage(self) -> None:
        self._failure = EngineGone(
            "Cannot read the engine's exec stream: it is not framed as stdout and stderr. "
            "Check that the engine is Docker 20.10 or Podman 4.3, or newer."
        )
        self._left = 0
        if self._transport is not None:
            self._transport.abort()
