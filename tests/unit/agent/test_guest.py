"""The connection to a guest: hello, inventory, breaks, garbage. The guest here is a script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Decoder, Flag, Frame, Reason, Tag, Target, Type
from tfnz_notebook.agent.container.guest import Guest
from tfnz_notebook.agent.process.asking import ask, write
from tfnz_notebook.agent.process.command import Command
from tfnz_notebook.agent.process.process import Process
from tfnz_notebook.agent.process.records import Records
from tfnz_notebook.agent.process.stop import destroy
from tfnz_notebook.engines.base import Closed, Engine, Received, State, Stream
from tfnz_notebook.errors import (
    CommandNotFound,
    ContainerFailed,
    ContainerGone,
    ProcessGone,
    SpawnFailed,
    WaitTimeout,
)


class Pipe(Stream):
    """The engine's stream to the scripted guest."""

    def __init__(self, guest: ScriptedGuest, received: Received, closed: Closed) -> None:
        self.guest, self.received, self.closed = guest, received, closed
        self.open = True
        self.decoder = Decoder()

    def write(self, data: bytes) -> None:
        for frame in self.decoder.feed(data):
            self.guest.frames.append(frame)
            self.guest.heard(frame)

    @property
    def writable(self) -> bool:
        return True

    async def drain(self) -> None:
        pass

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass

    def close(self) -> None:
        self.cut(None)

    def cut(self, cause: Exception | None) -> None:
        if self.open:
            self.open = False
            asyncio.get_running_loop().call_soon(self.closed, cause)


class ScriptedGuest:
    """Says hello and an inventory; the rest is up to the test."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.inventory: list[bytes] = []
        self.after_ready: list[bytes] = []
        self.answers: Callable[[Frame], None] = lambda frame: None
        self.versions = (wire.VERSION_MIN, wire.VERSION)
        self.status = "running"
        self.boot = b"b" * 16
        self.pipe: Pipe | None = None
        self.far = False
        self.connections = 0

    # the engine's side

    async def connect(self, ref: str, received: Received, closed: Closed) -> Stream:
        self.connections += 1
        self.pipe = Pipe(self, received, closed)
        self.pipe.far = self.far
        low, high = self.versions
        self.say(
            wire.fielded(
                Type.HELLO,
                0,
                [(Tag.VERSION, high), (Tag.VERSION_MIN, low), (Tag.BOOT, self.boot)],
            )
        )
        return self.pipe

    async def inspect(self, ref: str) -> State:
        return State(cast("Any", self.status))

    # the guest's side

    def say(self, *frames: bytes) -> None:
        assert self.pipe is not None
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda pipe=self.pipe: pipe.open and pipe.received(b"".join(frames)))

    def heard(self, frame: Frame) -> None:
        if frame.type is Type.HELLO:
            ready = wire.fixed(Type.READY, 0)
            self.say(*self.inventory, ready, *self.after_ready)
        elif frame.type is Type.PING:
            self.say(wire.fixed(Type.PONG, 0, *frame.values))
        else:
            self.answers(frame)

    def of(self, kind: Type) -> list[Frame]:
        return [frame for frame in self.frames if frame.type is kind]


class Setting:
    """A Guest under test with what it told."""

    def __init__(self) -> None:
        self.script = ScriptedGuest()
        self.adopted: list[Frame] = []
        self.ended = asyncio.Event()
        self.guest = Guest(
            cast("Engine", self.script), "ref", adopt=self.adopted.append, ended=self._ended
        )

    async def _ended(self, state: State) -> None:
        self.ended.set()

    def process(self, tmp_path: Any, *, adopt: bool = False, **command: Any) -> Process:
        self.changes: list[dict[str, Any]] = []
        return Process(
            "p",
            "c",
            self.guest,
            Records(tmp_path),
            Command(["true"], "true", **command),
            lambda process: self.changes.append(process.info()),
            adopt=adopt,
        )


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def test_hello_is_answered_and_the_inventory_adopted():
    setting = Setting()
    proc = wire.fielded(Type.PROC, 7, [(Tag.PID, 9)])
    setting.script.inventory = [proc]
    await setting.guest.connect()
    assert [frame.channel for frame in setting.adopted] == [7]
    assert setting.script.of(Type.HELLO)[0].integer(Tag.VERSION) == wire.VERSION
    assert setting.guest.open(cast("Any", None)) == 8  # numbers are never reused


@pytest.mark.parametrize("far", [False, True])
async def test_a_guest_is_told_that_the_way_to_it_is_long(far):
    setting = Setting()
    setting.script.far = far
    await setting.guest.connect()
    assert setting.script.of(Type.HELLO)[0].integer(Tag.FLAGS) == (Flag.WIDE if far else 0)


async def test_a_guest_of_another_version_is_refused():
    setting = Setting()
    setting.script.versions = (wire.VERSION + 1, wire.VERSION + 3)
    with pytest.raises(ContainerFailed, match=r"speaks versions 2 to 4.*Destroy"):
        await setting.guest.connect()


async def test_garbage_ends_the_connection_and_it_is_made_again():
    setting = Setting()
    await setting.guest.connect()
    setting.script.say(b"\xff" * 12)
    await until(lambda: setting.script.connections == 2)
    await setting.guest.up()


async def test_a_break_fails_requests_and_reconnects():
    setting = Setting()
    await setting.guest.connect()
    request = setting.guest.request(Type.SAMPLE, 0)
    setting.script.pipe.cut(OSError("cut"))
    with pytest.raises(ContainerGone, match="broke"):
        await request
    await setting.guest.up()
    assert setting.script.connections == 2


async def test_a_container_that_stopped_is_told_not_reconnected():
    setting = Setting()
    await setting.guest.connect()
    setting.script.status = "exited"
    setting.script.pipe.cut(None)
    await asyncio.wait_for(setting.ended.wait(), 5)
    assert setting.script.connections == 1


async def test_who_hears_of_the_end_may_close_the_guest():
    setting = Setting()
    finished = asyncio.Event()

    async def ended(state: State) -> None:
        setting.guest.close()
        await asyncio.sleep(0)  # as any engine's answer does
        finished.set()

    setting.guest._ended = ended
    await setting.guest.connect()
    setting.script.status = "exited"
    setting.script.pipe.cut(None)
    await asyncio.wait_for(finished.wait(), 5)


async def test_close_lets_go_for_good():
    setting = Setting()
    await setting.guest.connect()
    setting.guest.close()
    await asyncio.sleep(0.05)
    assert setting.script.connections == 1
    with pytest.raises(ContainerGone, match="not connected"):
        await setting.guest.request(Type.SAMPLE, 0)


def lives(script: ScriptedGuest, *after: bytes) -> None:
    """Let SPAWN be answered, then the given frames follow in the same chunk."""

    def answer(frame: Frame) -> None:
        if frame.type is Type.SPAWN:
            script.say(wire.fixed(Type.SPAWNED, frame.channel, 41), *after)

    script.answers = answer


async def test_a_process_from_spawn_to_end(tmp_path):
    setting = Setting()
    await setting.guest.connect()
    lives(
        setting.script,
        wire.data(2, 1, 0, b"out"),
        wire.data(2, 2, 0, b"err"),
        wire.fixed(Type.EXIT, 2, 3, 0, 1000, 500),
        wire.fixed(Type.END, 2, 3, 3),
        wire.fixed(Type.EOF, 2, 3, stream=1),
        wire.fixed(Type.EOF, 2, 3, stream=2),
    )
    process = setting.process(tmp_path, env=["A=1"], cwd="/tmp", user="www", tty=True)
    await process.spawn()
    await until(lambda: setting.changes)
    # EXIT and END of one chunk are told as one.
    assert len(setting.changes) == 1
    told = setting.changes[0]
    assert (told["pid"], told["returncode"], told["ended"]) == (41, 3, True)
    assert (told["out"], told["err"], told["seconds"]) == (3, 3, 0.0015)
    assert process.logs[0].read(0, 10) == (0, b"out")
    spawn = setting.script.of(Type.SPAWN)[0]
    assert spawn.raw(Tag.ENV) == b"A=1"
    assert (spawn.raw(Tag.CWD), spawn.raw(Tag.USER)) == (b"/tmp", b"www")
    await until(lambda: setting.script.of(Type.FORGET))
    # Everything is released: both streams acknowledged to their end, and the record.
    assert {(f.stream, f.values[0]) for f in setting.script.of(Type.ACK)} == {(1, 3), (2, 3)}
    assert len(setting.script.of(Type.FORGET)) == 1
    with pytest.raises(ProcessGone, match="ended with code 3"):
        await write(process, b"x")


@pytest.mark.parametrize(
    ("stage", "errno", "error", "says"),
    [
        ("exec", 2, CommandNotFound, "not in the container"),
        ("exec", 13, SpawnFailed, "not executable"),
        ("user", 2, SpawnFailed, "does not know it"),
        ("user", 1, SpawnFailed, "not root"),
        ("cwd", 2, SpawnFailed, "Make the directory"),
        ("cwd", 13, SpawnFailed, "run in '/x': its user may not enter"),
        ("fork", 11, SpawnFailed, "limit on processes"),
        ("pty", 28, SpawnFailed, "pty"),
    ],
)
async def test_refusals_say_what_to_do(tmp_path, stage, errno, error, says):
    setting = Setting()
    await setting.guest.connect()

    def answer(frame: Frame) -> None:
        if frame.type is Type.SPAWN:
            fields = [(Tag.ERRNO, errno), (Tag.STAGE, stage.encode()), (Tag.TEXT, b"reason")]
            setting.script.say(wire.fielded(Type.FAILED, frame.channel, fields))

    setting.script.answers = answer
    with pytest.raises(error, match=says) as caught:
        await setting.process(tmp_path, user="x", cwd="/x").spawn()
    assert isinstance(caught.value, ValueError)
    assert str(caught.value).startswith("Cannot ")


async def test_output_goes_on_where_it_was_after_a_break(tmp_path):
    setting = Setting()
    await setting.guest.connect()
    lives(setting.script, wire.data(2, 1, 0, b"abc"))
    process = setting.process(tmp_path)
    await process.spawn()
    await until(lambda: process.logs[0].head == 3)
    # The guest still holds everything, because nothing was in a file: it is asked from there.
    inventory = [(Tag.PID, 41), (Tag.OUT_BASE, 0), (Tag.OUT_HEAD, 6), (Tag.ERR_BASE, 0)]
    setting.script.inventory = [wire.fielded(Type.PROC, 2, [*inventory, (Tag.ERR_HEAD, 0)])]
    setting.script.after_ready = [wire.data(2, 1, 0, b"abcdef")]
    setting.script.frames.clear()
    setting.script.pipe.cut(OSError("cut"))
    await until(lambda: process.logs[0].head == 6)
    assert process.logs[0].read(0, 10) == (0, b"abcdef")
    assert {(f.stream, f.values[0]) for f in setting.script.of(Type.ACK)} == {(1, 0), (2, 0)}


async def test_a_terminal_gets_the_size_that_it_was_given_during_a_break(tmp_path):
    setting = Setting()
    await setting.guest.connect()
    lives(setting.script)
    process = setting.process(tmp_path, tty=True)
    await process.spawn()
    inventory = [(Tag.PID, 41), (Tag.ROWS, 24), (Tag.COLUMNS, 80)]
    setting.script.inventory = [wire.fielded(Type.PROC, 2, inventory)]
    setting.guest._closed(OSError("cut"))
    await process.resize(50, 132)
    await until(lambda: setting.script.of(Type.RESIZE))
    assert [frame.values for frame in setting.script.of(Type.RESIZE)] == [(50, 132)]


async def test_nothing_is_said_to_a_guest_and_asked_of_it_before_it_is_ready():
    setting = Setting()
    setting.script.heard = lambda frame: None  # it never says READY
    connecting = asyncio.create_task(setting.guest.connect())
    await until(lambda: setting.script.of(Type.HELLO))
    reached: list[int] = []
    setting.guest.barrier(lambda: reached.append(1))
    asked = setting.guest.request(Type.SIGNAL, 2, 15, Target.TREE)
    assert isinstance(asked.exception(), ContainerGone), "its answer would never come"
    setting.guest.flush()
    assert [frame.type for frame in setting.script.frames] == [Type.HELLO]
    connecting.cancel()
    await asyncio.gather(connecting, return_exceptions=True)


async def test_a_spawn_that_was_lost_is_said_again(tmp_path):
    setting = Setting()
    await setting.guest.connect()
    process = setting.process(tmp_path)
    spawning = asyncio.create_task(process.spawn())
    await until(lambda: setting.script.of(Type.SPAWN))
    lives(setting.script)
    setting.script.pipe.cut(OSError("cut"))
    await asyncio.wait_for(spawning, 5)
    assert len(setting.script.of(Type.SPAWN)) == 2


@pytest.mark.parametrize("fails", [False, True])
async def test_who_asks_again_for_what_is_being_started_waits_for_it(tmp_path, fails):
    setting = Setting()
    await setting.guest.connect()
    process = setting.process(tmp_path)
    both = asyncio.gather(process.spawn(), process.ready(), return_exceptions=True)
    await until(lambda: setting.script.of(Type.SPAWN))
    assert not both.done()
    fields = [(Tag.ERRNO, 2), (Tag.STAGE, b"exec"), (Tag.TEXT, b"none")]
    failed, spawned = wire.fielded(Type.FAILED, 2, fields), wire.fixed(Type.SPAWNED, 2, 41)
    setting.script.say(failed if fails else spawned)
    told = await asyncio.wait_for(both, 5)
    assert [type(each) for each in told] == [CommandNotFound if fails else type(None)] * 2
    process.abandon()


async def test_a_process_the_guest_forgot_is_over(tmp_path):
    setting = Setting()
    await setting.guest.connect()
    lives(setting.script)
    process = setting.process(tmp_path)
    await process.spawn()
    setting.script.pipe.cut(OSError("cut"))
    await until(lambda: process.ended)
    assert process.returncode == -9


async def test_a_restarted_container_has_none_of_the_processes_it_had(tmp_path):
    setting = Setting()
    await setting.guest.connect()
    lives(setting.script)
    process = setting.process(tmp_path)
    await process.spawn()
    setting.script.boot = b"c" * 16
    setting.script.inventory = [wire.fielded(Type.PROC, 2, [(Tag.PID, 9)])]
    setting.script.pipe.cut(OSError("cut"))
    await until(lambda: process.ended)
    assert process.returncode == -9
    assert [frame.integer(Tag.PID) for frame in setting.adopted] == [9]


async def test_who_gives_up_as_it_was_started_undoes_it(tmp_path):
    setting = Setting()
    await setting.guest.connect()
    lives(setting.script)
    process = setting.process(tmp_path)
    await process.spawn()  # its word came, and who waited for it was cancelled in the same turn
    process.abandon()
    await until(lambda: setting.script.of(Type.SIGNAL))
    (kill,) = setting.script.of(Type.SIGNAL)
    assert kill.values[1:] == (9, Target.TREE)


async def test_a_spawn_that_met_a_restart_is_said_again(tmp_path):
    setting = Setting()
    await setting.guest.connect()
    process = setting.process(tmp_path)
    spawning = asyncio.create_task(process.spawn())
    await until(lambda: setting.script.of(Type.SPAWN))
    lives(setting.script)
    setting.script.boot = b"c" * 16
    setting.script.pipe.cut(OSError("cut"))
    await asyncio.wait_for(spawning, 5)


async def test_ask_gives_the_reply_s_place_in_the_log(tmp_path):
    setting = Setting()
    await setting.guest.connect()
    asked: list[int] = []

    def answer(frame: Frame) -> None:
        if frame.type is Type.SPAWN:
            setting.script.say(wire.fixed(Type.SPAWNED, 2, 41), wire.data(2, 1, 0, b"prompt> "))
        elif frame.type is Type.AWAIT:
            asked.append(frame.values[1])
            if len(asked) == 2:
                setting.script.say(wire.data(2, 1, 8, b"answer"))
            out = 8 if len(asked) == 1 else 14
            waiting = wire.fixed(
                Type.WAITING, 2, frame.values[0], Reason.INPUT, frame.values[1], out, 0
            )
            setting.script.say(waiting)

    setting.script.answers = answer
    process = setting.process(tmp_path)
    await process.spawn()
    reply = await ask(process, b"question\n", 5, True)
    assert asked == [0, 9]
    assert (reply["reason"], reply["out_from"], reply["out"]) == ("input", 8, 14)
    assert process.logs[0].read(8, 100) == (8, b"answer")


async def test_an_answer_that_does_not_come_is_cancelled(tmp_path):
    setting = Setting()
    await setting.guest.connect()
    lives(setting.script)
    process = setting.process(tmp_path)
    await process.spawn()
    with pytest.raises(WaitTimeout, match=r"within 0\.05 s"):
        await ask(process, b"x", 0.05, settle=False)
    await until(lambda: setting.script.of(Type.CANCEL))


async def test_destroy_terminates_then_kills(tmp_path):
    setting = Setting()
    await setting.guest.connect()

    def answer(frame: Frame) -> None:
        if frame.type is Type.SPAWN:
            setting.script.say(wire.fixed(Type.SPAWNED, 2, 41))
        elif frame.type is Type.SIGNAL:
            request, number, target = frame.values
            assert target == Target.TREE
            setting.script.say(wire.fixed(Type.RESULT, 2, request, 0, 0 if number == 9 else 1))
            if number == 9:
                setting.script.say(
                    wire.fixed(Type.EXIT, 2, -9, 0, 0, 0), wire.fixed(Type.END, 2, 0, 0)
                )

    setting.script.answers = answer
    process = setting.process(tmp_path)
    await process.spawn()
    assert await destroy(process, 0.05) == 0
    numbers = [frame.values[1] for frame in setting.script.of(Type.SIGNAL)]
    assert numbers[0] == 15
    assert numbers[-1] == 9
    assert process.returncode == -9
    with pytest.raises(ProcessGone, match="Cannot destroy"):
        await destroy(process, 0)


async def test_destroying_goes_on_after_a_break(tmp_path):
    setting = Setting()
    await setting.guest.connect()
    signals: list[int] = []

    def answer(frame: Frame) -> None:
        if frame.type is Type.SPAWN:
            setting.script.say(wire.fixed(Type.SPAWNED, 2, 41))
        elif frame.type is Type.SIGNAL:
            request, number, _ = frame.values
            signals.append(number)
            if len(signals) % 2:
                setting.script.pipe.cut(OSError("cut"))
                return
            setting.script.say(wire.fixed(Type.RESULT, 2, request, 0, 1))
            if number == 9:
                exited = wire.fixed(Type.EXIT, 2, -9, 0, 0, 0), wire.fixed(Type.END, 2, 0, 0)
                setting.script.say(*exited)

    setting.script.answers = answer
    setting.script.inventory = [wire.fielded(Type.PROC, 2, [(Tag.PID, 41)])]
    process = setting.process(tmp_path)
    await process.spawn()
    await asyncio.wait_for(destroy(process, 0.05), 5)
    assert signals == [15, 15, 9, 9]
    assert process.returncode == -9


async def test_a_main_process_that_takes_its_container_along_was_destroyed(tmp_path):
    setting = Setting()
    await setting.guest.connect()

    def answer(frame: Frame) -> None:
        if frame.type is Type.SPAWN:
            setting.script.say(wire.fixed(Type.SPAWNED, 2, 41))
        elif frame.type is Type.SIGNAL:
            setting.script.say(wire.fixed(Type.RESULT, 2, frame.values[0], 0, 1))
            setting.script.status = "exited"
            setting.script.pipe.cut(None)

    setting.script.answers = answer
    process = setting.process(tmp_path)
    await process.spawn()
    ending = asyncio.create_task(destroy(process, 5))
    await asyncio.wait_for(setting.ended.wait(), 5)
    process.gone(-15)  # as its container does, which hears the same
    assert await asyncio.wait_for(ending, 5) == 0


async def test_what_was_sent_before_a_barrier_has_arrived_when_it_is_reached():
    setting = Setting()
    reached: list[str] = []
    setting.guest.barrier(lambda: reached.append("not connected"))
    await setting.guest.connect()
    setting.guest.barrier(lambda: reached.append("first"))
    setting.guest.barrier(lambda: reached.append("second"))
    await until(lambda: len(reached) == 2)
    assert reached == ["first", "second"]
    setting.guest.close()
