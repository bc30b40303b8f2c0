"""Messages between a kernel and its agent: encoder and decoder.

A message is one or two ZeroMQ parts: a msgpack array ``[kind, ident, name, body]`` and, for some
operations, a payload of raw bytes. ``body`` is a map held to its row in ``operations``: a missing
or mistyped field is a :class:`ProtocolError`, an unknown one is dropped, which is how the protocol
grows. Replies are not checked field by field; who asked reads what it needs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

import msgpack

from tfnz_notebook._wire.operations import EVENTS, MAX_PAYLOAD, NOTES, OPERATIONS, checked
from tfnz_notebook.errors import ProtocolError

#: 3: an agent tells a session's state once and then its changes, and the end of a short process in
#: one event. The two of one machine are of one release; over the network an older one is refused.
VERSION: Final = 3
VERSION_MIN: Final = 3

MAX_HEADER: Final = 4 << 20
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


@dataclass(slots=True)
class Message:
    """One decoded message."""

    kind: Kind
    ident: int
    name: str
    body: dict[str, Any] = field(default_factory=dict)
    payload: bytes | None = None


def encode(message: Message) -> list[bytes]:
    """The ZeroMQ parts of a message."""
    header = msgpack.packb(
        [int(message.kind), message.ident, message.name, message.body],
        unicode_errors="surrogateescape",
    )
    return [header] if message.payload is None else [header, message.payload]


def decode(parts: list[bytes]) -> Message:
    """The inverse of :func:`encode`; raises ProtocolError for anything not in the tables.

    But for an event of a name that is not known: who gets it ignores it.
    """
    if len(parts) not in (1, 2):
        raise ProtocolError(f"A message of {len(parts)} parts.")
    if len(parts[0]) > MAX_HEADER or (len(parts) == 2 and len(parts[1]) > MAX_PAYLOAD):
        raise ProtocolError(f"A message of {sum(map(len, parts))} bytes.")
    try:
        # unpackb bounds every nested length by the size of its input.
        whole = msgpack.unpackb(parts[0], unicode_errors="surrogateescape")
    except Exception as error:  # noqa: BLE001 - msgpack raises ValueError, its own classes, RecursionError
        raise ProtocolError(f"A header that is not msgpack: {type(error).__name__}.") from None
    match whole:
        case [int(number), int(ident), str(name), dict(body)] if number in _kinds:
            kind = _kinds[number]
        case _:
            raise ProtocolError("A header that is not [kind, ident, name, body].")
    if not 0 <= ident < 1 << 62:
        raise ProtocolError(f"Ident {ident} is out of range.")
    payload = parts[1] if len(parts) == 2 else None
    match kind:
        case Kind.REQUEST:
            row = OPERATIONS.get(name)
            body = checked(name, row.fields if row else None, body)
            if payload is not None and row is not None and len(payload) > row.payload:
                raise ProtocolError(f"{name}: a payload of {len(payload)} bytes.")
        case Kind.NOTE:
            body = checked(name, NOTES.get(name), body)
        case Kind.EVENT if name in EVENTS:  # a later agent may tell of more than we know
            body = checked(name, EVENTS[name], body)
    return Message(kind, ident, name, body, payload)


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
