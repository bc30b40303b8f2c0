"""What pages say reaches the kernel over its control channel, where the page can send there.

On the shell channel a comm's messages wait until the cell ends (ipykernel before 7, which has no
subshells), and everywhere the kernel says busy and idle around each: pages hear two messages more
for every one they send, and the server's socket holds an echo back until TCP has acknowledged the
first of them, 40 ms later. The control channel has a thread of its own.

ipykernel has ``control_handlers`` for this, but says busy and idle around each there, too, and
pages take the kernel of a running cell for an idle one. So we take ours before it looks at them,
and leave it all others as they came.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from IPython.core.getipython import get_ipython

Listener = Callable[[dict[str, Any]], None]


class _Ear:
    """Stands before one kernel's ``process_control``."""

    def __init__(self, kernel: Any) -> None:
        self.listeners: dict[str, Listener] = {}
        self._session = kernel.session
        self._log = kernel.log
        self._ordinary = kernel.process_control

    async def __call__(self, parts: Any) -> None:
        """As ``process_control``: one message off the control channel's socket."""
        try:
            found = self._ours(parts)
        except Exception:  # noqa: BLE001  # not signed, not JSON, seen before: the kernel says what is wrong
            found = None
        if found is None:
            await self._ordinary(parts)
            return
        listener, message = found
        try:
            listener(message)
        except Exception:  # noqa: BLE001  # the channel must go on: interrupt and shutdown come this way
            self._log.exception("Exception in a view's message:")

    def _ours(self, parts: Any) -> tuple[Listener, dict[str, Any]] | None:
        _, frames = self._session.feed_identities(parts, copy=False)
        # Signature, header, parent, metadata, content. A look first: a message whose signature was
        # checked is remembered, and then refused by those whose it is.
        if self._session.unpack(bytes(frames[1].bytes)).get("msg_type") != "comm_msg":
            return None
        listener = self.listeners.get(self._session.unpack(bytes(frames[4].bytes))["comm_id"])
        if listener is None:
            return None
        return listener, self._session.deserialize(frames, content=True, copy=False)


_changing = threading.Lock()


def offered() -> Any:
    """The kernel, if it is an ipykernel with a thread for its control channel; else None."""
    kernel: Any = getattr(get_ipython(), "kernel", None)
    if (
        getattr(kernel, "control_thread", None) is None
        or getattr(kernel, "session", None) is None
        or not hasattr(kernel, "process_control")
    ):
        return None
    return kernel


def listen(kernel: Any, comm_id: str, listener: Listener) -> None:
    """Hand ``listener`` what comes for a comm over the control channel, on its thread."""
    with _changing:
        ear = vars(kernel).get("process_control")
        if not isinstance(ear, _Ear):
            ear = kernel.process_control = _Ear(kernel)
        ear.listeners[comm_id] = listener


def unlisten(kernel: Any, comm_id: str) -> None:
    """No more of it; the last one leaves the kernel as it was. More than once does no harm."""
    with _changing:
        ear = vars(kernel).get("process_control")
        if isinstance(ear, _Ear):
            ear.listeners.pop(comm_id, None)
            if not ear.listeners:
                del kernel.process_control


def _after_fork() -> None:
    global _changing
    _changing = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
