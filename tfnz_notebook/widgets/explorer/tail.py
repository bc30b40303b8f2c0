"""The end of a container's output, as it grows, while somebody looks. On the I/O loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from tfnz_notebook._base.text import last_words
from tfnz_notebook._link.reader import Reader
from tfnz_notebook.errors import ProcessGone, TfnzError

if TYPE_CHECKING:
    from tfnz_notebook._link.link import Link

#: Bytes and lines at the end of each stream that are shown.
BYTES: Final = 16 << 10
LINES: Final = 200


class Tail:
    """Both streams of a container's main process; ``changed`` is called when there is more."""

    def __init__(self, link: Link, ident: str, changed: Callable[[], None]) -> None:
        self._link = link
        self._id = ident
        self._changed = changed
        self._readers: dict[int, Reader] = {}
        self._held = {1: b"", 2: b""}
        self._over = False
        link.listen("process", ident, self._heard)
        self._begin()

    @property
    def said(self) -> dict[str, str]:
        """``out`` and ``err``: the last lines of each."""
        return {"out": self._text(1), "err": self._text(2)}

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
        self._held = {1: b"", 2: b""}
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
        held = self._held[stream] + piece
        if len(held) > BYTES:  # what is left begins within a line, perhaps within a character
            held = held[-BYTES:].partition(b"\n")[2] or held[-BYTES:]
        self._held[stream] = held
        self._readers[stream].taken(len(piece))
        self._changed()

    def _text(self, stream: int) -> str:
        return last_words(self._held[stream], lines=LINES, most=BYTES)
