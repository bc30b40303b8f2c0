"""Processes at full speed, and `yes` into views that nobody reads."""

import time
from dataclasses import dataclass

from faults.check import Stream
from faults.processes import Sampled, peak
from faults.scene import Scene, command
from integration.page import Page, PageView
from integration.polling import until

from tfnz_notebook.process import Process

#: All the bytes that a view gives credit for which nobody reads.
CREDIT = 10_000


@dataclass(frozen=True)
class Flood:
    """So many processes for so long; ``quota`` bytes are kept of each."""

    seconds: int
    writers: int
    quota: int

    @property
    def kept(self) -> int:
        """So many of them keep all their output: they are held back when their quota is full."""
        return self.writers // 5


@dataclass
class Flooded:
    """What one engine's agent did meanwhile."""

    where: str
    of: Flood
    written: int
    most: int
    growth: int
    answered: float


def flood(scene: Scene, of: Flood) -> Flooded:
    """Run it; every output is looked at afterwards. Raises what is wrong."""
    box = scene.box(scene.locations[0], pids=1000)
    pid = scene.agent
    processes = [
        box.spawn_process(
            command(n, seconds=of.seconds, code=n), retain="all" if n < of.kept else "tail"
        )
        for n in range(of.writers)
    ]
    piped, terminal = box.spawn_process("yes", retain="tail"), box.spawn_process("yes", tty=True)
    views = [_unread(piped, mode="tail"), _unread(terminal, mode="all")]
    answered = 0.0
    with Sampled(pid) as sampled:
        end = time.monotonic() + of.seconds
        while time.monotonic() < end:
            began = time.monotonic()
            assert box.run_process("echo still").stdout == b"still\n"
            answered = max(answered, time.monotonic() - began)
            until(lambda began=began: time.monotonic() > began + 1, 5, "a second is over")
    for view in views:  # wherever each began: the processes had run ahead by then
        assert len(view.streams[1]) <= CREDIT, "no more than it gave credit for"
    _end_of_yes(piped, terminal, of)
    written = sum(_check(process, n, of) for n, process in enumerate(processes))
    assert scene.agent == pid, "it is the same agent"
    most = max(*sampled.series, peak(pid))
    box.destroy()
    return Flooded(scene.where, of, written, most, sampled.growth(), answered)


def _unread(process: Process, mode: str) -> PageView:
    return Page(process).open(takes=False, mode=mode, window=CREDIT)


def _end_of_yes(piped: Process, terminal: Process, of: Flood) -> None:
    assert terminal.signal("INT") == 1
    assert terminal.wait(30) == -2, "Ctrl-C ends what a view held back"
    assert terminal.stdout.replace(b"\r\n", b"y").strip(b"y") in (b"", b"\r")
    piped.destroy(grace=0)
    assert piped.returncode == -9
    kept = piped.stdout
    assert len(kept) >= of.quota // 4
    assert kept.replace(b"y\n", b"").strip(b"y\n") == b""


def _check(process: Process, number: int, of: Flood) -> int:
    """Look at all that is kept of it; how many bytes it has written."""
    if number < of.kept:
        process.destroy(grace=0)
        assert process.returncode == -9, "it was held back: 'all' is kept, and there is no room"
    else:
        assert process.wait(120) == number
    kept = process.log()
    written = int(process._info["out"])
    stream = Stream(number, start=written - len(kept))
    stream.feed(kept)
    if number < of.kept:
        assert len(kept) == written > of.quota
        stream.partial()
    else:
        assert of.quota // 4 <= len(kept) <= 2 * of.quota
        stream.complete()
    return written
