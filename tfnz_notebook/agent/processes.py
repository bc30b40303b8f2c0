"""A process: two logs, a stdin, questions, and an end.

The agent's half of DESIGN's one idea. Everything that reads (kernels, views) opens a reader on
one of the logs; everything that writes goes through ``stdin``. The end comes in two steps, as in
PROTOCOL.md: EXIT tells the return code at once, END says where the output written by then ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Flag, Frame, Tag, Target, Type
from tfnz_notebook.agent.command import Command
from tfnz_notebook.agent.guests import Guest
from tfnz_notebook.agent.logs import Log
from tfnz_notebook.agent.outputs import Order, Output
from tfnz_notebook.agent.records import Records
from tfnz_notebook.agent.refusals import spawn_error
from tfnz_notebook.agent.stdin import Stdin
from tfnz_notebook.errors import ContainerGone, ProcessGone, WaitTimeout

#: Seconds between TERM and KILL when a timeout ends a process.
TIMEOUT_GRACE: Final = 5.0
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
        self.returncode: int | None = None
        self.ran: float | None = None  # seconds from start to end; None if nobody was there then
        self.flags = 0
        self.seconds = 0.0
        self.ended = False
        self.timed_out = False
        self.late = False  # it had ended before this agent met it
        #: Final offsets of what was written before the end; None until END.
        self.final: tuple[int, int] | None = None
        make = Log.adopt if adopt else Log
        options: dict[str, Any] = {"retain": command.retain}
        if quota is not None:
            options["quota"] = quota
        self.outputs = (
            Output(make(records.folder / f"{ident}.out", **options), partial(self._ack, 1)),
            Output(make(records.folder / f"{ident}.err", **options), partial(self._ack, 2)),
        )
        self.logs = (self.outputs[0].log, self.outputs[1].log)
        if command.tty:
            self.outputs[0].of_terminal()
        self.order = Order()
        self.guest = guest
        self._records = records
        self._changed = changed
        self.channel = 0
        self._spawned: asyncio.Future[None] | None = None
        self.done = asyncio.Event()
        self._telling = False
        self.turn = asyncio.Lock()  # one question after the other
        self._timer: asyncio.TimerHandle | None = None
        self._destroying = False
        self._ender: asyncio.Task[None] | None = None
        self.closing: asyncio.Task[None] | None = None
        self.input = Stdin(guest)

    # -- starting

    async def spawn(self) -> None:
        """Start it. Raises CommandNotFound, CommandNotExecutable, SpawnFailed, ContainerGone."""
        self.channel = self.input.channel = self.guest.open(self)
        self._spawned = asyncio.get_running_loop().create_future()
        self._say_spawn()
        await self._spawned
        if self.command.timeout is not None:
            self._timer = asyncio.get_running_loop().call_later(
                self.command.timeout, self._timeout_reached
            )

    def _say_spawn(self) -> None:
        fields = self.command.fields(self.ident)
        self.guest.send(wire.fielded(Type.SPAWN, self.channel, fields))

    def adopt(self, channel: int, inventory: Frame) -> None:
        """Take over a process that an earlier agent (or the guest itself) started."""
        self.channel = self.input.channel = channel
        self.guest.attach(channel, self)
        self.command.tty = bool(inventory.integer(Tag.FLAGS) & Flag.TTY)
        if self.command.tty:
            self.outputs[0].of_terminal()
        self.pid = inventory.integer(Tag.PID)
        self.started = inventory.integer(Tag.STARTED) / 1e9
        self.input.begin(inventory.integer(Tag.IN_OFFSET))
        self.late = any(tag is Tag.STATUS for tag, _ in inventory.fields)
        self.resumed(inventory)

    def recall(self, told: dict[str, Any]) -> None:
        """Be a process that ended under an earlier agent, as it was recorded."""
        self.command.tty = bool(told["tty"])
        self.pid, self.started = int(told["pid"]), float(told["started"])
        self.returncode, self.seconds = int(told["returncode"]), float(told["seconds"])
        self.timed_out, self.ran = bool(told["timed_out"]), told.get("ran")
        self.flags = Flag.OOM if told["oom"] else 0
        self.final = (int(told["out"]), int(told["err"]))
        self.ended = True
        self.done.set()
        for log in self.logs:
            log.eof = True
        self.input.release()

    # -- frames from the guest

    def frame(self, frame: Frame) -> None:
        """A frame of this process's channel."""
        match frame.type:
            case Type.DATA if frame.stream in (1, 2):
                self.order.note(frame.stream, frame.values[0])
                self.outputs[frame.stream - 1].data(frame.values[0], frame.data)
            case Type.ACK:
                self.input.taken(frame.values[0])
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
        self.started = self.started or time.time()
        if self._spawned is not None and not self._spawned.done():
            self._spawned.set_result(None)

    def _ack(self, stream: int, upto: int) -> None:
        self.guest.send(wire.fixed(Type.ACK, self.channel, upto, stream=stream))

    def _stream_ended(self, index: int) -> None:
        output = self.outputs[index]
        if self.ended:
            output.release(output.log.head)
        output.end()

    def _exited(self, returncode: int) -> None:
        if self.returncode is not None:
            return
        self.returncode = returncode
        if self.started and not self.late:
            self.ran = max(0.0, time.time() - self.started)
        if self._timer is not None:
            self._timer.cancel()
        self.input.release()
        for output in self.outputs:
            output.exited = True
            output.flush()
        self._notify()

    def _notify(self) -> None:
        # EXIT and END mostly come together: one event tells of both.
        if not self._telling:
            self._telling = True
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        self._telling = False
        self._changed(self)

    def _finish(self, final: tuple[int, int]) -> None:
        if not self.ended:
            self.final = final
            self.ended = True
            self.done.set()
            self._notify()
        for output in self.outputs:
            if output.log.spool():
                output.release(output.log.head)
            output.log.close()
        self._records.write(self.info())
        self.guest.send(wire.fixed(Type.FORGET, self.channel))

    def lost(self) -> None:
        """The connection broke; the guest keeps what we did not acknowledge."""

    def resumed(self, inventory: Frame | None) -> None:
        """The connection is back: go on where each side was."""
        if inventory is None:
            if self._spawned is not None and not self._spawned.done():
                self.guest.attach(self.channel, self)
                self._say_spawn()
            elif not self.ended:
                self.gone()
            return
        if self._spawned is not None and not self._spawned.done():
            self._is_spawned(inventory.integer(Tag.PID))
        for output, tag in zip(self.outputs, (Tag.OUT_BASE, Tag.ERR_BASE), strict=True):
            base, head = inventory.integer(tag), inventory.integer(Tag(tag + 1))
            output.resume(base, head, ended=self.ended)
        self.input.resumed(inventory.integer(Tag.IN_OFFSET))
        if self.ended:
            self.guest.send(wire.fixed(Type.FORGET, self.channel))

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
            self._records.write(self.info())
        for output in self.outputs:
            output.pump()
            output.log.spool()
            output.log.close()
        self._tell()  # now, not soon: what comes next is the end of the container

    # -- stdin

    def alive(self, what: str) -> None:
        """Raise ProcessGone, 'Cannot <what>', if it has ended."""
        if self.returncode is not None:
            raise ProcessGone(
                f"Cannot {what}: the process has ended with code {self.returncode}. "
                "Spawn another one."
            )

    async def stdin(self, chunk: bytes) -> None:
        """Queue bytes for its stdin; waits while too many are queued. ProcessGone."""
        self.alive("write to stdin")
        self.input.write(chunk)
        await self.input.room()

    # -- control

    async def resize(self, rows: int, columns: int) -> None:
        """The terminal's new size, in characters."""
        self.command.rows, self.command.columns = rows, columns
        self.guest.send(wire.fixed(Type.RESIZE, self.channel, rows, columns))
        self._notify()

    async def signal(self, number: int, target: Target) -> int:
        """Signal its leader, group or tree; how many were reached. ProcessGone, SpawnFailed."""
        if target is not Target.TREE:
            self.alive("signal")
        frame = await self.guest.request(Type.SIGNAL, self.channel, number, target)
        _, errno, count = frame.values
        if errno == 3 and target is Target.TREE:  # ESRCH: a tree without members
            return 0
        if errno == 3:
            raise ProcessGone("Cannot signal: the process has just ended.")
        if errno:
            raise ProcessGone(f"Cannot signal: errno {errno}. Is {number} a signal?")
        return count

    async def destroy(self, grace: float) -> int:
        """TERM the tree, KILL it after ``grace`` seconds; the number of survivors."""
        self.alive("destroy")
        if self._destroying:
            raise ProcessGone("Cannot destroy: the process is already being destroyed.")
        self._destroying = True
        try:
            if grace > 0:
                with contextlib.suppress(ProcessGone):
                    await self.signal(signal.SIGTERM, Target.TREE)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(grace):
                        await self._tree_gone()
            survivors = await self._kill()
            async with asyncio.timeout(10):
                await self.done.wait()
            return survivors
        except TimeoutError:
            raise WaitTimeout(
                "Cannot destroy: the process did not end within 10 s of KILL. "
                "Destroy its container."
            ) from None
        finally:
            self._destroying = False

    async def _tree_gone(self) -> None:
        delay = 0.002
        while self.returncode is None or await self.signal(0, Target.TREE):
            await asyncio.sleep(delay)
            delay = min(delay * 2, 0.1)

    async def _kill(self) -> int:
        with contextlib.suppress(ProcessGone):
            return await self.signal(signal.SIGKILL, Target.TREE)
        return 0

    def _timeout_reached(self) -> None:
        if self.returncode is None and not self._destroying:
            self.timed_out = True
            self._timer = None
            self._ender = asyncio.create_task(self._end_on_timeout())

    async def _end_on_timeout(self) -> None:
        with contextlib.suppress(ProcessGone, WaitTimeout, ContainerGone):
            await self.destroy(TIMEOUT_GRACE)

    def discard(self) -> None:
        """Its output is of no use any more."""
        for log in self.logs:
            log.discard()

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
        }


def recalled(
    container: str, guest: Guest, records: Records, changed: Callable[[Process], None]
) -> Iterator[Process]:
    """The processes of a container that ended under an earlier agent."""
    for told in records.read():
        try:
            command = Command([], text=str(told["text"]))
            ident = str(told["process"])
            process = Process(ident, container, guest, records, command, changed, adopt=True)
            process.recall(told)
        except (KeyError, TypeError, ValueError):
            continue  # a later version's record, perhaps
        yield process
