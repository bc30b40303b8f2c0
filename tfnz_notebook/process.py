"""One process in a container: an append-only log of output, a stdin, and a return code."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from tfnz_notebook._base import names
from tfnz_notebook._base.text import clip
from tfnz_notebook._calls import arguments, drawing, echo
from tfnz_notebook._calls.changes import Changes
from tfnz_notebook._calls.deadline import WORD, within
from tfnz_notebook._calls.drawing import Drawn
from tfnz_notebook._calls.faces import Closed, Owned, Twin, face
from tfnz_notebook._calls.follow import Data, Follower, callbacks, termination
from tfnz_notebook._calls.pieces import Lines, Pieces
from tfnz_notebook._calls.recording import asciicast
from tfnz_notebook._link import thread
from tfnz_notebook._link.reader import MAX_BYTES, SMALL, check_size, read
from tfnz_notebook._wire.operations import MAX_CHUNK
from tfnz_notebook.errors import ContainerGone, Misuse, ProcessGone, WaitTimeout

if TYPE_CHECKING:
    import re

    from tfnz_notebook._link.link import Link
    from tfnz_notebook.container import Container

#: Output up to this size is kept with the object once ``wait_until_complete`` has returned it.
KEPT: Final = 1 << 20
#: Bytes of a stream that a recording has at most.
RECORDED: Final = 64 << 20


class Completed(NamedTuple):
    """What a process that ran to its end left: bytes, bytes, and its code as in ``Process``."""

    stdout: bytes
    """All that it wrote there."""
    stderr: bytes
    """All that it wrote there."""
    returncode: int
    """Its exit code, or minus the signal that ended it."""


class Log(Owned, metaclass=Closed):
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
        self,
        offset: int = 0,
        stream: arguments.StreamName = "stdout",
        *,
        limit: int | None = None,
        timeout: float | None = None,
    ) -> bytes:
        """What it wrote from byte ``offset`` on, up to now, at most ``limit`` bytes.

        Bytes that ``retain='tail'`` dropped are left out; :meth:`elided` says how many that are.
        Raises QuotaFull over 1 GiB.
        """
        async with within("read the log", timeout):
            doing = "read the log"
            number = arguments.stream(doing, stream)
            start = int(arguments.number(doing, "offset", offset, 0, 1 << 61))
            if limit is not None:
                limit = int(arguments.number(doing, "limit", limit, 0, MAX_BYTES))
            if number == 1 and self._complete is not None and self._unreachable():
                return self._complete[start:][:limit]
            told, payload = await self._look(
                doing, number, start, SMALL if limit is None else limit
            )
            start = int(told["offset"])
            end = int(told["head"]) if limit is None else min(int(told["head"]), start + limit)
            check_size(end - start)
            rest = await read(self._link, self._id, number, start + len(payload), end)
            return payload + rest if rest else payload

    async def _look(
        self, doing: str, stream: int, start: int, limit: int, *, times: bool = False
    ) -> tuple[dict[str, Any], bytes]:
        self._link.check(doing)
        body = {"process": self._id, "stream": stream, "offset": start, "limit": min(limit, SMALL)}
        body |= {"times": True} if times else {}
        reply = await self._link.request("log.read", body)
        return reply.body, reply.payload or b""

    def _unreachable(self) -> bool:
        """Whether the log went with its container; else descendants may have written on."""
        return self._link.over or self._container.state == "destroyed"

    @face
    async def elided(
        self, stream: arguments.StreamName = "stdout", *, timeout: float | None = None
    ) -> int:
        """Bytes from the stream's beginning that the log has no more; 0 unless ``retain='tail'``.

        Also the offset of the first byte that :meth:`log` can give. (Of a container's main process
        the oldest go beyond 256 MiB, or while no agent was there; the engine's log has them.)
        """
        async with within("read the log", timeout):
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
        timeout: float | None = None,
    ) -> Self:
        """Have callbacks follow it as those of ``spawn_process`` do, from byte ``offset`` on.

        For processes that another kernel started; 0 replays everything. ``stderr_offset`` is that
        of stderr, if it is another.
        """
        async with within("attach", timeout):
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
                leave = partial(self._unfollow, follower)
                try:
                    for reader in follower.readers:
                        await reader.open()
                except BaseException:
                    leave()
                    raise
                thread.unless_taken(leave)
                if self._ended:
                    follower.ended(self._info)
            return self

    def _unfollow(self, follower: Follower) -> None:
        """As if it had not been attached: nobody waits for its callbacks."""
        self._followers.remove(follower)
        follower.close()
        self._changes.tell()

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


class Process(Drawn, Log):
    r"""A process that :meth:`Container.spawn_process` or :meth:`Container.spawn_shell` started.

    Its output is a log with byte offsets that the agent keeps: any number of readers, each from
    where it likes, and again after a kernel restart. ``await process`` is
    :meth:`wait_until_complete`; ``for chunk in process`` and ``async for`` follow its stdout.
    A conversation, and what is left of it::

        >>> shell = container.spawn_process('sh')
        >>> shell.stdin(b'echo one\n', return_reply=True)
        b'one\n'
        >>> shell.stdin(b'echo two; exit 3\n')
        >>> shell.wait(), shell.log(offset=4)
        (3, b'two\n')
        >>> endless = container.spawn_process(['sleep', '1000'])
        >>> endless.signal('INT'), endless.wait()
        (1, -2)
    """

    _comes_from = "Use container.spawn_process()."

    def __init__(self, container: Container, ident: str, text: str, tty: bool) -> None:
        self._container = container
        self._link = container._link
        self._id = ident
        self._text = text
        self._tty = tty
        self._info: dict[str, Any] = {}
        self._changes = Changes()
        self._followers: list[Follower] = []
        self._gone = False
        self._complete: bytes | None = None

    # -- what it is

    @property
    def id(self) -> str:
        """Its id: 32 hexadecimal digits, unique."""
        return self._id

    @property
    def uuid(self) -> str:
        """The id, as 20ft calls it."""
        return self._id

    @property
    def container(self) -> Container:
        """The container it runs in."""
        return self._container

    @property
    def command(self) -> str:
        """The command, as text for people."""
        return self._text

    @property
    def pid(self) -> int:
        """Its process id inside the container; 0 while unknown."""
        return int(self._info.get("pid") or 0)

    @property
    def tty(self) -> bool:
        """Whether it has a terminal; then stderr is part of stdout."""
        return self._tty

    @property
    def returncode(self) -> int | None:
        """None while it runs; its exit code, or minus the signal that ended it (subprocess)."""
        code: int | None = self._info.get("returncode")
        return code

    @property
    def timed_out(self) -> bool:
        """Whether it was ended because of its ``timeout``."""
        return bool(self._info.get("timed_out"))

    @property
    def oom(self) -> bool:
        """Whether the kernel killed it for the container's memory limit."""
        return bool(self._info.get("oom"))

    @property
    def seconds(self) -> float:
        """CPU seconds (user and system) it took; 0.0 until it has ended."""
        return float(self._info.get("seconds") or 0.0)

    @property
    def aio(self) -> ProcessAio:
        """The same process with awaitable methods."""
        return ProcessAio._see(self)

    def __repr__(self) -> str:
        state = f"pid {self.pid}" if self.pid else "starting"
        if self.returncode is not None:
            state = f"ended with {self.returncode}"
        elif self.stalled:
            state = f"cannot write on: {self.stalled}"
        return f"<Process {clip(self._text, 60)!r}: {state}, in {self._container._called}>"

    def __await__(self) -> Generator[Any, None, bytes]:
        return self.aio.wait_until_complete().__await__()

    # -- hearing of it, on the I/O loop

    def _heard(self, info: dict[str, Any] | None) -> None:
        if info is None:
            self._gone = True
        else:
            self._info = info
            self._tty = bool(info.get("tty", self._tty))
        if self._ended:
            for follower in self._followers:
                follower.ended(self._info)
            self._container._process_over(self)
        self._changes.tell()

    def _give_up(self) -> None:
        """Its container is gone, and what was not read by now with it."""
        for follower in self._followers:
            follower.close()

    def _settled(self) -> bool:
        """Ended, and every callback for it has run; but who waits inside of one cannot wait so."""
        if not self._ended:
            return False
        inside = thread.caller().inside
        return all(f.settled or f.lane in inside for f in self._followers)

    async def _output(self, stream: int) -> bytes:
        """All that it wrote to a stream before it ended; of a short one that came with its end."""
        said = self._info.get("said")
        if said is not None:
            return bytes(said[stream - 1])
        end = int(self._info.get("out" if stream == 1 else "err") or 0)
        return await read(self._link, self._id, stream, 0, end)

    async def _finished(self, timeout: float | None) -> None:
        def late() -> WaitTimeout:
            return WaitTimeout(
                f"Cannot wait any longer for {self._text!r}: it did not end within {timeout} s. "
                "It goes on, and so may you: wait again, or destroy it."
            )

        seconds = arguments.seconds("wait", "timeout", timeout)
        await self._changes.until(self._settled, seconds, late)
        if self.returncode is None:
            self._link.check("wait")
            raise ProcessGone(
                f"Cannot wait for {self._text!r}: its agent does not know it any more. "
                "Spawn another."
            )

    def _check_alive(self, doing: str) -> None:
        self._link.check(doing)
        if self._container.state == "destroyed":
            raise ContainerGone(
                f"Cannot {doing}: the container {self._container._called} was destroyed. "
                "Spawn another one."
            )
        if self.returncode is not None or self._gone:
            raise ProcessGone(
                f"Cannot {doing}: the process {self._text!r} has ended with code "
                f"{self.returncode}. Spawn another one."
            )

    # -- waiting

    @face
    async def recording(self, *, timeout: float | None = None) -> str:
        """What it wrote by now, with its times, as an asciicast v2: a text for asciinema's players.

        Times are to 20 ms, less exact where it wrote for long. There is nothing in it of what was
        typed but a terminal's echo, and nothing of its environment. Of more than 64 MiB the last.
        Raises as :meth:`log`.
        """
        doing = "record it"
        async with within(doing, timeout):
            streams: dict[int, tuple[int, bytes]] = {}
            marks: list[list[int]] = []
            for stream in (1,) if self.tty else (1, 2):
                found, _ = await self._look(doing, stream, 0, 0, times=True)
                marks, end = found.get("times") or marks, int(found["head"])
                start = max(int(found["base"]), end - RECORDED)
                streams[stream] = start, await read(self._link, self._id, stream, start, end)
            told, title = self._info, clip(" ".join(self.command.split()), 200)
            size = int(told.get("rows") or 24), int(told.get("columns") or 80)
            began = float(told.get("started") or 0)
            return asciicast(streams, marks, size=size, began=began, title=title, tty=self.tty)

    @face
    async def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended and its callbacks have run; the return code.

        ``timeout`` in seconds; WaitTimeout when they are over, and the process goes on.
        """
        await self._finished(timeout)
        return self.returncode or 0

    @face
    async def wait_until_complete(self, timeout: float | None = None) -> bytes:
        """Wait until it has ended; everything it wrote to stdout (20ft).

        A second call returns the same bytes. ``timeout`` in seconds; raises WaitTimeout then (the
        process goes on), QuotaFull over 1 GiB, LinkClosed.
        """
        async with within("wait until it is complete", timeout, slack=WORD):
            await self._finished(timeout)
            if self._complete is None:
                output = await self._output(1)
                if len(output) > KEPT:
                    return output
                self._complete = output
            return self._complete

    # -- talking to it

    @face
    async def stdin(
        self,
        data: bytes,
        return_reply: bool = False,
        drop_echo: bool = False,
        *,
        timeout: float | None = None,
    ) -> bytes | None:
        """Write to its stdin (20ft).

        With ``return_reply`` first wait until it waits for input, write, and return all it wrote
        to stdout until it waits for input again, or ends. ``drop_echo`` removes what a terminal
        echoed of ``data``, if it did. ``timeout`` in seconds for all of that.

        Returns None without ``return_reply``, once the container holds the data (for a process
        that does not read 256 KiB, then this waits): it arrives once, whatever becomes of the
        agent. Raises ProcessGone, WaitTimeout.
        """
        doing = "write to stdin"
        payload = arguments.stdin(data)
        seconds = arguments.seconds(doing, "timeout", timeout)
        self._check_alive(doing)
        if not return_reply:
            if drop_echo:
                raise Misuse("Cannot drop the echo: only a reply has one. Add return_reply=True.")
            async with within(doing, timeout):
                for start in range(0, len(payload), MAX_CHUNK):
                    piece = payload[start : start + MAX_CHUNK]
                    await self._link.request("process.stdin", {"process": self._id}, piece)
            return None
        body = {"process": self._id, "timeout": seconds, "settle": True}
        async with within(doing, timeout, slack=WORD):
            told = (await self._link.request("process.ask", body, payload)).body
            reply = await read(self._link, self._id, 1, int(told["out_from"]), int(told["out"]))
        return echo.drop(reply, payload) if drop_echo and self._tty else reply

    @face
    async def close_stdin(self, *, timeout: float | None = None) -> None:
        """End its stdin after what was written; on a terminal, type Ctrl-D. Idempotent."""
        async with within("close stdin", timeout):
            self._check_alive("close stdin")
            await self._link.request("process.close_stdin", {"process": self._id})

    @face
    async def signal(
        self, sig: int | str, *, tree: bool = False, timeout: float | None = None
    ) -> int:
        """Send a signal (number or name, as 15 or 'TERM') to it, or to everything it started.

        Returns how many processes were signalled. Raises ProcessGone.
        """
        async with within("signal", timeout):
            # Not before: it is the tables of what the agent says to guests.
            from tfnz_notebook._wire.guest import Target

            number = names.signal_number(sig)
            if not tree:
                self._check_alive("signal")
            target = Target.TREE if tree else Target.LEADER
            body = {"process": self._id, "signal": number, "target": int(target)}
            reply = await self._link.request("process.signal", body)
            return int(reply.body.get("count") or 0)

    @face
    async def resize(self, rows: int, columns: int, *, timeout: float | None = None) -> None:
        """Its terminal's new size in characters; the process gets SIGWINCH. Misuse without one."""
        async with within("resize", timeout):
            rows, columns = arguments.size("resize", (rows, columns))
            if not self._tty:
                raise Misuse("Cannot resize: this process has no terminal. Spawn it with tty=True.")
            self._check_alive("resize")
            body = {"process": self._id, "rows": rows, "columns": columns}
            await self._link.request("process.resize", body)

    @face
    async def destroy(self, *, grace: float = 5.0, timeout: float | None = None) -> int:
        """End it with everything it started, as :meth:`Container.destroy_process` does."""
        async with within("destroy the process", timeout):
            return await self._destroy(grace)

    async def _destroy(self, grace: float) -> int:
        wait = arguments.seconds("destroy the process", "grace", grace)
        self._check_alive("destroy the process")
        body = {"process": self._id, "grace": wait}
        reply = await self._link.request("process.destroy", body)
        await self._changes.until(self._settled, None, WaitTimeout)
        return int(reply.body.get("survivors") or 0)

    # -- to be seen

    def plot(
        self,
        parser: Any = None,
        columns: str | Iterable[str] | None = None,
        window: float | str | None = None,
        *,
        pattern: str | re.Pattern[str] | None = None,
        x: str = "time",
        title: str | None = None,
        stream: arguments.StreamName = "stdout",
    ) -> Any:
        r"""Plot what it prints, from its first byte on; returns the ``plots.Plot``.

        :param parser: how numbers are read, see :mod:`tfnz_notebook.plots`; None finds out.
        :param columns: those shown, ``'us,sy'`` or names or patterns; None: the usual ones.
        :param window: seconds shown, or ``'all'``; None: 60.
        :param pattern: instead of a parser a regular expression whose named groups are the
            columns: ``r'time=(?P<ms>[\d.]+)'``.
        :param x: ``'time'``, ``'row'``, or a column.
        :param title: instead of the command.

        Lines written before are spread evenly from its start to now: a log has no times. Raises
        Misuse for a parser or a column that there is not.
        """
        return drawing.plots().plot(
            self, parser, columns, window, pattern=pattern, x=x, title=title, stream=stream
        )

    def show(self, *, stdin: bool = False, rows: int | None = None) -> None:
        """Show its output, or its terminal, in the present cell; a line where there is no notebook.

        ``stdin``: with a line to type into (terminals need none). ``rows``: lines seen at once.
        """
        drawing.views().show_process(self, stdin=stdin, rows=rows)


class ProcessAio(Twin, Process):
    """A process whose methods are awaitable."""


__all__ = ["Completed", "Lines", "Pieces", "Process", "ProcessAio"]
