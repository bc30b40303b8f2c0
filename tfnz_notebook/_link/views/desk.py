"""The desk: where views of one carrier open, and find what they show. See ``_wire/VIEWS.md``.

Everything here runs on the I/O loop. A desk belongs to one carrier (the comm of a kernel's hub, one
websocket); a :class:`Source` is what is shown, and may have views at several desks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

from tfnz_notebook._wire import view as wire
from tfnz_notebook._wire.view import Head
from tfnz_notebook.errors import ProtocolError

#: Views that one carrier may have at a time: far beyond any notebook, and a bound.
MOST: Final = 1024
#: Seconds that an ``open`` waits for its subject, which may be about to be made.
PATIENCE: Final = 5.0

Send = Callable[[Head, bytes | None], None]


class View:
    """One view, open at a desk. Made by the desk."""

    def __init__(self, desk: Desk, ident: str, source: Source) -> None:
        self.id = ident
        self._source = source
        self._desk = desk
        self.open = True

    def send(self, kind: str, payload: bytes | None = None, /, **fields: Any) -> None:
        """Send a message of that type; nothing once the view is closed."""
        if self.open:
            self._desk.send({"t": kind, "view": self.id, **fields}, payload)

    def drop(self, reason: str, text: str = "") -> None:
        """Close it from our side, telling why (:data:`~tfnz_notebook._wire.view.REASONS`)."""
        self.send("closed", reason=reason, text=text)
        self._desk.closed(self)


class Source(Protocol):
    """What views show. Its methods are called on the I/O loop and must not raise."""

    def opened(self, view: View, head: Head) -> None:
        """A view opened, with the fields of its ``open``; answer with ``opened``."""

    def message(self, view: View, head: Head, payload: bytes) -> None:
        """The view said ``credit``, ``stdin``, ``eof``, ``signal``, ``resize``, ``do`` ..."""

    def closed(self, view: View) -> None:
        """The view is gone."""


class Desk:
    """``send`` takes each message for the pages."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.views: dict[str, View] = {}
        self._sources: dict[str, Source] = {}
        self._early: dict[str, dict[str, Head]] = {}

    # -- subjects

    def register(self, subject: str, source: Source) -> None:
        """Have views find it; those that came early open now."""
        self._sources[subject] = source
        for ident, head in self._early.pop(subject, {}).items():
            self._open(ident, head, source)

    def forget(self, subject: str) -> None:
        """Let views find it no more; those that are open stay."""
        self._sources.pop(subject, None)

    # -- what pages say

    def received(self, head: object, payload: bytes = b"") -> None:
        """One message. Never raises: what is not in the protocol is answered if it can be."""
        try:
            known = wire.check(head)
        except ProtocolError as error:
            self._complain(head, str(error))
            return
        ident, kind = known["view"], known["t"]
        if kind == "hello":
            return  # for websockets, which took it themselves
        if kind == "open":
            self._asked(ident, known)
            return
        view = self.views.get(ident)
        if view is None:
            if kind != "close":  # it does not know yet that it was closed, or never was open
                self.send({"t": "closed", "view": ident, "reason": "link", "text": ""}, None)
            for early in self._early.values():
                early.pop(ident, None)
        elif kind == "close":
            self.closed(view)
        else:
            view._source.message(view, known, payload)  # noqa: SLF001  # its desk

    def _complain(self, head: object, text: str) -> None:
        ident = head.get("view") if isinstance(head, dict) else None
        if isinstance(ident, str) and ident in self.views:
            self.views[ident].send("error", text=text, doing="understand the view")

    def _asked(self, ident: str, head: Head) -> None:
        old = self.views.get(ident)
        if old is not None:
            self.closed(old)
        if len(self.views) + sum(map(len, self._early.values())) >= MOST:
            text = f"There are {MOST} views already: close some."
            self.send({"t": "closed", "view": ident, "reason": "slow", "text": text}, None)
            return
        subject = head["subject"]
        source = self._sources.get(subject)
        if source is not None:
            self._open(ident, head, source)
            return
        if subject not in self._early:
            asyncio.get_running_loop().call_later(PATIENCE, self._nobody, subject)
        self._early.setdefault(subject, {})[ident] = head

    def _nobody(self, subject: str) -> None:
        for ident in self._early.pop(subject, {}):
            text = "The kernel does not know it any more."
            self.send({"t": "closed", "view": ident, "reason": "unknown", "text": text}, None)

    def _open(self, ident: str, head: Head, source: Source) -> None:
        view = self.views[ident] = View(self, ident, source)
        source.opened(view, head)

    # -- ends

    def closed(self, view: View) -> None:
        """A view is gone. Idempotent."""
        if view.open:
            view.open = False
            if self.views.get(view.id) is view:
                del self.views[view.id]
            view._source.closed(view)  # noqa: SLF001  # its desk

    def close(self, reason: str = "link", text: str = "") -> None:
        """Close every view, telling why."""
        for view in list(self.views.values()):
            view.drop(reason, text)
        self._early.clear()
