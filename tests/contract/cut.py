"""A socket in front of an engine's, which a test can cut."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path


class Proxy:
    """Forwards byte for byte between ``path`` and the engine's own socket."""

    def __init__(self, path: Path, behind: str) -> None:
        self.path, self.behind = path, behind
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        #: Set when a request with ``/start`` has gone through.
        self.starting = asyncio.Event()

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._accepted, self.path)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(self.behind)
        self._writers |= {writer, back}
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
                if b"/start HTTP" in data:
                    self.starting.set()
        with contextlib.suppress(OSError, RuntimeError):
            sink.close()

    async def cut(self) -> None:
        """Stop listening, and break every connection: an engine that was killed."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        self.path.unlink(missing_ok=True)
