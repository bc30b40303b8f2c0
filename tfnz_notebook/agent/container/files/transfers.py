"""Files of a container: uploads, downloads, listings, directories, over one channel each."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator
from typing import Any, Final

import msgpack

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import (
    WINDOW_IN,
    WINDOW_OUT,
    WINDOW_WIDE,
    Feature,
    Flag,
    Frame,
    Tag,
    Type,
)
from tfnz_notebook._wire.operations import MAX_LISTING
from tfnz_notebook.agent.container.guest import Guest
from tfnz_notebook.agent.container.inflow import Inflow
from tfnz_notebook.agent.container.refusals import file_error
from tfnz_notebook.agent.process.reader import Flow, Sink
from tfnz_notebook.errors import FileError, TfnzError

Field = tuple[Tag, int | bytes | str]
#: Looked up, as a listing has many.
_NAMES: Final = {tag: tag.name.lower() for tag in Tag}


class Transfer:
    """One file operation's channel. ``answer`` is its STAT, or the error."""

    def __init__(self, guest: Guest, verb: str, path: str) -> None:
        self.path = path
        self.flow: Flow | None = None
        #: The entries of a listing, packed: in that form a million of them can be held.
        self.entries: list[bytes] = []
        self.answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for future in (self.answer, self.ended):
            # Each may go unawaited when the other already told the error.
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
            guest.expect(future)
        self.verb = verb
        self._guest = guest
        self._channel = guest.open(self)
        self._wide = guest.can(Feature.WIDE)
        self._inflow = Inflow(guest, self._channel, WINDOW_WIDE if self._wide else WINDOW_IN)
        self._listed = 0

    def say(self, kind: Type, fields: list[Field], flags: int = 0) -> None:
        """Open the channel with that request."""
        flags |= Flag.WIDE if self._wide else 0
        told: list[Field] = [(Tag.PATH, self.path), (Tag.FLAGS, int(flags)), *fields]
        self._guest.send(wire.fielded(kind, self._channel, told))

    def into(self, sink: Sink, reader: int, credit: int) -> None:
        """What comes streams to that reader."""
        window = WINDOW_WIDE if self._wide else WINDOW_OUT
        self.flow = Flow(sink, reader, credit, self.taken, window)
        self.flow.left = self.abort

    def frame(self, frame: Frame) -> None:
        """A frame of this channel."""
        match frame.type:
            case Type.STAT:
                self._stat(frame)
            case Type.DATA if self.flow is not None:
                self.flow.feed(frame.values[0], frame.data)
            case Type.ACK:
                self._inflow.acknowledged(frame.values[0])
            case Type.EOF:
                if self.flow is not None:
                    self.flow.end()
                self._finish(None)
            case Type.FAILED:
                if self.flow is not None:
                    self.flow.fail(frame.integer(Tag.ERRNO))
                self._finish(file_error(self.verb, self.path, frame))
            case Type.GONE:
                self._finish(None)
                self._guest.free(self._channel)
            case _:
                pass

    def _stat(self, frame: Frame) -> None:
        entry: bytes = msgpack.packb(described(frame), unicode_errors="surrogateescape")
        self._listed += len(entry)
        if self._listed > MAX_LISTING:
            if not self.ended.done():
                self._guest.send(wire.fixed(Type.CLOSE, self._channel, 0))
                self._finish(
                    FileError(
                        f"Cannot {self.verb} {self.path!r}: it has more than {len(self.entries)} "
                        "entries. List a part of it with a process, as 'ls -f | head'."
                    )
                )
            return
        self.entries.append(entry)
        if not self.answer.done():
            self.answer.set_result(frame)

    def _finish(self, error: Exception | None) -> None:
        self._inflow.release()
        for future in (self.answer, self.ended):
            if not future.done():
                if error is not None:
                    future.set_exception(error)
                elif future is self.ended:
                    self.ended.set_result(None)
        if error is not None:
            self._guest.free(self._channel)
            if self.flow is not None:
                self.flow.fail(errno.ECONNRESET)

    def lost(self, error: TfnzError) -> None:
        """Transfers do not survive a connection."""
        self._guest.send(wire.fixed(Type.CLOSE, self._channel, 0))  # to one that is only silent
        self._finish(error)

    def resumed(self, inventory: Frame | None) -> None:
        """Told to processes only; a lost transfer has left already."""

    @property
    def written(self) -> int:
        """Bytes of an upload so far."""
        return self._inflow.window.head

    async def upload(self, chunk: bytes) -> None:
        """Send a piece of the file; returns once the guest has room for more."""
        self._inflow.write(chunk)
        while self._inflow.window.sent < self._inflow.window.head and not self._inflow.over:
            await self._inflow.moved()
        if self.ended.done():
            await self.ended

    async def finish_upload(self) -> None:
        """The file is whole: have it put in place. Raises FileError."""
        self._inflow.end()
        await self.answer

    def taken(self, upto: int) -> None:
        """The kernel took the download up to that offset."""
        self._guest.send(wire.fixed(Type.ACK, self._channel, upto, stream=1))

    def abort(self) -> None:
        """Drop it; an upload leaves no trace."""
        if not self.ended.done():
            self._guest.send(wire.fixed(Type.CLOSE, self._channel, 0))
            self._finish(FileError(f"Cannot {self.verb} {self.path!r}: it was given up."))


def begin_put(transfer: Transfer, mode: int | None, user: str | None, parents: bool) -> None:
    """Open an upload."""
    transfer.say(Type.PUT, _options(mode, user), Flag.PARENTS if parents else 0)


async def begin_get(transfer: Transfer) -> dict[str, Any]:
    """Open a download; what the file is."""
    transfer.say(Type.GET, [])
    return described(await transfer.answer)


async def get(
    guest: Guest, path: str, sink: Sink, reader: int, credit: int
) -> tuple[Transfer, dict[str, Any]]:
    """Open a download that streams to ``reader``; (transfer, what the file is)."""
    transfer = Transfer(guest, "fetch", path)
    transfer.into(sink, reader, credit)
    return transfer, await begin_get(transfer)


async def listing(guest: Guest, path: str) -> Iterator[dict[str, Any]]:
    """The entries of a directory."""
    transfer = Transfer(guest, "list", path)
    transfer.say(Type.LIST, [])
    await transfer.ended
    return (msgpack.unpackb(each, unicode_errors="surrogateescape") for each in transfer.entries)


async def make_directory(
    guest: Guest, path: str, mode: int | None, user: str | None, flags: Flag
) -> None:
    """Make a directory. Raises FileError."""
    transfer = Transfer(guest, "make directory", path)
    transfer.say(Type.MKDIR, _options(mode, user), flags)
    await transfer.answer


def _options(mode: int | None, user: str | None) -> list[Field]:
    fields: list[Field] = []
    if mode is not None:
        fields.append((Tag.MODE, mode))
    if user is not None:
        fields.append((Tag.USER, user))
    return fields


def described(frame: Frame) -> dict[str, Any]:
    """A STAT as the link tells it: lower-case names; mtime in seconds."""
    told: dict[str, Any] = {}
    for tag, value in frame.fields:
        if isinstance(value, bytes):
            told[_NAMES[tag]] = value.decode("utf-8", "surrogateescape")
        else:
            told[_NAMES[tag]] = value / 1e9 if tag is Tag.MTIME else value
    return told
