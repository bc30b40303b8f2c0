"""What a job says to the kernel that asked for it: a stream, within that kernel's credit."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import Final

import msgpack

from tfnz_notebook._wire.operations import MAX_CHUNK
from tfnz_notebook._wire.window import MOST, Sender
from tfnz_notebook.agent.process.reader import Sink
from tfnz_notebook.agent.world import now
from tfnz_notebook.engines.base import Progress

#: Least seconds between two reports of progress.
EVERY: Final = 0.1


class Heard:
    """One job's stream, under the number of its reader; nothing of it waits in memory.

    ``left`` is called when the kernel does not want it any more, or is gone.
    """

    def __init__(self, sink: Sink, ident: int, credit: int) -> None:
        self.left: Callable[[], object] = lambda: None
        self._sink = sink
        self._ident = ident
        self._window = Sender(0, credit, most=MOST)
        self._moved = asyncio.Event()
        self._told = 0.0

    def grant(self, upto: int) -> None:
        """More credit, as an absolute offset; less is ignored."""
        self._window.allow(upto)
        self._moved.set()

    async def write(self, data: bytes) -> None:
        """Send it; waits while the kernel has no room, so that whoever says it waits as well."""
        window = self._window
        window.add(len(data))
        while data:
            size = min(MAX_CHUNK, window.ready)
            if not size:
                self._moved.clear()
                await self._moved.wait()
                continue
            self._send(data[:size])
            data = data[size:]

    def progress(self, told: Progress) -> None:
        """How far it is: one record in one event, if it is time and there is room for it."""
        record = msgpack.packb({"text": told.text, "done": told.done, "total": told.total})
        if now() - self._told >= EVERY and self._window.room >= len(record):
            self._told = now()
            self._window.add(len(record))
            self._send(record)

    def _send(self, data: bytes) -> None:
        offset = self._window.send(len(data))
        self._sink.event("data", {"reader": self._ident, "offset": offset}, data)

    def end(self) -> None:
        """It was all."""
        self._sink.event("eof", {"reader": self._ident, "offset": self._window.sent})

    def fail(self) -> None:
        """More was to come, and does not."""
        self._sink.event("dial.closed", {"reader": self._ident, "errno": errno.EIO})
