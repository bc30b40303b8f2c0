"""One stream of a process on its way to one view."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from tfnz_notebook._link.link import Link
from tfnz_notebook._link.views.desk import View
from tfnz_notebook._wire import view as wire
from tfnz_notebook._wire.window import Receiver
from tfnz_notebook.errors import LinkClosed, TfnzError


class Stream:
    """A sink of the link (see ``_link.ends``) that keeps nothing: its grants are the view's.

    ``whole``: every byte, and the process waits for the view; else it skips to the newest ``keep``
    bytes when it falls behind by more.
    """

    def __init__(
        self, link: Link, view: View, process: str, stream: int, *, keep: int, whole: bool
    ) -> None:
        self._link = link
        self._view = view
        self._process = process
        self._stream = stream
        self._keep = keep
        self._whole = whole
        self._window = Receiver()
        self._early: list[tuple[int, bytes]] | None = []
        self._over = False
        self._ended: int | None = None
        self._starved: asyncio.TimerHandle | None = None
        self._number = 0
        #: (stream, offset) of each change from one stream to the other, as the log has them.
        self.order: list[list[int]] = []
        self._asking = self._lost = False

    # -- the view's side

    async def open(self, start: int | None, window: int, *, order: bool = False) -> tuple[int, int]:
        """Ask for it: where it starts, and where the log ends by now. Raises TfnzError.

        With ``order``, for :attr:`order`.
        """
        tail = self._keep if start is None or not self._whole else None
        self._window = Receiver(start or 0, window)
        # An agent from before it was asked for says none.
        wanted = {"order": True} if order else {}
        answer = await self._ask(start or 0, window=window, tail=tail, **wanted)
        self.order = answer.get("order") or []
        offset = int(answer["offset"])
        self._window.skip(offset)
        return offset, int(answer["head"])

    async def _ask(self, offset: int, credit: int = 0, **fields: int | None) -> dict[str, Any]:
        self._number, self._asking = self._link.reader(self), True
        fields["keep"] = None if self._whole else self._keep
        body = {
            "reader": self._number,
            "process": self._process,
            "stream": self._stream,
            "offset": offset,
            "credit": credit,
            "hold": self._whole,
            **fields,
        }
        try:
            return (await self._link.request("reader.open", body)).body
        finally:
            self._asking = False

    def live(self) -> None:
        """The view knows that it is open: what came in the meantime may be sent."""
        early, self._early = self._early or [], None
        for offset, payload in early:
            self._send(offset, payload)
        if self._ended is not None:
            self._view.send("eof", stream=self._stream, offset=self._ended)

    def grant(self, upto: int) -> None:
        """The view has taken some."""
        if not self._over and self._window.allow(upto):
            self._link.note("credit", {"reader": self._number, "upto": self._window.granted})
            if self._starved is not None:
                self._starved.cancel()
                self._starved = None

    def close(self) -> None:
        """Want no more. Idempotent."""
        if self._starved is not None:
            self._starved.cancel()
        if not self._over:
            self._over = True
            self._link.drop(self._number)
            if not self._link.over and self._number:
                body = {"reader": self._number}
                self._link.background(self._link.request("reader.close", body))

    def _starving(self) -> None:
        # It may be a page that was closed, which nobody tells a kernel.
        self._view.drop("slow", "The view did not keep up.")

    # -- the link's side

    def begins(self) -> None:
        """The agent has it. If the link broke, then before this was said."""
        self._lost = False

    def data(self, offset: int, payload: bytes) -> None:
        """Bytes of the stream. ProtocolError for those that nobody asked for."""
        if self._over:
            return
        new, _ = self._window.arrived(offset, payload)
        if not new:
            return
        offset = self._window.expected - len(new)
        if self._early is None:
            self._send(offset, new)
        else:
            self._early.append((offset, new))
        if self._whole and self._window.expected >= self._window.limit and self._starved is None:
            loop = asyncio.get_running_loop()
            self._starved = loop.call_later(wire.PATIENCE, self._starving)

    def _send(self, offset: int, payload: bytes) -> None:
        for at in range(0, len(payload), wire.MAX_DATA):
            piece = payload[at : at + wire.MAX_DATA]
            self._view.send("data", piece, stream=self._stream, offset=offset + at)

    def eof(self, offset: int) -> None:
        """Nothing follows."""
        self._over = True
        self._link.drop(self._number)
        if self._starved is not None:
            self._starved.cancel()
        if self._early is None:
            self._view.send("eof", stream=self._stream, offset=offset)
        else:
            self._ended = offset

    def room(self, upto: int) -> None:
        """Streams send nothing."""

    def closed(self, errno: int) -> None:
        """The agent cannot read on, and the view is told as of a process that is gone."""
        if not self._over:
            self._over = True
            self._view.drop("gone", f"The agent has lost this output: {os.strerror(errno)}.")

    def broken(self, error: TfnzError, final: bool) -> None:
        """Pause, or end."""
        self._lost = True
        if final and not self._over:
            self._over = True
            self._view.drop("link", str(error))

    def mended(self) -> None:
        """Go on where we were, unless that was asked for meanwhile, and waited for the link."""
        if self._lost and not self._over and not self._asking:
            self._link.drop(self._number)
            self._link.background(self._reopen())

    async def _reopen(self) -> None:
        try:
            await self._ask(self._window.expected, self._window.limit)
        except LinkClosed as error:
            if self._link.over:
                self._view.drop("link", str(error))
            # Else it broke again, and mended() will be called again: the sink is still there.
        except TfnzError as error:
            self._view.drop("gone", str(error))
