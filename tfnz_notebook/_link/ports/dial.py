"""One connection to a port in a container, and what is made of it: a probe, a tunnel's pipe.

Both directions have credit, by the rules of ``_wire.window``: container to kernel as any reader,
kernel to container up to the offset that the agent last allowed. Dials do not survive a break of
the link; whoever needs it dials again.

What comes from a container of this machine may go straight into a socket, through a FIFO between
its guest and this process; the agent says how much it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from tfnz_notebook._link.ends import Piped
from tfnz_notebook._link.files.pipe import POSSIBLE
from tfnz_notebook._link.link import Link
from tfnz_notebook._link.ports.pour import Pour
from tfnz_notebook._wire.window import MOST, Receiver, Sender
from tfnz_notebook.errors import TfnzError

T = TypeVar("T")

#: Bytes on their way from the container, per connection.
WINDOW: Final = 1 << 20
#: Most bytes in one message to the container.
PIECE: Final = 256 << 10
#: Bytes of an answer in which its first line has to end.
_LINE: Final = 4096


class User(Protocol):
    """Who uses a dialled connection."""

    def received(self, payload: bytes) -> None:
        """Bytes from the container; say :meth:`Dial.taken` when they are used up."""

    def ended(self) -> None:
        """The container will send no more."""

    def writable(self) -> None:
        """:attr:`Dial.room_left` has grown."""

    def dropped(self, number: int) -> None:
        """The connection is gone, both ways; 0, or an errno."""


class Unseen(Exception):
    """The FIFO is not where the agent says: its files are others than ours."""


class Dial(Piped):
    """A dialled connection; on the I/O loop.

    ``into``: what comes goes straight into that socket where that can be, and its ``user`` hears
    of the end alone.
    """

    def __init__(
        self,
        link: Link,
        container: str,
        port: int,
        user: User,
        into: socket.socket | None = None,
    ) -> None:
        self._link = link
        self._container = container
        self._port = port
        self._user = user
        self._into = into if POSSIBLE and link.local else None
        self._pour: Pour | None = None
        self._unseen = self._gone = False
        self._in = Receiver(0, WINDOW, gaps=False)
        self._out = Sender(most=MOST)
        self.connected = self.over = False
        self._ended = False
        self.number = link.reader(self)

    async def connect(self) -> None:
        """Raises PortClosed, ContainerGone, LinkClosed; Unseen: dial another without ``into``."""
        close = partial(self._link.note, "dial.close", {"reader": self.number})
        body: dict[str, Any] = {
            "container": self._container,
            "reader": self.number,
            "host": "127.0.0.1",
            "port": self._port,
            "credit": self._in.granted,
            "pipe": self._into is not None,
        }
        try:
            # The agent knows the number once it has dialled; a close before that goes unheard.
            await self._link.request("dial.open", body, undo=close)
        except BaseException:
            self.close()
            raise
        if self._unseen:
            self.close()
            raise Unseen
        self.connected = True
        if self.over:  # given up meanwhile, which the agent may have heard too early
            close()

    @property
    def room_left(self) -> int:
        """Bytes that may be sent now."""
        return self._out.room

    def send(self, payload: bytes) -> None:
        """Send; not more than :attr:`room_left`."""
        for start in range(0, len(payload), PIECE):
            piece = payload[start : start + PIECE]
            self._out.add(len(piece))
            offset = self._out.send(len(piece))
            self._link.note("dial.data", {"reader": self.number, "offset": offset}, piece)

    def send_eof(self) -> None:
        """Close our half."""
        if not self.over:
            self._link.note("dial.eof", {"reader": self.number})

    def taken(self, size: int) -> None:
        """So many received bytes were used up."""
        self._in.take(size)
        if not self._ended and not self.over and (upto := self._in.grant()) is not None:
            self._link.note("credit", {"reader": self.number, "upto": upto})

    def close(self) -> None:
        """Drop it. Idempotent."""
        if not self.over:
            self._leave()
            self._link.note("dial.close", {"reader": self.number})

    def _leave(self) -> None:
        self.over = True
        self._link.drop(self.number)
        if self._pour is not None:
            self._pour.close()

    # -- called by the link

    def pipe(self, path: str, size: int) -> None:
        """What comes, comes that way."""
        if self._into is None or self._pour is not None or self.over:
            return  # nobody asked for that
        try:
            self._pour = Pour(path, self._into, self._poured)
        except OSError:
            self._unseen = True

    def piped(self, size: int) -> None:
        """So many bytes are all of it."""
        if self._pour is not None:
            self._pour.ends(size)

    def _poured(self, whole: bool) -> None:
        if not whole:
            self.close()
            self._user.dropped(errno.ECONNRESET)
            return
        self.eof(0)
        if self._gone:
            self.closed(0)

    def data(self, offset: int, payload: bytes) -> None:
        """Bytes from the container. ProtocolError for those that are not next, or not asked for."""
        new, _ = self._in.arrived(offset, payload)
        if new:
            self._user.received(new)

    def eof(self, offset: int) -> None:
        """The container's half is closed."""
        self._ended = True
        self._user.ended()

    def room(self, upto: int) -> None:
        """We may send more."""
        if self._out.allow(upto):
            self._user.writable()

    def closed(self, number: int) -> None:
        """The container's side dropped it, or both halves are closed."""
        if self.over:
            return
        if self._pour is not None and not self._ended and not number:
            if self._pour.told:  # the last of it is still on its way
                self._gone = True
                return
            number = errno.ECONNRESET
        self._leave()
        self._user.dropped(number)

    def broken(self, error: TfnzError, final: bool) -> None:
        """The link broke, and this connection with it."""
        self.closed(errno.ECONNRESET)


class _Stream:
    """Who reads what comes, a piece at a time, and says something as there is room for it."""

    def __init__(self) -> None:
        self.dial: Dial
        self._held = bytearray()
        self._over = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    async def send(self, data: bytes) -> None:
        """All of it, or what was sent before the connection was dropped."""
        while data and not self.dial.over:
            self._room.clear()
            some, data = data[: self.dial.room_left], data[self.dial.room_left :]
            self.dial.send(some)
            if data:
                await self._room.wait()

    async def read(self) -> bytes:
        """What has come, at least a byte of it; empty at the end."""
        while not self._held and not self._over:
            self._news.clear()
            await self._news.wait()
        held, self._held = bytes(self._held), bytearray()
        return held

    def received(self, payload: bytes) -> None:
        self._held += payload
        self.dial.taken(len(payload))
        self._news.set()

    def ended(self) -> None:
        self._over = True
        self._news.set()

    def writable(self) -> None:
        self._room.set()

    def dropped(self, number: int) -> None:
        self._room.set()
        self.ended()


async def http_status(
    link: Link,
    container: str,
    port: int,
    line: str,
    head: str,
    tls: ssl.SSLContext | None = None,
    name: str = "",
) -> str:
    """The status line that a request is answered with, without following anything.

    ``line`` is its method and path, ``head`` its further lines. Empty if the server closes without
    an answer. Raises PortClosed, ContainerGone, LinkClosed; SSLError.
    """
    request = (
        f"{line} HTTP/1.1\r\n{head}User-Agent: tfnz-notebook\r\nAccept: */*\r\n"
        "Connection: close\r\n\r\n"
    ).encode("latin-1", "replace")
    stream = _Stream()
    dial = stream.dial = Dial(link, container, port, stream)
    await dial.connect()
    try:
        talk = _plain(stream, request) if tls is None else _secret(stream, request, tls, name)
        said = b""
        async for piece in talk:
            said += piece
            if b"\n" in said or len(said) > _LINE:
                break
    finally:
        dial.close()
    told = said.partition(b"\n")[0].decode("latin-1").strip()
    return told if told.startswith("HTTP/") else ""


async def _plain(stream: _Stream, request: bytes) -> AsyncIterator[bytes]:
    await stream.send(request)
    while piece := await stream.read():
        yield piece


async def _secret(
    stream: _Stream, request: bytes, tls: ssl.SSLContext, name: str
) -> AsyncIterator[bytes]:
    """The same through TLS, whose bytes go in and out of memory."""
    coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    layer = tls.wrap_bio(coming, going, server_hostname=name)

    async def step(what: Callable[[], T]) -> T | None:
        """Its result, once enough has come for it; None: no more comes."""
        while True:
            try:
                return what()
            except ssl.SSLWantReadError:
                pass
            finally:
                if told := going.read():
                    await stream.send(told)
            if not (piece := await stream.read()):
                return None
            coming.write(piece)

    await step(layer.do_handshake)
    if layer.version() is None:
        return
    await step(lambda: layer.write(request))
    with contextlib.suppress(ssl.SSLZeroReturnError):
        while piece := await step(lambda: layer.read(_LINE)):
            yield piece


async def accepts(link: Link, container: str, port: int) -> None:
    """Return if something listens there. Raises PortClosed, ContainerGone, LinkClosed."""
    stream = _Stream()
    dial = stream.dial = Dial(link, container, port, stream)
    await dial.connect()
    dial.close()
