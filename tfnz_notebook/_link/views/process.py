"""A process as views see it: its log through readers of the agent, and what may be asked of it.

Nothing is kept here. A view's credit is the credit of its readers at the agent, byte for byte, so
what waits for a slow page waits in the log, and a process that nobody looks at costs nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from tfnz_notebook._base import names, numbers
from tfnz_notebook._link.link import Link
from tfnz_notebook._link.views.desk import View
from tfnz_notebook._link.views.stream import Stream
from tfnz_notebook._wire import view as wire
from tfnz_notebook._wire.guest import Target
from tfnz_notebook._wire.view import Head
from tfnz_notebook._wire.window import MOST, Receiver
from tfnz_notebook.errors import (
    ContainerGone,
    LinkClosed,
    ProcessGone,
    ProtocolError,
    TfnzError,
)

#: Credit and replay of views that do not say; they may ask for MOST.
WINDOW: Final = 256 << 10
KEEP: Final = 256 << 10
#: Seconds between TERM and KILL of ``destroy``.
GRACE: Final = 5.0


class _Opened:
    """One view of this process."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.streams: dict[int, Stream] = {}
        # What it types begins anywhere: the rest went over another carrier.
        self.stdin = Receiver(0, wire.INPUT)


class ProcessSource:
    """One process at one link. ``about`` adds to ``info`` what only its owner knows."""

    def __init__(
        self, link: Link, ident: str, *, about: Callable[[], dict[str, Any]] = dict
    ) -> None:
        self._link = link
        self._id = ident
        self._about = about
        self._info: dict[str, Any] = {}
        self._gone = False
        self._views: dict[View, _Opened] = {}

    # -- views come and go

    def opened(self, view: View, head: Head) -> None:
        """Begin to send; an impossible wish closes the view."""
        if not self._views:
            self._gone = False
            self._link.listen("process", self._id, self._heard)
        opened = self._views[view] = _Opened(view)
        self._link.background(self._begin(opened, head))

    def closed(self, view: View) -> None:
        """Stop sending."""
        opened = self._views.pop(view, None)
        if opened is not None:
            for stream in opened.streams.values():
                stream.close()
        if not self._views:
            self._link.forget("process", self._id, self._heard)

    async def _begin(self, opened: _Opened, head: Head) -> None:
        view = opened.view
        try:
            self._info = await self._link.process(self._id)
            if self._info.get("tty") and "rows" in head and "columns" in head:
                await self._resize(head)
            streams = await self._open_streams(opened, head)
        except (ProcessGone, ContainerGone) as error:
            view.drop("gone", str(error))
            return
        except LinkClosed as error:
            view.drop("link", str(error))
            return
        except (TfnzError, ProtocolError) as error:
            view.drop("unknown", str(error))
            return
        view.send("opened", streams=streams, info=self.info(), **_order(opened, streams))
        for stream in opened.streams.values():
            stream.live()

    async def _open_streams(self, opened: _Opened, head: Head) -> list[list[int]]:
        from_, mode = wire.starts(head), head.get("mode", "tail")
        if mode not in ("tail", "all"):
            raise ProtocolError(f"open: a mode {mode[:16]!r}.")
        keep = min(head.get("keep", KEEP), MOST)
        window = min(max(head.get("window", WINDOW), 4096), MOST)
        streams = []
        for number in (1,) if self._info.get("tty") else (1, 2):
            if not opened.view.open:
                raise LinkClosed("The view was closed.")
            stream = Stream(
                self._link, opened.view, self._id, number, keep=keep, whole=mode == "all"
            )
            opened.streams[number] = stream
            start = from_.get(number)
            # The last to open knows of all that came before it.
            streams.append([number, *await stream.open(start, window, order=number == 2)])
        return streams

    # -- what they see

    def info(self) -> dict[str, Any]:
        """The state, as VIEWS.md has it."""
        told = self._info
        code = told.get("returncode")
        state = "running" if told.get("pid") else "starting"
        if self._gone:
            state = "gone"
        elif code is not None:
            state = "ended"
        ran = told.get("ran")
        return {
            "state": state,
            "command": told.get("text", ""),
            "pid": told.get("pid") or 0,
            "returncode": code,
            "timed_out": bool(told.get("timed_out")),
            "oom": bool(told.get("oom")),
            "tty": bool(told.get("tty")),
            "rows": told.get("rows") or 24,
            "columns": told.get("columns") or 80,
            "started": round(1000 * float(told.get("started") or 0)),
            "ran": None if ran is None else float(ran),
            "out": told.get("out") or 0,
            "err": told.get("err") or 0,
            "retain": told.get("retain") or "all",
            "now": round(1000 * time.time()),
            **self._about(),
        }

    def _heard(self, info: dict[str, Any] | None) -> None:
        if info is None:
            self._gone = True
        else:
            self._info = info
        told = self.info()
        for view in list(self._views):
            view.send("state", info=told)
            if self._gone:
                over = self._link.over
                view.drop("link" if over else "gone", "The session has ended." if over else "")

    # -- what they ask

    def message(self, view: View, head: Head, payload: bytes) -> None:
        """Do it, in the background; what fails is told as an error."""
        opened = self._views.get(view)
        if opened is None:
            return
        kind = head["t"]
        if kind == "credit":
            stream = opened.streams.get(head["stream"])
            if stream is not None:
                stream.grant(head["upto"])
            return
        if kind == "stdin":
            self._typed(opened, head, payload)
        elif kind == "eof":
            self._run(view, "end stdin", head, self._end, opened, head["offset"])
        elif kind == "signal":
            self._run(view, "signal", head, self._signal, head)
        elif kind == "destroy":
            self._run(view, "stop", head, self._destroy)
        elif kind == "resize":
            self._run(view, "resize", head, self._resize, head)
        else:
            view.send("error", doing=kind, text=f"Cannot {kind}: a process has no such thing.")

    def _run(
        self,
        view: View,
        doing: str,
        head: Head,
        work: Callable[..., Coroutine[Any, Any, None]],
        *given: Any,
    ) -> None:
        async def run() -> None:
            try:
                await work(*given)
            except TfnzError as error:
                where = {"offset": head["offset"]} if head["t"] == "stdin" else {}
                view.send("error", doing=doing, text=str(error), **where)

        self._link.background(run())

    async def _destroy(self) -> None:
        await self._ask("process.destroy", grace=GRACE)

    async def _ask(self, name: str, **body: Any) -> None:
        await self._link.request(name, {"process": self._id, **body})

    def _typed(self, opened: _Opened, head: Head, payload: bytes) -> None:
        """Write it, under a name by which the agent knows it again over whichever carrier."""
        doing, offset = "write to stdin", head["offset"]
        try:
            new, _ = opened.stdin.arrived(offset, payload)
        except ProtocolError:
            text = (
                f"Cannot write to stdin: {numbers.size(wire.INPUT)} wait for the process to read "
                "them. Wait, or put large data in a file."
            )
            opened.view.send("error", doing=doing, text=text, offset=offset)
            return
        if new:
            at = opened.stdin.expected - len(new)
            self._run(opened.view, doing, head, self._write, opened, at, new)

    async def _write(self, opened: _Opened, offset: int, chunk: bytes) -> None:
        name = f"{opened.view.id}-{offset}"
        try:
            await self._link.request("process.stdin", {"process": self._id, "write": name}, chunk)
        finally:
            opened.stdin.acknowledge(opened.stdin.taken + len(chunk))
        opened.view.send("ack", upto=offset + len(chunk))

    async def _end(self, opened: _Opened, offset: int) -> None:
        await self._ask("process.close_stdin")
        opened.view.send("ack", upto=offset, eof=True)

    async def _signal(self, head: Head) -> None:
        number = names.signal_number(head["signal"])
        target = Target.TREE if head.get("tree") else Target.LEADER
        await self._ask("process.signal", signal=number, target=int(target))

    async def _resize(self, head: Head) -> None:
        rows, columns = head["rows"], head["columns"]
        now = (self._info.get("rows"), self._info.get("columns"))
        if self._info.get("returncode") is None and now != (rows, columns):
            await self._ask("process.resize", rows=rows, columns=columns)


def _order(opened: _Opened, streams: list[list[int]]) -> dict[str, Any]:
    """Of what is replayed, which came after which; nothing where one stream has it all."""
    found = [each for stream in opened.streams.values() for each in stream.order]
    replayed = {number: range(start, head) for number, start, head in streams}
    while len(found) > 1 and found[1][1] <= replayed[found[1][0]].start:
        del found[0]  # before all that is replayed
    return {"order": found} if len([each for each in replayed.values() if each]) > 1 else {}
