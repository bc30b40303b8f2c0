"""What is kept of processes that ended: whatever stops agent or disk, nothing lost or invented."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import pytest
from unit.agent.test_handed_in import MemoryDisk, MemoryFile, simulated

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Frame, Tag, Target, Type
from tfnz_notebook.agent.disk import File
from tfnz_notebook.agent.process.asking import ask, close_stdin, write
from tfnz_notebook.agent.process.command import Command
from tfnz_notebook.agent.process.kept import index
from tfnz_notebook.agent.process.kept.ended import Ended
from tfnz_notebook.agent.process.kept.retention import Retention
from tfnz_notebook.agent.process.log import PENDING
from tfnz_notebook.agent.process.process import Process
from tfnz_notebook.agent.process.reader import Reader
from tfnz_notebook.agent.process.records import TOGETHER, Records
from tfnz_notebook.agent.process.stop import destroy, signal
from tfnz_notebook.agent.process.writes import Write
from tfnz_notebook.agent.world import World
from tfnz_notebook.errors import LogGone, ProcessGone

FOLDER = Path("/spool") / ("c" * 32)


class Hearing:
    """A guest that does nothing but hear what it may forget."""

    writable = True

    def __init__(self) -> None:
        self.acked: dict[tuple[int, int], int] = {}
        self.forgotten: set[int] = set()
        self.freed: set[int] = set()
        self.hears: Callable[[], None] = lambda: None

    def send(self, raw: bytes) -> None:
        for frame in decoded(raw):
            if frame.type is Type.ACK:
                self.acked[frame.channel, frame.stream] = frame.values[0]
            elif frame.type is Type.FORGET:
                self.forgotten.add(frame.channel)
                self.hears()

    def free(self, number: int) -> None:
        self.freed.add(number)

    def attach(self, number: int, channel: object) -> None:
        pass

    def stop_waiting(self, go_on: Callable[[], None]) -> None:
        pass


def decoded(*raw: bytes) -> list[Frame]:
    return list(wire.Decoder().feed(b"".join(raw)))


class Faulty(MemoryDisk):
    """``changed`` is called after each change; ``wrong(number)`` before: of a write, it may raise,
    or say how many bytes are written of it."""

    def __init__(self, files: dict[Path, bytes] | None = None) -> None:
        super().__init__()
        self.files = dict(files or {})
        self.changed: Callable[[], None] = lambda: None
        self.wrong: Callable[[int], int | None] = lambda number: None
        self.unreadable: Callable[[Path], bool] = lambda path: False
        self.number = 0

    def ask(self) -> int | None:
        self.number += 1
        return self.wrong(self.number)

    def create(self, path: Path) -> File:
        self.ask()
        super().create(path)
        self.changed()
        return Handle(self, path)

    def extend(self, path: Path) -> File:
        self.ask()
        super().extend(path)
        self.changed()
        return Handle(self, path)

    def replace(self, path: Path, data: bytes) -> None:
        self.ask()
        super().replace(path, data)
        self.changed()

    def cut(self, path: Path, size: int) -> None:
        self.ask()
        super().cut(path, size)
        self.changed()

    def remove(self, path: Path) -> None:
        super().remove(path)
        self.changed()

    def read(self, path: Path, offset: int = 0, limit: int = -1) -> bytes:
        if self.unreadable(path):
            raise OSError(5, os.strerror(5))
        if path not in self.files:
            raise FileNotFoundError(2, os.strerror(2), path)
        return super().read(path, offset, limit)


class Handle(MemoryFile):
    def __init__(self, disk: Faulty, path: Path) -> None:
        super().__init__(disk.files, path)
        self.disk = disk

    def append(self, data: bytes | memoryview) -> int:
        most = self.disk.ask()
        wrote = super().append(data if most is None else bytes(data)[:most])
        self.disk.changed()
        return wrote

    def cut(self, size: int) -> None:
        self.disk.ask()
        super().cut(size)
        self.disk.changed()


class Life:
    """A process as its guest tells it: what it writes to which stream, and its code.

    ``late``: what it started writes so much on after its end.
    """

    def __init__(
        self,
        number: int,
        out: bytes = b"",
        err: bytes = b"",
        code: int = 0,
        late: bytes = b"",
        **command: Any,
    ) -> None:
        self.channel, self.ident = number + 2, f"{number:032x}"
        self.out, self.err, self.code, self.late = out, err, code, late
        self.command = Command(["x"], f"number {number}", **command)

    def begin(self, records: Records, guest: Hearing) -> Process:
        process = Process(
            self.ident,
            FOLDER.name,
            cast("Any", guest),
            records,
            self.command,
            lambda process: None,
        )
        records.processes[self.ident] = process
        process.channel = self.channel
        self.say(process, wire.fixed(Type.SPAWNED, self.channel, 41))
        return process

    def say(self, process: Process, *raw: bytes) -> None:
        for frame in decoded(*raw):
            process.frame(frame)

    def data(self, process: Process, stream: int, whole: bytes, start: int = 0) -> None:
        for at in range(0, len(whole), 100_000):
            piece = whole[at : at + 100_000]
            self.say(process, wire.data(self.channel, stream, start + at, piece))

    async def end(self, process: Process, guest: Hearing) -> None:
        number = self.channel
        out, err = len(self.out), len(self.err)
        self.say(process, wire.fixed(Type.EXIT, number, self.code, 0, 0, 0))
        self.say(process, wire.fixed(Type.END, number, out, err))
        if self.late:
            while number not in guest.forgotten:
                await asyncio.sleep(0.1)
            self.data(process, 1, self.late, out)
        self.say(process, wire.fixed(Type.EOF, number, err, stream=2))
        self.say(process, wire.fixed(Type.EOF, number, out + len(self.late), stream=1))
        while not (
            number in guest.forgotten
            and guest.acked.get((number, 1), 0) == out + len(self.late)
            and guest.acked.get((number, 2), 0) == err
        ):
            await asyncio.sleep(0.1)
        self.say(process, wire.fixed(Type.GONE, number))
        await asyncio.sleep(2 * TOGETHER)

    async def live(self, records: Records, guest: Hearing) -> None:
        process = self.begin(records, guest)
        self.data(process, 1, self.out)
        self.data(process, 2, self.err)
        await self.end(process, guest)

    def whole(self) -> tuple[bytes, bytes]:
        return self.out + self.late, self.err


def several() -> list[Life]:
    rng = random.Random(11)
    return [
        Life(0),
        Life(1, b"hello\n", code=3),
        Life(2, b"out", b"err"),
        Life(3, rng.randbytes(2 * PENDING + 5), b"some"),
        Life(4, b"before", late=b"and after"),
        Life(5, late=rng.randbytes(PENDING + 9)),
        Life(6, rng.randbytes(PENDING + 1), rng.randbytes(PENDING + 1), code=-9),
        Life(7, b"last"),
    ]


async def lived(lives: list[Life], held: Records, guest: Hearing, *, together: bool) -> None:
    """All of them, one after the other or ``together``: then many ends are one write."""
    if together:
        await asyncio.gather(*(life.live(held, guest) for life in lives))
        return
    for life in lives:
        await life.live(held, guest)


def records(disk: MemoryDisk | None = None, keep: Retention | None = None) -> Records:
    world = World(disk=disk or MemoryDisk(), wall=lambda: 5.0)
    return Records(FOLDER, world, keep) if keep else Records(FOLDER, world)


def everything(process: Process | Ended) -> tuple[bytes, ...]:
    found = []
    for log in process.logs:
        whole = b""
        while piece := log.read(len(whole), 1 << 20)[1]:
            whole += piece
        found.append(whole)
    return tuple(found)


async def loaded(disk: MemoryDisk, *, over: bool = False, keep: Retention | None = None) -> Records:
    found = records(disk, keep)
    await found.load(asyncio.Lock(), over=over)
    return found


def test_what_ended_is_a_line_and_says_all_that_it_said() -> None:
    async def run() -> None:
        disk = MemoryDisk()
        held, guest = records(disk), Hearing()
        lives = several()
        told = {}
        for life in lives:
            process = life.begin(held, guest)
            life.data(process, 1, life.out)
            life.data(process, 2, life.err)
            await life.end(process, guest)
            told[life.ident] = process.info()
            assert isinstance(held.processes[life.ident], Ended)
        for found in (held, await loaded(disk)):
            assert list(found.processes) == [life.ident for life in lives], "in their order"
            for life in lives:
                process = found.processes[life.ident]
                assert process.info() == told[life.ident]
                assert everything(process) == life.whole()
                assert process.returncode == life.code
                assert process.final == (len(life.out), len(life.err))
            assert found.processes[lives[1].ident].said(100) == [b"hello\n", b""]
            assert found.processes[lives[3].ident].said(100) is None
        # Only what was too much for memory, or came after the end, has a file of its own.
        own = [path.name[31] for path in disk.files if ".out." in path.name]
        assert sorted(own) == ["3", "4", "5", "6"]

    simulated(run)


@pytest.mark.parametrize("together", [False, True])
def test_an_agent_may_die_between_any_two_writes(together: bool) -> None:
    """What the guest was told to forget is known to the next one, and is what it was."""

    async def run() -> None:
        disk, guest, seen = Faulty(), Hearing(), []

        def changed() -> None:
            files = {path: bytes(data) for path, data in disk.files.items()}
            seen.append((files, dict(guest.acked), set(guest.forgotten)))

        disk.changed = changed
        held, lives = records(disk), several()
        await lived(lives, held, guest, together=together)
        assert len(seen) > (20 if together else 40)
        for files, acked, forgotten in seen:
            for over in (False, True):
                later = await loaded(Faulty(files), over=over)
                for life in lives:
                    check(later, life, acked, ended=life.channel in forgotten, over=over)

    simulated(run)


def check(
    later: Records, life: Life, acked: dict[tuple[int, int], int], *, ended: bool, over: bool
) -> None:
    known = later.processes.get(life.ident)
    if known is None:
        assert not ended
        logs = [later.log(life.ident, stream, adopt=True) for stream in ("out", "err")]
    else:
        logs = list(known.logs)
        end = (life.code, (len(life.out), len(life.err)))
        killed = over and not ended and known.returncode == -9
        assert killed or (known.returncode, known.final) == end
    for number, (log, whole) in enumerate(zip(logs, life.whole(), strict=True), start=1):
        said = b""
        while piece := log.read(len(said), 1 << 20)[1]:
            said += piece
        assert whole.startswith(said), "nothing is invented"
        assert len(said) >= acked.get((life.channel, number), 0), "nothing is lost"


@pytest.mark.parametrize(
    ("how", "together"),
    [
        *(("full", False), ("short", False), ("full for a while", False)),
        *(("short", True), ("full for a while", True)),
    ],
)
def test_the_disk_may_be_full_at_any_write(how: str, together: bool) -> None:
    async def run() -> None:
        number = 0
        while True:
            number += 1
            disk, guest, lives = Faulty(), Hearing(), several()

            def wrong(now: int, at: int = number) -> int | None:
                if now == at or (how == "full for a while" and at < now < at + 5):
                    if how == "short":
                        return 3
                    raise OSError(28, "No space left on device")
                return None

            disk.wrong = wrong
            held = records(disk)
            await lived(lives, held, guest, together=together)
            disk.wrong = lambda number: None
            for found in (held, await loaded(disk), await loaded(disk, over=True)):
                assert {life.ident for life in lives} == set(found.processes)
                for life in lives:
                    process = found.processes[life.ident]
                    assert (everything(process), process.returncode) == (life.whole(), life.code)
            if disk.number < number:
                break
        assert number > (20 if together else 30)

    simulated(run)


def test_ends_that_come_together_are_one_write_and_one_word_to_the_guest() -> None:
    async def run() -> None:
        disk, guest = Faulty(), Hearing()
        held, lives = records(disk), [Life(number) for number in range(5)]
        await lived([lives[0]], held, guest, together=False)  # the file is there
        before, turns = disk.number, []
        guest.hears = lambda: turns.append(asyncio.get_running_loop().time())
        await lived(lives[1:], held, guest, together=True)
        assert disk.number == before + 1
        assert len(turns) == 4
        assert len(set(turns)) == 1
        lines = disk.files[FOLDER / "ended"].splitlines()
        assert [json.loads(line)["process"] for line in lines] == [life.ident for life in lives]

    simulated(run)


def test_a_line_that_was_not_written_whole_is_no_end() -> None:
    async def run() -> None:
        disk, guest = MemoryDisk(), Hearing()
        held = records(disk)
        await Life(1, b"first").live(held, guest)
        whole = disk.files[FOLDER / "ended"]
        for size in range(len(whole) - 1):
            disk.files[FOLDER / "ended"] = whole + whole.replace(b"0001", b"0002", 1)[:size]
            later = await loaded(disk)
            assert list(later.processes) == [f"{1:032x}"], size
            await Life(3, b"third").live(later, guest)
            known = (await loaded(disk)).processes
            assert [each[-1] for each in known][-1:] == ["3"], "not joined to the torn one"

    simulated(run)


def test_what_a_text_says_is_not_taken_for_the_line() -> None:
    async def run() -> None:
        disk, guest = MemoryDisk(), Hearing()
        text = '","at":1,"kept":2,"pack":3,"rest":1}\n{"process":"\udcff é \u2028'
        life = Life(1, b"out")
        life.command.text = text
        await life.live(records(disk), guest)
        later = await loaded(disk)
        assert [process.info()["text"] for process in later.processes.values()] == [text]

    simulated(run)


# -- what others wrote


def test_the_ends_that_agents_of_before_wrote_are_taken_over() -> None:
    async def run() -> None:
        disk, guest = MemoryDisk(), Hearing()
        first, second, third = (f"{number:032x}" for number in (1, 2, 3))
        told = {
            "process": first,
            "container": FOLDER.name,
            "text": "true",
            "pid": 7,
            "tty": False,
            "started": 12.5,
            "returncode": 3,
            "out": 5,
            "err": 0,
            "ended": True,
            "seconds": 0.25,
            "ran": 1.5,
            "timed_out": False,
            "oom": False,
            "stalled": "",
        }
        lines = [told, {**told, "process": second, "out": 0}, {**told, "process": second}]
        disk.files = {
            FOLDER / "ended": b"".join(json.dumps(line).encode() + b"\n" for line in lines)
            + b'{"process": "torn',
            FOLDER / f"{first}.out.0": b"abc",
            FOLDER / f"{first}.out.3": b"defg",  # what it started wrote on
        }
        later = await loaded(disk)
        assert list(later.processes) == [first, second]
        assert later.processes[first].info().items() >= told.items()
        assert everything(later.processes[first]) == (b"abcdefg", b"")
        await Life(3, b"of today").live(later, guest)
        again = await loaded(disk)
        assert list(again.processes) == [third, first, second]
        assert everything(again.processes[first]) == (b"abcdefg", b"")
        # And an agent of 0.1 that comes back reads them as its own.
        for line in disk.files[FOLDER / "ended"].splitlines()[-1:]:
            assert json.loads(line).keys() >= told.keys() - {"container", "ended", "stalled"}

    simulated(run)


def test_output_without_an_end_is_of_a_process_that_was_killed() -> None:
    async def run() -> None:
        disk, guest = MemoryDisk(), Hearing()
        await Life(1, b"ended").live(records(disk), guest)
        killed = "b" * 32
        for name, data in (
            (f"{killed}.out.0", b"12345"),
            (f"{killed}.out.5", b"678"),
            (f"{killed}.err.0", b"e"),
            (f"{FOLDER.name}.out.0", b"its main process"),
        ):
            disk.files[FOLDER / name] = data
        assert list((await loaded(disk)).processes) == [f"{1:032x}"], "it may still run"
        found = (await loaded(disk, over=True)).processes
        assert list(found) == [f"{1:032x}", killed]
        assert (found[killed].returncode, found[killed].final) == (-9, (8, 1))
        assert everything(found[killed]) == (b"12345678", b"e")

    simulated(run)


def test_a_process_that_its_guest_still_lists_is_known_to_have_ended() -> None:
    """What it started goes on, and a later agent must not take it for running."""

    async def run() -> None:
        disk, guest = MemoryDisk(), Hearing()
        life = Life(1, b"before", b"", code=4, late=b" and after")
        process = life.begin(records(disk), guest)
        life.data(process, 1, life.out)
        life.say(process, wire.fixed(Type.EXIT, 3, 4, 0, 0, 0), wire.fixed(Type.END, 3, 6, 0))
        await asyncio.sleep(0.1)
        assert guest.forgotten == {3}
        later = await loaded(disk)
        assert everything(later.processes[life.ident]) == (b"before", b""), "while it is not met"
        fields = [(Tag.PID, 41), (Tag.STATUS, 4), (Tag.OUT_BASE, 6), (Tag.OUT_HEAD, 6)]
        (listed,) = decoded(wire.fielded(Type.PROC, 3, [*fields, (Tag.META, b"")]))
        options = (cast("Any", guest), later, Command([], "x"), lambda process: None)
        again = Process(life.ident, FOLDER.name, *options, adopt=True)
        later.processes[life.ident] = again
        again.adopt(3, listed)
        assert (again.returncode, again.ended, again.final) == (4, True, (6, 0))
        life.data(again, 1, life.late, 6)
        assert everything(again) == life.whole()
        life.say(again, wire.fixed(Type.EOF, 3, 16, stream=1), wire.fixed(Type.EOF, 3, 0, stream=2))
        await asyncio.sleep(0.1)
        life.say(again, wire.fixed(Type.GONE, 3))
        assert isinstance(later.processes[life.ident], Ended)
        for found in (later, await loaded(disk)):
            assert everything(found.processes[life.ident]) == life.whole()
            assert found.processes[life.ident].final == (6, 0)

    simulated(run)


# -- reads that fail


def test_an_index_that_cannot_be_read_makes_nobody_killed_and_drops_nothing() -> None:
    async def run() -> None:
        disk, guest, lives = Faulty(), Hearing(), several()
        held = records(disk)
        for life in lives:
            await life.live(held, guest)
        failures = 0

        def unreadable(path: Path) -> bool:
            nonlocal failures
            failures += path.name == "ended"
            return path.name == "ended" and failures < index.ATTEMPTS

        disk.unreadable = unreadable
        assert len((await loaded(disk)).processes) == len(lives), "it is read again"
        disk.unreadable = lambda path: path.name == "ended"
        before = dict(disk.files)
        later = await loaded(disk, over=True, keep=Retention(0, 0, 0))
        assert not later.processes
        await Life(20, b"goes on").live(later, guest)
        assert disk.files.items() >= {p: d for p, d in before.items() if p.name[0] == "0"}.items()
        disk.unreadable = lambda path: False
        assert len((await loaded(disk)).processes) == len(lives) + 1

    simulated(run)


class Sink:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def event(self, name: str, body: dict[str, Any], payload: bytes | None = None) -> None:
        self.events.append((name, body))


def test_a_reader_whose_file_is_gone_hears_of_it_at_once() -> None:
    async def run() -> None:
        disk, guest = Faulty(), Hearing()
        held = records(disk)
        lives = several()[:4]
        for life in lives:
            await life.live(held, guest)
        for path in list(disk.files):
            if path.name != "ended":
                del disk.files[path]
        for life in lives[1:]:
            sink = Sink()
            process = held.processes[life.ident]
            reader = Reader(sink, 1, process.logs[0], 0, 1 << 20)
            process.read_by(reader, 1)
            reader.pump()
            reader.grant(1 << 21)
            assert sink.events == [("dial.closed", {"reader": 1, "errno": errno.ENOENT})]
        sink = Sink()
        Reader(sink, 1, held.processes[lives[0].ident].logs[0], 0, 10).pump()
        assert sink.events == [("eof", {"reader": 1, "offset": 0})], "there was nothing to read"

    simulated(run)


# -- what is asked of one that ended


def test_what_is_asked_of_one_that_ended() -> None:
    async def run() -> None:
        held, guest = records(), Hearing()
        life = Life(1, b"answer", code=7)
        process = life.begin(held, guest)
        held.writes.note(life.ident, "known", Write(0, 5, 2, 0))
        life.data(process, 1, life.out)
        await life.end(process, guest)
        over = held.processes[life.ident]
        await write(over, b"again", "known")
        reply = await ask(over, b"again", None, False, "known")
        assert reply == {"reason": "ended", "out_from": 2, "out": 6, "err_from": 0, "err": 0}
        # What had come before a question may have gone with its container; a reply has no such end.
        held.writes.note(life.ident, "late", Write(5, 5, 9, 4))
        reply = await ask(over, b"again", None, False, "late")
        assert reply == {"reason": "ended", "out_from": 6, "out": 6, "err_from": 0, "err": 0}
        close_stdin(over)
        assert await signal(over, 15, Target.TREE) == 0
        for refused in (
            write(over, b"new", "other"),
            ask(over, b"new", None, False, "other"),
            signal(over, 15, Target.LEADER),
            destroy(over, 1.0),
        ):
            with pytest.raises(ProcessGone, match=r"^Cannot .*ended with code 7\. Spawn another"):
                await refused
        assert over.marks.order() == [[1, 0]]

    simulated(run)


# -- how much is kept

ALL = 1 << 60


async def after(
    disk: MemoryDisk, keep: Retention, lives: Iterable[Life]
) -> tuple[Records, list[str]]:
    """Those lives under that rule; whose logs are still there."""
    held, guest = await loaded(disk, keep=keep), Hearing()
    for life in lives:
        await life.live(held, guest)
    return held, [
        ident for ident, process in held.processes.items() if not process.info()["dropped"]
    ]


@pytest.mark.parametrize(
    ("keep", "why"),
    [
        (Retention(3, ALL, ALL), r"more than 3 processes have ended .*TFNZ_KEEP_PROCESSES"),
        (Retention(9, 30, ALL), r"had written more than 30 B .*TFNZ_KEEP_BYTES"),
    ],
)
def test_the_oldest_logs_go_and_say_why(keep: Retention, why: str) -> None:
    async def run() -> None:
        disk = MemoryDisk()
        lives = [Life(number, b"ten bytes\n", b"") for number in range(6)]
        held, left = await after(disk, keep, lives)
        assert left == [life.ident for life in lives[3:]]
        for found in (held, await loaded(disk, keep=keep)):
            assert len(found.processes) == 6
            for life in lives[:3]:
                process = found.processes[life.ident]
                assert process.info()["out"] == 10
                with pytest.raises(LogGone, match=f"^Cannot read the log: it was dropped.*{why}"):
                    process.logs[0].read(0, 10)
                with pytest.raises(LogGone):
                    process.logs[0].first(0)
                assert process.logs[0].first(10) == 10
                assert process.logs[1].read(0, 10) == (0, b""), "there never was any"
            for life in lives[3:]:
                assert everything(found.processes[life.ident]) == life.whole()

    simulated(run)


def test_age_is_counted_by_the_clock_that_nobody_sets() -> None:
    async def run() -> None:
        disk, keep = MemoryDisk(), Retention(100, ALL, 3600.0)
        lives = [Life(number, b"x") for number in range(4)]
        held, left = await after(disk, keep, lives[:1])
        await asyncio.sleep(2000)
        wall = 5.0
        held = Records(FOLDER, World(disk=disk, wall=lambda: wall), keep)
        await held.load(asyncio.Lock(), over=False)
        for number, jump in enumerate((86400 * 365, -86400 * 365), start=1):
            wall += jump
            await lives[number].live(held, Hearing())
            assert everything(held.processes[lives[0].ident]) == (b"x", b"")
            await asyncio.sleep(1000)
        await asyncio.sleep(2000)
        held, left = await after(disk, keep, lives[3:])
        assert len(left) == 4, "no agent was there"
        await asyncio.sleep(3000)
        await Life(9).live(held, Hearing())
        left = [each for each, process in held.processes.items() if not process.info()["dropped"]]
        assert lives[0].ident not in left and lives[3].ident in left

    simulated(run)


def test_what_is_dropped_leaves_no_file_and_the_index_stays_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tfnz_notebook.agent.process.records.SURPLUS", 10)
    monkeypatch.setattr("tfnz_notebook.agent.process.kept.pack.SIZE", 50)

    async def run() -> None:
        disk, keep = MemoryDisk(), Retention(5, ALL, ALL)
        big = random.Random(2).randbytes(PENDING + 1)
        lives = [Life(number, big if number % 7 == 3 else b"ten bytes\n") for number in range(100)]
        held, left = await after(disk, keep, lives)
        assert left == [life.ident for life in lives[95:]]
        assert len(held.processes) == 10, "as many again are known without their logs"
        assert held.processes.forgotten == 90
        assert disk.files[FOLDER / "ended"].count(b"\n") <= 40
        kept = [path.name for path in disk.files if path.name != "ended"]
        assert max(kept).startswith("small.")
        assert len(kept) <= 4
        later = await loaded(disk, keep=keep)
        assert list(later.processes) == list(held.processes)
        assert later.processes.counted(FOLDER.name, 3)[1] == 100
        for life in lives[95:]:
            assert everything(later.processes[life.ident]) == life.whole()

    simulated(run)


def test_counting_and_paging_do_not_mind_how_many_there_are() -> None:
    async def run() -> None:
        held, guest = records(), Hearing()
        first = Life(50)
        running = first.begin(held, guest)
        lives = [Life(number) for number in range(20)]
        for life in lives:
            await life.live(held, guest)
        last = Life(51).begin(held, guest)
        shown, ended = held.processes.counted(FOLDER.name, 3)
        assert ended == 20
        assert {each.ident for each in shown} == {
            *(life.ident for life in lives[-3:]),
            running.ident,
            last.ident,
        }
        idents = [first.ident, *(life.ident for life in lives), last.ident]
        listing = held.processes.each()
        assert next(listing).ident == idents[0]
        Life(60).begin(held, guest)
        del held.processes[lives[0].ident]
        assert [each.ident for each in listing] == idents[2:], "while others come and go"
        assert held.processes.live[:2] == [running, last]

    simulated(run)


def test_nothing_is_written_into_a_folder_that_was_discarded() -> None:
    async def run() -> None:
        disk, guest = Faulty(), Hearing()
        held = records(disk)
        life = Life(1, b"out")
        process = life.begin(held, guest)
        life.data(process, 1, life.out)

        def full(number: int) -> int | None:
            raise OSError(28, "No space left on device")

        disk.wrong = full
        life.say(process, wire.fixed(Type.EXIT, 3, 0, 0, 0, 0), wire.fixed(Type.END, 3, 3, 0))
        await asyncio.sleep(3)
        held.processes.clear()
        held.discard()
        disk.wrong = lambda number: None
        await asyncio.sleep(10)
        assert not disk.files

    simulated(run)


def test_a_spawn_that_was_given_up_leaves_nothing() -> None:
    async def run() -> None:
        disk, guest = Faulty(), Hearing()
        held = records(disk)
        life = Life(1, random.Random(3).randbytes(2 * PENDING), b"err")
        process = life.begin(held, guest)
        life.data(process, 1, life.out[: PENDING + 9])
        assert disk.files
        held.processes.pop(life.ident)
        process.abandon()
        assert (held.processes.live, list(held.processes)) == ([process], [])
        life.data(process, 1, life.out[PENDING + 9 :], PENDING + 9)
        life.data(process, 2, life.err)
        # The next agent may be asked for it again: until its end nothing is lost.
        later = records(Faulty(disk.files))
        assert later.log(life.ident, "out", adopt=True).head >= guest.acked[life.channel, 1]
        await life.end(process, guest)
        assert guest.forgotten == {life.channel}
        assert not held.processes.live
        assert not disk.files
        assert not (await loaded(disk, over=True)).processes

    simulated(run)


def test_many_indexes_are_read_a_slice_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "SLICE", 500)

    async def run() -> None:
        disk, guest, now, reads = MemoryDisk(), Hearing(), 0, list[int]()
        held = records(disk)
        for number in range(10):
            await Life(number).live(held, guest)
        read = disk.read

        def counted(path: Path, offset: int = 0, limit: int = -1) -> bytes:
            reads.append(now)
            return read(path, offset, limit)

        monkeypatch.setattr(disk, "read", counted)
        turn, several = asyncio.Lock(), [records(disk) for _ in range(20)]
        loading = asyncio.gather(*(each.load(turn, over=False) for each in several))
        while not loading.done():
            await asyncio.sleep(0)
            now += 1
        assert len(reads) > 100
        assert len(set(reads)) == len(reads)
        assert all(len(each.processes) == 10 for each in several)

    simulated(run)
