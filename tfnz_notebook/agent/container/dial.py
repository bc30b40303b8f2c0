"""Connections into a container: what tunnels are made of.

The guest dials, so they work with no network at all. Bytes are held back at their source: the
kernel's credit holds the guest, the guest's window holds the kernel.
"""

from __future__ import annotations

import asyncio

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Frame, Tag, Type
from tfnz_notebook.agent.container.guest import Guest
from tfnz_notebook.agent.container.refusals import reason
from tfnz_notebook.agent.process.reader import Flow, Sink
from tfnz_notebook.errors import PortClosed


class Dial:
    """One connection to a port in the container."""

    def __init__(
        self, guest: Guest, sink: Sink, reader: int, host: str, port: int, credit: int
    ) -> None:
        self._guest = guest
        self._sink = sink
        self._reader = reader
        self._where = f"{host}:{port}"
        self.flow = Flow(sink, reader, credit, self._taken)
        self.connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.connected.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.over = False
        self._channel = guest.open(self)
        self._sent = 0
        fields: list[tuple[Tag, int | str]] = [(Tag.HOST, host), (Tag.PORT, port)]
        guest.send(wire.fielded(Type.DIAL, self._channel, fields))

    def frame(self, frame: Frame) -> None:
        """A frame of this channel."""
        match frame.type:
            case Type.STAT:
                if not self.connected.done():
                    self.connected.set_result(None)
            case Type.FAILED:
                self._end(frame.integer(Tag.ERRNO))
            case Type.DATA:
                self.flow.feed(frame.data)
            case Type.EOF if frame.stream == 1:
                self.flow.end()
            case Type.ACK:
                self.grant(frame.values[0])
            case Type.CLOSE:
                self._end(frame.values[0])
            case Type.GONE:
                self._end(0)
            case _:
                pass

    def grant(self, acked: int) -> None:
        """Tell the kernel how far it may send."""
        self._sink.event("dial.credit", {"reader": self._reader, "upto": acked + wire.WINDOW_IN})

    def data(self, chunk: bytes) -> None:
        """Bytes from the kernel."""
        for start in range(0, len(chunk), wire.MAX_DATA):
            piece = chunk[start : start + wire.MAX_DATA]
            self._guest.send(wire.data(self._channel, 0, self._sent, piece))
            self._sent += len(piece)

    def eof(self) -> None:
        """The kernel will send no more."""
        self._guest.send(wire.fixed(Type.EOF, self._channel, self._sent, stream=0))

    def close(self) -> None:
        """Drop it, both directions."""
        if not self.over:
            self._guest.send(wire.fixed(Type.CLOSE, self._channel, 0))
            self._end(0)

    def _taken(self, upto: int) -> None:
        self._guest.send(wire.fixed(Type.ACK, self._channel, upto, stream=1))

    def _end(self, errno: int) -> None:
        if self.over:
            return
        self.over = True
        self._guest.free(self._channel)
        if not self.connected.done():
            self.connected.set_exception(
                PortClosed(
                    f"Cannot connect to {self._where} in the container: {reason(errno)}. "
                    "Is the server running, and does it listen there?",
                    errno=errno,
                )
            )
        else:
            self._sink.event("dial.closed", {"reader": self._reader, "errno": errno})

    def lost(self) -> None:
        """Connections do not survive the guest's."""
        self._end(104)  # ECONNRESET

    def resumed(self, inventory: Frame | None) -> None:
        """Told to processes only; a lost connection has left already."""
