"""A file on its way here: through a pipe where there can be one, else as a stream of the link."""

from __future__ import annotations

import asyncio
import os

from tfnz_notebook._base import numbers
from tfnz_notebook._link.ends import Piped
from tfnz_notebook._link.files.pipe import POSSIBLE, Pipe
from tfnz_notebook._link.link import Link
from tfnz_notebook._link.reader import MAX_BYTES, WINDOW
from tfnz_notebook._wire.window import Receiver
from tfnz_notebook.errors import FileError, LinkClosed, TfnzError


class Download(Piped):
    """One file."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._path = ""
        self._pieces: list[bytes] = []
        self._window = Receiver(0, WINDOW, gaps=False)
        self._whole: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._whole.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._pipe: Pipe | None = None
        self._unseen = False
        self.number = link.reader(self)

    async def fetch(self, container: str, path: str) -> bytes:
        """Its bytes, at most ``MAX_BYTES``. Raises FileError, ContainerGone, LinkClosed."""
        self._path = path
        body = {
            "container": container,
            "path": path,
            "reader": self.number,
            "credit": self._window.granted,
            "pipe": POSSIBLE and self._link.local,
        }
        try:
            await self._link.request("file.get", body, undo=self._close)
            if self._unseen:  # the agent's files are others than ours
                self._close()
                await self._link.request("file.get", {**body, "pipe": False}, undo=self._close)
            return await self._whole
        finally:
            self._link.drop(self.number)
            self._whole.cancel()
            if self._pipe is not None:
                self._pipe.stop()
            self._close()

    def _close(self) -> None:
        self._link.note("dial.close", {"reader": self.number})

    def pipe(self, path: str, size: int) -> None:
        """Its bytes come that way."""
        if self._pipe is not None or not POSSIBLE or not self._link.local:
            return  # nobody asked for that
        try:
            self._pipe = Pipe(path, os.O_RDONLY)
        except OSError:
            self._unseen = True
        else:
            self._link.background(self._take(self._pipe, size))

    async def _take(self, pipe: Pipe, size: int) -> None:
        try:
            whole = await pipe.read(MAX_BYTES, size)
        except OverflowError:
            self._refuse()
        except BrokenPipeError:
            pass  # why, the link says
        except MemoryError as error:
            if not self._whole.done():
                self._whole.set_exception(error)
        else:
            if not self._whole.done():
                self._whole.set_result(whole)

    def piped(self, size: int) -> None:
        """So many bytes are all of it."""
        if self._pipe is not None:
            self._pipe.ends(size)

    def data(self, offset: int, payload: bytes) -> None:
        """Bytes of the file. ProtocolError for those that are not next, or not asked for."""
        new, _ = self._window.arrived(offset, payload)
        self._pieces.append(new)
        if self._window.expected > MAX_BYTES:
            self._pieces.clear()
            self._refuse()
            return
        self._window.take(len(new))
        if (upto := self._window.grant()) is not None:
            self._link.note("credit", {"reader": self.number, "upto": upto})

    def _refuse(self) -> None:
        # How big a file is, the container decides; this kernel's memory is not its to fill.
        if not self._whole.done():
            self._whole.set_exception(
                FileError(
                    f"Cannot fetch {self._path!r}: it has more than {numbers.size(MAX_BYTES)}. "
                    "Read it in pieces with a process, as 'dd' or 'split', and iterate over its "
                    "output."
                )
            )

    def eof(self, offset: int) -> None:
        """The file is whole."""
        if not self._whole.done():
            self._whole.set_result(b"".join(self._pieces))

    def closed(self, errno: int) -> None:
        """Reading it failed in the middle."""
        if not self._whole.done():
            self._whole.set_exception(
                FileError(
                    f"Cannot fetch {self._path!r}: {os.strerror(errno)} after "
                    f"{numbers.size(self._window.expected)}. Can all of it be read?",
                    errno=errno,
                )
            )

    def broken(self, error: TfnzError, final: bool) -> None:
        """A download does not survive a break."""
        if not self._whole.done():
            self._whole.set_exception(LinkClosed(str(error)))
