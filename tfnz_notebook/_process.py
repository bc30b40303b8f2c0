"""The log of a process, read: at once, piece by piece, line by line, or by callbacks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, Self

from tfnz_notebook._link import arguments
from tfnz_notebook._link.changes import Changes
from tfnz_notebook._link.follow import Data, Follower, callbacks, termination
from tfnz_notebook._link.pieces import Lines, Pieces
from tfnz_notebook._link.portal import Closed, face
from tfnz_notebook._link.reader import MAX_BYTES, SMALL, check_size, read

if TYPE_CHECKING:
    from tfnz_notebook._link.link import Link
    from tfnz_notebook.container import Container


class Log(metaclass=Closed):
    """What a :class:`~tfnz_notebook.process.Process` wrote: two streams of bytes with offsets.

    Offsets count the bytes of a stream since the process began, and stay what they are: in other
    kernels, under later agents, and when older bytes were dropped.
    """

    _container: Container
    _link: Link
    _id: str
    _tty: bool
    _info: dict[str, Any]
    _complete: bytes | None
    _gone: bool
    _followers: list[Follower]
    _changes: Changes

    @property
    def stdout(self) -> bytes:
        """All it wrote to stdout so far (or what its ``retain`` kept). Blocks for one answer.

        Raises QuotaFull over 1 GiB: read that in pieces, with :meth:`log` or by iterating.
        """
        return self.log()

    @property
    def stderr(self) -> bytes:
        """As :attr:`stdout`, of stderr; empty with a terminal."""
        return self.log(stream="stderr")

    @property
    def stalled(self) -> str:
        """Why it cannot write on: its quota is full, or the agent's disk; else empty.

        A process whose disk was full goes on by itself once there is room.
        """
        return str(self._info.get("stalled") or "")

    @face
    async def log(
        self, offset: int = 0, stream: arguments.StreamName = "stdout", *, limit: int | None = None
    ) -> bytes:
        """What it wrote from byte ``offset`` on, up to now, at most ``limit`` bytes.

        Bytes that ``retain='tail'`` dropped are left out; :meth:`elided` says how many that are.
        Raises QuotaFull over 1 GiB.
        """
        doing = "read the log"
        number = arguments.stream(doing, stream)
        start = int(arguments.number(doing, "offset", offset, 0, 1 << 61))
        if limit is not None:
            limit = int(arguments.number(doing, "limit", limit, 0, MAX_BYTES))
        if number == 1 and self._complete is not None and self._unreachable():
            return self._complete[start:][:limit]
        told, payload = await self._look(doing, number, start, SMALL if limit is None else limit)
        start = int(told["offset"])
        end = int(told["head"]) if limit is None else min(int(told["head"]), start + limit)
        check_size(end - start)
        rest = await read(self._link, self._id, number, start + len(payload), end)
        return payload + rest if rest else payload

    async def _look(
        self, doing: str, stream: int, start: int, limit: int
    ) -> tuple[dict[str, Any], bytes]:
        self._link.check(doing)
        body = {"process": self._id, "stream": stream, "offset": start, "limit": min(limit, SMALL)}
        reply = await self._link.request("log.read", body)
        return reply.body, reply.payload or b""

    def _unreachable(self) -> bool:
        """Whether the log went with its container; else descendants may have written on."""
        return self._link.over or self._container.state == "destroyed"

    @face
    async def elided(self, stream: arguments.StreamName = "stdout") -> int:
        """Bytes from the stream's beginning that the log has no more; 0 unless ``retain='tail'``.

        Also the offset of the first byte that :meth:`log` can give. (Of a container's main process
        the oldest go beyond 256 MiB, or while no agent was there; the engine's log has them.)
        """
        doing = "read the log"
        told, _ = await self._look(doing, arguments.stream(doing, stream), 0, 0)
        return int(told.get("base") or 0)

    def lines(self, offset: int = 0, stream: arguments.StreamName = "stdout") -> Lines:
        """Follow a stream line by line: bytes, without the line's end; ``for`` or ``async for``.

        Begins at byte ``offset``, ends when the stream has. Lines over 1 MiB may come in pieces.
        ``elided`` of what this returns counts the bytes that were dropped on the way.
        """
        return Lines(self.chunks(offset, stream), b"\r\n" if self._tty else b"\n")

    def chunks(self, offset: int = 0, stream: arguments.StreamName = "stdout") -> Pieces:
        """Follow a stream in pieces as they come: bytes; ``for`` or ``async for``.

        Of what this returns, ``offset`` is where the next piece begins (to go on from there, in
        this kernel or in another), and ``elided`` counts the bytes dropped on the way.
        """
        doing = "read the log"
        number = arguments.stream(doing, stream)
        start = int(arguments.number(doing, "offset", offset, 0))
        self._link.check(doing)
        return Pieces(self._link, self._id, number, start)

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.chunks()

    @face
    async def attach(
        self,
        data_callback: Data | None = None,
        termination_callback: Callable[..., object] | None = None,
        stderr_callback: Data | None = None,
        *,
        offset: int = 0,
        stderr_offset: int | None = None,
    ) -> Self:
        """Have callbacks follow it as those of ``spawn_process`` do, from byte ``offset`` on.

        For processes that another kernel started; 0 replays everything. ``stderr_offset`` is that
        of stderr, if it is another.
        """
        doing = "attach"
        callbacks(doing, data_callback, termination_callback, stderr_callback)
        start = int(arguments.number(doing, "offset", offset, 0, 1 << 61))
        other = start
        if stderr_offset is not None:
            other = int(arguments.number(doing, "stderr_offset", stderr_offset, 0, 1 << 61))
        self._link.check(doing)
        streams = {1: data_callback, 2: stderr_callback}
        follower = self._follow(self, streams, termination_callback, {1: start, 2: other})
        if follower is not None:
            for reader in follower.readers:
                await reader.open()
            if self._ended:
                follower.ended(self._info)
        return self

    def _follow(
        self,
        subject: object,
        data: dict[int, Data | None],
        function: Callable[..., object] | None,
        offsets: dict[int, int] | None = None,
    ) -> Follower | None:
        if function is None and not any(data.values()):
            return None
        lane = self._container._location._lane()
        ended = termination(function, subject)
        follower = Follower(
            self._link, lane, self._id, subject, data, ended, self._changes, offsets
        )
        self._followers.append(follower)
        return follower

    @property
    def _ended(self) -> bool:
        return bool(self._info.get("ended")) or self._gone
