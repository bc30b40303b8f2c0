"""What fills a plot: a process's log through a parser, or a container's samples.

Both are coroutines of the I/O loop. Parsing yields to the loop every few milliseconds, and reads no
further meanwhile: a process that writes faster than it can be parsed waits in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Final

from tfnz_notebook._base import escapes
from tfnz_notebook._link.reader import Reader
from tfnz_notebook._link.thread import io
from tfnz_notebook.container import Container, Stats
from tfnz_notebook.errors import TfnzError
from tfnz_notebook.plots.model import Plot
from tfnz_notebook.plots.parsers.base import Row
from tfnz_notebook.plots.parsers.things import Things
from tfnz_notebook.process import Process

#: Seconds without output after which a block that was begun is taken to be whole.
QUIET: Final = 0.25
#: Seconds that parsing may hold the I/O loop in one go.
SLICE: Final = 0.004
#: A longer line is no row of numbers.
MAX_LINE: Final = 64 << 10
#: Bytes that may wait to be parsed.
WINDOW: Final = 1 << 20
#: Bytes of the other stream that are quoted from.
BESIDE: Final = 4096
#: Seconds that the end of a process may come after that of its output.
LINGER: Final = 2.0
#: Seconds between rows that came at once, at most: they were written together.
TOGETHER: Final = 0.01


def feed(plot: Plot, coroutine: Coroutine[Any, Any, None]) -> None:
    """Run it on the I/O loop until the plot is stopped; from any thread."""

    async def run() -> None:
        try:
            await coroutine
        except TfnzError as error:
            plot.end(str(error))
        except asyncio.CancelledError:  # it was stopped, and says so itself
            raise
        except BaseException as error:  # nobody awaits it: the plot says it
            plot.end(f"Cannot go on: {type(error).__name__}: {error}.")
            raise
        else:
            plot.end()

    def start() -> None:
        if plot.ended:  # stopped before it began
            coroutine.close()
            return
        task = io().loop.create_task(run())
        plot.fed_by(task.cancel)

    io().soon(start)


class Log:
    """One stream of a process, line by line, into a plot."""

    def __init__(self, plot: Plot, process: Process, parser: Things, stream: str) -> None:
        self._plot = plot
        self._process = process
        self._parser = parser
        self._stream = 2 if stream == "stderr" else 1
        self._part = b""
        self._overlong = False
        self._timed = False  # the parser tells times
        self._queue: deque[tuple[bytes, bool]] = deque()  # and whether output before was left out
        self._arrived = asyncio.Event()
        self._over = False
        self._error: TfnzError | None = None
        self._elided = 0
        self._reader: Reader
        self._beside: Reader | None = None  # the other stream, which says what is wrong
        self._aside = b""

    async def follow(self) -> None:
        """Until the stream ends."""
        plot, parser = self._plot, self._parser
        head = await self._head()
        plot.replaying = head > 0
        link = self._process._link  # noqa: SLF001  # of the family: follows its log as it does
        self._reader = Reader(
            link, self._process.id, self._stream, 0, self._received, self._ended, window=WINDOW
        )
        try:
            await self._reader.open()
            if not self._process.tty:
                self._listen_beside()
            while await self._more():
                while self._queue:
                    piece, torn = self._queue.popleft()
                    if torn:
                        self._tear()
                    await self._lines(self._split(piece))
                    self._reader.taken(len(piece))
                    if plot.replaying and self._reader.offset >= head and not self._queue:
                        self._replayed()
                    plot.came()
            if self._error is not None:
                raise self._error
            if self._part:
                await self._lines([self._part])
            self._put(parser.settle(), "")
            self._replayed()
            if not plot.table.end:
                await self._outcome()
        finally:
            self._reader.close()
            self._deafen()

    # -- what it says instead

    def _listen_beside(self) -> None:
        """Hear the other stream until the first row: there a command says that it is wrong."""
        other = Reader(
            self._process._link,  # noqa: SLF001  # as above
            self._process.id,
            3 - self._stream,
            0,
            self._overheard,
            lambda _error: self._arrived.set(),
            window=BESIDE,
            keep=BESIDE,
        )
        self._beside = other
        other.begin()

    def _overheard(self, payload: bytes) -> None:
        if self._beside is not None:
            self._beside.taken(len(payload))
            self._aside = (self._aside + payload)[-BESIDE:]
            self._plot.hear(self._aside)
            self._plot.came()

    def _deafen(self) -> None:
        if self._beside is not None:
            self._beside.close()
            self._beside = None

    async def _outcome(self) -> None:
        """How it ended: a wrong command has its code, and its last words on the other stream."""
        process, beside = self._process, self._beside
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER):  # it may have closed a stream, and go on
                while beside is not None and not beside.finished:
                    self._arrived.clear()
                    await self._arrived.wait()
                await process.aio.wait()
        if process.returncode is not None:
            self._plot.outcome = f"It ended with {process.returncode}."

    # -- from the reader

    def _received(self, payload: bytes) -> None:
        elided, self._elided = self._elided, self._reader.elided
        self._queue.append((payload, elided != self._elided))
        self._arrived.set()

    def _ended(self, error: TfnzError | None) -> None:
        self._over, self._error = True, error
        self._arrived.set()

    async def _more(self) -> bool:
        """Wait for more; False at the end. Meanwhile a block that was begun settles."""
        while not self._queue:
            if self._over:
                return False
            self._arrived.clear()
            try:
                async with asyncio.timeout(QUIET if self._parser.pending else None):
                    await self._arrived.wait()
            except TimeoutError:
                self._put(self._parser.settle(), "")
                self._plot.came()
        return True

    def _tear(self) -> None:
        """Output was left out (``retain='tail'``): the lines at both edges are not whole."""
        if self._part:
            self._skip(self._part[:200].decode("utf-8", "replace"), "what followed was left out")
        self._part, self._overlong = b"", True

    async def _head(self) -> int:
        """How far it was written before."""
        request = {"process": self._process.id, "stream": self._stream, "offset": 0, "limit": 0}
        reply = await self._process._link.request("log.read", request)  # noqa: SLF001  # as above
        return int(reply.body["head"])

    def _replayed(self) -> None:
        """Rows from before have no times: spread them over those in which they were written."""
        plot = self._plot
        if not plot.replaying:
            return
        plot.replaying = False
        now, rows = time.time(), plot.table.end
        started = float(self._process._info.get("started") or 0.0)  # noqa: SLF001  # as above
        if plot.x == "time" and not self._timed and rows:
            since = started if 0 < started < now else now - TOGETHER * rows
            plot.table.spread(0, since, now)

    def _split(self, piece: bytes) -> list[bytes]:
        lines = (self._part + piece).split(b"\n")
        self._part = lines.pop()
        if self._overlong and lines:  # the end of a line whose beginning was given up
            lines.pop(0)
            self._overlong = False
        if len(self._part) > MAX_LINE:
            if not self._overlong:
                self._skip(self._part[:200].decode("utf-8", "replace"), "it is too long")
            self._part, self._overlong = b"", True
        return lines

    async def _lines(self, lines: Sequence[bytes]) -> None:
        now = time.time()
        begun = time.monotonic()
        for number, line in enumerate(lines, 1):
            if len(line) > MAX_LINE:
                self._skip(line[:200].decode("utf-8", "replace"), "it is too long")
                continue
            text = line.decode("utf-8", "replace").rstrip("\r")
            if "\x1b" in text:
                text = escapes.without(text)
            self._plot.lines += 1
            if "\r" in text:  # a progress line that was written over itself
                text = text.rsplit("\r", 1)[-1]
            try:
                rows = self._parser.feed(text)
            except BaseException as error:  # noqa: BLE001  # a user's function may raise anything
                self._skip(text, str(error) or type(error).__name__)
                self._plot.hear(text)
                continue
            if not rows:
                self._plot.hear(text)
            elif self._beside is not None:
                self._deafen()
            # In order, the last of them now.
            self._put(rows, text, now - (len(lines) - number) * min(TOGETHER, 1 / len(lines)))
            if time.monotonic() - begun > SLICE:
                await asyncio.sleep(0)
                begun = time.monotonic()

    def _put(self, rows: Iterable[Row], text: str, now: float | None = None) -> None:
        if self._parser.renamed:
            self._plot.rename(self._parser.renamed)
            self._parser.renamed = {}
        for row in rows:
            try:
                self._timed = self._timed or row.time is not None
                self._plot.add(row, now)
                self._plot.remark = self._parser.remark
            except ValueError as error:
                self._skip(text, str(error))

    def _skip(self, text: str, reason: str) -> None:
        self._plot.skip(text, reason)


#: What a container's samples are plotted as, and their units.
SAMPLED: Final = {
    "cpu": "%",
    "memory": "B",
    **dict.fromkeys(("read", "written", "received", "sent"), "B/s"),
    "pids": "",
}


def rates(before: Stats | None, now: Stats) -> dict[str, float]:
    """A row of two samples: what is counted since the start becomes a rate."""
    values = dict.fromkeys(SAMPLED, math.nan)
    for name in ("memory", "pids"):
        value = getattr(now, name)
        if value is not None:
            values[name] = float(value)
    passed = now.time - before.time if before is not None else 0.0
    if before is None or passed <= 0:
        return values
    for source, name, factor in (
        ("cpu_seconds", "cpu", 100.0),
        *((each, each, 1.0) for each in ("read", "written", "received", "sent")),
    ):
        old, new = getattr(before, source), getattr(now, source)
        if old is not None and new is not None and new >= old:  # else it was rebooted
            values[name] = factor * (new - old) / passed
    return values


async def sample(plot: Plot, container: Container, every: float) -> None:
    """Ask a container what it uses, until it ends."""
    loop = asyncio.get_running_loop()
    before: Stats | None = None
    due = loop.time()
    while container.state not in ("exited", "failed", "destroyed"):
        now = await container.aio.stats()
        plot.add(Row(rates(before, now)), now.time)
        plot.came()
        before = now
        due = max(due + every, loop.time())
        await asyncio.sleep(due - loop.time())
