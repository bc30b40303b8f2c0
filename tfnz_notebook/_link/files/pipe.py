"""Our end of a FIFO into a container, beside the link: for bytes that nobody else has to see.

The directory that it is in is the container's, too, whose root may put anything there: it is opened
as nothing but a FIFO. Who is at its other end may stop for ever. So a thread of its own does what
waits, and ends when it is told to.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import errno
import fcntl
import io
import os
import select
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

T = TypeVar("T")

#: Bytes that a pipe holds, if the machine lets it, and that are moved at once.
ROOM: Final = 1 << 20
#: Bytes that are read again where the pipe did not take all of them.
PIECE: Final = 64 << 10
#: Whether there is all that this needs: Linux.
POSSIBLE: Final = all(hasattr(os, name) for name in ("O_PATH", "eventfd", "splice"))


def opened(path: str, mode: int) -> int:
    """A FIFO's descriptor, which never waits. Raises OSError for what is not there, or no FIFO."""
    handle = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISFIFO(os.fstat(handle).st_mode):
            raise OSError("it is no FIFO")
        flags = mode | os.O_NONBLOCK | os.O_CLOEXEC
        pipe = os.open(f"/proc/self/fd/{handle}", flags)
    finally:
        os.close(handle)
    with contextlib.suppress(OSError):  # nobody else has to find it
        Path(path).unlink()
    return pipe


def widen(pipe: int) -> None:
    """Have it hold ``ROOM``, if the machine lets it."""
    with contextlib.suppress(OSError):  # the user has many
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, ROOM)


class Pipe:
    """One end: ``os.O_RDONLY`` or ``os.O_WRONLY``. For one :meth:`read` or :meth:`write`."""

    def __init__(self, path: str, mode: int) -> None:
        """Raises OSError for what is not there, or no FIFO."""
        self._pipe = opened(path, mode)
        try:
            self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        except OSError:  # no more descriptors
            os.close(self._pipe)
            raise
        self._closed = self._stopped = False
        self._size: int | None = None
        self._done: concurrent.futures.Future[Any] | None = None
        widen(self._pipe)

    async def write(self, content: bytes | Path) -> int:
        """Put all of it in; how many bytes it were. OSError of the file; BrokenPipeError."""
        return await self._beside(lambda: self._write(content))

    async def read(self, most: int, size: int = 0) -> bytes:
        """What comes out of it up to the end, of which :meth:`ends` tells.

        ``size``: about how much that is. OverflowError for more than ``most`` bytes;
        BrokenPipeError.
        """
        return await self._beside(lambda: self._read(most, size))

    def ends(self, size: int) -> None:
        """So many bytes come in all."""
        self._size = size
        self._ring()

    def stop(self) -> None:
        """It is not wanted any more: whoever waits in it gets a BrokenPipeError."""
        self._stopped = True
        if self._done is None:
            self._close()
        else:
            self._ring()

    def _ring(self) -> None:
        if not self._closed:
            os.eventfd_write(self._bell, 1)

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            os.close(self._pipe)
            os.close(self._bell)

    async def _beside(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        done = self._done = concurrent.futures.Future[T]()

        def run() -> None:
            try:
                done.set_result(work())
            except Exception as error:  # noqa: BLE001  # whoever waits gets it
                done.set_exception(error)
            with contextlib.suppress(RuntimeError):  # the loop has ended, and all with it
                loop.call_soon_threadsafe(self._close)

        done.set_running_or_notify_cancel()
        threading.Thread(target=run, name="tfnz-pipe", daemon=True).start()
        return await asyncio.wrap_future(done)

    # -- on the thread

    def _wait(self, what: int) -> None:
        poll = select.poll()
        poll.register(self._pipe, what)
        poll.register(self._bell, select.POLLIN)
        poll.poll()
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._bell)
        if self._stopped:
            raise BrokenPipeError

    def _write(self, content: bytes | Path) -> int:
        pipe = self._pipe
        if isinstance(content, Path):
            with content.open("rb") as file:
                source = file.fileno()
                try:
                    return self._fill(lambda _: os.splice(source, pipe, ROOM))
                except OSError as error:
                    if error.errno != errno.EINVAL:  # of a file system that cannot be spliced
                        raise
                return self._fill(lambda done: os.write(pipe, os.pread(source, PIECE, done)))
        view = memoryview(content)
        return self._fill(lambda done: os.write(pipe, view[done:]) if done < len(view) else 0)

    def _fill(self, some: Callable[[int], int]) -> int:
        done = 0
        while True:
            try:
                moved = some(done)
            except BlockingIOError:
                self._wait(select.POLLOUT)
                continue
            if not moved:
                return done
            done += moved

    def _read(self, most: int, size: int) -> bytes:
        # Filled where it is: what is read is copied once, out of the pipe.
        whole, more, got = io.BytesIO(bytes(min(size, most))), list[bytes](), 0
        with whole.getbuffer() as room:
            while got != self._size:
                try:
                    if got < len(room):
                        read = os.readv(self._pipe, [room[got : got + ROOM]])
                    else:
                        more.append(os.read(self._pipe, ROOM))
                        read = len(more[-1])
                except BlockingIOError:
                    self._wait(select.POLLIN)
                    continue
                if not read:
                    raise BrokenPipeError
                got += read
                if got > most:
                    raise OverflowError
        whole.truncate(got)
        return b"".join((whole.getvalue(), *more)) if more else whole.getvalue()
