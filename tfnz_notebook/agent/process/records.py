"""What a later agent must know of a container's processes: the index of those that ended.

Written before the guest is told to forget: at any moment the end of a process is known to the
guest, or to the index, or to both. Beside it lie the outputs, which are read only where the index
says; the folder is listed for those alone that it does not say all of: what runs, what ended
when its agent was killed, what an agent of 0.1 wrote.

The oldest logs are dropped when there is too much of them (``kept/retention.py``), and the process
says so from then on; those of long before are forgotten altogether, and counted.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict, deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tfnz_notebook.agent.process.kept import ended, retention
from tfnz_notebook.agent.process.kept.ended import STREAMS, Ended, Told
from tfnz_notebook.agent.process.kept.index import Index
from tfnz_notebook.agent.process.kept.marks import Marks
from tfnz_notebook.agent.process.kept.pack import Pack
from tfnz_notebook.agent.process.kept.retention import Retention
from tfnz_notebook.agent.process.kept.roster import Roster
from tfnz_notebook.agent.process.log import Log, Segment
from tfnz_notebook.agent.process.output import RETRY
from tfnz_notebook.agent.process.writes import Writes
from tfnz_notebook.agent.world import REAL, World, now

if TYPE_CHECKING:
    from tfnz_notebook.agent.process.process import Process

logger = logging.getLogger(__name__)

#: Seconds that an end waits for others, so that many are one write, and one word to the guest. Who
#: waits for that end has just been woken besides, and wants the machine.
TOGETHER: Final = 0.02
#: Lines that may be in the index in vain before it is written anew, beside as many as count.
SURPLUS: Final = 1024
#: Logs that are dropped in one turn of the loop.
AT_ONCE: Final = 64


class Records:
    """Of one container: ``processes`` are all of them, its files are in ``folder``."""

    def __init__(
        self, folder: Path, world: World = REAL, keep: Retention = retention.USUAL
    ) -> None:
        self.folder = folder
        self._ident = folder.name  # the container's, and its main process's
        self.world, self.disk = world, world.disk
        self.writes = Writes(folder, world.disk)
        self.processes = Roster(self._recall)
        self._keep = keep
        self._index = Index(folder / "ended", world.disk)
        self._pack = Pack(folder, world.disk)
        #: Lines of processes that are not at rest, and of the main one.
        self._open: dict[str, bytes] = {}
        #: Processes at rest, in the order of their ends: with logs, and without any more.
        self._kept = deque[str]()
        self._bare = deque[str]()
        self._bytes = 0
        #: Processes whose end is to be written down, and when that is.
        self._due: dict[Process, None] = {}
        self._writing: asyncio.Handle | None = None
        self._whole = True  # all that is in the index is known
        self._age, self._since = 0.0, -1.0
        self._oldest: ended.Seen | None = None  # of those with logs
        self._found: dict[str, list[Segment]] | None = None

    # -- a process

    def log(self, ident: str, stream: str, *, adopt: bool, **options: Any) -> Log:
        """A new log, or with ``adopt`` what an earlier agent left of it."""
        if not adopt:  # most never have a file: no Path is made of it before
            return Log(f"{self.folder}/{ident}.{stream}", disk=self.disk, **options)
        path = self.folder / f"{ident}.{stream}"
        line = self._reopened(ident)
        before = self._recall(line).logs[STREAMS.index(stream)] if line is not None else None
        try:
            found = self._files().get(path.name, [])
        except OSError as error:  # what the guest still holds is all there is of it
            logger.warning("container %s: %s cannot be found: %s", *path.parts[-2:], error)
            found = []
        return Log.adopt(path, found, before=before, disk=self.disk, **options)

    def marks(self, ident: str) -> Marks:
        """When its output comes."""
        return Marks(f"{self.folder}/{ident}.marks", self.disk)

    def end(self, ident: str) -> Told | None:
        """What is known of the end of a process that its guest still lists."""
        line = self._reopened(ident)
        return json.loads(line) if line is not None else None

    def _reopened(self, ident: str) -> bytes | None:
        """The line of a process that has ended, and is not at rest after all."""
        line = self.processes.line(ident)
        if line is not None:
            self._open[ident] = line
            del self.processes[ident]
            self._subtract(_seen(line))
        return self._open.get(ident)

    def soon(self, process: Process) -> None:
        """Write down its end, along with those of others; its guest has all of it until then.

        But for the main process: its guest ends once it may forget that.
        """
        self._due[process] = None
        loop = asyncio.get_running_loop()
        if process.ident == self._ident:
            self._write_at(loop.call_soon(self.write))
        elif self._writing is None:
            self._write_at(loop.call_later(TOGETHER, self.write))

    def _write_at(self, handle: asyncio.Handle | None) -> None:
        if self._writing is not None:
            self._writing.cancel()
        self._writing = handle

    def write(self, *processes: Process) -> None:
        """Write down now what is due, and the ends of these, or once the disk has room for that."""
        due = self._due | dict.fromkeys(processes)
        self._due = {process: None for process in due if not self._stored(process)}
        stored = [process for process in due if process not in self._due]
        marks = {process: process.marks.kept() for process in stored if process.untold}
        at = self._clock()
        lines = {p: ended.line_of(ended.told_of(p, told, p.place, at)) for p, told in marks.items()}
        if lines and not self._index.append(*lines.values()):
            self._due |= dict.fromkeys(lines)
            lines.clear()
        for process, line in lines.items():
            self._open[process.ident] = line
            if marks[process] is not None:
                process.marks.remove()
        again = asyncio.get_running_loop().call_later(RETRY, self.write) if self._due else None
        self._write_at(again)
        for process in stored:
            if process not in self._due:
                process.recorded()

    def leave_out(self, process: Process) -> None:
        """It is discarded: nothing of it is to be written down any more."""
        self._due.pop(process, None)

    def _stored(self, process: Process) -> bool:
        """Have its output in files, if there is room for that."""
        if not process.store():
            return False
        try:
            if process.untold:
                self._store(process)
        except OSError:
            return False
        return True

    def _store(self, process: Process) -> None:
        loose = [each for each in process.logs if each.loose]
        if not loose:
            return
        if process.place is not None:  # a line has one place; what came later has its own file
            for each in loose:
                if not each.spool():
                    raise OSError(each.trouble)
            return
        pieces = [each.whole() for each in loose]
        number, at = process.place = self._pack.add(b"".join(pieces))
        self._pack.need(number)
        for each, piece in zip(loose, pieces, strict=True):
            each.lies(self._pack.path(number), at)
            at += len(piece)

    def rest(self, process: Process) -> None:
        """Nothing of it changes any more: its line takes its place, and can be dropped one day."""
        line = self._open.get(process.ident)
        # The container looks at its main process after the end, too.
        if line is not None and process.ident != self._ident:
            del self._open[process.ident]
            self.processes.rest(process.ident, line)
            self._count(_seen(line), line)
            self._retire()

    def abandoned(self, process: Process) -> None:
        """Nobody is to know of it any more, and it is not over yet."""
        self.processes.orphans.add(process)

    def undone(self, process: Process) -> None:
        """One of those is over."""
        self.processes.orphans.discard(process)

    def _recall(self, line: bytes) -> Ended:
        return Ended(json.loads(line), self.folder, self.disk, self._pack, self.writes)

    # -- what an earlier agent left

    async def load(self, turn: asyncio.Lock, *, over: bool) -> None:
        """Read the index, in slices that hold up nobody. Before anything else is done.

        ``turn`` is shared with the other containers' (see :meth:`.Index.load`). ``over``: this one
        has ended, so those ended with it of which only the output is left.
        """
        unclear: dict[str, Told] = {}

        def take(line: bytes) -> None:
            known = ended.seen(line)
            if known is not None and known.rest:
                unclear.pop(known.ident, None)
                self._add(known, line)
            elif (told := _told(line)) is not None:
                self.processes.forgotten += int(told.pop("forgotten", 0))
                if "process" in told:
                    unclear[str(told["process"])] = told

        try:
            await self._index.load(take, turn)
        except OSError as error:
            # What is not known may be in there: nothing is taken for killed, nothing is dropped.
            logger.warning("container %s: its index cannot be read: %s", self._ident, error)
            self._whole, over = False, False
        self._complete(unclear, over=over)
        self._since = now()
        self._retire()

    def _add(self, known: ended.Seen, line: bytes) -> None:
        """A line of the index; it may say anew what another one said."""
        if known.pack >= 0:
            self._pack.need(known.pack)
        if (before := self.processes.line(known.ident)) is not None:
            told = _seen(before)
            self._subtract(told)
            if told.pack >= 0:
                self._pack.spare(told.pack)
        self.processes.rest(known.ident, line)
        self._count(known, line)
        self._age = max(self._age, known.at)

    def _complete(self, unclear: dict[str, Told], *, over: bool) -> None:
        """What the index does not say all of, the folder may."""
        if not unclear and not over:
            return
        trouble = ""
        try:
            files = self._files()
        except OSError as error:
            logger.warning("container %s: its folder cannot be read: %s", self._ident, error)
            files, trouble = {}, "the folder of its output could not be read"
        if over:
            for ident in dict.fromkeys(name.rpartition(".")[0] for name in files):
                if ident not in self.processes and ident not in (*unclear, self._ident):
                    unclear[ident] = ended.killed(ident)
        for ident, told in unclear.items():
            before = self._recall(ended.line_of(told)).logs if "logs" in told else (None, None)
            logs = []
            for stream, known in zip(STREAMS, before, strict=True):
                path = self.folder / f"{ident}.{stream}"
                found = files.get(path.name, [])
                logs.append(Log.adopt(path, found, before=known, disk=self.disk))
            whole = ended.completed(told, logs)
            if trouble:
                whole = ended.dropped(whole, trouble)
            line = ended.line_of(whole)
            self._add(_seen(line), line)

    def _files(self) -> dict[str, list[Segment]]:
        """Segments of logs that are files of their own; listed once in a turn of the loop."""
        if self._found is None:
            found = self._found = defaultdict(list)
            for name, size in self.disk.list(self.folder):
                stem, _, start = name.rpartition(".")
                if start.isdecimal() and stem.endswith((".out", ".err")):
                    found[stem].append((int(start), size))
            asyncio.get_running_loop().call_soon(self._forget_files)
        return self._found

    def _forget_files(self) -> None:
        self._found = None

    # -- how much is kept

    def _clock(self) -> float:
        """Seconds that agents were there, as far as the index tells."""
        if self._since < 0:
            self._since = now()
        return self._age + now() - self._since

    def _count(self, known: ended.Seen, line: bytes) -> None:
        """It is there, at rest. The main process is not counted, and never dropped."""
        if known.ident != self._ident:
            (self._bare if b',"dropped":"' in line else self._kept).append(known.ident)
            self._bytes += known.kept

    def _subtract(self, known: ended.Seen) -> None:
        """It is not there, or told of anew."""
        self._oldest = None
        for held in (self._kept, self._bare):
            if known.ident in held:
                held.remove(known.ident)
                self._bytes -= known.kept

    def _retire(self) -> None:
        """Drop the logs of the oldest, forget the oldest of those without."""
        if not self._whole:
            return
        dropped = list[bytes]()
        while len(dropped) < AT_ONCE and self._kept and (why := self._excess()):
            if line := self._drop(why):
                dropped.append(line)
        if dropped:
            self._index.append(*dropped)
        while len(self._bare) > self._keep.count:
            del self.processes[self._bare.popleft()]
            self.processes.forgotten += 1
        if self._index.lines > 2 * (len(self._kept) + len(self._bare)) + SURPLUS:
            self._index.replace(self._lines())

    def _excess(self) -> str:
        """Why the oldest log is too much; empty if it is not."""
        if self._oldest is None or self._oldest.ident != self._kept[0]:
            line = self.processes.line(self._kept[0])
            assert line is not None
            self._oldest = _seen(line)
        age = self._clock() - self._oldest.at
        return self._keep.why(len(self._kept), self._bytes, age)

    def _drop(self, why: str) -> bytes | None:
        """Drop the oldest log; its process's line from now on, unless it wrote nothing."""
        ident = self._kept.popleft()
        self._bare.append(ident)
        line = self.processes.line(ident)
        assert line is not None
        known = _seen(line)
        if not known.kept:
            return None
        self._recall(line).discard()
        self._bytes -= known.kept
        if known.pack >= 0:
            self._pack.spare(known.pack)
        line = ended.line_of(ended.dropped(json.loads(line), why))
        self.processes.rest(ident, line)
        return line

    def _lines(self) -> Iterator[bytes]:
        """All that the index has to say."""
        if self.processes.forgotten:
            yield b'{"forgotten":%d}' % self.processes.forgotten
        for ident in (*self._bare, *self._kept, self._ident):
            if (line := self.processes.line(ident)) is not None:
                yield line
        yield from self._open.values()

    # -- the end

    def discard(self) -> None:
        """Delete them, and every output in the folder."""
        self._write_at(None)
        self._due.clear()
        self._index.close()
        self._index.lines = 0
        self._pack.close()
        self._pack = Pack(self.folder, self.disk)
        self.writes.discard()
        self.processes.clear()
        for held in (self._open, self._kept, self._bare):
            held.clear()
        self._bytes, self._whole, self._oldest = 0, True, None
        self._age = 0.0
        self.disk.remove_all(self.folder)


def _told(line: bytes) -> Told | None:
    """A line that says a process's end; None for what nobody wrote whole."""
    try:
        told = json.loads(line)
        whole = "forgotten" in told or told.keys() >= ended.NEEDED
    except (ValueError, TypeError, AttributeError):
        return None
    return told if whole else None


def _seen(line: bytes) -> ended.Seen:
    known = ended.seen(line)
    assert known is not None, "it was made by this module"
    return known
