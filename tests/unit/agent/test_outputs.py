"""An output: what the guest may forget, and who holds it back."""

from tfnz_notebook._wire.guest import WINDOW_TTY
from tfnz_notebook.agent.logs import PENDING, Log
from tfnz_notebook.agent.outputs import HOLD, Output
from tfnz_notebook.agent.readers import Reader


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
    output.resume(100, PENDING + 50, ended=False)
    assert acknowledged[-1] == output.acked == output.log.spooled
    output.resume(100, PENDING + 2, ended=True)
    assert acknowledged[-1] == PENDING + 2
