"""A file on its way into a container: through a pipe where there can be one, else in pieces."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Final

from tfnz_notebook._base.names import fresh
from tfnz_notebook._link.ends import Piped
from tfnz_notebook._link.files.pipe import POSSIBLE, Pipe
from tfnz_notebook._link.jobs.several import Several
from tfnz_notebook._link.link import Link
from tfnz_notebook._wire.operations import MAX_CHUNK
from tfnz_notebook.errors import FileError

#: Up to so many bytes go in a message: a pipe costs some more.
SMALL: Final = MAX_CHUNK


class Upload(Piped):
    """One file. ``body``: what ``file.put`` says of it."""

    def __init__(self, link: Link, body: dict[str, Any], content: bytes | Path) -> None:
        self._link = link
        self._body = {**body, "transfer": fresh()}
        self._content = content
        self._number = 0
        self._pipe: Pipe | None = None
        self._failed: OSError | None = None
        self._unseen = False

    async def put(self) -> None:
        """It is there afterwards, or nothing of it. Raises FileError, ContainerGone, LinkClosed."""
        try:
            if not (self._large() and await self._through_pipe()):
                await self._in_pieces()
        except BaseException:
            # The agent takes it after the pieces that it has, and leaves nothing of them.
            self._link.take_back("file.put", {**self._body, "drop": True})
            raise

    def _large(self) -> bool:
        if not POSSIBLE or not self._link.local:
            return False
        if isinstance(self._content, bytes):
            return len(self._content) > SMALL
        about = self._content.stat()
        return stat.S_ISREG(about.st_mode) and about.st_size > SMALL

    async def _in_pieces(self) -> None:
        async with (
            contextlib.aclosing(_pieces(self._content)) as pieces,
            Several(self._link.request) as sent,
        ):
            async for start, piece, last in pieces:
                await sent.ask("file.put", {**self._body, "offset": start, "last": last}, piece)
            await sent.last()

    async def _through_pipe(self) -> bool:
        self._number = self._link.reader(self)
        try:
            reply = await self._link.request("file.put", {**self._body, "reader": self._number})
        except FileError:
            if self._failed is not None:
                raise self._failed from None
            if self._unseen:  # the agent's files are others than ours
                return False
            raise
        finally:
            self._link.drop(self._number)
            if self._pipe is not None:
                self._pipe.stop()
        return bool(reply.body.get("piped"))

    def pipe(self, path: str, size: int) -> None:
        """The container reads from there."""
        if self._pipe is not None:
            return
        try:
            self._pipe = Pipe(path, os.O_WRONLY)
        except OSError:
            self._unseen = True
            self._link.note("dial.close", {"reader": self._number})
        else:
            self._link.background(self._give(self._pipe))

    async def _give(self, pipe: Pipe) -> None:
        try:
            size = await pipe.write(self._content)
        except BrokenPipeError:
            pass  # the container reads no more; why, the answer says
        except OSError as error:
            self._failed = error
            self._link.note("dial.close", {"reader": self._number})
        else:
            self._link.note("pipe.eof", {"reader": self._number, "offset": size})


async def _pieces(content: bytes | Path) -> AsyncGenerator[tuple[int, bytes, bool]]:
    """Where each begins, what it is, and whether it is the last; an empty file is one."""
    if isinstance(content, Path):
        with content.open("rb") as file:
            start, piece = 0, await asyncio.to_thread(file.read, MAX_CHUNK)
            while after := await asyncio.to_thread(file.read, MAX_CHUNK):
                yield start, piece, False
                start, piece = start + len(piece), after
            yield start, piece, True
        return
    for start in range(0, max(1, len(content)), MAX_CHUNK):
        yield start, content[start : start + MAX_CHUNK], start + MAX_CHUNK >= len(content)
