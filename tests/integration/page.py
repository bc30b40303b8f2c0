"""A page: views at a desk, as a browser has them, but in Python."""

from __future__ import annotations

import secrets
import threading
from typing import Any

from tfnz_notebook._link.thread import io
from tfnz_notebook._link.views.desk import Desk
from tfnz_notebook._link.views.process import ProcessSource
from tfnz_notebook.process import Process
from tfnz_notebook.widgets.explorer.watched import Watched


class Page:
    """A desk for one process, or for a card or a table, and what it said."""

    def __init__(self, shown: Process | Watched) -> None:
        self.changed = threading.Condition()
        self.heads: list[dict[str, Any]] = []
        self.views: dict[str, PageView] = {}
        self._desk = Desk(self._heard)
        source: ProcessSource | Watched
        if isinstance(shown, Watched):
            self.subject, source = shown.subject, shown
        else:
            self.subject = shown.id
            source = ProcessSource(shown._link, shown.id, about=lambda: {"container": "box"})
        io().soon(self._desk.register, self.subject, source)

    def _heard(self, head: dict[str, Any], payload: bytes | None) -> None:
        with self.changed:
            self.heads.append(head)
            view = self.views.get(head["view"])
            if view is not None:
                view.hear(head, payload or b"")
            self.changed.notify_all()

    def say(self, head: dict[str, Any], payload: bytes = b"") -> None:
        io().soon(self._desk.received, head, payload)

    def open(self, *, takes: bool = True, **fields: Any) -> PageView:
        """A view; one that does not ``take`` what it gets has the credit of its first window."""
        view = PageView(self, secrets.token_hex(8))
        if not takes:
            view.window = None
        self.views[view.ident] = view
        view.say("open", subject=self.subject, **fields)
        return view


class PageView:
    """``credit``: give as much as was had, so that it never stops (None: give none)."""

    def __init__(self, page: Page, ident: str) -> None:
        self.page = page
        self.ident = ident
        self.streams: dict[int, bytearray] = {1: bytearray(), 2: bytearray()}
        self.offset: dict[int, int] = {}
        self.skipped = 0
        self.window: int | None = 64 << 10
        self.opened: dict[str, Any] = {}
        self.eof: dict[int, int] = {}
        self.closed: str | None = None
        self.info: dict[str, Any] = {}
        self.typed = 0
        self.acks: list[int] = []
        self.errors: list[str] = []

    def say(self, kind: str, payload: bytes = b"", **fields: Any) -> None:
        self.page.say({"t": kind, "view": self.ident, **fields}, payload)

    def type(self, payload: bytes) -> None:
        """Into stdin, behind what was typed before."""
        self.say("stdin", payload, offset=self.typed)
        self.typed += len(payload)

    def hear(self, head: dict[str, Any], payload: bytes) -> None:
        kind = head["t"]
        if kind == "opened":
            self.opened, self.info = head, head["info"]
            self.offset = {stream: start for stream, start, _ in head["streams"]}
        elif kind == "data":
            stream, offset = head["stream"], head["offset"]
            assert offset >= self.offset[stream], "a byte came twice"
            self.skipped += offset - self.offset[stream]
            self.streams[stream] += payload
            self.offset[stream] = offset + len(payload)
            if self.window is not None:
                self.say("credit", stream=stream, upto=self.offset[stream] + self.window)
        elif kind == "eof":
            self.eof[head["stream"]] = head["offset"]
        elif kind == "state":
            self.info = head["info"]
        elif kind == "ack":
            self.acks.append(head["upto"])
        elif kind == "error":
            self.errors.append(head["text"])
        elif kind == "closed":
            self.closed = head["reason"]

    def until(self, condition: Any, timeout: float = 30.0) -> None:
        with self.page.changed:
            assert self.page.changed.wait_for(condition, timeout), (self.info, self.offset)
