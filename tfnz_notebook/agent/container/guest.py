"""The connection to one guest: its channels, its requests, and what survives a break.

A :class:`Guest` belongs to a running container. It connects through the engine's byte stream,
speaks PROTOCOL.md section 1, hands each frame to the channel it belongs to, and connects again
when the stream breaks while the container still runs. Channels that can survive a break
(processes) are told with ``resumed``; the others (dials, files) with ``lost``.

Nobody can make a guest answer: it may be stopped, or hostile. So whatever is asked of it is said to
:meth:`Guest.expect`, and if then nothing at all is heard for ``MUTE`` seconds, the container looks
into it, again and again until something is heard.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final, Protocol

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Feature, Frame, Tag, Type
from tfnz_notebook.agent.sparse import Sparse
from tfnz_notebook.engines.base import Engine, State, Stream
from tfnz_notebook.errors import (
    ContainerFailed,
    ContainerGone,
    ProtocolError,
    TfnzError,
)

log = logging.getLogger(__name__)

#: Bytes of frames that wait for the end of a turn.
TOGETHER: Final = 32 << 10
#: Seconds without a word, while something is waited for, after which it is looked into.
MUTE: Final = 5.0
#: Bytes that the guest's list may take of one process: its META, and some numbers.
MAX_LISTED = 2 * wire.MAX_META
#: Longest pause between two attempts to connect again, and after how long a connection counts as
#: one that works: a guest that breaks each at once must not keep the agent busy. Seconds.
MAX_PAUSE = 1.0
WORKS = 2.0
#: How often a guest hears from us in the time after which it would end without.
REMINDERS: Final = 4
_FEATURES: Final = sum(Feature)


class Channel(Protocol):
    """Whoever owns a channel."""

    def frame(self, frame: Frame) -> None:
        """A frame for this channel, on the loop; must not block."""

    def lost(self, error: TfnzError) -> None:
        """The connection broke, or the guest is given up: whoever waits gets that."""

    def resumed(self, inventory: Frame | None) -> None:
        """The connection is back; ``inventory`` is the PROC frame, None if the guest has none."""


class Guest:
    """One guest, over as many connections as it takes."""

    def __init__(
        self,
        engine: Engine,
        ref: str,
        *,
        adopt: Callable[[Frame], None],
        ended: Callable[[State], Awaitable[None]],
        restarted: Callable[[], None] = lambda: None,
        met: Callable[[], None] = lambda: None,
        mute: Callable[[], Awaitable[None]] | None = None,
        refused: Callable[[ContainerFailed], None] = lambda _: None,
    ) -> None:
        """What it tells of: each process ``adopt`` takes over, before it has ``met`` all.

        ``ended``: the container runs no more, says its engine. ``restarted``: somebody else did
        that. ``met``: it is there, at first, after each break and each silence. ``mute``: it is
        silent. ``refused``: it speaks what no guest would.
        """
        self._engine = engine
        self._ref = ref
        self.tell(
            adopt=adopt, ended=ended, restarted=restarted, met=met, mute=mute, refused=refused
        )
        self._stream: Stream | None = None
        #: Frames of this turn of the loop: they go as one write, and wake the guest once.
        self._frames: list[bytes] = []
        self._queued = 0
        self._flushing: asyncio.Handle | None = None
        self._decoder = wire.Decoder()
        self._channels: dict[int, Channel] = {}
        self._next_channel = wire.FIRST_CHANNEL
        self._next_request = 1
        self._next_barrier = 0
        self._requests: dict[int, asyncio.Future[Frame]] = {}
        self._barriers: deque[tuple[int, Callable[[], None]]] = deque()
        self._held: dict[Callable[[], None], None] = {}  # who waits to send, in that order
        self._draining: asyncio.Task[None] | None = None
        self._inventory: dict[int, Frame] = {}
        self._ready: asyncio.Future[None] | None = None
        self._up = asyncio.Event()
        self._settled = asyncio.Event()  # it is up, or will not be any more
        self._closing = False
        self._reconnecting: asyncio.Task[None] | None = None
        self._boot = b""
        self._restarted = False
        self._said = Sparse(log)
        self._adopted = 0
        self._expected: set[asyncio.Future[Any]] = set()
        self._watching: asyncio.TimerHandle | None = None
        self._heard = False  # since the watch began
        #: Nothing was heard for so long that the container looks into it.
        self.silent = False
        self._asking: asyncio.Task[None] | None = None
        #: The container ran no more when it was last looked at.
        self.over = False
        self._pause = 0.0
        self._since = 0.0  # when the present connection was up
        self.sleeping = False
        #: What it can.
        self.features: Feature | None = None  # not told: one from before
        self.uid = 0
        self._orphan = 0  # seconds after which it misses us
        self._reminder: asyncio.TimerHandle | None = None
        #: Bytes of arguments and environment that it takes for one process.
        self.arguments = wire.MAX_PAYLOAD

    def tell(
        self,
        *,
        adopt: Callable[[Frame], None],
        ended: Callable[[State], Awaitable[None]],
        restarted: Callable[[], None],
        met: Callable[[], None],
        mute: Callable[[], Awaitable[None]] | None,
        refused: Callable[[ContainerFailed], None],
    ) -> None:
        """Tell these from now on, as it was said at first; of another container that it is now."""
        self._adopt = adopt
        self._ended = ended
        self._was_restarted = restarted
        self._met = met
        self._mute = mute
        self._refused = refused

    @property
    def there(self) -> bool:
        """It is connected, and was not silent when it was looked at last."""
        return self._up.is_set() and not self.silent and not self.over

    # -- connecting

    async def connect(self) -> None:
        """Connect, say hello and take the inventory. Raises ContainerGone, EngineGone.

        It takes as long as the guest does; who can wait no longer cancels it.
        """
        self._decoder = wire.Decoder()
        self._inventory = {}
        ready = self._ready = asyncio.get_running_loop().create_future()
        self.expect(ready)
        try:
            self._stream = await self._engine.connect(self._ref, self._received, self._closed)
            await ready
        except BaseException:
            ready.cancel()
            self._drop()
            raise

    def _drop(self) -> None:
        self.flush()
        stream, self._stream = self._stream, None
        self._ready = None
        if stream is not None:
            stream.close()

    def close(self) -> None:
        """Let go of the guest; it goes on without us."""
        self._closing = True
        # Whoever reconnects may be who found that there is nothing to reconnect to.
        for task in (self._reconnecting, self._asking):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
        for timer in (self._watching, self._reminder):
            if timer is not None:
                timer.cancel()
        self._drop()
        self._broke()

    def _closed(self, cause: Exception | None) -> None:
        ready, self._ready = self._ready, None
        self._stream = None
        if ready is not None and not ready.done():
            ready.set_exception(
                ContainerGone(
                    f"Cannot reach the guest of container {self._ref[:12]}: its connection closed "
                    f"({cause or 'end of stream'})."
                )
            )
            return
        was_up = self._up.is_set()
        self._broke()
        if was_up and not self._closing:
            if cause is not None:
                log.info("guest %s: connection broke: %s", self._ref[:12], cause)
            self._reconnecting = asyncio.create_task(self.again())

    def _broke(self) -> None:
        self._flush_by(None)
        self._frames, self._queued = [], 0
        self._up.clear()
        if self._closing:
            self._settled.set()
        else:
            self._settled.clear()
        self._barriers.clear()
        self._held.clear()
        error = ContainerGone("Cannot finish: the connection to the container broke.")
        requests, self._requests = self._requests, {}
        for future in requests.values():
            if not future.done():
                future.set_exception(error)
        self.give_up(error)

    def give_up(self, error: TfnzError) -> None:
        """Have those who wait for what does not survive a break get that error."""
        for channel in list(self._channels.values()):
            channel.lost(error)

    async def again(self, *, at_once: bool = False) -> None:
        """Connect, however often that takes, as long as the container runs.

        ``at_once``: it was seen to run just now.
        """
        loop = asyncio.get_running_loop()
        if loop.time() - self._since > WORKS:
            self._pause = 0.0
        while not self._closing:
            await asyncio.sleep(self._pause)
            self._pause = min(MAX_PAUSE, self._pause * 2 or 0.01)
            try:
                if not at_once:
                    state = await self._engine.inspect(self._ref)
                    if state.status not in ("running", "paused"):
                        self.over = True
                        await self._ended(state)
                        self._settled.set()
                        return
                at_once = False
                await self.connect()
                return
            except (TfnzError, OSError) as error:
                self._said.warning("guest %s: reconnecting: %s", self._ref[:12], error)
                if isinstance(error, ContainerFailed):  # it is no guest of ours, whoever it is
                    self.silent = True
                    self._refused(error)

    def look_again(self) -> None:
        """Its end was no news when it was noticed: have it told, unless it was let go."""
        if not self._closing:
            self._reconnecting = asyncio.create_task(self.again())

    async def up(self) -> None:
        """Wait until connected. Raises ContainerGone once it was let go."""
        if not self._up.is_set():
            self._watch()
            await self._settled.wait()
            if self._closing or self.over:
                raise ContainerGone("Cannot use this container: it has ended. Spawn another one.")

    # -- silence

    def expect(self, answer: asyncio.Future[Any]) -> None:
        """Something was asked, and that is for the answer."""
        self._expected.add(answer)
        answer.add_done_callback(self._expected.discard)
        self._watch()

    def wait_for_a_word(self) -> None:
        """It was seen to be silent: tell when it speaks again."""
        self.silent = True
        self._ping()
        self._watch()

    def _watch(self) -> None:
        if self._watching is None and not self._closing and self._mute is not None:
            self._heard = False
            self._watching = asyncio.get_running_loop().call_later(MUTE, self._look)

    def _look(self) -> None:
        self._watching = None
        if self._up.is_set() and not self._expected and not self._barriers:
            return
        if not self._heard:
            self.silent = True
            if self._asking is None or self._asking.done():
                assert self._mute is not None
                self._asking = asyncio.create_task(self._ask_why(self._mute))
        self._ping()
        self._watch()

    def _ping(self) -> None:
        """Whoever is there answers that; before READY it is not to be said."""
        if self._up.is_set() and not self._barriers:
            self.barrier(lambda: None)

    def _remind(self) -> None:
        """Have a guest that ends without its agent hear from us in time."""
        if self._reminder is not None:
            self._reminder.cancel()
        if self._orphan > 0 and self._up.is_set():
            self._ping()
            wait = self._orphan / REMINDERS
            self._reminder = asyncio.get_running_loop().call_later(wait, self._remind)

    async def _ask_why(self, mute: Callable[[], Awaitable[None]]) -> None:
        try:
            await mute()
        except TfnzError as error:
            log.info("guest %s: silent: %s", self._ref[:12], error)

    # -- frames in

    def _received(self, chunk: bytes) -> None:
        self._heard = True
        if self.silent and self._up.is_set():
            self.silent = False
            self._met()
        try:
            for frame in self._decoder.feed(chunk):
                self._dispatch(frame)
        except ProtocolError as error:
            self._said.warning("guest %s: %s The connection is closed.", self._ref[:12], error)
            self._decoder = wire.Decoder()
            ready, self._ready = self._ready, None
            if ready is not None and not ready.done():
                ready.set_exception(
                    ContainerFailed(
                        f"Cannot talk to the guest of container {self._ref[:12]}: {error} It is "
                        "not the guest of this version. Destroy the container, spawn another."
                    )
                )
            if self._stream is not None:
                self._stream.close()

    def _dispatch(self, frame: Frame) -> None:
        if frame.type in (Type.RESULT, Type.STATS, Type.WAITING):
            self.answer(frame)
            return
        if frame.channel != wire.CONNECTION and self._up.is_set():
            channel = self._channels.get(frame.channel)
            if channel is not None:
                channel.frame(frame)
            return
        if self._up.is_set() and frame.type is not Type.PONG:
            raise ProtocolError(f"{frame.type.name} on channel 0 after READY.")
        match frame.type:
            case Type.HELLO:
                self._hello(frame)
            case Type.PROC:
                self._listed(frame)
            case Type.READY:
                # At once: frames that follow in the same chunk belong to these channels.
                self._take_inventory()
                self.silent = False
                if self._ready is not None and not self._ready.done():
                    self._ready.set_result(None)
                self._met()
            case Type.PONG:
                while self._barriers and self._barriers[0][0] <= frame.values[0]:
                    self._barriers.popleft()[1]()
            case _:
                raise ProtocolError(f"{frame.type.name} on channel {frame.channel} before READY.")

    def _listed(self, frame: Frame) -> None:
        size = sum(len(value) for _, value in frame.fields if isinstance(value, bytes))
        if not 0 < frame.channel < 1 << 31 or size > MAX_LISTED:
            raise ProtocolError(f"PROC on channel {frame.channel} with {size} bytes.")
        self._inventory[frame.channel] = frame
        if len(self._inventory) > wire.MAX_CHANNELS:
            raise ProtocolError(f"A list of more than {wire.MAX_CHANNELS} processes.")

    def _take_inventory(self) -> None:
        self._up.set()
        self._settled.set()
        self.over = False
        self._remind()
        self._since = asyncio.get_running_loop().time()
        if self._restarted:
            # Somebody restarted the container: what we knew is gone, numbers mean other things.
            self._was_restarted()
            self._adopted = 0
            left, self._channels = self._channels, {}  # those of processes are free by now
            for channel in left.values():
                channel.resumed(None)
        known = dict(self._channels)
        for number, frame in self._inventory.items():
            if number not in known:
                self._adopted += 1
                if self._adopted > wire.MAX_CHANNELS:
                    raise ProtocolError(f"More than {wire.MAX_CHANNELS} processes to adopt.")
                self._next_channel = max(self._next_channel, number + 1)
                self._adopt(frame)
        for number, channel in known.items():
            channel.resumed(self._inventory.get(number))

    def _hello(self, frame: Frame) -> None:
        lowest, newest = frame.integer(Tag.VERSION_MIN), frame.integer(Tag.VERSION)
        if not (lowest <= wire.VERSION and newest >= wire.VERSION_MIN):
            raise ProtocolError(f"The guest speaks versions {lowest} to {newest}.")
        boot = frame.raw(Tag.BOOT)
        self._restarted = self._boot not in (b"", boot)
        self._boot = boot
        self.sleeping = bool(frame.integer(Tag.SLEEPING))
        can = frame.integer(Tag.FEATURES, -1)
        self.features = Feature(can & _FEATURES) if can >= 0 else None
        self.uid = frame.integer(Tag.UID)
        self._orphan = frame.integer(Tag.ORPHAN)
        told = frame.integer(Tag.ARGUMENTS, wire.MAX_PAYLOAD)  # one from before says nothing
        self.arguments = min(max(told, wire.MAX_PAYLOAD), wire.MAX_ARGUMENTS)
        if self._stream is not None:
            self._stream.write(wire.greeting("agent", wide=self._stream.far))

    def answer(self, frame: Frame) -> None:
        """Give a RESULT, WAITING or STATS frame to whoever asked."""
        number = frame.integer(Tag.REQUEST) if frame.type is Type.STATS else frame.values[0]
        future = self._requests.pop(number, None)
        if future is not None and not future.done():
            future.set_result(frame)

    # -- frames out

    def send(self, frame: bytes) -> None:
        """Queue a frame; what is said before READY is dropped (``resumed`` will mend that).

        Control frames go whatever is queued; who has bulk looks at :attr:`writable` before each.
        """
        if not self._up.is_set():
            return
        self._frames.append(frame)
        self._queued += len(frame)
        if self._queued > TOGETHER:
            self.flush()
        elif self._flushing is None:
            self._flush_by(asyncio.get_running_loop().call_soon(self.flush))

    def _flush_by(self, handle: asyncio.Handle | None) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
        self._flushing = handle

    def flush(self) -> None:
        """Send now what was queued in this turn."""
        self._flush_by(None)
        frames, self._frames, self._queued = self._frames, [], 0
        if self._stream is not None and frames:
            self._stream.write(frames[0] if len(frames) == 1 else b"".join(frames))

    def can(self, feature: Feature) -> bool:
        """It has said so."""
        return self.features is not None and feature in self.features

    def pipe(self) -> Path | None:
        """A new FIFO that it can open by its name, if there can be one and it knows how."""
        if self._stream is None or not self.can(Feature.PIPES):
            return None
        return self._stream.pipe()

    @property
    def writable(self) -> bool:
        """Whether bulk may be queued: little waits to be sent, or all is dropped anyway."""
        stream = self._stream if self._up.is_set() else None
        return stream is None or stream.writable

    def when_writable(self, go_on: Callable[[], None]) -> None:
        """Have it called once bulk may be queued again, unless the connection breaks before.

        Who asked first is first; asking twice is asking once.
        """
        self._held[go_on] = None
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain())

    def stop_waiting(self, go_on: Callable[[], None]) -> None:
        """It is not to be called any more."""
        self._held.pop(go_on, None)

    async def _drain(self) -> None:
        try:
            while self._held:
                await self.room()
                go_on = next(iter(self._held), None)
                if go_on is not None:
                    del self._held[go_on]
                    go_on()
        finally:
            self._draining = None

    async def room(self) -> None:
        """Wait until bulk may be queued: now, before anything else is awaited."""
        while not self.writable:
            assert self._stream is not None
            await self._stream.drain()

    def barrier(self, reached: Callable[[], None]) -> None:
        """Have it called once the guest has all that was sent; not if the connection breaks."""
        if self._up.is_set():
            self._next_barrier += 1
            self._barriers.append((self._next_barrier, reached))
            self._watch()
            self.send(wire.fixed(Type.PING, wire.CONNECTION, self._next_barrier))

    def request(self, kind: Type, channel: int, *values: int) -> asyncio.Future[Frame]:
        """Send a frame whose first number is a request; the future gets its answer.

        The future's exception is ContainerGone if the connection breaks first.
        """
        number, future = self._asked()
        self.send(wire.fixed(kind, channel, number, *values))
        if not self._up.is_set():
            future.set_exception(ContainerGone("Cannot ask the container: it is not connected."))
        if kind is Type.AWAIT and not future.done():
            # A cancelled question must not stay with the guest.
            cancel = wire.fixed(Type.CANCEL, channel, number)
            future.add_done_callback(lambda done: self.send(cancel) if done.cancelled() else None)
        return future

    def _asked(self) -> tuple[int, asyncio.Future[Frame]]:
        number = self._next_request
        self._next_request = self._next_request % 0xFFFFFFFF + 1
        future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._requests[number] = future
        self.expect(future)
        future.add_done_callback(lambda _: self._requests.pop(number, None))
        return number, future

    def set_up(self, fields: Iterable[tuple[Tag, wire.Value | str]]) -> asyncio.Future[Frame]:
        """Say what the image would say of a container that sleeps (SETUP); as :meth:`request`."""
        number, future = self._asked()
        for frame in wire.setup(number, fields, self.arguments):
            self.send(frame)
        if not self._up.is_set():
            future.set_exception(ContainerGone("Cannot ask the container: it is not connected."))
        return future

    # -- channels

    def open(self, channel: Channel) -> int:
        """A fresh channel number for that owner. It says SPAWN, DIAL, ... itself."""
        if len(self._channels) >= wire.MAX_CHANNELS - 2:
            raise ContainerGone(
                f"Cannot open another channel: {wire.MAX_CHANNELS} are open in this container. "
                "Wait for some processes to end."
            )
        number = self._next_channel
        self._next_channel += 1
        self._channels[number] = channel
        return number

    def attach(self, number: int, channel: Channel) -> None:
        """Own a channel that exists: the main process's, or one found in the inventory."""
        self._channels[number] = channel

    def free(self, number: int) -> None:
        """The channel is over."""
        self._channels.pop(number, None)
