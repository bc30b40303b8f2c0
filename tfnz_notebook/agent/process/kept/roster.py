"""The processes of one container, in the order in which they were started, ended ones included.

One that ended is a line here, and an :class:`Ended` for whoever asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from itertools import islice
from typing import TYPE_CHECKING

from tfnz_notebook.agent.process.kept.ended import Ended

if TYPE_CHECKING:
    from tfnz_notebook.agent.process.process import Process


class Roster(MutableMapping[str, "Process | Ended"]):
    """By id. ``recall`` makes an :class:`Ended` of a line."""

    def __init__(self, recall: Callable[[bytes], Ended]) -> None:
        self._recall = recall
        self._all: dict[str, Process | bytes] = {}
        self._live: dict[str, Process] = {}
        #: Processes that nobody is to know of: their spawn was given up, and comes to an end.
        self.orphans: set[Process] = set()
        #: How many ended so long ago that they are not even lines any more.
        self.forgotten = 0

    def __getitem__(self, ident: str) -> Process | Ended:
        found = self._all[ident]
        return self._recall(found) if isinstance(found, bytes) else found

    def __setitem__(self, ident: str, process: Process | Ended) -> None:
        assert not isinstance(process, Ended), "those come as lines"
        self._all[ident] = self._live[ident] = process

    def __delitem__(self, ident: str) -> None:
        del self._all[ident]
        self._live.pop(ident, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, ident: object) -> bool:
        return ident in self._all

    @property
    def live(self) -> list[Process]:
        """Those that are no lines yet, in the order in which they were started; and orphans."""
        return [*self._live.values(), *self.orphans]

    def line(self, ident: str) -> bytes | None:
        """The line of one that is nothing else any more."""
        found = self._all.get(ident)
        return found if isinstance(found, bytes) else None

    def rest(self, ident: str, line: bytes) -> None:
        """From now on it is that line, in its place."""
        self._all[ident] = line
        self._live.pop(ident, None)

    def counted(self, main: str, recent: int) -> tuple[list[Process | Ended], int]:
        """The main process, what runs, the last ``recent`` that ended; and how many ended.

        Not what is only being started: nobody would be told that it never came to be.
        """
        going = {p.ident: p for p in self._live.values() if p.returncode is None}
        others = {main} & self._all.keys() | going.keys()
        last = list(islice((i for i in reversed(self._all) if i not in others), recent))
        running = [p for p in going.values() if p.pid and p.ident != main]
        there = main in self._all and (main not in going or going[main].pid)
        first = [self[main]] if there else []
        ended = self.forgotten + len(self._all) - len(others)
        return [*first, *(self[ident] for ident in reversed(last)), *running], ended

    def each(self) -> Iterator[Process | Ended]:
        """All that there are now, made one by one as they are asked for."""
        return (self[ident] for ident in list(self._all) if ident in self._all)

    def clear(self) -> None:
        """Forget all, and what was still to be done for them."""
        for process in self.live:
            process.discard()
        self._all.clear()
        self._live.clear()
        self.orphans.clear()
        self.forgotten = 0
