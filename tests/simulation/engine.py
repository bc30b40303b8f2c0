"""The model's engine and guests: those of ``engines.fake``, each a node of its own.

An agent has a :class:`Client` of the engine, as it has a socket to Docker's: what it has asked for
is done even if the agent dies meanwhile, and what it says to a guest arrives cut and late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgpack

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Decoder, Frame, Stream, Tag, Type, fielded, fixed
from tfnz_notebook._wire.window import Receiver
from tfnz_notebook.engines import base
from tfnz_notebook.engines.fake.engine import FakeEngine
from tfnz_notebook.engines.fake.guest import FakeGuest
from tfnz_notebook.engines.fake.process import FakeProcess, Output
from tfnz_notebook.engines.fake.programs import PROGRAMS
from tfnz_notebook.errors import ContainerGone, EngineError, EngineGone

from .network import Way
from .nodes import Clock, Node
from .programs import script

#: Bytes to a guest above which its stream is not writable, and below which it is again.
HIGH, LOW = 16 << 10, 4 << 10


class Pipe(base.Stream):
    """The stream between an agent and a guest."""

    def __init__(
        self, agent: Node, guest: Guest, received: base.Received, closed: base.Closed
    ) -> None:
        self.agent, self.guest = agent, guest
        self._received, self._closed_by = received, closed
        self._clock = clock = agent.clock
        self.down, self.up = Way(clock, guest.node), Way(clock, agent)
        self.decoder = Decoder()
        self._unread = 0
        self._full = self._over = self._told = False
        self._moved = asyncio.Event()

    # -- the agent's end

    def write(self, data: bytes) -> None:
        if self._over:
            return
        self._unread += len(data)
        self._full = self._full or self._unread > HIGH
        if self._clock.random() < 0.1:
            at = int(self._clock.random() * len(data))
            self.down.send(self._feed, data[:at])
            data = data[at:]
        self.down.send(self._feed, bytes(data))

    def _feed(self, data: bytes) -> None:
        self._unread -= len(data)
        self.guest.fed(self, data)
        if self._full and self._unread < LOW:
            self._room()

    def _room(self) -> None:
        self._full = False
        self._moved.set()

    @property
    def writable(self) -> bool:
        return not self._full

    async def drain(self) -> None:
        while self._full:
            self._moved.clear()
            await self._moved.wait()

    def pause(self) -> None:
        raise NotImplementedError

    def resume(self) -> None:
        raise NotImplementedError

    def _hear(self, data: bytes) -> None:
        if not self._told and not self._over:
            self._received(data)

    def close(self) -> None:
        if not self._over:
            self._over = True
            self._room()
            self.up.close()
            self.down.send(self.guest.disconnected, self)
            self.agent.call_soon(self._finish, None)

    def _finish(self, cause: Exception | None) -> None:
        if not self._told:
            self._told = True
            self._over = True
            self._room()
            self._closed_by(cause)

    # -- the guest's end

    def wake(self) -> None:
        """The guest is paused, or goes on."""

    def deliver(self, data: bytes) -> None:
        """From the guest."""
        if self._clock.random() < 0.1 and len(data) > 1:
            at = int(self._clock.random() * len(data))
            self.up.send(self._hear, data[:at])
            data = data[at:]
        self.up.send(self._hear, data)

    def broke(self, cause: Exception | None) -> None:
        """The guest ends it; what it has said before is heard."""
        self.guest.disconnected(self)
        self.down.close()
        self.up.send(self._finish, cause)

    # -- what becomes of it

    def hold(self, seconds: float) -> None:
        """It is slow for a while."""
        self.down.hold(seconds)
        self.up.hold(seconds)

    def cut(self) -> None:
        """It breaks; each end has heard the first of what was under way."""
        self.down.last(self.guest.disconnected, self)
        self.up.last(self._finish, ConnectionResetError("cut"))

    def dead(self) -> None:
        """Its agent is: the guest will see that."""
        self._over = self._told = True
        self.up.close()
        self.down.last(self.guest.disconnected, self)


class _Echo:
    """A dialled connection, at whose other end everything comes back."""

    def __init__(self, guest: Guest, channel: int) -> None:
        self._guest, self._channel = guest, channel
        self._in = Receiver(0, wire.WINDOW_IN, gaps=False)
        self._out = Output()
        self._held = bytearray()
        self._ending = False

    def frame(self, frame: Frame) -> None:
        if frame.type is Type.DATA:
            self._held += self._in.arrived(frame.values[0], frame.data)[0]
        elif frame.type is Type.EOF:
            self._ending = True
        elif frame.type is Type.ACK:
            self._out.acknowledge(frame.values[0])
        out, say, channel = self._out, self._guest.say, self._channel
        size = out.write(bytes(self._held))
        del self._held[:size]
        if self._in.acknowledge(self._in.taken + size):
            say(fixed(Type.ACK, channel, self._in.taken, stream=Stream.IN))
        while piece := out.next():
            say(wire.data(channel, Stream.OUT, *piece))
        if self._ending and not self._held and out.said and not out.closed_said:
            out.closed = out.closed_said = True
            say(fixed(Type.EOF, channel, out.window.head, stream=Stream.OUT))
        if out.drained:
            self._guest.dials.pop(channel, None)
            say(fixed(Type.GONE, channel))


#: Ports in a container: an echo, one that takes a connection and says nothing, and one that does
#: not even do that. All others refuse.
ECHO, QUIET, SILENT = 7, 11, 9
#: A file of which nothing comes.
FIFO = "/fifo"


class Guest(FakeGuest):
    """A guest with a node."""

    clock: Clock
    all: list[Guest]

    def __init__(self, **more: Any) -> None:
        self.all.append(self)
        self.node = Node(self.clock, "guest")
        with self.node.within():
            super().__init__(**more)
        #: The id that its container was made under.
        self.container = ""
        self.boot = self.clock.chance.randbytes(16)
        #: Every process it ever had, by the kernels' ids; the main one is "".
        self.history: dict[str, FakeProcess] = {}
        self.dials: dict[int, _Echo] = {}
        #: It takes what comes, and says nothing: from HELLO on, or from now on.
        self.mute = ""

    # -- called by the engine

    def boot_main(self) -> None:
        with self.node.within():
            super().boot_main()

    def terminate(self) -> None:
        with self.node.within():
            super().terminate()

    def exit(self, code: int) -> None:
        if not self.exited:
            self.node.frozen = False
            self.node.resume()
            with self.node.within():
                super().exit(code)

    def pause(self, *, paused: bool) -> None:
        self.paused = self.node.frozen = paused
        if paused:
            self.node.stall()
        else:
            self.node.resume()

    # -- the wire

    def meet(self, pipe: Pipe) -> None:
        """A new connection; the older one is closed."""
        if self._link is not None:
            self._link.broke(None)
        if self.exited:
            pipe.broke(None)
            return
        self._link, self.ready = pipe, False  # type: ignore[assignment]
        hello: wire.Fields = [(Tag.VERSION, wire.VERSION), (Tag.VERSION_MIN, wire.VERSION_MIN)]
        hello += [(Tag.BOOT, self.boot), (Tag.PID, 1), (Tag.UID, 0)]
        hello.append((Tag.SLEEPING, int(wire.MAIN not in self._processes)))
        hello.append((Tag.FEATURES, self.features))
        pipe.deliver(fielded(Type.HELLO, wire.CONNECTION, hello))

    def fed(self, pipe: Any, data: bytes) -> None:
        if not self.mute and not self.exited:
            super().fed(pipe, data)

    def say(self, frame: bytes) -> None:
        if not self.mute:
            super().say(frame)

    def disconnected(self, pipe: Any) -> None:
        if pipe is self._link:
            self.dials.clear()
        super().disconnected(pipe)

    def _frame(self, frame: Frame) -> None:
        dial = self.dials.get(frame.channel) if self.ready else None
        if dial is None:
            super()._frame(frame)
        elif frame.type is Type.CLOSE:
            del self.dials[frame.channel]
            self.say(fixed(Type.GONE, frame.channel))
        else:
            dial.frame(frame)

    def _on_dial(self, frame: Frame) -> None:
        port = frame.integer(Tag.PORT)
        if port == QUIET:
            self.say(fielded(Type.STAT, frame.channel, []))
        elif port == ECHO:
            self.dials[frame.channel] = _Echo(self, frame.channel)
            self.say(fielded(Type.STAT, frame.channel, []))
        elif port != SILENT:
            super()._on_dial(frame)

    def _on_file(self, frame: Frame) -> None:
        if frame.text(Tag.PATH) == FIFO and frame.type is Type.GET:
            self.say(fielded(Type.STAT, frame.channel, self.files.stat(FIFO).fields()))
        else:
            super()._on_file(frame)

    # -- processes

    def _spawn(self, channel: int, *more: Any) -> FakeProcess:
        process = super()._spawn(channel, *more)
        process.started = int(self.clock.now * 1e9)
        name = "" if channel == wire.MAIN else str(msgpack.unpackb(process.meta)["id"])
        self.history[name] = process
        return process


class Machine:
    """The engine: what it holds outlives agents."""

    def __init__(self, clock: Clock, owner: str) -> None:
        self.clock = clock
        self.node = Node(clock, "engine")
        self.core = FakeEngine(owner=owner, programs={**PROGRAMS, "script": script})
        #: Every guest there ever was.
        self.guests: list[Guest] = []
        self.core._guest = type("Guest", (Guest,), {"clock": clock, "all": self.guests})
        #: Until when it answers nobody, refuses much, takes its time.
        self.gone = self.erring = self.slow = 0.0
        #: When it last did any of that.
        self.troubled = 0.0
        #: How many calls it was asked, by name.
        self.asked: dict[str, int] = {}

    def pause(self, guest: Guest, *, paused: bool) -> None:
        """Past every agent: it says so to those who watch, as engines do."""
        guest.pause(paused=paused)
        for ref, held in self.core.world.containers.items():
            if held.guest is guest:
                self.core._happened(ref)

    def _named(self) -> None:
        for held in self.core.world.containers.values():
            if held.guest is not None:
                held.guest.container = held.spec.id  # type: ignore[attr-defined]

    async def do(self, name: str, args: Any, more: Mapping[str, Any]) -> Any:
        """What an agent asks. Raises what the engine does."""
        clock = self.clock
        if clock.now < max(self.gone, self.erring, self.slow):
            self.troubled = clock.now
        if clock.now < self.slow:
            await asyncio.sleep(clock.random() * 8)
        if clock.now < self.gone:
            raise EngineGone("Cannot reach the engine: it is down. Start it.")
        erring = clock.now < self.erring and clock.random() < 0.4
        late = erring and clock.random() < 0.5
        if erring and not late:
            raise EngineError(f"Cannot {name}: the engine is in a bad mood. Ask again.")
        result = await getattr(self.core, name)(*args, **more)
        if name == "start":
            self._named()
        if late:
            raise EngineError(f"Cannot {name}: the engine says that it failed. Look.")
        return result


def _asked(name: str) -> Any:
    async def ask(self: Client, *args: Any, **more: Any) -> Any:
        return await self._ask(name, args, more)

    return ask


class Client(base.Engine):
    """An agent's way to the engine, until it is killed."""

    name = "fake"

    def __init__(self, machine: Machine, agent: Node) -> None:
        self.machine, self.agent = machine, agent
        self._down, self._up = Way(agent.clock, machine.node), Way(agent.clock, agent)
        self.pipes: list[Pipe] = []
        self.revoked = False

    def revoke(self) -> None:
        """Its agent is dead."""
        self.revoked = True
        self._down.cut()
        self._up.close()
        for pipe in self.pipes:
            pipe.dead()

    async def _ask(self, name: str, args: Any, more: Mapping[str, Any]) -> Any:
        answer = self.agent.create_future()
        self._down.send(self._begin, answer, name, args, more)
        return await answer

    def _begin(self, answer: Any, name: str, args: Any, more: Mapping[str, Any]) -> None:
        self.machine.asked[name] = self.machine.asked.get(name, 0) + 1

        async def work() -> None:
            try:
                result = await self.machine.do(name, args, more)
            except Exception as error:  # noqa: BLE001 - it is the agent's
                self._up.send(self._fail, answer, error)
            else:
                self._up.send(self._settle, answer, result)

        self.machine.node.create_task(work())

    @staticmethod
    def _settle(answer: Any, result: Any) -> None:
        if not answer.done():
            answer.set_result(result)

    @staticmethod
    def _fail(answer: Any, error: Exception) -> None:
        if not answer.done():
            answer.set_exception(error)

    async def open(self) -> None:
        self.machine.core._open = True

    async def close(self) -> None:
        for pipe in self.pipes:
            pipe.close()

    def about(self) -> Mapping[str, str]:
        return self.machine.core.about()

    def where(self, ref: str) -> str:
        return self.machine.core.where(ref)

    async def ensure_image(
        self, image: str, pull: base.PullPolicy, progress: Callable[[base.Progress], None]
    ) -> base.Image:
        def moved(told: base.Progress) -> None:
            self._up.send(progress, told)

        image_: base.Image = await self._ask("ensure_image", (image, pull, moved), {})
        return image_

    async def connect(self, ref: str, received: base.Received, closed: base.Closed) -> base.Stream:
        state = await self._ask("inspect", (ref,), {})
        held = self.machine.core.world.containers.get(ref)
        guest = held.guest if held is not None else None
        if state.status not in ("running", "paused") or guest is None or guest.exited:
            raise ContainerGone(f"Cannot connect to {ref!r}: it is not running. Spawn another.")
        pipe = Pipe(self.agent, guest, received, closed)  # type: ignore[arg-type]
        self.pipes = [each for each in self.pipes if not each._told]
        self.pipes.append(pipe)
        pipe.down.send(pipe.guest.meet, pipe)
        return pipe

    async def watch(self, happened: Callable[[str], None]) -> None:
        self.machine.core.world.watchers.append(lambda ref: self._up.send(happened, ref))
        await asyncio.Event().wait()

    nodes = _asked("nodes")
    images = _asked("images")
    create = _asked("create")
    start = _asked("start")
    stop = _asked("stop")
    pause = _asked("pause")
    unpause = _asked("unpause")
    recreate = _asked("recreate")
    remove = _asked("remove")
    inspect = _asked("inspect")
    isolate = _asked("isolate")
    logs = _asked("logs")
    find = _asked("find")
    sweep = _asked("sweep")
    create_volume = _asked("create_volume")
    volumes = _asked("volumes")
    remove_volume = _asked("remove_volume")
