"""What is behind a websocket: a desk with one process on it, over a viewer's link to the agent.

The link runs on the Jupyter server's own loop, and not on an I/O thread as in a kernel: that loop
has to write to the page anyway, and to cross twice took a sixth of a keystroke's echo (medians of
200 each in one run: 3.8 ms with the I/O thread, 3.1 without, JupyterLab's terminal 1.5).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tfnz_notebook._link.views.desk import Desk
from tfnz_notebook._link.views.process import ProcessSource
from tfnz_notebook._link.views.viewer import viewer
from tfnz_notebook._wire import view as wire
from tfnz_notebook._wire.view import Head
from tfnz_notebook.errors import ProcessGone

#: A websocket is for one process, whatever the page calls it.
SUBJECT = "process"
#: Seconds to tell the agent that a view is gone; it notices by itself, later.
BYE = 2.0


class Bridge:
    """One websocket's way to the agent.

    ``deliver`` is called with each message for the page, ``ended`` after the last of them when the
    agent is out of reach for good.
    """

    def __init__(
        self,
        agent: str,
        process: str,
        ticket: str,
        deliver: Callable[[bytes], None],
        ended: Callable[[], None],
    ) -> None:
        """Raises Misuse if ``agent`` cannot be an agent's name."""
        self._deliver, self._ended = deliver, ended
        self._link = viewer(agent, process, ticket)
        self._process = process
        self._gone = ""
        self._desk = Desk(self._send)
        self._opened = self._closed = False

    async def open(self) -> None:
        """Find the agent and show it the ticket.

        Raises AgentError if it does not like it, LinkClosed if it cannot be reached. A process that
        is gone is told to the view, when it opens.
        """
        try:
            await self._link.open()
        except ProcessGone as error:
            self._gone = str(error)
        self._opened = True
        if self._closed:
            self._end()
        elif not self._gone:
            source = ProcessSource(self._link, self._process, about=self._about)
            self._desk.register(SUBJECT, source)

    def received(self, message: bytes) -> None:
        """A message from the page. Raises ProtocolError if it is none."""
        head, payload = wire.unpack(message)
        if isinstance(head, dict) and head.get("t") == "open":
            head = {**head, "subject": SUBJECT}
            if self._gone:
                told = {"t": "closed", "view": head.get("view"), "reason": "gone"}
                self._send({**told, "text": self._gone}, None)
                return
        self._desk.received(head, payload)

    def close(self) -> None:
        """The page is gone. Idempotent."""
        if self._opened and not self._closed:
            self._end()
        self._closed = True

    def _end(self) -> None:
        self._desk.close()
        self._link.background(self._link.close(BYE))

    def _about(self) -> dict[str, Any]:
        return {"container": str(self._link.about.get("container", ""))}

    def _send(self, head: Head, payload: bytes | None) -> None:
        if self._closed:
            return
        self._deliver(wire.pack(head, payload))
        if head["t"] == "closed" and self._link.over and not self._gone:
            # Not at once: it is the link's end that told us, and it has more to tell.
            asyncio.get_running_loop().call_soon(self._ended)
