"""The guest protocol's other half in memory: PROTOCOL.md section 1, as far as unit tests need it.

Missing, because only a kernel has them: dials (refused, unless a test names a port in
``ports``), process trees beyond the leader, users and modes that are enforced, resource samples.
"""

from __future__ import annotations

import asyncio
import errno
import os
import posixpath
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import (
    Feature,
    Fields,
    Flag,
    Frame,
    Stream,
    Tag,
    Type,
    fielded,
    fixed,
)
from tfnz_notebook._wire.window import Receiver
from tfnz_notebook.engines import base
from tfnz_notebook.engines.fake.files import Files
from tfnz_notebook.engines.fake.process import FakeProcess, Output
from tfnz_notebook.engines.fake.programs import Main, known_user, missing
from tfnz_notebook.engines.fake.stream import FakeStream
from tfnz_notebook.errors import ProtocolError

#: Seconds that an ended main process waits for the agent to have recorded its end.
_FORGET_GRACE = 2.0


@dataclass(slots=True)
class _Put:
    path: str
    mode: int | None
    flags: int
    content: bytearray = field(default_factory=bytearray)
    window: Receiver = field(default_factory=lambda: Receiver(0, wire.WINDOW_WIDE, gaps=False))


class FakeGuest:
    """One container's guest. ``finished`` is called with the container's exit code."""

    #: Bytes of arguments that it says to take; 0: as guests of before, it says nothing.
    arguments = wire.MAX_ARGUMENTS
    #: What it says that it can; seconds after which it says to end without its agent, 0: never.
    features = Feature(sum(Feature))
    orphan = 0

    def __init__(
        self,
        *,
        argv: list[str],
        env: Mapping[str, str],
        user: str,
        cwd: str,
        files: Files,
        programs: Mapping[str, Main],
        log: Callable[[bytes], None],
        finished: Callable[[int], None],
    ) -> None:
        self.boot = os.urandom(16)
        self.files, self.programs, self.log = files, programs, log
        self._argv, self._env, self._user, self._cwd = argv, dict(env), user, cwd
        #: The same as it was before any SETUP.
        self._own = (argv, dict(env), user, cwd)
        self._finished = finished
        self._processes: dict[int, FakeProcess] = {}
        #: Of a SPAWN to come: its channel, and the fields that came before.
        self._ahead: tuple[int, tuple[tuple[Tag, wire.Value], ...]] = (0, ())
        self._puts: dict[int, _Put] = {}
        self._gets: dict[int, Output] = {}
        self._pids = 1
        self._link: FakeStream | None = None
        self._grace: asyncio.TimerHandle | None = None
        #: The agent has said hello on the present connection.
        self.ready = False
        self.exited = False
        #: It neither hears nor says anything, until it goes on.
        self.paused = False
        self.over = asyncio.Event()
        self._handlers: dict[Type, Callable[[Frame], None]] = {
            Type.PING: self._on_ping,
            Type.SAMPLE: self._on_sample,
            Type.SETUP: self._on_setup,
            Type.START: self._on_start,
            Type.SPAWN: self._on_spawn,
            Type.DIAL: self._on_dial,
            Type.PUT: self._on_file,
            Type.GET: self._on_file,
            Type.ARGS: self._on_args,
            Type.LIST: self._on_file,
            Type.MKDIR: self._on_file,
            Type.CLOSE: self._on_close,
        }

    # -- life ---------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """An agent is there."""
        return self._link is not None

    @property
    def stream(self) -> FakeStream | None:
        """The present connection; tests make it slow, or break it."""
        return self._link

    def boot_main(self) -> None:
        """Start the container's own command."""
        self._spawn(wire.MAIN, self._argv, {**self._env}, self._cwd, self._user)

    def connect(self, received: base.Received, closed: base.Closed) -> FakeStream:
        """A new connection; the older one is closed."""
        if self._link is not None:
            self._link.broke(None)
        self._link = stream = FakeStream(self, received, closed)
        self.ready = False
        hello: Fields = [(Tag.VERSION, wire.VERSION), (Tag.VERSION_MIN, wire.VERSION_MIN)]
        hello += [(Tag.BOOT, self.boot), (Tag.PID, 1), (Tag.UID, 0)]
        hello.append((Tag.SLEEPING, int(wire.MAIN not in self._processes)))
        hello.append((Tag.FEATURES, self.features))
        told = ((Tag.ARGUMENTS, self.arguments), (Tag.ORPHAN, self.orphan))
        hello += [(tag, value) for tag, value in told if value]
        stream.deliver(fielded(Type.HELLO, wire.CONNECTION, hello))
        return stream

    def disconnected(self, stream: FakeStream) -> None:
        if stream is self._link:
            self._link, self.ready = None, False
            self._puts.clear()
            self._gets.clear()

    def say(self, frame: bytes) -> None:
        """To the agent, if one listens."""
        if self._link is not None and self.ready:
            self._link.deliver(frame)

    def pause(self, *, paused: bool) -> None:
        """Be paused, or go on."""
        self.paused = paused
        if self._link is not None:
            self._link.wake()

    def terminate(self) -> None:
        """The engine's TERM: to the main process, or the end of a sleeping guest."""
        main = self._processes.get(wire.MAIN)
        if main is None or main.status is not None:
            self.exit(0)
        else:
            main.signal(15)

    def ended(self, process: FakeProcess) -> None:
        """A process has exited."""
        if process.channel == wire.MAIN and not self.exited:
            wait = _FORGET_GRACE if self.connected else 0.0
            loop = asyncio.get_running_loop()
            self._grace = loop.call_later(wait, self._main_over, process.status or 0)

    def _main_over(self, status: int) -> None:
        self.exit(status if status >= 0 else 128 - status)

    def gone(self, process: FakeProcess) -> None:
        """Everything of a process is over, and the agent knows."""
        if self._processes.pop(process.channel, None) is not None:
            self.say(fixed(Type.GONE, process.channel))

    def exit(self, code: int) -> None:
        """The end of the container."""
        if self.exited:
            return
        self.exited = True
        self.over.set()
        if self._grace is not None:
            self._grace.cancel()
        for process in [*self._processes.values()]:
            process.signal(9)
        if self._link is not None:
            self._link.broke(None)
        self._finished(code)

    # -- frames -------------------------------------------------------------------------------

    def fed(self, stream: FakeStream, data: bytes) -> None:
        """Bytes from the agent; a malformed frame ends the connection."""
        try:
            for frame in stream.decoder.feed(data):
                if stream is not self._link:
                    return
                self._frame(frame)
        except ProtocolError:
            stream.broke(None)

    def _frame(self, frame: Frame) -> None:
        if not self.ready:
            if frame.type is not Type.HELLO:
                raise ProtocolError(f"{frame.type.name} before HELLO.")
            self._hello(frame)
            return
        handler = self._handlers.get(frame.type)
        if handler is not None:
            handler(frame)
            return
        process = self._processes.get(frame.channel)
        if process is not None:
            self._to_process(process, frame)
        elif frame.channel in self._puts or frame.channel in self._gets:
            self._to_file(frame)
        elif frame.type is Type.SIGNAL:
            self.say(fixed(Type.RESULT, frame.channel, frame.values[0], errno.ESRCH, 0))
        # Anything else may cross with GONE, and means nothing any more.

    def _hello(self, frame: Frame) -> None:
        lowest, highest = frame.integer(Tag.VERSION_MIN), frame.integer(Tag.VERSION)
        if not lowest <= wire.VERSION <= highest and not highest >= wire.VERSION_MIN:
            raise ProtocolError("No version in common.")
        self.ready = True
        for process in self._processes.values():
            self.say(process.inventory())
        self.say(fixed(Type.READY, wire.CONNECTION))
        for process in [*self._processes.values()]:
            process.again()

    def _to_process(self, process: FakeProcess, frame: Frame) -> None:
        values = frame.values
        match frame.type:
            case Type.DATA:
                process.input(values[0], frame.data)
            case Type.EOF:
                process.input_ends(values[0])
            case Type.ACK:
                process.acknowledged(frame.stream, values[0])
            case Type.FORGET:
                process.forget()
                if process.channel == wire.MAIN and process.status is not None:
                    self._main_over(process.status)
            case Type.SIGNAL:
                reached = process.signal(values[1])
                survivors = 0 if values[1] == 9 and values[2] == wire.Target.TREE else reached
                self.say(fixed(Type.RESULT, process.channel, values[0], 0, survivors))
            case Type.RESIZE:
                process.size = (values[0], values[1])
            case Type.AWAIT:
                process.wait_for_input(values[0], values[1])
            case Type.CANCEL:
                process.cancel_wait(values[0])
            case _:
                raise ProtocolError(f"{frame.type.name} for a process.")

    def _on_ping(self, frame: Frame) -> None:
        self.say(fixed(Type.PONG, frame.channel, frame.values[0]))

    def _on_sample(self, frame: Frame) -> None:
        fields: Fields = [(Tag.REQUEST, frame.values[0]), (Tag.CLOCK, time.time_ns())]
        alive = sum(1 for process in self._processes.values() if process.status is None)
        fields += [(Tag.PIDS, alive + 1), (Tag.CPU, 0), (Tag.MEMORY, 0)]
        self.say(fielded(Type.STATS, frame.channel, fields))

    def _on_setup(self, frame: Frame) -> None:
        """What the image would say: all of it anew, each time."""
        argv, env = self._worded(frame)
        user, cwd = frame.text(Tag.USER, self._own[2]), frame.text(Tag.CWD, self._own[3])
        failed = 0
        if wire.MAIN in self._processes:
            failed = errno.EALREADY
        elif not known_user(user):
            failed = errno.ENOENT
        else:
            self._argv = argv or self._own[0]
            whole = {**self._own[1], **env}
            self._env = {key: value for key, value in whole.items() if value is not None}
            self._user, self._cwd = user, cwd
        self.say(fixed(Type.RESULT, wire.MAIN, frame.integer(Tag.REQUEST), failed, 0))

    def _on_start(self, frame: Frame) -> None:
        failed = 0
        if wire.MAIN in self._processes:
            failed = errno.EALREADY
        elif not self._argv:
            failed = errno.ENOEXEC
        else:
            self.boot_main()
        pid = 0
        if not failed:
            pid = self._processes[wire.MAIN].pid
            self.say(fixed(Type.SPAWNED, wire.MAIN, pid))
        self.say(fixed(Type.RESULT, wire.MAIN, frame.values[0], failed, pid))

    # -- processes ----------------------------------------------------------------------------

    def _on_args(self, frame: Frame) -> None:
        channel, before = self._ahead
        fields = (*before, *frame.fields) if channel == frame.channel else frame.fields
        self._ahead = (frame.channel, fields)

    def _worded(self, frame: Frame) -> tuple[list[str], dict[str, str | None]]:
        """Its command and its variables, with those that came ahead; None: one to be removed."""
        if self._ahead[0] == frame.channel:
            frame.fields, self._ahead = (*self._ahead[1], *frame.fields), (0, ())
        argv: list[str] = []
        env: dict[str, str | None] = {}
        for tag, value in frame.fields:
            text = value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else ""
            if tag is Tag.ARG:
                argv.append(text)
            elif tag is Tag.ENV:
                key, equals, rest = text.partition("=")
                env[key] = rest if equals else None
        return argv, env

    def _on_spawn(self, frame: Frame) -> None:
        argv, told = self._worded(frame)
        held = self._processes.get(frame.channel)
        if held is not None:
            self.say(fixed(Type.SPAWNED, frame.channel, held.pid))
            return
        whole = {"PATH": "/bin", **self._env, **told}
        env = {key: value for key, value in whole.items() if value is not None}
        cwd, user = frame.text(Tag.CWD, self._cwd), frame.text(Tag.USER, self._user)
        wrong = self._refusal(argv, cwd, user)
        if wrong is not None:
            self._failed(frame.channel, *wrong)
            return
        process = self._spawn(frame.channel, argv, env, cwd, user, frame)
        self.say(fixed(Type.SPAWNED, frame.channel, process.pid))

    def _spawn(
        self,
        channel: int,
        argv: list[str],
        env: dict[str, str],
        cwd: str,
        user: str,
        frame: Frame | None = None,
    ) -> FakeProcess:
        main = self.programs.get(posixpath.basename(argv[0]), missing)
        self._pids += 1
        process = FakeProcess(self, channel, argv, self._pids)
        process.env, process.cwd, process.user = env, cwd, user
        if frame is not None:
            process.meta = frame.raw(Tag.META)
            process.tty = bool(frame.integer(Tag.FLAGS) & Flag.TTY)
            process.size = (frame.integer(Tag.ROWS, 24), frame.integer(Tag.COLUMNS, 80))
        if process.tty:
            process.streams[Stream.OUT] = Output(window=wire.WINDOW_TTY)
        self._processes[channel] = process
        process.run(main)
        return process

    def _refusal(self, argv: list[str], cwd: str, user: str) -> tuple[OSError, str] | None:
        """Why a process cannot start, and at what stage."""
        try:
            if self.files.stat(cwd).content is not None:
                return OSError(errno.ENOTDIR, "not a directory"), "cwd"
        except OSError as error:
            return error, "cwd"
        if not known_user(user):
            return OSError(errno.ENOENT, "no such user"), "user"
        if not argv:
            return OSError(errno.EINVAL, "no command"), "exec"
        if posixpath.basename(argv[0]) not in self.programs:
            held = self.files.contents().get(argv[0])
            number = errno.ENOENT if held is None else errno.EACCES
            return OSError(number, "cannot be executed"), "exec"
        return None

    def _failed(self, channel: int, error: OSError, stage: str) -> None:
        fields: Fields = [(Tag.ERRNO, error.errno or errno.EIO), (Tag.STAGE, stage.encode())]
        fields.append((Tag.TEXT, (error.strerror or "").encode()))
        self.say(fielded(Type.FAILED, channel, fields))

    def _on_dial(self, frame: Frame) -> None:
        self._failed(frame.channel, OSError(errno.ECONNREFUSED, "connection refused"), "connect")

    # -- files --------------------------------------------------------------------------------

    def _on_file(self, frame: Frame) -> None:
        path, flags = frame.text(Tag.PATH), frame.integer(Tag.FLAGS)
        mode = frame.integer(Tag.MODE, -1)
        channel = frame.channel
        try:
            match frame.type:
                case Type.PUT:
                    self.files.check(path, flags)
                    self._puts[channel] = _Put(path, mode if mode >= 0 else None, flags)
                case Type.GET:
                    node, content = self.files.get(path)
                    self.say(fielded(Type.STAT, channel, node.fields()))
                    output = self._gets[channel] = Output(content)
                    output.closed = True
                    self._pump_get(channel)
                case Type.LIST:
                    for name, node in self.files.listing(path):
                        self.say(fielded(Type.STAT, channel, node.fields(name)))
                    self.say(fixed(Type.EOF, channel, 0, stream=Stream.OUT))
                    self.say(fixed(Type.GONE, channel))
                case _:
                    node = self.files.mkdir(path, mode if mode >= 0 else 0o755, flags)
                    self.say(fielded(Type.STAT, channel, node.fields()))
                    self.say(fixed(Type.GONE, channel))
        except OSError as error:
            self._failed(channel, error, "open")

    def _to_file(self, frame: Frame) -> None:
        channel = frame.channel
        put = self._puts.get(channel)
        if put is None:
            if frame.type is Type.ACK:
                self._gets[channel].acknowledge(frame.values[0])
                self._pump_get(channel)
        elif frame.type is Type.DATA:
            new, _ = put.window.arrived(frame.values[0], frame.data)
            put.content += new
            put.window.acknowledge(len(put.content))
            self.say(fixed(Type.ACK, channel, len(put.content), stream=Stream.IN))
        elif frame.type is Type.EOF:
            del self._puts[channel]
            try:
                node = self.files.put(put.path, bytes(put.content), put.mode, put.flags)
            except OSError as error:
                self._failed(channel, error, "open")
                return
            self.say(fielded(Type.STAT, channel, node.fields()))
            self.say(fixed(Type.GONE, channel))

    def _pump_get(self, channel: int) -> None:
        output = self._gets[channel]
        while piece := output.next():
            self.say(wire.data(channel, Stream.OUT, *piece))
        if output.said and not output.closed_said:
            output.closed_said = True
            self.say(fixed(Type.EOF, channel, output.window.head, stream=Stream.OUT))
        if output.drained:
            del self._gets[channel]
            self.say(fixed(Type.GONE, channel))

    def _on_close(self, frame: Frame) -> None:
        if self._puts.pop(frame.channel, None) or self._gets.pop(frame.channel, None):
            self.say(fixed(Type.GONE, frame.channel))
