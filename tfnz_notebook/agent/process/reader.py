"""What streams to a kernel: within its credit, from any offset.

A reader that has no credit simply waits; the log keeps the bytes, and nothing is held back, unless
the reader asks for that (a terminal on somebody's screen) or skips what it has no time for (an
output view). ``Flow`` is the same for streams that have no log (downloads, dialled connections):
there the far end is held back.
"""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from tfnz_notebook._wire.guest import WINDOW_OUT
from tfnz_notebook._wire.operations import MAX_CHUNK, MAX_LYING
from tfnz_notebook._wire.window import MOST, PARTS, Receiver, Sender
from tfnz_notebook.agent.process.log import Log
from tfnz_notebook.errors import LogGone

#: Of so many bytes a reader who sees the log's files is told where they lie, and reads them there:
#: they need not be copied into a message, and out of it.
MUCH: Final = 64 << 10
#: Seconds in which they may become more, up to what one event tells of.
GATHER: Final = 0.002


class Sink(Protocol):
    """Where events go: a client of the server."""

    def event(self, name: str, body: dict[str, Any], payload: bytes | None = None) -> None:
        """Send an event; never blocks."""


class Reader:
    """Streams one log to one client from an offset on.

    ``keep``: having fallen behind by more than so many bytes, go on with the newest ``keep``; the
    credit moves along. ``hold``: the process shall not run ahead (see ``outputs``).
    """

    def __init__(
        self,
        sink: Sink,
        ident: int,
        log: Log,
        offset: int,
        credit: int,
        *,
        keep: int | None = None,
        hold: bool = False,
        files: bool = False,
    ) -> None:
        self.sink = sink
        self.ident = ident
        self.log = log
        self.keep = keep
        self.hold = hold
        self.finished = False
        self._window = Sender(offset, credit, most=MOST)
        self._files = files
        self._gathering: asyncio.TimerHandle | None = None
        #: Told when more was sent because of more credit, and at the end.
        self.moved: Callable[[], None] = lambda: None
        self.left: Callable[[], None] = lambda: None
        #: Has all of the log written to its files.
        self.file: Callable[[], None] = lambda: None

    @property
    def offset(self) -> int:
        """Of the next byte to send."""
        return self._window.sent

    def grant(self, upto: int) -> None:
        """More credit, as an absolute offset; less is ignored."""
        self._window.allow(upto)
        self.pump()
        if self.hold:
            self.moved()

    def pump(self, *, now: bool = False) -> None:
        """Send what the log has and the credit allows. What it dropped costs none.

        ``now``: a moment was waited for more.
        """
        if self.finished:
            return
        window, log = self._window, self.log
        window.head = log.head
        if self.keep is not None:
            window.skip(max(log.base, log.head - self.keep))
        much = self._files and log.filed and window.ready >= MUCH
        if not now and self._gathers(much=much):
            return
        if much and log.spooled < log.head:
            self.file()  # which may drop the oldest
        try:
            window.skip(log.first(window.sent))
            if much:
                self._tell()
            while size := min(MAX_CHUNK, window.ready):
                _, chunk = log.read(window.sent, size)
                offset = window.send(len(chunk))
                self.sink.event("data", {"reader": self.ident, "offset": offset}, chunk)
        except LogGone as error:
            self._fail(error)
            return
        if log.eof and window.sent >= log.head and not self.finished:
            self.finished = True
            self.sink.event("eof", {"reader": self.ident, "offset": window.sent})

    def _tell(self) -> None:
        """Where it lies, for who may read it there."""
        while size := min(MAX_LYING, self._window.ready):
            path, at, there = self.log.lies_at(self._window.sent)
            if not there:
                return  # no file would take it
            size = min(size, there)
            body = {"path": str(path), "at": at, "size": size}
            offset = self._window.send(size)
            self.sink.event("lies", {"reader": self.ident, "offset": offset, **body})

    def _gathers(self, *, much: bool) -> bool:
        """Whether a moment is waited for more to tell of."""
        if self._window.ready < MAX_LYING and not self.log.eof:
            if self._gathering is None and much:
                loop = asyncio.get_running_loop()
                self._gathering = loop.call_later(GATHER, self._gathered)
            return self._gathering is not None
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        return False

    def _gathered(self) -> None:
        self._gathering = None
        self.pump(now=True)
        if self.hold:
            self.moved()

    def hurry(self) -> None:
        """The log goes: what waited is sent now, and lies nowhere."""
        self._files = False
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathered()

    def _fail(self, error: LogGone) -> None:
        """The log has lost what it kept: who reads is told, and waits for nothing."""
        self.finished = True
        number = int(error.details.get("errno", errno.EIO))
        self.sink.event("dial.closed", {"reader": self.ident, "errno": number})


class Flow:
    """Streams bytes that are kept nowhere else; ``taken(offset)`` says what has left."""

    def __init__(
        self,
        sink: Sink,
        ident: int,
        credit: int,
        taken: Callable[[int], None],
        window: int = WINDOW_OUT,
    ) -> None:
        self.sink = sink
        self.ident = ident
        self._source = Receiver(0, window, gaps=False)
        self._window = Sender(0, credit, most=MOST)
        self._taken = taken
        self._queue: deque[bytes] = deque()
        self._eof = False
        self.finished = False
        #: Told when nobody reads on, as by a :class:`Reader`.
        self.left: Callable[[], None] = lambda: None

    def feed(self, offset: int, chunk: bytes) -> None:
        """Bytes from the guest. ProtocolError beyond its window, which bounds what waits here."""
        new, _ = self._source.arrived(offset, chunk)
        if new:
            self._queue.append(new)
            self._window.add(len(new))
            self.pump()

    def end(self) -> None:
        """No more bytes will come."""
        self._eof = True
        self.pump()

    def fail(self, number: int) -> None:
        """No more bytes will come, and this is not their end: an error number."""
        if not self.finished:
            self.finished = True
            self.sink.event("dial.closed", {"reader": self.ident, "errno": number})

    def grant(self, upto: int) -> None:
        """More credit, as an absolute offset; less is ignored."""
        self._window.allow(upto)
        self.pump()

    def pump(self) -> None:
        """Send what is queued and the credit allows."""
        if self.finished:
            return
        while size := self._window.ready:
            chunk = self._queue.popleft()
            if len(chunk) > size:
                self._queue.appendleft(chunk[size:])
                chunk = chunk[:size]
            offset = self._window.send(len(chunk))
            self.sink.event("data", {"reader": self.ident, "offset": offset}, chunk)
        sent, source = self._window.sent, self._source
        free = (sent - source.taken) * PARTS >= source.window  # each travels as far as the bytes
        if (free or self._eof) and source.acknowledge(sent):
            self._taken(sent)
        if self._eof and not self._queue and not self.finished:
            self.finished = True
            self.sink.event("eof", {"reader": self.ident, "offset": self._window.sent})
