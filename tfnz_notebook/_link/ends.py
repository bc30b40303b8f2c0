"""What is at the ends of a link: a place with an agent on one, sinks of streams on the other."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from tfnz_notebook.errors import TfnzError


@dataclass(frozen=True, slots=True)
class Address:
    """Where an agent listens; the keys (as Z85 text) are empty on ``ipc``."""

    url: str
    server_key: bytes = b""
    public_key: bytes = b""
    secret_key: bytes = b""


class Place(Protocol):
    """Where an agent is to be found."""

    @property
    def where(self) -> str:
        """As people write it: 'podman', 'tcp://host:2020', ..."""

    def find(self) -> Address:
        """Where an agent listens; it is started if need be. Blocks. AgentError, NoEngine."""


class Line(Protocol):
    """One connection to an agent, of whole messages."""

    def send(self, parts: list[bytes]) -> None:
        """Queue a message; never blocks."""

    def look(self) -> None:
        """Notice now if it has ended."""

    def close(self, linger: float = 0.0) -> None:
        """Let go; what was sent may still leave for ``linger`` seconds. Idempotent."""


#: How a line is made: to the agent of a place, with who gets the messages, and the reason why it
#: ended, once. Raises what the place does. Tests hand in lines of their own.
Connect = Callable[
    [Place, Callable[[list[bytes]], None], Callable[[str], None]], Coroutine[Any, Any, Line]
]


class Sink(Protocol):
    """Takes one stream. A call after ``ended`` or an end of the link never comes."""

    def data(self, offset: int, payload: bytes) -> None:
        """Bytes; ``offset`` is of the first one."""

    def eof(self, offset: int) -> None:
        """Nothing follows."""

    def room(self, upto: int) -> None:
        """How far we may send (dialled connections)."""

    def closed(self, errno: int) -> None:
        """The far end dropped it: a connection ended, a log or a file cannot be read on."""

    def broken(self, error: TfnzError, final: bool) -> None:
        """The link broke; it will be mended unless ``final``."""

    def mended(self) -> None:
        """The link is back and knows nothing of this sink's number any more."""


class LogSink(Sink, Protocol):
    """Takes one stream of a process's log, and opens itself again after a break."""

    def begins(self) -> None:
        """The agent has just said that it sends: a break from here on is one of this sink's."""


class Piped:
    """A sink whose bytes may go through a pipe, if it asked for that: of a file, of a connection.

    What the request's answer tells as well, and what only one direction has, it need not hear.
    """

    def pipe(self, path: str, size: int) -> None:
        """Through the FIFO that is there; a download's are about so many."""

    def piped(self, size: int) -> None:
        """So many bytes are in it, and that is all."""

    def data(self, offset: int, payload: bytes) -> None:
        """Bytes that come over the link."""

    def eof(self, offset: int) -> None:
        """They are over."""

    def room(self, upto: int) -> None:
        """Nothing is sent but by requests."""

    def closed(self, errno: int) -> None:
        """It broke off."""

    def broken(self, error: TfnzError, final: bool) -> None:
        """The link broke, and nothing of this survives that."""

    def mended(self) -> None:
        """It has ended already."""
