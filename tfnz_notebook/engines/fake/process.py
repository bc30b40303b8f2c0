"""A process of the in-memory guest: a coroutine behind the streams of the guest protocol."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from tfnz_notebook._wire.guest import (
    MAIN,
    MAX_DATA,
    WINDOW_IN,
    WINDOW_OUT,
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
from tfnz_notebook._wire.window import Receiver, Sender
from tfnz_notebook.engines.fake.programs import Main
from tfnz_notebook.errors import ProtocolError

if TYPE_CHECKING:
    from tfnz_notebook.engines.fake.guest import FakeGuest

#: Signals whose default is not the end of the process.
_HARMLESS: Final = frozenset(
    {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH, signal.SIGSTOP, signal.SIGTSTP}
)


class Output:
    """One output stream: the bytes that were written and not acknowledged."""

    def __init__(self, content: bytes = b"", *, window: int = WINDOW_OUT) -> None:
        self.held = bytearray(content)
        self.window = Sender(window=window)
        self.window.add(len(content))
        #: On a new connection nothing is sent before the agent has said from where on.
        self.flowing = True
        self.closed = False
        self.closed_said = False
        self.elided = 0

    def write(self, chunk: bytes | memoryview) -> int:
        """Hold what there is room for; how much that is."""
        size = min(len(chunk), self.window.allowed - self.window.head)
        self.held += chunk[:size]
        self.window.add(size)
        return size

    def elide(self, most: int) -> None:
        """Drop the oldest bytes; nobody is there."""
        self.window.rewind()
        dropped = self.window.skip(self.window.acked + min(len(self.held), most))
        del self.held[:dropped]
        self.elided += dropped

    def next(self) -> tuple[int, bytes] | None:
        """Offset and bytes of the next piece that may be sent."""
        size = min(self.window.ready, MAX_DATA) if self.flowing else 0
        at = self.window.sent - self.window.acked
        return (self.window.send(size), bytes(self.held[at : at + size])) if size else None

    @property
    def said(self) -> bool:
        """All that was written was sent."""
        return self.flowing and self.window.sent == self.window.head

    @property
    def drained(self) -> bool:
        """All is written, said and acknowledged."""
        return self.closed and self.closed_said and not self.held

    def acknowledge(self, offset: int) -> None:
        """Free what lies before; ProtocolError for what was never sent, or is gone."""
        window, base = self.window, self.window.acked
        if not self.flowing and base <= offset <= window.head:
            self.flowing = True
            window.rewind()
            window.send(offset - base)
        if offset < base:
            raise ProtocolError(f"ACK {offset}, where {base} was acknowledged.")
        window.acknowledge(offset)
        del self.held[: offset - base]


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
        self.streams = {Stream.OUT: Output(), Stream.ERR: Output()}
        self.on_signal: Callable[[int], None] | None = None
        self._stdin = bytearray()
        self._in = Receiver(0, WINDOW_IN, gaps=False)
        self._in_end: int | None = None
        self._reading = False
        self._awaits: dict[int, int] = {}
        self._end_said = False
        self._moved = asyncio.Event()
        self._task: asyncio.Task[int] | None = None
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
            if self._in_end is not None and self._in.expected >= self._in_end:
                return b""
            self._reading = True
            self.waiting()
            await self._wait()
        self._reading = False
        taken = bytes(self._stdin[:most])
        del self._stdin[:most]
        self._in.acknowledge(self._in.taken + len(taken))
        self.guest.say(fixed(Type.ACK, self.channel, self._in.taken, stream=Stream.IN))
        await asyncio.sleep(0)  # a program that only reads must let the loop go on
        return taken

    async def write(self, data: bytes, *, error: bool = False) -> None:
        output = self.streams[Stream.ERR if error and not self.tty else Stream.OUT]
        if self.channel == MAIN:
            self.guest.log(data)
        view = memoryview(data)
        while view:
            if size := output.write(view):
                view = view[size:]
                self.pump()
            elif self.channel == MAIN and not self.guest.connected:
                output.elide(len(view))
            else:
                await self._wait()
        await asyncio.sleep(0)

    async def _wait(self) -> None:
        self._moved.clear()
        await self._moved.wait()

    def run(self, main: Main) -> None:
        """Start the program."""
        self._task = asyncio.get_running_loop().create_task(self._run(main))
        self._task.add_done_callback(self._over)

    async def _run(self, main: Main) -> int:
        try:
            return await main(self)
        except Exception as error:  # noqa: BLE001 - a test's own program: say it where it is seen
            self.streams[Stream.ERR].write(f"{type(error).__name__}: {error}\n".encode())
            return 1

    def _over(self, task: asyncio.Task[int]) -> None:
        # Also of one that was killed before its first instruction.
        killed = -(self._killed or signal.SIGKILL)
        self.status = killed if task.cancelled() else task.result()
        for output in self.streams.values():
            output.closed = True
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
        fields += [(Tag.IN_OFFSET, self._in.expected)]
        fields += [(Tag.OUT_BASE, out.window.acked), (Tag.OUT_HEAD, out.window.head)]
        fields += [(Tag.ERR_BASE, err.window.acked), (Tag.ERR_HEAD, err.window.head)]
        fields += [(Tag.OUT_EOF, int(out.closed)), (Tag.ERR_EOF, int(err.closed))]
        fields.append((Tag.OUT_ELIDED, out.elided))
        if self.tty:
            fields += [(Tag.ROWS, self.size[0]), (Tag.COLUMNS, self.size[1])]
        for output in (out, err):
            output.flowing = output.closed_said = False
        self._in.renew(self._in.expected + WINDOW_IN)
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
        for name, output in self.streams.items():
            while piece := output.next():
                self.guest.say(data(self.channel, name, *piece))
            if output.closed and output.said and not output.closed_said:
                output.closed_said = True
                self.guest.say(fixed(Type.EOF, self.channel, output.window.head, stream=name))
        if self.status is None or (self.forgotten and self._end_said):
            self._gone()
            return
        if not self._end_said and all(output.said for output in self.streams.values()):
            self._end_said = True
            self.guest.say(fixed(Type.END, self.channel, *self._heads()))
            self.waiting()
        self._gone()

    def _gone(self) -> None:
        if self.forgotten and all(output.drained for output in self.streams.values()):
            self.guest.gone(self)

    def _heads(self) -> list[int]:
        return [self.streams[name].window.head for name in (Stream.OUT, Stream.ERR)]

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
        new, _ = self._in.arrived(offset, chunk)
        if self.status is None:
            self._stdin += new
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
            elif self._reading and not self._stdin and self._in.taken >= offset:
                del self._awaits[request]
                self.pump()
                self._say_waiting(request, Reason.INPUT)

    def _say_waiting(self, request: int, reason: Reason) -> None:
        at = (self._in.taken, *self._heads())
        self.guest.say(fixed(Type.WAITING, self.channel, request, reason, *at))
