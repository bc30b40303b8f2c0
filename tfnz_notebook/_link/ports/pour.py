"""What comes out of a FIFO into a socket, past the link: the kernel moves it, nobody copies it.

How much it is in all, the link says. A FIFO's own end says nothing: whoever is root in the
container may open it, and let go of it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Final

from tfnz_notebook._link.files.pipe import ROOM, opened, widen

#: A pipe that had so much at once is made wider: it was full, or nearly.
MANY: Final = 48 << 10


class Pour:
    """On the loop, from now until :meth:`close`.

    ``over`` is called once: all of it is in the socket, or (with False) that cannot be, for the
    socket was closed or the FIFO came to its end before.
    """

    def __init__(self, path: str, into: socket.socket, over: Callable[[bool], None]) -> None:
        """Raises OSError for what is not there, or no FIFO."""
        self._loop = asyncio.get_running_loop()
        self._over = over
        self._moved = 0
        self._size: int | None = None
        self._wide = self._ended = self._closed = False
        self._pipe = opened(path, os.O_RDONLY)
        try:
            # The loop wants one descriptor for each direction, and the other is the transport's.
            self._into = os.dup(into.fileno())
        except OSError:
            os.close(self._pipe)
            raise
        self._watch(self._pipe)

    def ends(self, size: int) -> None:
        """So many bytes come in all."""
        self._size = size
        self._look()

    @property
    def told(self) -> bool:
        """Whether it is known how much comes."""
        return self._size is not None

    def close(self) -> None:
        """Let go of both. Idempotent."""
        if not self._closed:
            self._closed = True
            self._unwatch()
            os.close(self._pipe)
            os.close(self._into)

    def _watch(self, what: int) -> None:
        if what == self._pipe:
            self._loop.add_reader(what, self._move)
        else:
            self._loop.add_writer(what, self._move)
        self._watched = what

    def _unwatch(self) -> None:
        self._loop.remove_reader(self._pipe)
        self._loop.remove_writer(self._into)

    def _move(self) -> None:
        try:
            moved = os.splice(self._pipe, self._into, ROOM, flags=os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            # The one that was waited for is ready: so it is the other that is not.
            other = self._into if self._watched == self._pipe else self._pipe
            self._unwatch()
            self._watch(other)
            return
        except OSError:  # whoever reads the socket is gone
            self.close()
            self._over(False)
            return
        self._moved += moved
        if not moved:
            self._ended = True
            self._unwatch()
        elif moved >= MANY and not self._wide:
            self._wide = True
            widen(self._pipe)
        self._look()

    def _look(self) -> None:
        if self._size is not None and not self._closed:
            whole = self._moved == self._size
            if whole or self._ended or self._moved > self._size:
                self.close()
                self._over(whole)
