"""The picture of a process: its output as it comes, how it is, and what stays of it."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from tfnz_notebook._base.numbers import size
from tfnz_notebook._base.text import clip
from tfnz_notebook._link.agents.remote import RemotePlace
from tfnz_notebook._link.views.process import ProcessSource
from tfnz_notebook.errors import TfnzError
from tfnz_notebook.process import Process
from tfnz_notebook.widgets import status
from tfnz_notebook.widgets.display import Still, draw
from tfnz_notebook.widgets.saved import frozen, screen
from tfnz_notebook.widgets.saved.ansi import visible

#: Bytes of a stream that the first still looks at, so that a cell which shows many is done soon.
#: The next one, seconds later, has all that fits.
QUICK: Final = 6 << 10
#: Bytes of stderr that a still looks at, of the ``frozen.TAIL`` for both.
OF_STDERR: Final = frozen.TAIL // 3


class ProcessPicture:
    """A :class:`~tfnz_notebook.widgets.display.Picture` of a process.

    ``kind`` is the bundle that draws it; a shell's picture is this one with another.
    """

    def __init__(self, process: Process, kind: str = "output", **options: Any) -> None:
        self.process = process
        self.kind = kind
        self.subject = f"process:{process.id}"
        self.options: dict[str, Any] = options
        self.source = ProcessSource(process._link, process.id, about=self._about)
        #: What the log said last, should it go with its container.
        self._pieces: list[tuple[int, bytes]] = []
        #: Bytes before those, and how many of them the log has dropped.
        self._above = 0
        self._gone = {1: 0, 2: 0}
        self._heads = {1: 0, 2: 0}
        self._first = True

    @property
    def text(self) -> str:
        """One line: what runs where, and how it is."""
        return f"{self._title} · {status.of(self._info())}"

    @property
    def _command(self) -> str:
        return clip(" ".join(self.process.command.split()), 200)

    @property
    def _title(self) -> str:
        return visible(f"{self._command} in {self.process.container._called}")

    def _about(self) -> dict[str, Any]:
        return {"container": self.process.container._called}

    def _info(self) -> dict[str, Any]:
        """As views get it, from what this kernel knows."""
        process = self.process
        self.source._info = {"text": process.command, "tty": process.tty, **process._info}
        self.source._gone = process._gone and process.returncode is None
        info = self.source.info()
        if not info["out"] and not info["err"]:
            info["out"], info["err"] = self._heads[1], self._heads[2]
        if info["state"] == "starting" and (info["out"] or info["err"]):
            info["state"] = "running"  # a container's first process, of whose pid nobody told us
        return info

    async def direct(self) -> dict[str, str] | None:
        """Where its agent runs on this machine: a ticket for its views alone."""
        link = self.process._link
        if isinstance(link.place, RemotePlace):
            return None
        try:
            reply = await link.request("process.ticket", {"process": self.process.id})
        except TfnzError:
            return None
        agent, ticket = str(reply.body.get("agent", "")), str(reply.body.get("ticket", ""))
        return {"agent": agent, "process": self.process.id, "ticket": ticket} if ticket else None

    async def over(self) -> None:
        """Return once it has ended and its last byte is in the log."""
        looks = self.process.container._last_looks
        looks.append(self._read)  # its log goes with its container
        try:
            await self.process._changes.until(lambda: self.process._ended, None, _never)
        finally:
            looks.remove(self._read)

    async def still(self, *, final: bool) -> Still:
        """Its tail, coloured, and its status."""
        first, self._first = self._first and not final, False
        await self._read(first=first)
        info = self._info()
        said = status.of(info)
        if not final and said.state in ("starting", "running"):
            # It is read later, when nothing ticks; and what changes all the time is sent each time.
            words, facts = f"{said.words} when last seen", size(info["out"] + info["err"])
            said = status.Status("starting", words, facts)
        return await draw(self._draw, self._pieces, self._above, info, said)

    async def _read(self, *, first: bool = False) -> None:
        """Look at its log, if that can be reached; else what was read last is all there is."""
        streams = (1,) if self.process.tty else (1, 2)
        try:
            found = await asyncio.gather(*(self._tail(number, first) for number in streams))
        except TfnzError:
            return
        tails = {n: (start, data) for n, (start, data, _) in zip(streams, found, strict=True)}
        self._pieces = frozen.weave(tails, found[-1][2])
        self._above = sum(start for start, _ in tails.values())

    async def _tail(self, stream: int, first: bool) -> tuple[int, bytes, list[tuple[int, int]]]:
        """The last of a stream: the offset of its first byte, it, and the order of both."""
        most = screen.MOST if self.process.tty else OF_STDERR if stream == 2 else frozen.TAIL
        most = min(most, QUICK) if first else most
        link, body = self.process._link, {"process": self.process.id, "stream": stream}
        ordered = stream == 2
        info = self.process._info
        if info.get("ended"):  # then the head is known, and nothing may come in between
            head = int(info.get("out" if stream == 1 else "err") or 0)
        else:
            reply = await link.request("log.read", {**body, "offset": 0, "limit": 0})
            head = int(reply.body["head"])
        start = max(0, head - most)
        reply = await link.request(
            "log.read", {**body, "offset": start, "limit": most, "order": ordered}
        )
        start, data = int(reply.body.get("offset", start)), reply.payload or b""
        self._heads[stream] = int(reply.body.get("head", head))
        self._gone[stream] = int(reply.body.get("base") or 0)
        if start and not self.process.tty:  # of a terminal's, screen.py decides
            start, data = _whole(start, data)
        order = [(int(n), int(offset)) for n, offset in reply.body.get("order") or ()]
        return start, data, order

    def _tall(self, info: dict[str, Any]) -> int:
        """Lines that its view shows at once."""
        told = self.options.get("rows") or (info["rows"] if info["tty"] else frozen.ROWS)
        return min(max(int(told), 1), 60)

    def _draw(
        self, pieces: list[tuple[int, bytes]], above: int, info: dict[str, Any], said: status.Status
    ) -> Still:
        """In a worker thread: this takes some ten milliseconds, a terminal's screen more."""
        gone = min(sum(self._gone.values()), above)
        used: int | None
        if info["tty"]:
            data = b"".join(piece for _, piece in pieces)
            shown = screen.draw(data, info["rows"], info["columns"], middle=above > 0)
            rows, used = [frozen.Row(spans) for spans in shown.lines], shown.used
        else:
            rows, used = frozen.rows(pieces), None
        return Still(
            frozen.plain(rows, above, f"{self._title} · {said}", gone=gone),
            frozen.markup(
                rows,
                above,
                said,
                title=self._command,
                tall=self._tall(info),
                gone=gone,
                used=used,
            ),
        )


def process_picture(process: Process, **options: Any) -> ProcessPicture:
    """A picture for the output view; ``options`` are the view's: stdin, title, rows."""
    return ProcessPicture(process, **options)


def _whole(start: int, data: bytes) -> tuple[int, bytes]:
    """From the first whole line on, if one begins soon; at least from a whole character."""
    cut = data.find(b"\n", 0, 8192) + 1
    if not cut:
        while cut < min(4, len(data)) and data[cut] & 0xC0 == 0x80:
            cut += 1
    return start + cut, data[cut:]


def _never() -> TfnzError:
    raise AssertionError("there is no timeout")
