"""An output: what the guest may forget, and who holds it back."""

import asyncio

import pytest
from unit.agent.test_log import adopted

from tfnz_notebook._wire.guest import WINDOW_OUT, WINDOW_TTY, WINDOW_WIDE
from tfnz_notebook.agent.process import log as logs
from tfnz_notebook.agent.process import output as outputs
from tfnz_notebook.agent.process.log import PENDING, Log
from tfnz_notebook.agent.process.output import HOLD, PIPE, Output
from tfnz_notebook.agent.process.reader import Reader
from tfnz_notebook.errors import LogGone, ProtocolError


class Nobody:
    def event(self, name, body, payload=None):
        pass


def make(tmp_path):
    acknowledged = []
    return Output(Log(tmp_path / "p.out"), acknowledged.append), acknowledged


def test_what_is_in_a_file_is_released(tmp_path):
    output, acknowledged = make(tmp_path)
    output.data(0, b"x" * (PENDING - 1))
    assert acknowledged == []
    output.data(PENDING - 1, b"y")
    assert acknowledged == [PENDING]
    output.flush()
    assert acknowledged == [PENDING]


def test_a_terminal_is_released_in_smaller_steps(tmp_path):
    output, acknowledged = make(tmp_path)
    output.of_terminal()
    output.data(0, b"x" * (WINDOW_TTY // 4))
    assert acknowledged == [WINDOW_TTY // 4]


def test_the_slowest_that_holds_is_waited_for(tmp_path):
    output, acknowledged = make(tmp_path)
    slow = Reader(Nobody(), 1, output.log, 0, 10, hold=True)
    fast = Reader(Nobody(), 2, output.log, 0, 1 << 40, hold=True)
    free = Reader(Nobody(), 3, output.log, 0, 0)
    for reader in (slow, fast, free):
        output.add(reader)
    output.data(0, b"x" * PENDING)
    assert acknowledged == [10 + HOLD]
    slow.grant(20)
    assert acknowledged == [10 + HOLD, 20 + HOLD]
    slow.left()
    assert acknowledged[-1] == PENDING
    slow.left()


def test_the_end_is_held_back_by_nobody(tmp_path):
    output, acknowledged = make(tmp_path)
    output.add(Reader(Nobody(), 1, output.log, 0, 0, hold=True))
    output.data(0, b"x" * PENDING)
    assert acknowledged == [HOLD]
    output.exited = True
    output.flush()
    assert acknowledged == [HOLD, PENDING]


def test_a_connection_that_is_back(tmp_path):
    output, acknowledged = make(tmp_path)
    output.data(0, b"x" * PENDING + b"more")
    output.resume(100, PENDING + 50)
    assert acknowledged[-1] == output.acked == output.log.spooled
    output.log.spool()
    output.resume(100, PENDING + 2)
    assert acknowledged[-1] == PENDING + 2, "all that is in files, and that the guest has"


def test_an_end_that_went_with_an_agent_is_no_end(tmp_path):
    output, _ = make(tmp_path)
    output.data(0, b"x" * PENDING)
    output.resume(PENDING + 15, PENDING + 15)  # the one before had told the guest that it has it
    output.end()
    assert output.log.head == PENDING + 15
    with pytest.raises(LogGone):
        output.log.read(PENDING, 100)


class Disk:
    """One that may be full."""

    def __init__(self, monkeypatch):
        self.full, self._write = True, logs.os.write
        monkeypatch.setattr(logs.os, "write", self.write)
        monkeypatch.setattr(outputs, "RETRY", 0.01)

    def write(self, descriptor, data):
        if self.full:
            raise OSError(28, "No space left on device")
        return self._write(descriptor, data)


async def test_a_disk_that_was_full_is_tried_again_though_nothing_more_comes(tmp_path, monkeypatch):
    disk, acknowledged, told = Disk(monkeypatch), [], []
    log = Log(tmp_path / "p.out")
    output = Output(log, acknowledged.append, lambda: told.append(log.trouble))
    output.data(0, b"x" * WINDOW_OUT)  # the guest's window is full: it sends no more
    assert acknowledged == []
    disk.full = False
    async with asyncio.timeout(10):
        while not acknowledged:
            await asyncio.sleep(0.005)
    assert acknowledged == [WINDOW_OUT]
    assert told == ["No space left on device", ""]
    assert log.read(WINDOW_OUT - 1, 5) == (WINDOW_OUT - 1, b"x")
    output.discard()


async def test_a_full_disk_holds_up_no_end_and_loses_nothing_then(tmp_path, monkeypatch):
    disk, acknowledged = Disk(monkeypatch), []
    output = Output(Log(tmp_path / "p.out"), acknowledged.append)
    output.data(0, b"x" * WINDOW_OUT)
    output.flush()
    assert acknowledged == [PIPE], "room for what is left in the pipe, and no more"
    output.data(WINDOW_OUT, b"y" * 100)
    assert acknowledged == [PIPE, PIPE + 100]
    assert not output.store()
    disk.full = False
    assert output.store()
    output.settled()
    assert acknowledged[-1] == WINDOW_OUT + 100
    again = adopted(tmp_path / "p.out")
    assert (again.head, again.read(WINDOW_OUT, 5)[1]) == (WINDOW_OUT + 100, b"y" * 5)
    output.discard()


async def test_what_the_guest_can_hold_stays_there_while_the_disk_is_full(tmp_path, monkeypatch):
    Disk(monkeypatch)
    acknowledged = []
    output = Output(Log(tmp_path / "p.out"), acknowledged.append)
    size = WINDOW_OUT - PIPE
    output.data(0, b"x" * (size - 1))
    output.flush()
    output.data(size - 1, b"y")
    assert acknowledged == [], "an agent that dies now takes nothing along"
    output.data(size, b"z" * 10)
    assert acknowledged == [10]
    output.discard()


def test_a_full_quota_keeps_no_end_from_the_files(tmp_path):
    output, acknowledged = make(tmp_path)
    output.log.quota = WINDOW_OUT - 1
    output.data(0, b"x" * WINDOW_OUT)
    assert output.log.full
    assert acknowledged == []
    output.flush()
    output.data(WINDOW_OUT, b"the last words")
    assert output.store()
    output.settled()
    assert adopted(tmp_path / "p.out").head == WINDOW_OUT + 14 == acknowledged[-1]


def test_repeats_are_skipped(tmp_path):
    output, _ = make(tmp_path)
    for offset, chunk in ((0, b"abcdef"), (0, b"abc"), (3, b"defgh")):
        output.data(offset, chunk)
    assert output.log.read(0, 100) == (0, b"abcdefgh")


def test_a_guest_sends_a_window_beyond_what_it_may_forget_and_no_byte_more(tmp_path):
    output, acknowledged = make(tmp_path)
    output.add(Reader(Nobody(), 1, output.log, 0, 0, hold=True))
    output.data(0, b"x" * WINDOW_WIDE)
    assert acknowledged == [HOLD]
    output.data(WINDOW_WIDE, b"x" * HOLD)
    with pytest.raises(ProtocolError):
        output.data(WINDOW_WIDE + HOLD, b"x")
    # A new connection: the guest begins below what is here already.
    output.resume(0, WINDOW_WIDE + HOLD)
    assert output.acked == output.log.spooled == WINDOW_WIDE
    with pytest.raises(ProtocolError):
        output.data(WINDOW_WIDE, b"x" * (WINDOW_WIDE + 1))
    output.data(WINDOW_WIDE, b"x" * WINDOW_WIDE)
    assert output.log.head == 2 * WINDOW_WIDE
