"""What waits to be sent to the pages: in order for each view, fair between views, bounded.

One view that streams must not hold up another's keystrokes, so messages are taken in turn, one of
each view at a time, until a comm message is full.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from tfnz_notebook._wire.view import Head

#: Bytes of payload in one comm message, and messages.
MOST: Final = 256 << 10
MOST_HEADS: Final = 512
#: What may wait for one view. Credit keeps it far below; beyond it something is wrong.
CAP: Final = 4 << 20
CAP_HEADS: Final = 4096

Message = tuple[Head, bytes | None]


class _Queue:
    __slots__ = ("items", "size")

    def __init__(self) -> None:
        self.items: deque[Message] = deque()
        self.size = 0


class Outbox:
    """Messages by view."""

    def __init__(self) -> None:
        self._queues: dict[str, _Queue] = {}

    def __bool__(self) -> bool:
        return bool(self._queues)

    def put(self, head: Head, payload: bytes | None) -> bool:
        """Add a message; False if too much waits for its view already, and it was not added."""
        view = str(head.get("view", ""))
        queue = self._queues.get(view)
        if queue is None:
            queue = self._queues[view] = _Queue()
        size = len(payload or b"")
        if queue.items and (queue.size + size > CAP or len(queue.items) >= CAP_HEADS):
            return False
        queue.items.append((head, payload))
        queue.size += size
        return True

    def discard(self, view: str) -> None:
        """Forget what waits for a view."""
        self._queues.pop(view, None)

    def clear(self) -> None:
        """Forget everything."""
        self._queues.clear()

    def take(self) -> list[Message]:
        """What goes into the next comm message: one of each view in turn, until it is full."""
        taken: list[Message] = []
        room = MOST
        while self._queues and len(taken) < MOST_HEADS:
            view = next(iter(self._queues))
            queue = self._queues[view]
            size = len(queue.items[0][1] or b"")
            if taken and size > room:
                break
            taken.append(queue.items.popleft())
            room -= size
            queue.size -= size
            del self._queues[view]
            if queue.items:
                self._queues[view] = queue  # behind the others
        return taken
