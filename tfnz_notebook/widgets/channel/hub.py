"""The kernel's end of every view: one hidden widget whose comm carries the view protocol.

All views of all pages share the comm, so the kernel sends at most one message every ``PAUSE``
seconds however many there are: the server drops what exceeds a thousand a second, and ZeroMQ drops
silently. The first message after a pause goes at once.

Sending happens on the I/O thread, so views move while a cell computes. Messages from pages arrive
on whatever thread the kernel handles them (main, a subshell's, control) and are only handed over.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Final

import ipywidgets
import traitlets

from tfnz_notebook._link.thread import io
from tfnz_notebook._link.views.desk import Desk, Source
from tfnz_notebook._wire.view import VERSION, Head, gather, scatter
from tfnz_notebook.errors import ProtocolError, TfnzError
from tfnz_notebook.widgets import bundle
from tfnz_notebook.widgets.channel.control import listen, offered, unlisten
from tfnz_notebook.widgets.channel.haste import Haste
from tfnz_notebook.widgets.channel.outbox import Outbox
from tfnz_notebook.widgets.saved import frozen

#: Seconds between two comm messages of a kernel.
PAUSE: Final = 1 / 60
#: Seconds that an 'ack' waits for something to go with. Alone it would be ahead of the echo that
#: follows it, which then waits for PAUSE and, in the server's socket, for TCP's delayed
#: acknowledgement (40 ms).
LAZY: Final = 0.05

Publish = Callable[[dict[str, Any], list[bytes]], None]


class Carrier(ipywidgets.Widget):  # type: ignore[misc]  # ipywidgets has no types
    """A model without a view. ``received`` gets the content and buffers of messages.

    Raises TfnzError, or whatever ipywidgets does, in a kernel whose comms cannot carry views.
    """

    #: Whether pages had better use the control channel; see control.py.
    control = traitlets.Bool().tag(sync=True)
    #: What looks after our pictures in a page; see ``live.STUB``.
    code = traitlets.Unicode().tag(sync=True)
    #: What it makes stills of: ``saved/frozen.py``.
    stills = traitlets.Dict().tag(sync=True)

    def __init__(self, received: Callable[[Any, list[Any]], None]) -> None:
        self._received = received
        self._kernel = offered()
        # In the state that opens the comm: a page's first view would not know what came later.
        control = self._kernel is not None
        code, stills = bundle.code(bundle.PAGE), dict(frozen.TEMPLATES)
        super().__init__(control=control, code=code, stills=stills)
        self._listens_to = self.comm.comm_id
        if self._kernel is not None:
            listen(self._kernel, self._listens_to, self._controlled)
        if not hasattr(self.comm, "handle_msg"):
            # As in xeus-python. They belong to the main thread, too, and views do not wait for it.
            self.close()
            raise TfnzError("Cannot show live views: this kernel's comms are not Jupyter's own.")
        # ipykernel's handle_msg triggers pre_ and post_execute around each message, on which
        # matplotlib flushes the figures of the cell that is running. Ours need neither.
        self.comm.handle_msg = self._handle_msg
        if hasattr(self.comm, "_reply_subshell_for"):
            # ipykernel 7.4 sends a comm's messages to the subshell that used it last, which after a
            # message of ours is the main one; then nothing arrives until a busy cell ends.
            self.comm._reply_subshell_for = lambda _data, default: default

    def _handle_msg(self, message: dict[str, Any]) -> None:
        data = message["content"]["data"]
        if data.get("method") == "custom":
            self._received(data.get("content"), message.get("buffers") or [])
        else:
            super()._handle_msg(message)

    def _controlled(self, message: dict[str, Any]) -> None:
        # Nothing else of ipywidgets' has a place on the control thread.
        if message["content"]["data"].get("method") == "custom":
            self._handle_msg(message)

    def unlisten(self) -> None:
        """Leave the kernel's control channel as it was; from any thread."""
        if self._kernel is not None:
            unlisten(self._kernel, self._listens_to)


def _publisher(comm: Any) -> Publish:
    """Send over a comm, from any thread.

    ``comm.send`` does, but it cleans all of the content for JSON, and takes the parent (and with it
    the subshell) of whatever request was handled last.
    """
    kernel = getattr(comm, "kernel", None)
    session, socket = getattr(kernel, "session", None), getattr(kernel, "iopub_socket", None)
    if session is None or socket is None:  # a kernel that is not ipykernel
        return lambda data, buffers: comm.send(data=data, buffers=buffers)

    def publish(data: dict[str, Any], buffers: list[bytes]) -> None:
        content = {"comm_id": comm.comm_id, "data": data}
        session.send(socket, "comm_msg", content, parent={}, ident=comm.topic, buffers=buffers)

    return publish


class Hub:
    """One per kernel; see :func:`hub`."""

    def __init__(self) -> None:
        self.desk = Desk(self._put)
        #: Whether any page ever said anything.
        self.heard = False
        #: Brings the stills of those keys up to date; for pages that are about to be saved.
        self.keep: Callable[[list[str]], Awaitable[None]] | None = None
        #: Whether a page said that it asks for stills before it saves.
        self.asked = False
        #: Comm messages sent.
        self.sent = 0
        self._outbox = Outbox()
        self._keeping: set[asyncio.Future[None]] = set()
        self._haste = Haste()
        self._over = False
        self._sent_at = 0.0
        self._next: asyncio.TimerHandle | None = None
        self._pid = os.getpid()
        self.widget = Carrier(self._received)
        self._comm = self.widget.comm
        self._publish = _publisher(self._comm)
        self._comm.on_close(lambda _message: io().soon(self._end))

    @property
    def model_id(self) -> str:
        """What a page calls the widget."""
        return str(self._comm.comm_id)

    @property
    def closed(self) -> bool:
        """Whether nothing goes through it any more."""
        return self._over or self.widget.comm is None or self._pid != os.getpid()

    def register(self, subject: str, source: Source) -> None:
        """Let views open ``subject``; from any thread."""
        io().soon(self.desk.register, subject, source)

    def forget(self, subject: str) -> None:
        """No more views of it; from any thread."""
        io().soon(self.desk.forget, subject)

    def close(self) -> None:
        """End all views; from any thread."""
        self.widget.unlisten()
        self.widget.close()
        io().soon(self._end)

    # -- from pages, on any thread

    def _received(self, content: Any, buffers: list[Any]) -> None:
        if isinstance(content, dict) and "keep" in content:
            io().soon(self._asked, content)
            return
        try:
            messages = scatter(content, buffers)
        except ProtocolError:
            return  # a page of another version, or not ours; there is no view to answer
        self.heard = True
        io().soon(self._deliver, messages)

    # -- on the I/O loop

    def _deliver(self, messages: list[tuple[object, bytes]]) -> None:
        if self.closed:
            return
        self._haste.touch()
        for head, payload in messages:
            self.desk.received(head, payload)

    def _asked(self, content: dict[str, Any]) -> None:
        """A page is about to be saved, or will ask before it is (for none, as it begins)."""
        keys, number = content["keep"], content.get("number")
        if not isinstance(number, int) or not isinstance(keys, list) or self.keep is None:
            return
        self.asked = True
        task = asyncio.ensure_future(self.keep([key for key in keys if isinstance(key, str)]))
        self._keeping.add(task)

        def kept(done: asyncio.Future[None]) -> None:
            self._keeping.discard(done)
            if not done.cancelled():
                done.exception()  # the page has what was last known
                self._send({"v": VERSION, "kept": number}, [])

        task.add_done_callback(kept)

    def _put(self, head: Head, payload: bytes | None) -> None:
        if self._over:
            return
        if not self._outbox.put(head, payload):
            view = str(head.get("view", ""))
            self._outbox.discard(view)
            found = self.desk.views.get(view)
            if found is not None:  # it says 'closed', which now finds room
                found.drop("slow", "This page did not take what it asked for.")
        self._schedule(LAZY if head["t"] == "ack" else 0.0)

    def _schedule(self, patience: float = 0.0) -> None:
        """Send what waits within that time; soon, rather than now, so that a turn goes as one."""
        if not self._outbox:
            return
        loop = asyncio.get_running_loop()
        due = max(loop.time() + patience, self._sent_at + PAUSE)
        if self._next is not None:
            if self._next.when() <= due:
                return
            self._next.cancel()
        self._next = loop.call_at(due, self._flush)

    def _flush(self) -> None:
        self._next = None
        if self.closed:
            self._end()
            return
        messages = self._outbox.take()
        if not messages:
            return
        self._sent_at = asyncio.get_running_loop().time()
        self._send(*gather(messages))
        self._schedule()

    def _send(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        if self.closed:
            return
        try:
            self._publish({"method": "custom", "content": content}, buffers)
            self.sent += 1
        except Exception:  # noqa: BLE001  # the kernel is shutting down: its socket is gone, whatever that raises
            self._end()

    def _end(self) -> None:
        if not self._over:
            self._over = True
            self.widget.unlisten()
            self._outbox.clear()
            self.desk.close()


_hub: Hub | None = None
_making = threading.Lock()


def hub() -> Hub:
    """This kernel's hub; made at the first call, and anew if it was closed or in a fork's child."""
    global _hub
    with _making:
        if _hub is None or _hub.closed:
            _hub = Hub()
        return _hub


def _after_fork() -> None:
    global _hub, _making
    _hub = None
    _making = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
