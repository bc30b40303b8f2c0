"""Connections into a container: what tunnels are made of.

The guest dials, so they work with no network at all. Bytes are held back at their source: the
kernel's credit holds the guest, the guest's window holds the kernel, byte for byte. What comes may
go past this agent, through a FIFO: see ``files/piped.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import stat
from pathlib import Path

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import WINDOW_IN, Frame, Tag, Type
from tfnz_notebook._wire.starts import reason
from tfnz_notebook._wire.window import Receiver
from tfnz_notebook.agent.container.guest import Guest
from tfnz_notebook.agent.container.inflow import Inflow
from tfnz_notebook.agent.process.reader import Flow, Sink
from tfnz_notebook.errors import PortClosed, TfnzError


class Dial:
    """One connection to a port in the container."""

    def __init__(
        self,
        guest: Guest,
        sink: Sink,
        reader: int,
        host: str,
        port: int,
        credit: int,
        pipe: Path | None = None,
    ) -> None:
        self._guest = guest
        self._sink = sink
        self._reader = reader
        self._where = f"{host}:{port}"
        self.flow = Flow(sink, reader, credit, self._taken)
        self.connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.connected.add_done_callback(lambda done: done.cancelled() or done.exception())
        guest.expect(self.connected)
        self.over = False
        self._channel = guest.open(self)
        self._inflow = Inflow(guest, self._channel)
        self._window = Receiver(0, WINDOW_IN, gaps=False)  # the kernel's half
        self._pipe = pipe
        self._piped = False
        fields: list[tuple[Tag, int | str]] = [(Tag.HOST, host), (Tag.PORT, port)]
        if pipe is not None:
            fields.append((Tag.PIPE, pipe.name))
        guest.send(wire.fielded(Type.DIAL, self._channel, fields))

    def frame(self, frame: Frame) -> None:
        """A frame of this channel."""
        match frame.type:
            case Type.STAT:
                if not self.connected.done():
                    self.connected.set_result(None)
                    if self._pipe is not None and frame.integer(Tag.KIND) == stat.S_IFIFO:
                        self._piped = True
                        self._event("pipe", path=str(self._pipe))
                    self._event("dial.credit", upto=self._window.granted)
            case Type.FAILED:
                self._end(frame.integer(Tag.ERRNO))
            case Type.DATA if not self._piped:
                self.flow.feed(frame.values[0], frame.data)
            case Type.EOF if frame.stream == 1 and self._piped:
                self._event("pipe.eof", offset=frame.values[0])
            case Type.EOF if frame.stream == 1:
                self.flow.end()
            case Type.ACK:
                self._inflow.acknowledged(frame.values[0])
                self._window.take_to(frame.values[0])
                if (upto := self._window.grant()) is not None:
                    self._event("dial.credit", upto=upto)
            case Type.CLOSE:
                self._end(frame.values[0])
            case Type.GONE:
                self._end(0)
            case _:
                pass

    def _event(self, name: str, **body: int | str) -> None:
        self._sink.event(name, {"reader": self._reader, **body})

    def data(self, offset: int, chunk: bytes) -> None:
        """Bytes from the kernel. ProtocolError for those it has no credit for."""
        new, _ = self._window.arrived(offset, chunk)
        self._inflow.write(new)

    def eof(self) -> None:
        """The kernel will send no more."""
        self._inflow.end()

    def close(self) -> None:
        """Drop it, both directions."""
        if not self.over:
            self._guest.send(wire.fixed(Type.CLOSE, self._channel, 0))
            self._end(0)

    def _taken(self, upto: int) -> None:
        self._guest.send(wire.fixed(Type.ACK, self._channel, upto, stream=1))

    def _end(self, number: int) -> None:
        if self.over:
            return
        self.over = True
        self._inflow.release()
        self._guest.free(self._channel)
        if self._pipe is not None:
            with contextlib.suppress(OSError):  # whoever opened it has removed it
                self._pipe.unlink()
        if not self.connected.done():
            self.connected.set_exception(
                PortClosed(
                    f"Cannot connect to {self._where} in the container: {reason(number)}. "
                    "Is the server running, and does it listen there?",
                    errno=number,
                )
            )
        elif not self.connected.cancelled() and self.connected.exception() is None:
            self._event("dial.closed", errno=number)

    def lost(self, error: TfnzError) -> None:
        """Connections do not survive the guest's."""
        if not self.connected.done():
            self.connected.set_exception(error)
        self._guest.send(wire.fixed(Type.CLOSE, self._channel, 0))  # to one that is only silent
        self._end(errno.ECONNRESET)

    def resumed(self, inventory: Frame | None) -> None:
        """Told to processes only; a lost connection has left already."""
