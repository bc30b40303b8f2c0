"""What streams to a kernel: within its credit, from any offset.

A reader that has no credit simply waits; the log keeps the bytes, and nothing is held back, unless
the reader asks for that (a terminal on somebody's screen) or skips what it has no time for (an
output view). ``Flow`` is the same for streams that have no log (downloads, dialled connections):
there the far end is held back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from tfnz_notebook._wire.guest import WINDOW_OUT
from tfnz_notebook._wire.operations import MAX_CHUNK
from tfnz_notebook.agent.process.log import Log
from tfnz_notebook.errors import ProtocolError


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
    ) -> None:
        self.sink = sink
        self.ident = ident
        self.log = log
        self.offset = offset
        self.credit = credit
        self.keep = keep
        self.hold = hold
        self.finished = False
        #: Told when more was sent because of more credit, and at the end.
        self.moved: Callable[[], None] = lambda: None
        self.left: Callable[[], None] = lambda: None

    def grant(self, upto: int) -> None:
        """More credit, as an absolute offset; less is ignored."""
        self.credit = max(self.credit, upto)
        self.pump()
        if self.hold:
            self.moved()

    def pump(self) -> None:
        """Send what the log has and the credit allows. What it dropped costs none."""
        if self.offset < self.log.base:
            self.credit += self.log.base - self.offset
            self.offset = self.log.base
        if self.keep is not None and self.log.head - self.offset > self.keep:
            self._skip_to(self.log.head - self.keep)
        while self.offset < self.credit:
            start, chunk = self.log.read(self.offset, min(MAX_CHUNK, self.credit - self.offset))
            if not chunk:
                break
            self.offset = start + len(chunk)
            self.sink.event("data", {"reader": self.ident, "offset": start}, chunk)
        if self.log.eof and self.offset >= self.log.head and not self.finished:
            self.finished = True
            self.sink.event("eof", {"reader": self.ident, "offset": self.offset})

    def _skip_to(self, offset: int) -> None:
        if self.offset < self.credit:  # else it has more to show than it can
            self.credit += offset - self.offset
            self.offset = offset


class Flow:
    """Streams bytes that are kept nowhere else; ``taken(offset)`` says what has left."""

    def __init__(self, sink: Sink, ident: int, credit: int, taken: Callable[[int], None]) -> None:
        self.sink = sink
        self.ident = ident
        self.credit = credit
        self.offset = 0
        self._taken = taken
        self._queue: deque[bytes] = deque()
        self._held = 0
        self._eof = False
        self.finished = False
        #: Told when nobody reads on, as by a :class:`Reader`.
        self.left: Callable[[], None] = lambda: None

    def feed(self, chunk: bytes) -> None:
        """Bytes from the guest, in order. ProtocolError beyond its window."""
        self._queue.append(chunk)
        self._held += len(chunk)
        if self._held > 2 * WINDOW_OUT:
            raise ProtocolError(f"{self._held} bytes that nobody gave credit for.")
        self.pump()

    def end(self) -> None:
        """No more bytes will come."""
        self._eof = True
        self.pump()

    def grant(self, upto: int) -> None:
        """More credit, as an absolute offset."""
        self.credit = max(self.credit, upto)
        self.pump()

    def pump(self) -> None:
        """Send what is queued and the credit allows."""
        before = self.offset
        while self._queue and self.offset < self.credit:
            chunk = self._queue.popleft()
            room = self.credit - self.offset
            if len(chunk) > room:
                self._queue.appendleft(chunk[room:])
                chunk = chunk[:room]
            self.sink.event("data", {"reader": self.ident, "offset": self.offset}, chunk)
            self.offset += len(chunk)
            self._held -= len(chunk)
        if self.offset > before:
            self._taken(self.offset)
        if self._eof and not self._queue and not self.finished:
            self.finished = True
            self.sink.event("eof", {"reader": self.ident, "offset": self.offset})
