"""A process: two logs, a stdin, questions, and an end.

The agent's half of DESIGN's one idea. Everything that reads (kernels, views) opens a reader on
one of the logs; everything that writes goes through ``stdin``. The end comes in two steps, as in
PROTOCOL.md: EXIT tells the return code at once, END says where the output written by then ends.
Once that is written down, its streams have ended and the guest knows it no more, a line of the
index is all that is left of it (``kept/ended.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from enum import IntEnum
from functools import partial
from typing import Any, Final

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Flag, Frame, Tag, Target, Type
from tfnz_notebook.agent.container.guest import Guest
from tfnz_notebook.agent.container.refusals import spawn_error
from tfnz_notebook.agent.process.asking import close_stdin
from tfnz_notebook.agent.process.command import Command
from tfnz_notebook.agent.process.kept.ended import gone, said
from tfnz_notebook.agent.process.output import Output
from tfnz_notebook.agent.process.reader import Reader
from tfnz_notebook.agent.process.records import Records
from tfnz_notebook.agent.process.states import NEXT, Event
from tfnz_notebook.agent.process.stdin import Stdin
from tfnz_notebook.agent.process.stop import end
from tfnz_notebook.agent.world import Gate, now
from tfnz_notebook.errors import ContainerGone, ProcessGone, TfnzError, TooLarge, WaitTimeout

#: Seconds between TERM and KILL when a timeout ends a process.
TIMEOUT_GRACE: Final = 5.0
#: Seconds that the news of an exit waits for the end of the output, to be one event with it.
END_SOON: Final = 0.02
#: What the agent keeps of a main process's output; the engine's own log has all of it.
MAIN_QUOTA: Final = 256 << 20


_OOM: Final = int(Flag.OOM)  # a Flag is costly to make


class Kept(IntEnum):
    """What the index says of a process."""

    NOTHING = 0
    END = 1  # and where its output was then
    ALL = 2  # and nothing follows


class Process:
    """One process of a container, from spawn until nothing of it can change any more."""

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
        self.state = "asked"
        self._kept = Kept.NOTHING
        self._forgotten = False  # by its guest
        #: Its timeout has ended it.
        self.timed_out = False
        #: Final offsets of what was written before the end; None until END.
        self.final: tuple[int, int] | None = None
        #: Where in the pack its output is.
        self.place: tuple[int, int] | None = None
        options: dict[str, Any] = {"retain": command.retain, "adopt": adopt}
        if quota is not None:
            options["quota"] = quota
        told = self._notify
        self.outputs = [
            Output(records.log(ident, name, **options), partial(self._ack, n), told)
            for n, name in ((1, "out"), (2, "err"))
        ]
        self.logs = (self.outputs[0].log, self.outputs[1].log)
        if command.tty:
            self.outputs[0].of_terminal()
        self.marks = records.marks(ident)
        self.guest = guest
        self._records = records
        self._wall = records.world.wall
        self.writes = records.writes
        self._changed = changed
        self.channel = 0
        self._spawned: asyncio.Future[None] | None = None
        self._abandoned = False
        self.done = Gate()
        self._telling: asyncio.Handle | None = None
        self.turn = asyncio.Lock()  # one question after the other
        self._timer: asyncio.Handle | None = None
        self._ender: asyncio.Task[None] | None = None
        self.closing: asyncio.Task[None] | None = None
        self.input = Stdin(guest)

    def happens(self, event: Event) -> bool:
        """Be what that makes of it; False where it changes nothing."""
        state = NEXT.get((self.state, event))
        self.state = state or self.state
        return state is not None

    @property
    def ended(self) -> bool:
        """Its return code is known, and where its output ended."""
        return self.state == "ended"

    # -- starting

    async def spawn(self) -> None:
        """Start it.

        Raises CommandNotFound, CommandNotExecutable, SpawnFailed, ContainerGone.
        """
        self._spawned = asyncio.get_running_loop().create_future()
        await self.guest.room()  # its arguments and environment are bulk
        self.channel = self.input.channel = self.guest.open(self)
        self.writes.begin(self.ident)
        try:
            self._say_spawn()
        except TooLarge:
            self._is_forgotten()
            raise
        self.guest.expect(self._spawned)
        if self.command.closed:
            self.input.close()
        self.guest.flush()
        await self._spawned
        self._set_timer()

    async def ready(self) -> None:
        """Wait until it was started, for who asks for it again. Raises what :meth:`spawn` does."""
        if self._spawned is not None:
            await asyncio.wait([self._spawned])
            if self._spawned.cancelled():
                raise ContainerGone("Cannot spawn a process: its spawn was given up. Spawn again.")
            self._spawned.result()

    def _set_timer(self) -> None:
        if self.command.timeout is not None and self.returncode is None:
            left = max(0.0, self._began + self.command.timeout - now())
            self._timer = asyncio.get_running_loop().call_later(left, self._timeout_reached)

    def _say_spawn(self) -> None:
        fields = self.command.fields(self.ident)
        for frame in wire.spawn(self.channel, fields, self.guest.arguments):
            self.guest.send(frame)

    def own(self, channel: int) -> None:
        """Be whom that channel of the guest's concerns."""
        self.channel = self.input.channel = channel
        self.guest.attach(channel, self)

    def adopt(self, channel: int, inventory: Frame) -> None:
        """Take over a process that an earlier agent (or the guest itself) started."""
        self.own(channel)
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
        late = any(tag is Tag.STATUS for tag, _ in inventory.fields)
        if late:
            self.happens(Event.FIND)
        if late and (told := self._records.end(self.ident)) is not None:
            self._recall(told)
        else:
            self.marks.recall(None)
        received, closed = inventory.integer(Tag.IN_OFFSET), inventory.integer(Tag.IN_EOF) == 1
        self.input.begin(received, closed=closed)
        closing = self.writes.adopt(self.ident, received) or self.command.closed
        if closing and not closed and not late:
            close_stdin(self)
        self.resumed(inventory)
        if not late:
            self._set_timer()

    def _recall(self, told: dict[str, Any]) -> None:
        """It ended under an earlier agent, as was recorded; what it started is still there."""
        self.returncode, self.seconds = int(told["returncode"]), float(told["seconds"])
        self.timed_out, self.ran = bool(told["timed_out"]), told.get("ran")
        self.flags = Flag.OOM if told["oom"] else 0
        self.final = (int(told["out"]), int(told["err"]))
        place = told.get("place")
        self.place = (int(place[0]), int(place[1])) if place else None
        self.marks.recall(told.get("marks"))
        self._kept = Kept.END
        self.happens(Event.EXIT)
        self.happens(Event.END)
        self.done.set()
        self.input.release()

    def abandon(self) -> None:
        """Nobody waits for its start any more: what comes of it is undone.

        Not before its end: the next agent may be asked for the same process again.
        """
        self._abandoned = True
        if self._spawned is not None:
            self._spawned.cancel()
        if self.pid:  # it was told of right before
            self._kill()
        if self.channel and not self._forgotten:
            self._records.abandoned(self)
        else:
            self.discard()

    # -- frames from the guest

    def frame(self, frame: Frame) -> None:
        """A frame of this process's channel."""
        match frame.type:
            case Type.DATA if frame.stream in (1, 2):
                passed = int((now() - self._began) * 1000)
                if self._abandoned and self.ended:
                    self._ack(frame.stream, frame.values[0] + len(frame.data))
                else:
                    self.marks.note(frame.stream, frame.values[0], passed)
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
                self._is_forgotten()
                if self._spawned is not None and not self._spawned.done():
                    self._spawned.set_exception(spawn_error(self.command, frame))
            case Type.EXIT:
                self.flags, user, system = frame.values[1:]
                self.seconds = (user + system) / 1e6
                self._exited(frame.values[0])
            case Type.END:
                self._finish((frame.values[0], frame.values[1]))
            case Type.GONE:
                self._is_forgotten()
            case _:
                pass

    def _kill(self) -> None:
        if self.returncode is None:
            self.guest.send(wire.fixed(Type.SIGNAL, self.channel, 0, signal.SIGKILL, Target.TREE))

    def _is_spawned(self, pid: int) -> None:
        self.pid = pid
        self.happens(Event.START)
        if self._abandoned:
            self._kill()
        self.started = self.started or self._wall()
        self._began = self._began or now()
        if self._spawned is not None and not self._spawned.done():
            self._spawned.set_result(None)

    def _ack(self, stream: int, upto: int) -> None:
        self.guest.send(wire.fixed(Type.ACK, self.channel, upto, stream=stream))
        if not self.ended:
            self.marks.keep()

    def _stream_ended(self, index: int) -> None:
        self.outputs[index].end()
        if self.ended:
            self._records.soon(self)

    def _exited(self, returncode: int) -> None:
        was = self.state
        if not self.happens(Event.EXIT):
            return
        self.returncode = returncode
        if self.started and was != "late":
            self.ran = now() - self._began
        if self._timer is not None:
            self._timer.cancel()
        self.input.release()
        self.writes.over(self.ident)
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
        if not self._abandoned:
            self._changed(self)

    def _finish(self, final: tuple[int, int]) -> None:
        if self.happens(Event.END):
            self.final = final
            self.done.set()
            self._tell()  # before it is written down: somebody waits
        self._records.soon(self)

    def store(self) -> bool:
        """Have its output in files, but for what is little; False if the disk is full."""
        first, second = (output.store() for output in self.outputs)
        return self._abandoned or (first and second)

    @property
    def untold(self) -> bool:
        """Whether there is more to write down of it than was."""
        return not self._abandoned and self._kept < (Kept.ALL if self.over else Kept.END)

    def recorded(self) -> None:
        """Its end and its output are in files: the guest may forget them."""
        if self._abandoned:  # it was never there, as far as anybody knows
            self.discard()
            for output in self.outputs:
                output.release(output.log.head)
            self.guest.send(wire.fixed(Type.FORGET, self.channel))
            return
        before, self._kept = self._kept, Kept.ALL if self.over else Kept.END
        for output in self.outputs:
            output.settled()
        if before is Kept.NOTHING:
            self.guest.send(wire.fixed(Type.FORGET, self.channel))
        self._rest()

    def _is_forgotten(self) -> None:
        self.guest.free(self.channel)
        self._forgotten = True
        self.writes.over(self.ident)
        self._rest()

    def _rest(self) -> None:
        """Nothing of it changes any more: its line in the index is enough."""
        if self._abandoned and self._forgotten:
            self._records.undone(self)
        elif self._forgotten and self._kept is Kept.ALL:
            for output in self.outputs:
                output.let_go()
            self._records.rest(self)

    @property
    def over(self) -> bool:
        """It has ended, and nothing that it started writes on."""
        return self.ended and all(log.eof for log in self.logs)

    @property
    def oom(self) -> bool:
        """It was killed because memory was short."""
        return bool(self.flags & _OOM)

    def lost(self, error: TfnzError) -> None:
        """The connection broke; the guest keeps what we did not acknowledge."""

    def resumed(self, inventory: Frame | None) -> None:
        """The connection is back: go on where each side was."""
        if inventory is None:
            if self._spawned is not None and not self._spawned.done():
                self.guest.attach(self.channel, self)
                self._say_spawn()
                self.input.resumed(0)
            elif self.ended or self.pid or self._abandoned:
                self.gone()
            return
        if not self.pid:
            self._is_spawned(inventory.integer(Tag.PID))
            self._notify()
        for output, tag in zip(self.outputs, (Tag.OUT_BASE, Tag.ERR_BASE), strict=True):
            base, head = inventory.integer(tag), inventory.integer(Tag(tag + 1))
            output.resume(base, head)
        self.input.resumed(inventory.integer(Tag.IN_OFFSET))
        size = self.command.rows, self.command.columns
        if self.command.tty and size != tuple(map(inventory.integer, (Tag.ROWS, Tag.COLUMNS))):
            self.guest.send(wire.fixed(Type.RESIZE, self.channel, *size))
        if self._kept:
            self.guest.send(wire.fixed(Type.FORGET, self.channel))

    def gone(self, returncode: int = -signal.SIGKILL) -> None:
        """Its container has ended, or its guest knows it no more: whatever it was doing is over."""
        if self._spawned is not None and not self._spawned.done():
            self._spawned.set_exception(
                ContainerGone("Cannot spawn a process: the container has ended. Spawn another.")
            )
            self._abandoned = True
        self._exited(returncode)
        news = self.happens(Event.END)
        if news:
            self.final = (self.logs[0].head, self.logs[1].head)
            self.done.set()
        for output in self.outputs:
            output.end()
        self._records.write(self)
        self._is_forgotten()
        if news:
            self._tell()  # now, not soon: what comes next is the end of the container

    # -- stdin

    def alive(self, what: str) -> None:
        """Raise ProcessGone, 'Cannot <what>', if it has ended."""
        if self.returncode is not None:
            raise gone(what, self.returncode)

    # -- control

    async def resize(self, rows: int, columns: int) -> None:
        """The terminal's new size, in characters."""
        self.command.rows, self.command.columns = rows, columns
        self.guest.send(wire.fixed(Type.RESIZE, self.channel, rows, columns))
        self._notify()

    def _timeout_reached(self) -> None:
        if self.happens(Event.TIME):
            self.timed_out = True
            self._timer = None
            self._ender = asyncio.create_task(self._end_on_timeout())

    async def _end_on_timeout(self) -> None:
        with contextlib.suppress(ProcessGone, WaitTimeout, ContainerGone):
            await end(self, TIMEOUT_GRACE)

    def discard(self) -> None:
        """Its output is of no use any more."""
        for handle in (self._timer, self._telling, self._ender, self.closing):
            if handle is not None:
                handle.cancel()
        for output in self.outputs:
            output.discard()
        self.marks.remove()
        self._records.leave_out(self)

    # -- reading

    def read_by(self, reader: Reader, stream: int) -> None:
        """Have it told of what comes, and wait for it where it asks for that."""
        self.outputs[stream - 1].add(reader)

    def said(self, most: int) -> list[bytes] | None:
        """All that it wrote to each stream before its end, if that is at most so much."""
        return said(self.logs, self.final or (0, 0), most)

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
            "oom": self.oom,
            "retain": self.command.retain,
            "origin": self.command.origin,
            "stalled": self.logs[0].trouble or self.logs[1].trouble,
            "dropped": "",
        }
