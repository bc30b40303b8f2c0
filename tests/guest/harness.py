"""A real guest, and an agent small enough to say anything, also what a good agent would not.

``Guest`` starts the binary under test (``TFNZ_GUEST_BINARY``, else one that is built here) as a
plain child; ``Agent`` is one connection to it. Nothing sleeps for a fixed time: ``Agent.until``
reads frames until a condition holds or the deadline has passed.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Flag, Frame, Reason, Stream, Tag, Target, Type

DEADLINE = 20.0
T = TypeVar("T")


class Closed(Exception):
    """The guest closed the connection."""


def until(condition: Callable[[], T], timeout: float = DEADLINE, every: float = 0.002) -> T:
    """Poll until the condition's value is true, and return it."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s")
        time.sleep(every)
    return value


class Process:
    """What the agent knows of one process (or dial, or transfer): a channel."""

    def __init__(self, agent: Agent, channel: int) -> None:
        self.agent, self.channel = agent, channel
        self.pid = 0
        self.data = {Stream.OUT: bytearray(), Stream.ERR: bytearray()}
        #: Offset of data[stream][0]
        self.base = {Stream.OUT: 0, Stream.ERR: 0}
        self.acked = {Stream.OUT: 0, Stream.ERR: 0}
        self.eof: dict[int, int] = {}
        self.written = 0
        self.taken = 0
        self.exit: Frame | None = None
        self.end: tuple[int, ...] | None = None
        self.failed: Frame | None = None
        self.stats: list[Frame] = []
        self.closed: int | None = None
        self.gone = False
        self.window = agent.window
        #: Its bytes do not come over the connection.
        self.piped = False
        self.auto_ack = agent.auto_ack

    # What arrived.
    @property
    def out(self) -> bytes:
        return bytes(self.data[Stream.OUT])

    @property
    def err(self) -> bytes:
        return bytes(self.data[Stream.ERR])

    @property
    def status(self) -> int | None:
        return self.exit.values[0] if self.exit else None

    def head(self, stream: int = Stream.OUT) -> int:
        return self.base[stream] + len(self.data[stream])

    # What is said.
    def write(self, chunk: bytes) -> Process:
        """Stdin, in frames; waits for the window where it must."""
        for at in range(0, len(chunk), 65536):
            part = chunk[at : at + 65536]
            if self.written + len(part) > self.taken + wire.WINDOW_IN:
                room = self.written + len(part) - wire.WINDOW_IN
                self.agent.until(lambda room=room: self.taken >= room)
            self.agent.send(wire.data(self.channel, Stream.IN, self.written, part))
            self.written += len(part)
        return self

    def close_stdin(self) -> Process:
        self.agent.send(wire.fixed(Type.EOF, self.channel, self.written))
        return self

    def ack(self, stream: int = Stream.OUT, offset: int | None = None) -> None:
        offset = self.head(stream) if offset is None else offset
        self.acked[stream] = offset
        self.agent.send(wire.fixed(Type.ACK, self.channel, offset, stream=stream))

    def forget(self) -> None:
        self.agent.send(wire.fixed(Type.FORGET, self.channel))

    def signal(self, number: int, target: Target = Target.LEADER) -> tuple[int, int]:
        """(errno, value) of the RESULT."""
        request = self.agent.request()
        self.agent.send(wire.fixed(Type.SIGNAL, self.channel, request, number, target))
        return self.agent.result(request)

    def kill(self) -> int:
        error, survivors = self.signal(9, Target.TREE)
        assert error == 0
        return survivors

    def resize(self, rows: int, columns: int) -> None:
        self.agent.send(wire.fixed(Type.RESIZE, self.channel, rows, columns))

    def ask_waiting(self, offset: int | None = None) -> int:
        request = self.agent.request()
        offset = self.written if offset is None else offset
        self.agent.send(wire.fixed(Type.AWAIT, self.channel, request, offset))
        return request

    def waiting(self, offset: int | None = None, timeout: float = DEADLINE) -> Frame:
        """Ask, and wait for the answer."""
        request = self.ask_waiting(offset)
        return self.agent.until(lambda: self.agent.waitings.pop(request, None), timeout)

    def reply(self, line: bytes) -> bytes:
        """All output between the last answer and the process waiting again."""
        start = self.head()
        answer = self.write(line).waiting()
        assert answer.values[1] == Reason.INPUT
        assert answer.values[3] <= self.head(), "WAITING overtook the bytes it counts"
        return self.out[start - self.base[Stream.OUT] : answer.values[3] - self.base[Stream.OUT]]

    # What is waited for.
    def wait(self, timeout: float = DEADLINE) -> int:
        """Until EXIT and END; the status."""
        self.agent.until(lambda: self.end is not None, timeout)
        assert self.status is not None
        return self.status

    def wait_gone(self, timeout: float = DEADLINE) -> Process:
        """Until the channel's number is free; says FORGET when it may."""
        if self.exit is not None or self.pid:
            self.wait(timeout)
            self.forget()
        self.agent.until(lambda: self.gone, timeout)
        return self

    def until_out(self, wanted: bytes, timeout: float = DEADLINE) -> bytes:
        self.agent.until(lambda: wanted in self.out, timeout)
        return self.out


class Agent:
    """One connection. ``hello=False`` leaves the first word to the test."""

    def __init__(
        self, guest: Guest, *, hello: bool = True, auto_ack: bool = True, wide: bool = False
    ) -> None:
        self.guest, self.auto_ack = guest, auto_ack
        #: Of output: how much of a stream may come.
        self.window = wire.WINDOW_WIDE if wide else wire.WINDOW_OUT
        self.decoder = wire.Decoder()
        self.channels: dict[int, Process] = {}
        self.frames: list[Frame] = []
        self.hello: Frame | None = None
        self.ready = False
        self.inventory: dict[int, Frame] = {}
        self.results: dict[int, tuple[int, int]] = {}
        self.waitings: dict[int, Frame] = {}
        self.samples: dict[int, Frame] = {}
        self.pongs: list[int] = []
        self._request = 0
        self._chunks: list[bytes] = []
        self._taking = False
        self._unsent = bytearray()
        self._sending = False
        self.reader, self.writer, self._end = guest.connect()
        if hello:
            self.send(wire.greeting("test", wide=wide))
            self.until(lambda: self.ready)

    def say_hello(self, version: int = wire.VERSION, oldest: int = wire.VERSION_MIN) -> None:
        fields = [(Tag.VERSION, version), (Tag.VERSION_MIN, oldest), (Tag.NAME, "test")]
        self.send(wire.fielded(Type.HELLO, 0, fields))

    def close(self) -> None:
        self._end()

    def request(self) -> int:
        self._request += 1
        return self._request

    def send(self, raw: bytes) -> None:
        """All of it; reads meanwhile, so that neither side waits for the other for ever."""
        self._unsent += raw
        if self._sending:  # what was read is acknowledged, and that goes behind this frame
            return
        self._sending = True
        try:
            while self._unsent:
                readable, writable, _ = select.select([self.reader], [self.writer], [], DEADLINE)
                assert readable or writable, "the guest neither reads nor writes"
                if writable:
                    with contextlib.suppress(BlockingIOError):
                        del self._unsent[: os.write(self.writer, self._unsent)]
                elif readable:
                    self.read()
        except (BrokenPipeError, ConnectionResetError):
            raise Closed from None
        finally:
            self._sending = False

    def read(self) -> None:
        """What there is, at least something."""
        try:
            chunk = os.read(self.reader, 1 << 20)
        except BlockingIOError:
            return
        except ConnectionResetError:
            chunk = b""
        if not chunk:
            raise Closed
        self._chunks.append(chunk)
        if self._taking:  # called by take(), which sends: what comes now has its turn later
            return
        self._taking = True
        try:
            while self._chunks:
                for frame in self.decoder.feed(self._chunks.pop(0)):
                    self.take(frame)
        finally:
            self._taking = False

    def until(self, condition: Callable[[], T], timeout: float = DEADLINE) -> T:
        end = time.monotonic() + timeout
        while not (value := condition()):
            left = end - time.monotonic()
            if left <= 0:
                raise AssertionError(f"not within {timeout} s; last frames: {self.frames[-6:]}")
            if select.select([self.reader], [], [], min(left, 0.5))[0]:
                self.read()
        return value

    def sync(self) -> None:
        """Until the guest has read and answered all that was said before."""
        number = self.request()
        self.send(wire.fixed(Type.PING, 0, number))
        self.until(lambda: number in self.pongs)

    def until_closed(self, timeout: float = DEADLINE) -> None:
        with contextlib.suppress(Closed):
            self.until(lambda: False, timeout)

    def result(self, request: int) -> tuple[int, int]:
        self.until(lambda: request in self.results)
        return self.results.pop(request)

    def channel(self, number: int) -> Process:
        return self.channels.setdefault(number, Process(self, number))

    def take(self, frame: Frame) -> None:
        kind = frame.type
        if kind is not Type.DATA:
            self.frames.append(frame)
        c = self.channel(frame.channel)
        if kind is Type.HELLO:
            self.hello = frame
        elif kind is Type.READY:
            self.ready = True
        elif kind is Type.PONG:
            self.pongs += frame.values
        elif kind is Type.RESULT:
            self.results[frame.values[0]] = (frame.values[1], frame.values[2])
        elif kind is Type.STATS:
            self.samples[frame.integer(Tag.REQUEST)] = frame
        elif kind is Type.WAITING:
            self.waitings[frame.values[0]] = frame
        elif kind is Type.PROC:
            self.inventory[frame.channel] = frame
            c.pid = frame.integer(Tag.PID)
            c.base = {
                Stream.OUT: frame.integer(Tag.OUT_BASE),
                Stream.ERR: frame.integer(Tag.ERR_BASE),
            }
            c.written = c.taken = frame.integer(Tag.IN_OFFSET)
        elif kind is Type.SPAWNED:
            c.pid = frame.values[0]
        elif kind is Type.FAILED:
            c.failed = frame
        elif kind is Type.STAT:
            c.stats.append(frame)
        elif kind is Type.DATA:
            stream = Stream(frame.stream)
            assert frame.values[0] == c.head(stream), (frame.values, c.head(stream))
            assert not c.eof.get(stream), "DATA after EOF"
            c.data[stream] += frame.data
            assert c.head(stream) <= c.acked[stream] + c.window, "over the window"
            assert len(frame.data) <= wire.MAX_DATA
            if c.auto_ack:
                self.send(wire.fixed(Type.ACK, frame.channel, c.head(stream), stream=stream))
                c.acked[stream] = c.head(stream)
        elif kind is Type.ACK:
            c.taken = frame.values[0]
        elif kind is Type.EOF:
            if frame.stream != Stream.IN and not c.piped:
                assert frame.values[0] in (0, c.head(frame.stream)), (frame, c.head(frame.stream))
            c.eof[frame.stream] = frame.values[0]
        elif kind is Type.EXIT:
            c.exit = frame
        elif kind is Type.END:
            c.end = frame.values
        elif kind is Type.CLOSE:
            c.closed = frame.values[0]
        elif kind is Type.GONE:
            c.gone = True
        else:
            raise AssertionError(f"unexpected {frame}")

    # Requests.
    def spawn(
        self,
        *command: str | bytes,
        env: Iterable[str] = (),
        cwd: str | None = None,
        user: str | None = None,
        tty: bool = False,
        size: tuple[int, int] | None = None,
        flags: int = 0,
        meta: bytes | None = None,
        channel: int | None = None,
        started: bool = True,
        stdin: bool = True,
    ) -> Process:
        """Say SPAWN; ``started`` waits for SPAWNED or FAILED; ``stdin=False`` closes it."""
        channel = self.guest.channel() if channel is None else channel
        fields: list[tuple[Tag, Any]] = [(Tag.ARG, word) for word in command]
        fields += [(Tag.ENV, pair) for pair in env]
        if cwd is not None:
            fields.append((Tag.CWD, cwd))
        if user is not None:
            fields.append((Tag.USER, user))
        if tty:
            flags |= Flag.TTY
        if flags:
            fields.append((Tag.FLAGS, int(flags)))
        if size:
            fields += [(Tag.ROWS, size[0]), (Tag.COLUMNS, size[1])]
        if meta is not None:
            fields.append((Tag.META, meta))
        process = self.channel(channel)
        process.auto_ack = self.auto_ack
        for frame in wire.spawn(channel, fields, wire.MAX_ARGUMENTS):
            self.send(frame)
        if not stdin:
            process.close_stdin()
        if started:
            self.until(lambda: process.pid or process.failed)
        return process

    def sh(self, script: str, **keywords: Any) -> Process:
        return self.spawn("/bin/sh", "-c", script, **keywords)

    def run(self, script: str, **keywords: Any) -> bytes:
        """A shell script's stdout; its status must be 0."""
        process = self.sh(script, stdin=False, **keywords)
        assert process.wait() == 0, process.err
        return process.out

    def adopt(
        self, *channels: int, stream_offsets: dict[int, tuple[int, int]] | None = None
    ) -> None:
        """After a reconnection: let the streams of inventoried processes flow from their base."""
        for number in channels or tuple(self.inventory):
            c = self.channel(number)
            out, err = (stream_offsets or {}).get(number, (c.base[Stream.OUT], c.base[Stream.ERR]))
            c.base = {Stream.OUT: out, Stream.ERR: err}
            c.ack(Stream.OUT, out)
            c.ack(Stream.ERR, err)

    def open(self, kind: Type, *fields: tuple[Tag, Any]) -> Process:
        channel = self.channel(self.guest.channel())
        self.send(wire.fielded(kind, channel.channel, fields))
        return channel

    def answered(self, channel: Process) -> Process:
        """Until STAT or FAILED."""
        self.until(lambda: channel.stats or channel.failed)
        return channel

    def errno(self, channel: Process) -> int:
        self.until(lambda: channel.failed)
        assert channel.failed is not None
        return channel.failed.integer(Tag.ERRNO)

    def sample(self) -> Frame:
        request = self.request()
        self.send(wire.fixed(Type.SAMPLE, 0, request))
        return self.until(lambda: self.samples.get(request))


class Guest:
    """The binary as a child process, its socket in a directory of its own."""

    def __init__(
        self,
        binary: Path,
        *command: str,
        transport: str = "socket",
        options: Iterable[str] = ("--sleep",),
        prefix: Iterable[str] = (),
        env: dict[str, str] | None = None,
        directory: Path | None = None,
        stdout: Any = subprocess.PIPE,
        stderr: Any = subprocess.PIPE,
        uid: int | None = None,
        hard: bool = False,
        inner_socket: str | None = None,
    ) -> None:
        #: hard: SIGKILL ends it, for prefixes that keep SIGTERM to themselves (unshare).
        self.binary, self.transport, self.hard = binary, transport, hard
        self.prefix = list(prefix)
        self._own = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="tfnz-guest-"))
        if uid is not None:
            os.chown(self.directory, uid, uid)
            self.prefix = [
                *("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--"),
                *self.prefix,
            ]
        self.socket = self.directory / "guest.sock"
        self._channel = 1
        self._ends: list[Callable[[], None]] = []
        words = ["--", *command] if command else []
        self.process = subprocess.Popen(
            [
                *self.prefix,
                str(binary),
                "init",
                "--socket",
                inner_socket or str(self.socket),
                *options,
                *words,
            ],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=env,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    def channel(self) -> int:
        self._channel += 1
        return self._channel

    def connect(self) -> tuple[int, int, Callable[[], None]]:
        """(reading descriptor, writing descriptor, close)."""
        if self.transport == "connect":
            bridge = subprocess.Popen(
                [*self.prefix, str(self.binary), "connect", "--socket", str(self.socket)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            assert bridge.stdin and bridge.stdout
            os.set_blocking(bridge.stdin.fileno(), False)

            def end() -> None:
                assert bridge.stdin and bridge.stdout
                bridge.stdin.close()
                bridge.stdout.close()
                bridge.terminate()
                bridge.wait()

            self._ends.append(end)
            return bridge.stdout.fileno(), bridge.stdin.fileno(), end
        plug = socket.socket(socket.AF_UNIX)

        def reached() -> bool:
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                plug.connect(str(self.socket))
                return True
            return False

        until(reached)
        plug.setblocking(False)
        self._ends.append(plug.close)
        return plug.fileno(), plug.fileno(), plug.close

    def agent(self, **keywords: Any) -> Agent:
        return Agent(self, **keywords)

    def close(self) -> None:
        """End it as an engine does; whatever it started must be gone with it."""
        for end in self._ends:
            end()
        if self.process.poll() is None:
            # --kill-child does not reach a child that has become another user meanwhile.
            for child in children(self.pid) if self.hard else ():
                os.kill(child, signal.SIGKILL)
            self.process.kill() if self.hard else self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()
        if self._own:
            shutil.rmtree(self.directory, ignore_errors=True)


def stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the state on; None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def rests(pid: int) -> None:
    """Until it uses no processor; one that turns in circles is never seen so."""
    ran = Path(f"/proc/{pid}/schedstat")

    def quiet() -> bool:
        before = ran.read_text().split()[0]
        time.sleep(0.2)
        fields = stat(pid)
        return fields is not None and fields[0] == "S" and ran.read_text().split()[0] == before

    until(quiet)


def alive(pid: int) -> bool:
    fields = stat(pid)
    return fields is not None and fields[0] not in "ZX"


def children(pid: int) -> Iterator[int]:
    for entry in names("/proc"):
        if entry.isdigit():
            fields = stat(int(entry))
            if fields and int(fields[1]) == pid:
                yield int(entry)


def names(directory: str | Path) -> list[str]:
    """What is in a directory."""
    return [path.name for path in Path(directory).iterdir()]
