"""A page that looks at a process through its kernel: the product's desk and source, a model's view.

Like a terminal in a page it takes every byte and holds the process back while it is slow, or like
an output view it takes the newest.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tfnz_notebook._link.link import Link
from tfnz_notebook._link.views.desk import Desk
from tfnz_notebook._link.views.process import ProcessSource

from .nodes import Broken

if TYPE_CHECKING:
    from .acts import Heard, Proc
    from .play import Play

#: Bytes that are on the way to it at most, and that it shows of what was before.
WINDOW, KEEP = 4096, 3000


class Screen:
    """One view, from its opening to its end."""

    def __init__(self, play: Play, link: Link, proc: Proc, mode: str, pause: float) -> None:
        self.proc, self.node = proc, asyncio.get_running_loop()
        self.info: dict[str, Any] = {}
        self.open = False
        self._play, self._skips, self._pause = play, mode == "tail", pause
        self._heard: dict[int, Heard] = {}
        self._ended = asyncio.Event()
        self._desk = Desk(self._said)
        self._desk.register("it", ProcessSource(link, proc.ident))
        self._head = {"view": f"{len(play.screens):016x}"}
        play.screens.append(self)
        self._say("open", subject="it", mode=mode, window=WINDOW, keep=KEEP)

    async def over(self) -> None:
        """Wait until it shows all there is, or was closed."""
        try:
            await self._ended.wait()
        finally:
            self._close()
            self._say("close")

    def _say(self, kind: str, **fields: Any) -> None:
        self._desk.received({"t": kind, **self._head, **fields})

    def _close(self) -> None:
        self.open = False
        for heard in self._heard.values():
            heard.left = not heard.whole

    def _said(self, head: dict[str, Any], payload: bytes | None) -> None:
        match head["t"]:
            case "opened":
                self.open, self.info = True, head["info"]
                for stream, offset, _ in head["streams"]:
                    heard = self._play.hears(self.proc, stream, offset, skips=self._skips)
                    self._heard[stream] = heard
            case "state":
                self.info = head["info"]
            case "data":
                heard = self._heard[head["stream"]]
                heard.take(head["offset"], payload or b"")
                self.node.call_later(self._pause, self._shown, head["stream"], heard.offset)
            case "eof":
                self._heard[head["stream"]].ends(head["offset"])
                if all(heard.whole for heard in self._heard.values()):
                    self._ended.set()
            case "closed":
                self._close()
                self._ended.set()
            case "error":
                raise Broken(f"{self.proc.key}: a view is told {head}")

    def _shown(self, stream: int, offset: int) -> None:
        if self.open:
            self._say("credit", stream=stream, upto=offset + WINDOW)
