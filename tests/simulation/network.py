"""The ways between nodes: in order, each as long under way as the seed says, or lost with the way.

A :class:`Line` is what ZeroMQ's dealer and router are to link and server (``_link.ends.Line``,
``agent.door.router.Router``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tfnz_notebook._wire.link import Kind

from .nodes import Clock, Node

#: Who wants to see every message.
TRACE: list[Callable[[Node, list[bytes]], None]] = []


class Way:
    """One direction to one node."""

    def __init__(self, clock: Clock, to: Node) -> None:
        self._clock, self._to = clock, to
        self._last = 0.0
        self._held = 0.0
        self._under_way = 0
        #: What still arrives of it; None: all.
        self._left: int | None = None

    def send(self, arrived: Callable[..., object], *args: Any) -> None:
        """Call that at the other end, after all that was sent before."""
        if self._left is not None:
            return
        clock, self._under_way = self._clock, self._under_way + 1
        chance = clock.random()
        delay = 0.0 if chance < 0.7 else chance * 0.002 if chance < 0.97 else chance * 0.3
        when = max(clock.now + delay, self._last, self._held)
        if when <= clock.now:
            self._to.call_soon(self._arrive, arrived, args)
        else:
            self._last = when + 1e-9
            self._to.call_at(when, self._arrive, arrived, args)

    def _arrive(self, arrived: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._under_way -= 1
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                return
        arrived(*args)

    def hold(self, seconds: float) -> None:
        """What is sent from now on arrives after that only."""
        self._held = self._clock.now + seconds

    def cut(self) -> None:
        """Nothing more goes in; of what is under way the first pieces arrive, as many as may be."""
        if self._left is None:
            self._left = int(self._clock.random() * (self._under_way + 1))

    def last(self, arrived: Callable[..., object], *args: Any) -> None:
        """Cut it, and have that called after what still arrives."""
        self.cut()
        when = max(self._clock.now + self._clock.random() * 0.01, self._last, self._held)
        self._to.call_at(when, arrived, *args)

    def end(self, arrived: Callable[..., object], *args: Any) -> None:
        """Nothing more goes in, and that is called after all that is under way."""
        if self._left is None:
            self.send(arrived, *args)
            self._left = self._under_way

    def close(self) -> None:
        """Nothing arrives any more."""
        self._left = 0


class Line:
    """One connection of a link to an agent."""

    def __init__(
        self,
        router: Router,
        identity: bytes,
        node: Node,
        received: Callable[[list[bytes]], None],
        ended: Callable[[str], None],
    ) -> None:
        self.identity = identity
        self._router, self._received = router, received
        self._ended: Callable[[str], None] | None = ended
        self._over = ""
        self._said: set[bytes] = set()
        #: Requests that the link has said more than once.
        self.twice = 0
        self.up, self.down = Way(node.clock, router.node), Way(node.clock, node)
        self.node = node

    # -- the link's end

    def send(self, parts: list[bytes]) -> None:
        if TRACE:
            TRACE[0](self.node, parts)
        if parts[0][1] == Kind.REQUEST:
            self.twice += parts[0] in self._said
            self._said.add(parts[0])
        self.up.send(self._router.arrived, self.identity, parts)

    def look(self) -> None:
        if self._over:
            self._tell()

    def close(self, linger: float = 0.0) -> None:
        self._ended = None
        self.down.close()
        self.up.end(self._router.forget, self.identity)

    # -- what becomes of it

    def say(self, parts: list[bytes]) -> None:
        """From the agent."""
        if TRACE:
            TRACE[0](self._router.node, parts)
        self.down.send(self._hear, parts)

    def _hear(self, parts: list[bytes]) -> None:
        if self._ended is not None:
            self._received(parts)

    def cut(self) -> None:
        """It ends; both sides will see that."""
        self.up.last(self._router.forget, self.identity)
        self._over = "the connection ended"
        self.down.last(self._tell)

    def _tell(self) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(self._over)

    def silence(self) -> None:
        """Nothing arrives any more, and nobody says so."""
        self.up.cut()
        self.down.cut()
        self._router.node.call_later(30, self._router.forget, self.identity)

    def hold(self, seconds: float) -> None:
        """It is slow for a while."""
        self.up.hold(seconds)
        self.down.hold(seconds)


class Router:
    """The agent's end of all lines."""

    def __init__(
        self,
        node: Node,
        incoming: Callable[[bytes, list[bytes]], None],
        lost: Callable[[bytes], None] | None,
    ) -> None:
        """``lost`` is told of lines that end, as a socket of this machine does; no network does."""
        self.node, self._incoming, self._lost = node, incoming, lost
        self.lines: dict[bytes, Line] = {}

    def arrived(self, identity: bytes, parts: list[bytes]) -> None:
        """A message."""
        if self.node.alive and identity in self.lines:
            self._incoming(identity, parts)

    def forget(self, identity: bytes) -> None:
        """That line is not there any more."""
        if self.lines.pop(identity, None) is not None and self._lost is not None:
            self._lost(identity)

    def send(self, identity: bytes, parts: list[bytes]) -> bool:
        line = self.lines.get(identity)
        if line is None:
            return False
        line.say(parts)
        return True

    def close(self) -> None:
        """All lines end, as when a process does."""
        for line in list(self.lines.values()):
            line.cut()
