"""Messages between a kernel and its agent: encoder and decoder.

A message is one or two ZeroMQ parts: a msgpack array ``[kind, ident, name, body]`` and, for some
operations, a payload of raw bytes. ``body`` is a map held to its row in ``operations``: a missing
or mistyped field is a :class:`ProtocolError`, an unknown one is dropped, which is how the protocol
grows. Replies are not checked field by field; who asked reads what it needs.

Both ends hold a message to its bounds: :func:`encode` raises before a byte is sent, and what
:func:`decode` refuses it refuses by the request's ident where one can be read, so that this request
fails and nothing else does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

import msgpack

from tfnz_notebook._base import numbers
from tfnz_notebook._wire.operations import (
    EVENTS,
    MAX_BODY,
    MAX_PAYLOAD,
    NOTES,
    OPERATIONS,
    Shape,
    checked,
)
from tfnz_notebook.errors import ProtocolError, TooLarge

#: 3: an agent tells a session's state once and then its changes, and the end of a short process in
#: one event. The two of one machine are of one release; over the network an older one is refused.
VERSION: Final = 3
VERSION_MIN: Final = 3

#: Seconds between a kernel's pings, and how long after the last one its session ends.
HEARTBEAT: Final = 10.0
SESSION_GRACE: Final = 120.0
#: Heartbeats without a word after which a connection counts as broken (TCP may fall silent), and
#: a viewer as gone.
SILENCE: Final = 3


class Kind(IntEnum):
    """First element of every message."""

    REQUEST = 0  # kernel to agent, answered by REPLY or ERROR with the same ident
    REPLY = 1
    ERROR = 2  # body as errors.to_wire
    EVENT = 3  # agent to kernel, ident 0
    NOTE = 4  # kernel to agent, ident 0, never answered


_kinds: Final = {int(kind): kind for kind in Kind}
_shapes: Final[dict[Kind, Mapping[str, Shape]]] = {
    Kind.REQUEST: {name: row.fields for name, row in OPERATIONS.items()},
    Kind.NOTE: NOTES,
    Kind.EVENT: EVENTS,
}
_HEADER: Final = (int, int, str, dict)


@dataclass(slots=True)
class Message:
    """One decoded message."""

    kind: Kind
    ident: int
    name: str
    body: dict[str, Any] = field(default_factory=dict)
    payload: bytes | None = None


def encode(message: Message) -> list[bytes]:
    """The ZeroMQ parts of a message. Raises TooLarge."""
    header: bytes = msgpack.packb(
        [int(message.kind), message.ident, message.name, message.body],
        unicode_errors="surrogateescape",
    )
    if len(header) > MAX_BODY:
        raise too_large(message.name, len(header), MAX_BODY)
    if message.payload is None:
        return [header]
    most = _most(message)
    if len(message.payload) > most:
        raise too_large(message.name, len(message.payload), most)
    return [header, message.payload]


def too_large(name: str, size: int, limit: int, remedy: str = "") -> TooLarge:
    """The error about that operation (or event) that takes so many bytes, and may take so many."""
    row = OPERATIONS.get(name)
    return TooLarge(
        f"Cannot {row.doing if row else f'tell of {name!r}'}: it takes {numbers.size(size)}, and "
        f"at most {numbers.size(limit)} go. {remedy or 'Put large data in a file.'}",
        size=size,
        limit=limit,
    )


def _most(message: Message) -> int:
    """Bytes that its payload may have."""
    row = OPERATIONS.get(message.name) if message.kind is Kind.REQUEST else None
    return MAX_PAYLOAD if row is None else row.payload


def decode(parts: list[bytes]) -> Message:
    """The inverse of :func:`encode`; raises ProtocolError for anything not in the tables.

    But for an event of a name that is not known: who gets it ignores it. Of a request, or an
    answer to one, the error's ``details`` have the ``ident`` if that can be read.
    """
    if len(parts) not in (1, 2):
        raise ProtocolError(f"A message of {len(parts)} parts.")
    if len(parts[0]) > MAX_BODY:
        raise _refused(_ident(parts[0]), f"A message of {len(parts[0])} bytes.")
    try:
        # unpackb bounds every nested length by the size of its input.
        whole = msgpack.unpackb(parts[0], unicode_errors="surrogateescape")
    except Exception as error:  # noqa: BLE001 - msgpack raises ValueError, its own classes, RecursionError
        raise ProtocolError(f"A header that is not msgpack: {type(error).__name__}.") from None
    if type(whole) is not list or tuple(map(type, whole)) != _HEADER or whole[0] not in _kinds:
        raise ProtocolError("A header that is not [kind, ident, name, body].")
    number, ident, name, body = whole
    if not 0 <= ident < 1 << 62:
        raise ProtocolError(f"Ident {ident} is out of range.")
    message = Message(_kinds[number], ident, name, body, parts[1] if len(parts) == 2 else None)
    if message.payload is not None and len(message.payload) > _most(message):
        raise _refused(ident, f"{name[:64]}: a payload of {len(message.payload)} bytes.")
    try:
        message.body = _known(message)
    except ProtocolError as error:
        raise _refused(ident, str(error)) from None
    return message


def _known(message: Message) -> dict[str, Any]:
    kind, name = message.kind, message.name
    shapes = _shapes.get(kind)
    # answers are who asked's to read; and a later agent may tell of more than we know
    if shapes is None or (kind is Kind.EVENT and name not in shapes):
        return message.body
    return checked(name, shapes.get(name), message.body)


def _refused(ident: int, text: str) -> ProtocolError:
    return ProtocolError(text, ident=ident) if ident else ProtocolError(text)


def _ident(header: bytes) -> int:
    """Of what is too large to be read; 0 if it has none."""
    reader = msgpack.Unpacker()
    reader.feed(header[:32])
    with contextlib.suppress(Exception):  # as above
        if reader.read_array_header() == 4 and reader.unpack() in _kinds:
            ident = reader.unpack()
            return ident if isinstance(ident, int) and 0 < ident < 1 << 62 else 0
    return 0


def request(ident: int, name: str, body: dict[str, Any], payload: bytes | None = None) -> Message:
    """A request; ``ident`` is the kernel's, unique among those unanswered."""
    return Message(Kind.REQUEST, ident, name, body, payload)


def reply(to: Message, body: dict[str, Any], payload: bytes | None = None) -> Message:
    """The answer to a request."""
    return Message(Kind.REPLY, to.ident, to.name, body, payload)


def event(name: str, body: dict[str, Any], payload: bytes | None = None) -> Message:
    """Something the agent tells unasked."""
    return Message(Kind.EVENT, 0, name, body, payload)


def note(name: str, body: dict[str, Any], payload: bytes | None = None) -> Message:
    """Something the kernel tells and wants no answer to."""
    return Message(Kind.NOTE, 0, name, body, payload)
