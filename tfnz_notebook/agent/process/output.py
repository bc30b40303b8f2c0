"""One stream of a process: its log, who reads it, and what the guest may forget of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from tfnz_notebook._wire.guest import WINDOW_OUT, WINDOW_TTY, WINDOW_WIDE
from tfnz_notebook._wire.window import Receiver
from tfnz_notebook.agent.process.log import Log
from tfnz_notebook.agent.process.reader import Reader
from tfnz_notebook.agent.world import Gate

#: How far a process may be ahead of a reader that holds it back: little, so that what a person
#: types after a flood is answered on their screen at once.
HOLD: Final = 16 << 10

#: Seconds between attempts to write to a disk that was full.
RETRY: Final = 1.0
#: What a pipe may still hold of a process that has exited; the guest needs room to read it.
PIPE: Final = 64 << 10


class Output:
    """``acknowledge`` is told the offset up to which the guest may forget.

    ``stalled`` is called when the log begins to take no more, and when it goes on.
    """

    def __init__(
        self,
        log: Log,
        acknowledge: Callable[[int], None],
        stalled: Callable[[], None] = lambda: None,
    ) -> None:
        self.log = log
        self._window = Receiver(log.head, WINDOW_WIDE)
        self._size = WINDOW_OUT  # what the guest holds of it, and more only where it can
        self._acknowledge = acknowledge
        self._stalled = stalled
        self._readers: list[Reader] = []
        #: The process has exited: nothing that it left may be held back any more.
        self.exited = False
        self._retry: asyncio.TimerHandle | None = None
        #: What the guest had when it was last met, and whether all that is here.
        self._due = 0
        self.caught_up = Gate(opened=True)

    @property
    def acked(self) -> int:
        """The guest may have forgotten all before it."""
        return self._window.taken

    def of_terminal(self) -> None:
        """Terminals have a smaller window, so less may wait before it is spooled."""
        self.log.pending, self._size = WINDOW_TTY // 4, WINDOW_TTY

    def add(self, reader: Reader) -> None:
        """Somebody reads; what is there is sent when they are pumped."""
        self._readers.append(reader)
        reader.moved = self.release
        reader.file = self._file
        reader.left = partial(self._remove, reader)

    def _remove(self, reader: Reader) -> None:
        if reader in self._readers:
            self._readers.remove(reader)
            self.release()

    def data(self, offset: int, chunk: bytes) -> None:
        """Bytes from the guest. ProtocolError beyond its window, which bounds what is held here."""
        new, _ = self._window.arrived(offset, chunk)
        before = self.log.trouble
        if new:
            self.log.append(self._window.expected - len(new), new)
            self._look_whether_due()
            self.pump()
        self._filed(before)

    def _file(self) -> None:
        """Have all of it in files now: there it is read by who can."""
        before = self.log.trouble
        self.log.spool()
        self._filed(before)

    def _filed(self, before: str) -> None:
        """What could be written is: what follows from that, where trouble was or was not."""
        if self.log.trouble != before:
            self._stalled()
        if self.log.trouble:
            self._look_again()
        if self.exited and self.log.trouble:
            self._make_room()
        else:
            self.release()

    def _look_again(self) -> None:
        """Spool later: a full disk may have room then, and nobody else would ask."""
        if self._retry is None and not self.log.full:
            self._retry = asyncio.get_running_loop().call_later(RETRY, self._spool_again)

    def _spool_again(self) -> None:
        self._retry = None
        if self.log.spool():
            self.release()
            self._stalled()
        else:
            self._look_again()

    def pump(self) -> None:
        """Send readers what they may have."""
        for reader in list(self._readers):
            reader.pump()

    def release(self, upto: int | None = None) -> None:
        """Let the guest forget what is safe here: what is in a file, or all up to ``upto``.

        A running process is held back by the slowest reader that wants that: what is not
        acknowledged fills the guest's window, and then the process waits.
        """
        if upto is None:
            upto = self.log.spooled
        if not self.exited:
            held = (reader.offset + HOLD for reader in self._readers if reader.hold)
            upto = min(upto, *held, upto)
        upto = min(upto, self.log.head)
        if self._window.acknowledge(upto):
            self._acknowledge(upto)

    def flush(self) -> None:
        """The process has exited: what the guest holds is the last there is.

        No quota, no full disk and no reader may keep the end from being told. What is little fits
        into the guest's window as it is.
        """
        self.exited = True
        self.log.lift()
        if self.log.loose:
            return
        if self.log.spool():
            self.release(self.log.head)
        else:
            self._make_room()

    def _make_room(self) -> None:
        """Let the guest forget as much as it needs to read on, though no file has that.

        A full disk does not keep a process that has exited from ending: what it left behind is
        read piece by piece, and what the guest cannot hold of it is held here alone.
        """
        room = min(PIPE, self._size // 4)
        self.release(max(self.acked, self.log.head + room - self._size))

    def store(self) -> bool:
        """Have all of it in files, unless it is loose; False if the disk is full."""
        return self.log.loose or self.log.spool()

    def settled(self) -> None:
        """All of it is in files, and what is known of it: the guest may forget it."""
        self.release(self.log.head)
        self.log.close()
        if self.log.eof:
            self.log.settled()

    def let_go(self) -> None:
        """Nothing is to be told any more: who would be told need not wait for the collector."""
        self._acknowledge = lambda _: None
        self._stalled = lambda: None

    def discard(self) -> None:
        """Delete all of it."""
        if self._retry is not None:
            self._retry.cancel()
        for reader in list(self._readers):
            reader.hurry()
        self.log.discard()

    def resume(self, base: int, head: int) -> None:
        """The guest's connection is back, and it holds ``base`` to ``head``."""
        if base > self.log.head:  # the guest was told that we had it, and no file has
            self.log.skip_to(base)
        # Below base nothing is left in the guest; above our files we ask for it again.
        acked = max(base, min(self.log.spooled, head))
        self._window = Receiver(max(self.log.head, acked), WINDOW_WIDE, taken=acked)
        self._acknowledge(acked)
        self._due = head
        self._look_whether_due()

    def _look_whether_due(self) -> None:
        if self.log.head >= self._due:
            self.caught_up.set()
        else:
            self.caught_up.clear()

    def end(self) -> None:
        """Nothing follows."""
        self._due = 0
        self.caught_up.set()
        self.log.eof = True
        self.pump()
