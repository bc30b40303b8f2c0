"""The end of what processes wrote, as it grows, for views that show it. On the I/O loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from tfnz_notebook._link.reader import Reader
from tfnz_notebook.errors import ProcessGone, TfnzError, harmless
from tfnz_notebook.widgets.saved import frozen

if TYPE_CHECKING:
    from tfnz_notebook._link.link import Link

#: Bytes of each stream that are read at first, bytes of both that are kept, lines that are shown.
BYTES: Final = 16 << 10
LINES: Final = 200
#: Processes that one view shows the output of.
MOST: Final = 12

#: Text by stream, in the order in which it came: whole lines, without the last one's end.
Said = list[tuple[int, str]]


class Tails:
    """Of the processes that any view shows; each is read once, however many do."""

    def __init__(self, link: Link, changed: Callable[[], None]) -> None:
        self._link = link
        self._changed = changed
        self._tails: dict[str, Tail] = {}
        self._shown: dict[str, dict[str, None]] = {}  # by view, the oldest first

    def show(self, view: str, ident: str, *, on: bool) -> None:
        """Have a view see what a process wrote, or not any more."""
        shown = self._shown.setdefault(view, {})
        shown.pop(ident, None)
        if on:
            shown[ident] = None
            if ident not in self._tails:
                self._tails[ident] = Tail(self._link, ident, self._changed)
            if len(shown) > MOST:
                del shown[next(iter(shown))]
        self._drop()

    def close(self, view: str) -> None:
        """A view looks no more."""
        self._shown.pop(view, None)
        self._drop()

    def of(self, view: str) -> dict[str, Said]:
        """What a view shows, by process."""
        return {ident: self._tails[ident].said for ident in self._shown.get(view, ())}

    def all(self) -> dict[str, Said]:
        """What all views show."""
        return {ident: tail.said for ident, tail in self._tails.items()}

    def _drop(self) -> None:
        wanted = {ident for shown in self._shown.values() for ident in shown}
        for ident in self._tails.keys() - wanted:
            self._tails.pop(ident).close()


class Tail:
    """Both streams of a process; ``changed`` is called when there is more."""

    def __init__(self, link: Link, ident: str, changed: Callable[[], None]) -> None:
        self._link = link
        self._id = ident
        self._changed = changed
        self._readers: dict[int, Reader] = {}
        self._held = deque[tuple[int, bytes]]()
        self._size = 0
        self._drawn: Said | None = []
        self._over = False
        link.listen("process", ident, self._heard)
        self._begin()

    @property
    def said(self) -> Said:
        """The last lines."""
        if self._drawn is None:
            rows = frozen.rows(self._held)[-LINES:]
            self._drawn = [
                (2 if stderr else 1, "\n".join(harmless(_text(row)) for row in group))
                for stderr, group in groupby(rows, key=lambda row: row.stderr)
            ]
        return self._drawn

    def close(self) -> None:
        """Look no more."""
        self._over = True
        self._link.forget("process", self._id, self._heard)
        for reader in self._readers.values():
            reader.close()

    def _heard(self, info: dict[str, Any] | None) -> None:
        # One that slept has started, or was rebooted: its log begins.
        running = info is not None and info.get("returncode") is None
        if running and all(reader.finished for reader in self._readers.values()):
            self._begin()

    def _begin(self) -> None:
        self._held.clear()
        self._size = 0
        for stream in (1, 2):
            received = partial(self._received, stream)
            reader = Reader(
                self._link, self._id, stream, 0, received, lambda _: None, window=BYTES, keep=BYTES
            )
            self._readers[stream] = reader
            self._link.background(self._open(reader))

    async def _open(self, reader: Reader) -> None:
        try:
            await reader.open()
        except ProcessGone:
            reader.finished = True  # it sleeps; it is heard of when it starts
        except TfnzError:
            pass  # out of reach: the reader goes on when it can
        if self._over:
            reader.close()

    def _received(self, stream: int, piece: bytes) -> None:
        self._held.append((stream, piece))
        self._size += len(piece)
        over = self._size - 2 * BYTES
        while over > 0:
            first, data = self._held.popleft()
            rest = data[over:]
            if rest:  # it begins within a line, perhaps within a character
                rest = rest.partition(b"\n")[2] or rest
                self._held.appendleft((first, rest))
            self._size -= len(data) - len(rest)
            over -= len(data)
        self._drawn = None
        self._readers[stream].taken(len(piece))
        self._changed()


def _text(row: frozen.Row) -> str:
    return "".join(span.text for span in row.spans)[:2000]
