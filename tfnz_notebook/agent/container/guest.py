"""The connection to one guest: its channels, its requests, and what survives a break.

A :class:`Guest` belongs to a running container. It connects through the engine's byte stream,
speaks PROTOCOL.md section 1, hands each frame to the channel it belongs to, and connects again
when the stream breaks while the container still runs. Channels that can survive a break
(processes) are told with ``resumed``; the others (dials, files) with ``lost``.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from tfnz_notebook._wire import guest as wire
from tfnz_notebook._wire.guest import Frame, Tag, Type
from tfnz_notebook.agent.sparse import Sparse
from tfnz_notebook.engines.base import Engine, Stream
from tfnz_notebook.errors import (
    ContainerFailed,
    ContainerGone,
    EngineGone,
    ProtocolError,
    TfnzError,
)

log = logging.getLogger(__name__)

#: Bytes of frames that wait for the end of a turn; seconds that nobody's news waits for company.
TOGETHER: Final = 32 << 10
MENTION: Final = 0.005
#: Seconds a guest has to say hello and list its processes.
HELLO_TIMEOUT = 20.0
#: Bytes that the guest's list may take of one process: its META, and some numbers.
MAX_LISTED = 2 * wire.MAX_META
#: Longest pause between two attempts to connect again, and after how long a connection counts as
#: one that works: a guest that breaks each at once must not keep the agent busy. Seconds.
MAX_PAUSE = 1.0
WORKS = 2.0


class Channel(Protocol):
    """Whoever owns a channel."""

    def frame(self, frame: Frame) -> None:
        """A frame for this channel, on the loop; must not block."""

    def lost(self) -> None:
        """The connection broke."""

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
        ended: Callable[[], Awaitable[None]],
        restarted: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine = engine
        self._ref = ref
        self._adopt = adopt
        self._ended = ended
        self._was_restarted = restarted
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
        self._closing = False
        self._reconnecting: asyncio.Task[None] | None = None
        self._boot = b""
        self._restarted = False
        self._said = Sparse(log)
        self._adopted = 0
        self._pause = 0.0
        self._since = 0.0  # when the present connection was up
        self.sleeping = False

    # -- connecting

    async def connect(self) -> None:
        """Connect, say hello and take the inventory. Raises ContainerGone, EngineGone."""
        self._decoder = wire.Decoder()
        self._inventory = {}
        ready = self._ready = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(HELLO_TIMEOUT):
                self._stream = await self._engine.connect(self._ref, self._received, self._closed)
                await ready
        except TimeoutError:
            self._drop()
            raise EngineGone(
                f"Cannot reach the guest of container {self._ref[:12]}: it did not say hello "
                f"within {HELLO_TIMEOUT:.0f} s. Destroy the container."
            ) from None
        except BaseException:
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
        if self._reconnecting not in (None, asyncio.current_task()):
            self._reconnecting.cancel()
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
            self._reconnecting = asyncio.create_task(self._reconnect())

    def _broke(self) -> None:
        self._flush_by(None)
        self._frames, self._queued = [], 0
        self._up.clear()
        self._barriers.clear()
        self._held.clear()
        requests, self._requests = self._requests, {}
        for future in requests.values():
            if not future.done():
                future.set_exception(
                    ContainerGone("Cannot finish: the connection to the container broke.")
                )
        for channel in list(self._channels.values()):
            channel.lost()

    async def _reconnect(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - self._since > WORKS:
            self._pause = 0.0
        while not self._closing:
            await asyncio.sleep(self._pause)
            self._pause = min(MAX_PAUSE, self._pause * 2 or 0.01)
            try:
                state = await self._engine.inspect(self._ref)
                if state.status != "running":
                    await self._ended()
                    return
                await self.connect()
                return
            except (TfnzError, OSError) as error:
                log.info("guest %s: reconnecting: %s", self._ref[:12], error)

    async def up(self) -> None:
        """Wait until connected."""
        await self._up.wait()

    # -- frames in

    def _received(self, chunk: bytes) -> None:
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
                if self._ready is not None and not self._ready.done():
                    self._ready.set_result(None)
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
        self._since = asyncio.get_running_loop().time()
        known = dict(self._channels)
        if self._restarted:
            # Somebody restarted the container: what we knew is gone, numbers mean other things.
            self._was_restarted()
            self._channels.clear()
            for channel in known.values():
                channel.resumed(None)
            known = {}
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
        self.send(
            wire.fielded(
                Type.HELLO,
                wire.CONNECTION,
                [
                    (Tag.VERSION, wire.VERSION),
                    (Tag.VERSION_MIN, wire.VERSION_MIN),
                    (Tag.NAME, "agent"),
                ],
            )
        )

    def answer(self, frame: Frame) -> None:
        """Give a RESULT, WAITING or STATS frame to whoever asked."""
        number = frame.integer(Tag.REQUEST) if frame.type is Type.STATS else frame.values[0]
        future = self._requests.pop(number, None)
        if future is not None and not future.done():
            future.set_result(frame)

    # -- frames out

    def send(self, frame: bytes) -> None:
        """Queue a frame; without a connection it is dropped (``resumed`` will mend that).

        Control frames go whatever is queued; who has bulk looks at :attr:`writable` before each.
        """
        if self._stream is None:
            return
        self._frames.append(frame)
        self._queued += len(frame)
        if self._queued > TOGETHER:
            self.flush()
        elif self._flushing is None or isinstance(self._flushing, asyncio.TimerHandle):
            self._flush_by(asyncio.get_running_loop().call_soon(self.flush))

    def mention(self, frame: bytes) -> None:
        """Queue a frame that nobody waits for: it goes along with the next, or soon."""
        if self._stream is not None:
            self._frames.append(frame)
            self._queued += len(frame)
            if self._flushing is None:
                self._flush_by(asyncio.get_running_loop().call_later(MENTION, self.flush))

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

    @property
    def writable(self) -> bool:
        """Whether bulk may be queued: little waits to be sent, or all is dropped anyway."""
        return self._stream is None or self._stream.writable

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
        while self._stream is not None and not self._stream.writable:
            await self._stream.drain()

    def barrier(self, reached: Callable[[], None]) -> None:
        """Have it called once the guest has all that was sent; not if the connection breaks."""
        if self._stream is not None:
            self._next_barrier += 1
            self._barriers.append((self._next_barrier, reached))
            self.send(wire.fixed(Type.PING, wire.CONNECTION, self._next_barrier))

    def request(self, kind: Type, channel: int, *values: int) -> asyncio.Future[Frame]:
        """Send a frame whose first number is a request; the future gets its answer.

        The future's exception is ContainerGone if the connection breaks first.
        """
        number = self._next_request
        self._next_request = self._next_request % 0xFFFFFFFF + 1
        future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._requests[number] = future
        future.add_done_callback(lambda _: self._requests.pop(number, None))
        self.send(wire.fixed(kind, channel, number, *values))
        if self._stream is None:
            future.set_exception(ContainerGone("Cannot ask the container: it is not connected."))
        elif kind is Type.AWAIT:
            # A cancelled question must not stay with the guest.
            cancel = wire.fixed(Type.CANCEL, channel, number)
            future.add_done_callback(lambda done: self.send(cancel) if done.cancelled() else None)
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
