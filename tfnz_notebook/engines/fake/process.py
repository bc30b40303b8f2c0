"""A process of the in-memory guest: a coroutine behind the streams of the guest protocol.

Each output stream is a window: bytes from ``base`` (acknowledged, gone) to ``head`` (written);
``sent`` is how far this connection was told, ``None`` until the agent's first ACK on it.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from tfnz_notebook._wire.guest import (
    MAX_DATA,
    WINDOW_IN,
    WINDOW_OUT,
    WINDOW_TTY,
    Fields,
    Flag,
    Reason,
    Stream,
    Tag,
    Type,
    data,
    fielded,
    fixed,
)
from tfnz_notebook.engines.fake.programs import Main
from tfnz_notebook.errors import ProtocolError

if TYPE_CHECKING:
    from tfnz_notebook.engines.fake.guest import FakeGuest

#: Signals whose default is not the end of the process.
_HARMLESS: Final = frozenset(
    {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH, signal.SIGSTOP, signal.SIGTSTP}
)


class Window:
    """One output stream."""

    def __init__(self, *, drops: bool = False) -> None:
        self.held = bytearray()
        self.base = 0
        self.sent: int | None = None
        self.closed = False
        self.closed_said = False
        self.elided = 0
        #: Oldest bytes go when full and no agent is there (the main process).
        self.drops = drops

    @property
    def head(self) -> int:
        """One past the last byte written."""
        return self.base + len(self.held)

    @property
    def drained(self) -> bool:
        """All is written, said and acknowledged."""
        return self.closed and self.closed_said and not self.held

    def acknowledge(self, offset: int) -> None:
        """Free what lies before; ProtocolError for what was never written."""
        if not self.base <= offset <= self.head:
            raise ProtocolError(f"ACK {offset} is not in {self.base}..{self.head}.")
        if self.sent is None:
            self.sent = offset
        del self.held[: offset - self.base]
        self.base = offset


class FakeProcess:
    """One channel with a process on it; what programs see of it is ``fake_programs.Program``."""

    def __init__(self, guest: FakeGuest, channel: int, argv: list[str], pid: int) -> None:
        self.guest, self.channel, self.argv, self.pid = guest, channel, argv, pid
        self.env: dict[str, str] = {}
        self.cwd, self.user, self.meta = "/", "", b""
        self.tty = False
        self.size = (24, 80)
        self.started = time.time_ns()
        self.status: int | None = None
        self.forgotten = False
        self.streams = {
            Stream.OUT: Window(drops=channel == 1),
            Stream.ERR: Window(drops=channel == 1),
        }
        self.on_signal: Callable[[int], None] | None = None
        self._stdin = bytearray()
        self.taken = 0  # stdin bytes the process took
        self.in_offset = 0  # stdin bytes received
        self._in_end: int | None = None
        self._reading = False
        self._awaits: dict[int, int] = {}
        self._end_said = False
        self._moved = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._killed = 0

    # -- the program's side -------------------------------------------------------------------

    @property
    def files(self) -> Mapping[str, bytes]:
        """The container's files."""
        return self.guest.files.contents()

    @property
    def programs(self) -> Mapping[str, Main]:
        """What the container can run."""
        return self.guest.programs

    async def read(self, most: int = 65536) -> bytes:
        while not self._stdin:
            if self._in_end is not None and self.in_offset >= self._in_end:
                return b""
            self._reading = True
            self.waiting()
            await self._wait()
        self._reading = False
        taken = bytes(self._stdin[:most])
        del self._stdin[:most]
        self.taken += len(taken)
        self.guest.say(fixed(Type.ACK, self.channel, self.taken, stream=Stream.IN))
        await asyncio.sleep(0)  # a program that only reads must let the loop go on
        return taken

    @property
    def window(self) -> int:
        """Bytes of a stream that may wait for an acknowledgement."""
        return WINDOW_TTY if self.tty else WINDOW_OUT

    async def write(self, data: bytes, *, error: bool = False) -> None:
        window = self.streams[Stream.ERR if error and not self.tty else Stream.OUT]
        if self.channel == 1:
            self.guest.log(data)
        view = memoryview(data)
        while view:
            room = self.window - len(window.held)
            if room <= 0 and window.drops and not self.guest.connected:
                dropped = min(len(window.held), len(view))
                del window.held[:dropped]
                window.base += dropped
                window.elided += dropped
                continue
            if room <= 0:
                await self._wait()
                continue
            window.held += view[:room]
            view = view[room:]
            self.pump()
        await asyncio.sleep(0)

    async def _wait(self) -> None:
        self._moved.clear()
        await self._moved.wait()

    def run(self, main: Main) -> None:
        """Start the program."""
        self._task = asyncio.get_running_loop().create_task(self._run(main))

    async def _run(self, main: Main) -> None:
        try:
            status = await main(self)
        except asyncio.CancelledError:
            status = -(self._killed or signal.SIGKILL)
        except Exception as error:  # noqa: BLE001 - a test's own program: say it where it is seen
            self.streams[Stream.ERR].held += f"{type(error).__name__}: {error}\n".encode()
            status = 1
        self.status = status
        for window in self.streams.values():
            window.closed = True
        self._say_exit()
        self.pump()
        self.guest.ended(self)

    def signal(self, number: int) -> int:
        """Deliver; how many were reached."""
        if self.status is not None:
            return 0
        if number in (0, *_HARMLESS):
            return 1
        if self.on_signal is not None and number != signal.SIGKILL:
            self.on_signal(number)
        elif self._task is not None:
            self._killed = number
            self._task.cancel()
        return 1

    # -- the protocol's side ------------------------------------------------------------------

    def inventory(self) -> bytes:
        """PROC, and a fresh start of all streams for a new connection."""
        out, err = self.streams[Stream.OUT], self.streams[Stream.ERR]
        fields: Fields = [(Tag.PID, self.pid), (Tag.FLAGS, Flag.TTY if self.tty else 0)]
        fields += [(Tag.META, self.meta), (Tag.STARTED, self.started)]
        if self.status is not None:
            fields.append((Tag.STATUS, self.status))
        fields += [(Tag.IN_OFFSET, self.in_offset), (Tag.OUT_BASE, out.base)]
        fields += [(Tag.OUT_HEAD, out.head), (Tag.ERR_BASE, err.base), (Tag.ERR_HEAD, err.head)]
        fields += [(Tag.OUT_EOF, int(out.closed)), (Tag.ERR_EOF, int(err.closed))]
        fields.append((Tag.OUT_ELIDED, out.elided))
        for window in (out, err):
            window.sent, window.closed_said = None, False
        self._end_said = False
        self._awaits.clear()
        return fielded(Type.PROC, self.channel, fields)

    def again(self) -> None:
        """After READY: what was said before and perhaps not heard."""
        if self.status is not None and not self.forgotten:
            self._say_exit()
        self.pump()

    def _say_exit(self) -> None:
        assert self.status is not None
        self.guest.say(fixed(Type.EXIT, self.channel, self.status, 0, 0, 0))

    def pump(self) -> None:
        """Say what may be said: DATA within the windows, EOF, END, GONE."""
        if not self.guest.ready:
            return
        for name, window in self.streams.items():
            while window.sent is not None and window.sent < min(
                window.head, window.base + self.window
            ):
                at = window.sent - window.base
                piece = bytes(window.held[at : at + MAX_DATA])
                self.guest.say(data(self.channel, name, window.sent, piece))
                window.sent += len(piece)
            if window.closed and window.sent == window.head and not window.closed_said:
                window.closed_said = True
                self.guest.say(fixed(Type.EOF, self.channel, window.head, stream=name))
        if self.status is None or (self.forgotten and self._end_said):
            self._gone()
            return
        if not self._end_said and all(w.sent == w.head for w in self.streams.values()):
            self._end_said = True
            heads = [self.streams[name].head for name in (Stream.OUT, Stream.ERR)]
            self.guest.say(fixed(Type.END, self.channel, *heads))
            self.waiting()
        self._gone()

    def _gone(self) -> None:
        if self.forgotten and all(window.drained for window in self.streams.values()):
            self.guest.gone(self)

    def acknowledged(self, stream: int, offset: int) -> None:
        if stream not in self.streams:
            raise ProtocolError(f"ACK of stream {stream}.")
        self.streams[Stream(stream)].acknowledge(offset)
        self._moved.set()
        self.pump()

    def forget(self) -> None:
        self.forgotten = True
        self.pump()

    def input(self, offset: int, chunk: bytes) -> None:
        if offset > self.in_offset:
            raise ProtocolError(f"DATA at {offset}, {self.in_offset} is due.")
        if offset + len(chunk) > self.taken + len(self._stdin) + WINDOW_IN:
            raise ProtocolError("DATA beyond the window.")
        fresh = chunk[self.in_offset - offset :]
        self.in_offset += len(fresh)
        if self.status is None:
            self._stdin += fresh
            self._moved.set()

    def input_ends(self, offset: int) -> None:
        self._in_end = offset
        self._moved.set()

    def wait_for_input(self, request: int, offset: int) -> None:
        """AWAIT."""
        self._awaits[request] = offset
        self.waiting()

    def cancel_wait(self, request: int) -> None:
        if self._awaits.pop(request, None) is not None:
            self._say_waiting(request, Reason.CANCELLED)

    def waiting(self) -> None:
        """Answer every AWAIT that is due: all input taken, and the program reads on."""
        for request, offset in [*self._awaits.items()]:
            if self.status is not None and self._end_said:
                del self._awaits[request]
                self._say_waiting(request, Reason.ENDED)
            elif self._reading and not self._stdin and self.taken >= offset:
                del self._awaits[request]
                self.pump()
                self._say_waiting(request, Reason.INPUT)

    def _say_waiting(self, request: int, reason: Reason) -> None:
        heads = [self.streams[name].head for name in (Stream.OUT, Stream.ERR)]
        self.guest.say(fixed(Type.WAITING, self.channel, request, reason, self.taken, *heads))
