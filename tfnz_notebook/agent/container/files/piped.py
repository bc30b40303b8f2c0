"""Files whose bytes go past the agent: through a FIFO between its kernel and the guest.

The FIFO is in the directory of the guest's socket, which is the container's as well as this
machine's. What goes through it is what its kernel and that container say to one another, so there
is nothing in it that would have to be believed; whether all of it came is said on the connection,
by number.
"""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Frame, Tag, Type
from tfnz_notebook.agent.container.files.transfers import Field, Transfer
from tfnz_notebook.agent.container.guest import Guest
from tfnz_notebook.agent.process.reader import Sink
from tfnz_notebook.errors import TfnzError

#: The stage of a guest's refusal that is about the pipe.
STAGE = "pipe"


class NoPipe(Exception):
    """The guest cannot open it: the bytes have to go the other way. Nothing was done."""


class Piped(Transfer):
    """One file on its way; for its kernel it is a reader, which hears of all by events."""

    def __init__(
        self, guest: Guest, verb: str, path: str, pipe: Path, sink: Sink, reader: int
    ) -> None:
        super().__init__(guest, verb, path)
        self._pipe = pipe
        self._sink = sink
        self._reader = reader
        self._begun = self._told = False

    def say(self, kind: Type, fields: list[Field], flags: int = 0) -> None:
        """Open the channel with that request."""
        super().say(kind, [*fields, (Tag.PIPE, self._pipe.name)], flags)

    def frame(self, frame: Frame) -> None:
        """A frame of this channel."""
        match frame.type:
            case Type.ACK:  # an upload's: it reads from there
                self._begin(0)
            case Type.STAT if self.verb == "fetch":
                super().frame(frame)
                self._begin(frame.integer(Tag.SIZE))
            case Type.EOF if self._begun and not self._told:
                self._told = True
                told = {"reader": self._reader, "offset": frame.values[0]}
                self._sink.event("pipe.eof", told)
            case Type.FAILED if frame.text(Tag.STAGE) == STAGE:
                self._finish(NoPipe())
            case Type.FAILED:
                super().frame(frame)
                self._break(frame.integer(Tag.ERRNO))
            case _:
                super().frame(frame)

    def _begin(self, size: int) -> None:
        if not self._begun:
            self._begun = True
            told = {"reader": self._reader, "path": str(self._pipe), "size": max(0, size)}
            self._sink.event("pipe", told)

    def _break(self, number: int) -> None:
        """More was to come, and does not; before it began, the request's answer says so."""
        if self._begun:
            self._sink.event("dial.closed", {"reader": self._reader, "errno": number})

    def lost(self, error: TfnzError) -> None:
        """Transfers do not survive a connection."""
        super().lost(error)
        self._break(errno.ECONNRESET)

    def _finish(self, error: Exception | None) -> None:
        super()._finish(error)
        with contextlib.suppress(OSError):  # whoever opened it has removed it
            self._pipe.unlink()

    # -- as a reader of its kernel's

    def grant(self, upto: int) -> None:
        """The pipe itself is all the credit there is."""

    def whole(self, offset: int) -> None:
        """An upload has so many bytes, and they are in the pipe."""
        self._guest.send(wire.fixed(Type.EOF, self._channel, offset, stream=0))

    def left(self) -> None:
        """Nobody reads or writes it any more."""
        self.abort()
