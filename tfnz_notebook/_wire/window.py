"""The arithmetic of credit: one for every hop, without sockets, clocks or bytes of its own.

A stream is bytes with absolute offsets. Who takes them says how far who sends them may go, and that
is all that bounds the memory at both ends. ``_frontend/src/channel/window.ts`` is the same in the
page, ``_guest/connection/stream.c`` in the container; one file of conversations
(``tests/unit/wire/window.json``) is held against all three.

Theory of operation.

- A *receiver* expects one offset next. What begins below it is a repeat, after a break or over
  another carrier, and is dropped as far as it came already. What begins above it follows a gap: a
  fault, or, where streams may leave out their oldest bytes, an *elision*.
- It grants ``taken + window``: what has come and is not used up is a window at most. A grant is an
  absolute offset, so that one that comes twice, late or not at all does no harm. It is said when a
  quarter of the window has become free: few messages, and the sender never runs dry meanwhile.
- A *sender* sends while ``sent < allowed``. It is told in one of two dialects: a *credit* is the
  granted offset; an *acknowledgement* is ``taken``, and both ends know the window.
- What is left out costs no credit: at both ends it counts as sent, come and used up. The grant that
  was said last stays as it was said, for it may be on its way past the elision; the next one, being
  absolute, makes up for it. And only a sender with credit left leaves something out. One without
  would move past the grant that is to come, and both would wait for ever.
- No number is believed. Credit that goes backwards is ignored, what goes further than ``most``
  beyond what was sent is cut there; an offset below zero, a byte beyond the grant and an
  acknowledgement of what was never sent are ProtocolErrors.
"""

from __future__ import annotations

from typing import Final

from tfnz_notebook.errors import ProtocolError

#: A grant is said when so much of the window is free: one part in four.
PARTS: Final = 4
#: How far beyond what was sent a peer's credit may reach, where what it wants is queued in memory.
MOST: Final = 8 << 20


class Receiver:
    """The half that takes. ``gaps``: whether bytes may be left out, else that is a fault."""

    __slots__ = ("_gaps", "expected", "granted", "limit", "taken", "window")

    def __init__(
        self, offset: int = 0, window: int = 0, *, taken: int | None = None, gaps: bool = True
    ) -> None:
        #: Offset of the next byte that is new.
        self.expected = offset
        #: All before it is used up.
        self.taken = offset if taken is None else taken
        self.window = window
        self._gaps = gaps
        self.renew()

    def renew(self, granted: int | None = None) -> None:
        """A new conversation about the stream begins, with this grant (or one by the rule)."""
        #: The grant as it was said last.
        self.granted = self.taken + self.window if granted is None else granted
        #: What the sender may have made of it by leaving bytes out: how far bytes may come.
        self.limit = self.granted

    def missing(self, offset: int) -> int:
        """How many bytes did not come between what did and ``offset``."""
        return max(0, offset - self.expected)

    def arrived(self, offset: int, chunk: bytes) -> tuple[bytes, int]:
        """What is new of it, and how many bytes before that were left out."""
        if offset < 0:
            raise ProtocolError(f"Bytes at the offset {offset}.")
        left = self.missing(offset)
        if left and not self._gaps:
            raise ProtocolError(f"Bytes at {offset} where {self.expected} is due.")
        new = offset + len(chunk) - self.expected - left
        if new <= 0:
            return b"", self.skip(offset)
        if self.expected + new > self.limit:
            raise ProtocolError(f"Bytes up to {offset + len(chunk)}, beyond what was granted.")
        self.skip(offset)
        self.expected += new
        return chunk if new == len(chunk) else chunk[-new:], left

    def skip(self, offset: int) -> int:
        """Nothing before ``offset`` comes any more; how many bytes are left out by that."""
        left = self.missing(offset)
        self.expected += left
        self.taken += left
        self.limit += left
        return left

    def take(self, size: int) -> None:
        """So many bytes more are used up."""
        self.take_to(self.taken + size)

    def take_to(self, offset: int) -> None:
        """All before ``offset`` is used up."""
        self.taken = max(self.taken, min(offset, self.expected))

    def grant(self) -> int | None:
        """The credit to say now, if it is time."""
        upto = self.taken + self.window
        if upto <= self.granted or (upto - self.granted) * PARTS < self.window:
            return None
        return self._say(upto)

    def allow(self, upto: int, most: int = MOST) -> bool:
        """A relay grants what was granted to it; whether that is more than before."""
        if upto < 0:
            raise ProtocolError(f"A credit of {upto}.")
        upto = min(upto, self.expected + most)
        return upto > self.granted and self._say(upto) > 0

    def acknowledge(self, offset: int) -> bool:
        """All before ``offset`` is used up; whether there is an acknowledgement to say of it."""
        before = self.taken
        self.take_to(offset)
        self._say(self.taken + self.window)
        return self.taken > before

    def _say(self, upto: int) -> int:
        self.granted = upto
        self.limit = max(self.limit, upto)
        return upto


class Sender:
    """The half that gives.

    It begins with what is ``allowed`` in the dialect of credit, with a ``window`` in that of
    acknowledgements. ``most``: as :data:`MOST`.
    """

    __slots__ = ("_most", "_window", "acked", "allowed", "head", "sent")

    def __init__(
        self, offset: int = 0, allowed: int = 0, *, window: int = 0, most: int | None = None
    ) -> None:
        #: One past the last byte there is.
        self.head = offset
        #: Offset of the next byte to send.
        self.sent = offset
        #: All before it was acknowledged.
        self.acked = offset
        #: How far it may send.
        self.allowed = offset + window
        self._window = window
        self._most = most
        if allowed > self.allowed:
            self.allow(allowed)

    @property
    def room(self) -> int:
        """How many bytes it might send."""
        return max(0, self.allowed - self.sent)

    @property
    def ready(self) -> int:
        """How many of those that are there it may send now."""
        return max(0, min(self.head, self.allowed) - self.sent)

    def add(self, size: int) -> None:
        """So many bytes more are there."""
        self.head += size

    def send(self, size: int) -> int:
        """So many bytes are sent, of those that are ready; the offset of the first one."""
        assert size <= self.ready, "look at ready first"
        start = self.sent
        self.sent += size
        return start

    def allow(self, upto: int) -> bool:
        """A credit came; whether it is more than before."""
        if upto < 0:
            raise ProtocolError(f"A credit of {upto}.")
        if self._most is not None:
            upto = min(upto, self.sent + self._most)
        before, self.allowed = self.allowed, max(self.allowed, upto)
        return self.allowed > before

    def acknowledge(self, upto: int) -> bool:
        """An acknowledgement came; whether it is of more than before."""
        if not 0 <= upto <= self.sent:
            raise ProtocolError(f"An acknowledgement of {upto}, where {self.sent} was sent.")
        if upto <= self.acked:
            return False
        self.acked = upto
        self.allow(upto + self._window)
        return True

    def skip(self, offset: int) -> int:
        """Leave out what lies before ``offset``; how many bytes that is, none without credit."""
        left = offset - self.sent
        if left <= 0 or not self.room:
            return 0
        self.sent += left
        self.acked += left
        self.allowed += left
        self.head = max(self.head, self.sent)
        return left

    def rewind(self) -> None:
        """What was not acknowledged is to be sent again: the way it took is gone."""
        self.sent = self.acked
