"""A process: two logs, a stdin, questions, and an end.

The agent's half of DESIGN's one idea. Everything that reads (kernels, views) opens a reader on
one of the logs; everything that writes goes through ``stdin``. The end comes in two steps, as in
PROTOCOL.md: EXIT tells the return code at once, END says where the output written by then ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Flag, Frame, Tag, Target, Type
from tfnz_notebook.agent.container.guest import Guest
from tfnz_notebook.agent.container.refusals import spawn_error
from tfnz_notebook.agent.process.asking import close_stdin
from tfnz_notebook.agent.process.command import Command
from tfnz_notebook.agent.process.log import Log
from tfnz_notebook.agent.process.output import RETRY, Order, Output
from tfnz_notebook.agent.process.records import Records
from tfnz_notebook.agent.process.stdin import Stdin
from tfnz_notebook.agent.process.stop import destroy
from tfnz_notebook.agent.world import now
from tfnz_notebook.errors import ContainerGone, ProcessGone, TfnzError, TooLarge, WaitTimeout

#: Seconds between TERM and KILL when a timeout ends a process.
TIMEOUT_GRACE: Final = 5.0
#: Seconds that the news of an exit waits for the end of the output, to be one event with it.
END_SOON: Final = 0.02
#: What the agent keeps of a main process's output; the engine's own log has all of it.
MAIN_QUOTA: Final = 256 << 20


class Process:
    """One process of a container, from spawn until its container goes."""

    def __init__(
        self,
        ident: str,
        container: str,
        guest: Guest,
        records: Records,
        command: Command,
        changed: Callable[[Process], None],
        *,
        quota: int | None = None,
        adopt: bool = False,
    ) -> None:
        self.ident = ident
        self.container = container
        self.command = command
        self.pid = 0
        self.started = 0.0
        self._began = 0.0  # the same, on the clock that nobody sets
        self.returncode: int | None = None
        self.ran: float | None = None  # seconds from start to end; None if nobody was there then
        self.flags = 0
        self.seconds = 0.0
        self.ended = False
        self._recorded = False  # its end, and all its output, are in files
        self.timed_out = False
        self.late = False  # it had ended before this agent met it
        #: Final offsets of what was written before the end; None until END.
        self.final: tuple[int, int] | None = None
        make = Log.adopt if adopt else Log
        options: dict[str, Any] = {"retain": command.retain, "disk": records.disk}
        if quota is not None:
            options["quota"] = quota
        told = self._notify
        self.outputs = [
            Output(make(records.folder / f"{ident}.{name}", **options), partial(self._ack, n), told)
            for n, name in ((1, "out"), (2, "err"))
        ]
        self.logs = (self.outputs[0].log, self.outputs[1].log)
        if command.tty:
            self.outputs[0].of_terminal()
        self.order = Order()
        self.guest = guest
        self._records = records
        self._wall = records.world.wall
        self.writes = records.writes
        self._changed = changed
        self.channel = 0
        self._spawned: asyncio.Future[None] | None = None
        self._abandoned = False
        self.done = asyncio.Event()
        self._telling: asyncio.Handle | None = None
        self.turn = asyncio.Lock()  # one question after the other
        self._timer: asyncio.TimerHandle | None = None
        self.destroying = False
        self._ender: asyncio.Task[None] | None = None
        self.closing: asyncio.Task[None] | None = None
        self.input = Stdin(guest)

    # -- starting

    async def spawn(self, *, closed: bool = False) -> None:
        """Start it, with an stdin that is ``closed`` or not.

        Raises CommandNotFound, CommandNotExecutable, SpawnFailed, ContainerGone.
        """
        await self.guest.room()  # its arguments and environment are bulk
        self.channel = self.input.channel = self.guest.open(self)
        self._spawned = asyncio.get_running_loop().create_future()
        try:
            self._say_spawn()
        except TooLarge:
            self.guest.free(self.channel)
            raise
        self.guest.expect(self._spawned)
        if closed:
            self.input.close()
        self.guest.flush()
        if closed:
            self.writes.close(self.ident)
        await self._spawned
        self._set_timer()

    def _set_timer(self) -> None:
        if self.command.timeout is not None and self.returncode is None:
            left = max(0.0, self._began + self.command.timeout - now())
            self._timer = asyncio.get_running_loop().call_later(left, self._timeout_reached)

    def _say_spawn(self) -> None:
        fields = self.command.fields(self.ident)
        for frame in wire.spawn(self.channel, fields, self.guest.arguments):
            self.guest.send(frame)

    def adopt(self, channel: int, inventory: Frame) -> None:
        """Take over a process that an earlier agent (or the guest itself) started."""
        self.channel = self.input.channel = channel
        self.guest.attach(channel, self)
        self.command.tty = bool(inventory.integer(Tag.FLAGS) & Flag.TTY)
        if self.command.tty:
            self.outputs[0].of_terminal()
        self.pid = inventory.integer(Tag.PID)
        self.started = inventory.integer(Tag.STARTED) / 1e9
        # A guest from before AGE was added says only what the wall clock showed.
        age = inventory.integer(Tag.AGE, -1) / 1e9
        self._began = now() - (age if age >= 0 else max(0.0, self._wall() - self.started))
        self.command.rows = inventory.integer(Tag.ROWS) or self.command.rows
        self.command.columns = inventory.integer(Tag.COLUMNS) or self.command.columns
        self.late = any(tag is Tag.STATUS for tag, _ in inventory.fields)
        received, closed = inventory.integer(Tag.IN_OFFSET), inventory.integer(Tag.IN_EOF) == 1
        self.input.begin(received, closed=closed)
        if self.writes.adopt(self.ident, received) and not closed and not self.late:
            close_stdin(self)
        self.resumed(inventory)
        if not self.late:
            self._set_timer()

    def recall(self, told: dict[str, Any]) -> None:
        """Be a process that ended under an earlier agent, as it was recorded."""
        self.command.tty = bool(told["tty"])
        self.pid, self.started = int(told["pid"]), float(told["started"])
        self.returncode, self.seconds = int(told["returncode"]), float(told["seconds"])
        self.timed_out, self.ran = bool(told["timed_out"]), told.get("ran")
        self.flags = Flag.OOM if told["oom"] else 0
        self.final = (int(told["out"]), int(told["err"]))
        self.ended = self._recorded = True
        self.done.set()
        for log in self.logs:
            log.eof = True
        self.input.release()

    def abandon(self) -> None:
        """Nobody waits for its start any more: what comes of it is undone."""
        self._abandoned = True

    # -- frames from the guest

    def frame(self, frame: Frame) -> None:
        """A frame of this process's channel."""
        match frame.type:
            case Type.DATA if frame.stream in (1, 2):
                self.order.note(frame.stream, frame.values[0])
                self.outputs[frame.stream - 1].data(frame.values[0], frame.data)
            case Type.ACK:
                self.input.acknowledged(frame.values[0])
            case Type.EOF if frame.stream == 0:
                self.input.refused()
            case Type.EOF:
                self._stream_ended(frame.stream - 1)
            case Type.SPAWNED:
                self._is_spawned(frame.values[0])
            case Type.FAILED:
                self.guest.free(self.channel)
                if self._spawned is not None and not self._spawned.done():
                    self._spawned.set_exception(spawn_error(self.command, frame))
            case Type.EXIT:
                self.flags, user, system = frame.values[1:]
                self.seconds = (user + system) / 1e6
                self._exited(frame.values[0])
            case Type.END:
                self._finish((frame.values[0], frame.values[1]))
            case Type.GONE:
                self.guest.free(self.channel)
            case _:
                pass

    def _is_spawned(self, pid: int) -> None:
        self.pid = pid
        if self._abandoned:
            kill = wire.fixed(Type.SIGNAL, self.channel, 0, signal.SIGKILL, Target.TREE)
            self.guest.send(kill)
        self.started = self.started or self._wall()
        self._began = self._began or now()
        if self._spawned is not None and not self._spawned.done():
            self._spawned.set_result(None)

    def _ack(self, stream: int, upto: int) -> None:
        self.guest.send(wire.fixed(Type.ACK, self.channel, upto, stream=stream))

    def _stream_ended(self, index: int) -> None:
        output = self.outputs[index]
        if self._recorded and not output.settle():
            self._record()
        output.end()

    def _exited(self, returncode: int) -> None:
        if self.returncode is not None:
            return
        self.returncode = returncode
        if self.started and not self.late:
            self.ran = now() - self._began
        if self._timer is not None:
            self._timer.cancel()
        self.input.release()
        for output in self.outputs:
            output.flush()
        if self._telling is None:  # END follows at once, but for who left much to be read
            self._telling = asyncio.get_running_loop().call_later(END_SOON, self._tell)

    def _notify(self) -> None:
        """Tell soon: what happens in one turn of the loop is one event."""
        if isinstance(self._telling, asyncio.TimerHandle):
            self._telling.cancel()
            self._telling = None
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        self._changed(self)

    def _finish(self, final: tuple[int, int]) -> None:
        if not self.ended:
            self.final = final
            self.ended = True
            self.done.set()
            self._tell()  # before it is written down: somebody waits
        self._record()

    def _record(self) -> None:
        """Have its end and its output in files, now or once there is room; then nothing forgets."""
        if self._timer is not None:
            self._timer.cancel()
        first, second = (output.settle() for output in self.outputs)
        spooled = first and second
        if spooled and not self._recorded:
            self._recorded = self._records.write(self.info())
        if spooled and self._recorded:
            self.guest.mention(wire.fixed(Type.FORGET, self.channel))
        else:
            self._timer = asyncio.get_running_loop().call_later(RETRY, self._record)

    def lost(self, error: TfnzError) -> None:
        """The connection broke; the guest keeps what we did not acknowledge."""

    def resumed(self, inventory: Frame | None) -> None:
        """The connection is back: go on where each side was."""
        if inventory is None:
            if self._spawned is not None and not self._spawned.done():
                self.guest.attach(self.channel, self)
                self._say_spawn()
                self.input.resumed(0)
            elif not self.ended and self.pid:
                self.gone()
            return
        if not self.pid:
            self._is_spawned(inventory.integer(Tag.PID))
            self._notify()
        for output, tag in zip(self.outputs, (Tag.OUT_BASE, Tag.ERR_BASE), strict=True):
            base, head = inventory.integer(tag), inventory.integer(Tag(tag + 1))
            output.resume(base, head, kept=self._recorded)
        self.input.resumed(inventory.integer(Tag.IN_OFFSET))
        if self._recorded:
            self.guest.mention(wire.fixed(Type.FORGET, self.channel))

    def gone(self, returncode: int = -signal.SIGKILL) -> None:
        """Its container ended: whatever it was doing is over."""
        self.guest.free(self.channel)
        if self._spawned is not None and not self._spawned.done():
            self._spawned.set_exception(
                ContainerGone("Cannot spawn a process: the container has ended. Spawn another.")
            )
        self._exited(returncode)
        for log in self.logs:
            log.eof = True
        if not self.ended:
            self.final = (self.logs[0].head, self.logs[1].head)
            self.ended = True
            self.done.set()
        for output in self.outputs:
            output.pump()
        self._record()
        self._tell()  # now, not soon: what comes next is the end of the container

    # -- stdin

    def alive(self, what: str) -> None:
        """Raise ProcessGone, 'Cannot <what>', if it has ended."""
        if self.returncode is not None:
            raise ProcessGone(
                f"Cannot {what}: the process has ended with code {self.returncode}. "
                "Spawn another one."
            )

    # -- control

    async def resize(self, rows: int, columns: int) -> None:
        """The terminal's new size, in characters."""
        self.command.rows, self.command.columns = rows, columns
        self.guest.send(wire.fixed(Type.RESIZE, self.channel, rows, columns))
        self._notify()

    def _timeout_reached(self) -> None:
        if self.returncode is None and not self.destroying:
            self.timed_out = True
            self._timer = None
            self._ender = asyncio.create_task(self._end_on_timeout())

    async def _end_on_timeout(self) -> None:
        with contextlib.suppress(ProcessGone, WaitTimeout, ContainerGone):
            await destroy(self, TIMEOUT_GRACE)

    def discard(self) -> None:
        """Its output is of no use any more."""
        if self._timer is not None:
            self._timer.cancel()
        for output in self.outputs:
            output.discard()

    def said(self, most: int) -> list[bytes] | None:
        """All that it wrote to each stream before its end, if that is at most so much."""
        final = self.final or (0, 0)
        if max(final) > most or any(log.base for log in self.logs):
            return None
        said = [
            log.read(0, end)[1] if end else b"" for log, end in zip(self.logs, final, strict=True)
        ]
        return said if tuple(map(len, said)) == final else None

    def info(self) -> dict[str, Any]:
        """What kernels see, as in PROTOCOL.md."""
        out, err = self.final or (self.logs[0].head, self.logs[1].head)
        return {
            "process": self.ident,
            "container": self.container,
            "text": self.command.text,
            "pid": self.pid,
            "tty": self.command.tty,
            "rows": self.command.rows,
            "columns": self.command.columns,
            "started": self.started,
            "returncode": self.returncode,
            "out": out,
            "err": err,
            "ended": self.ended,
            "seconds": self.seconds,
            "ran": self.ran,
            "timed_out": self.timed_out,
            "oom": bool(self.flags & Flag.OOM),
            "retain": self.command.retain,
            "stalled": next((log.trouble for log in self.logs if log.trouble), ""),
        }


def recalled(
    container: str,
    guest: Guest,
    records: Records,
    changed: Callable[[Process], None],
    *,
    over: bool,
) -> Iterator[Process]:
    """The processes of a container that ended under an earlier agent.

    ``over``: the container has ended, so those ended with it of which only the output is left.
    """
    for told in [*records.read(), *(records.unended() if over else ())]:
        try:
            command = Command([], text=str(told["text"]))
            ident = str(told["process"])
            process = Process(ident, container, guest, records, command, changed, adopt=True)
            process.recall(told)
        except (KeyError, TypeError, ValueError):
            continue  # a later version's record, perhaps
        yield process
