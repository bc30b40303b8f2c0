"""Messages between a kernel and its agent: the table of operations, encoder and decoder.

A message is one or two ZeroMQ parts: a msgpack array ``[kind, ident, name, body]`` and, for some
operations, a payload of raw bytes. ``body`` is a map checked against :data:`REQUESTS`,
:data:`NOTES` or :data:`EVENTS`: a missing or mistyped field is a :class:`ProtocolError`, an
unknown one is dropped, which is how the protocol grows. Replies are not checked field by field;
who asked reads what it needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

import msgpack

from tfnz_notebook.errors import ProtocolError

#: 3: an agent tells a session's state once and then its changes, and the end of a short process in
#: one event. The two of one machine are of one release; over the network an older one is refused.
VERSION: Final = 3
VERSION_MIN: Final = 3

MAX_HEADER: Final = 4 << 20
#: Largest payload: the files given to ``spawn_container`` before boot travel in one.
MAX_PAYLOAD: Final = 64 << 20
#: Bytes of output or of an upload in one message.
MAX_CHUNK: Final = 512 << 10
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


@dataclass(frozen=True, slots=True)
class Field:
    """What a field may be. ``limit`` bounds length (text, bytes, lists, maps) or the number."""

    type: type | tuple[type, ...]
    required: bool = True
    limit: int = 4096


_ID = Field(str, limit=64)
_TEXT = Field(str, limit=65536)
_OPTIONAL_TEXT = Field((str, type(None)), required=False, limit=65536)
_FLAG = Field(bool, required=False)
_INT = Field(int, limit=1 << 62)
_OPTIONAL_INT = Field((int, type(None)), required=False, limit=1 << 62)
_SECONDS = Field((int, float, type(None)), required=False, limit=1 << 31)
_LIST = Field(list, limit=4096)
_MAP = Field(dict, limit=65536)

Shape = Mapping[str, Field]

#: Requests. Those in REPEATABLE may be sent again after a broken link: ids are the kernel's, so a
#: repeat finds what the first one made.
REQUESTS: Final[Mapping[str, Shape]] = {
    # -- the link and its session
    "hello": {
        "version": _INT,
        "version_min": _INT,
        "package": _OPTIONAL_TEXT,  # for people
        "client": _ID,
        "session": _OPTIONAL_TEXT,
        "durable": _FLAG,
        "ttl": _SECONDS,
        "pid": _OPTIONAL_INT,
        "pid_start": _OPTIONAL_INT,
        # A viewer has no session: it may use this one process, as its ticket says.
        "viewer": _FLAG,
        "process": Field((str, type(None)), required=False, limit=64),
        "ticket": Field((str, type(None)), required=False, limit=128),
    },
    "ping": {},
    "bye": {},
    # -- places
    "nodes": {},
    "images": {},
    "volume.create": {"name": _ID},
    "volume.list": {},
    "volume.remove": {"name": _ID},
    # -- containers; payload of spawn: msgpack map, absolute path to bytes
    "container.spawn": {"container": _ID, "spec": _MAP},
    "container.list": {},
    "container.info": {"container": _ID},
    "container.start": {"container": _ID},
    "container.stats": {"container": _ID},
    "container.reboot": {"container": _ID, "reset_filesystem": _FLAG},
    # "other" may connect to "container", or not any more
    "container.allow": {"container": _ID, "other": _ID},
    "container.disallow": {"container": _ID, "other": _ID},
    "container.destroy": {"container": _ID, "grace": _SECONDS},
    # -- processes; the main process's id is its container's
    "process.spawn": {
        "container": _ID,
        "process": _ID,
        "command": _LIST,
        "text": _TEXT,
        "env": _LIST,
        "cwd": _OPTIONAL_TEXT,
        "user": _OPTIONAL_TEXT,
        "tty": _FLAG,
        "login": _FLAG,
        "rows": _OPTIONAL_INT,
        "columns": _OPTIONAL_INT,
        "timeout": _SECONDS,
        "retain": _OPTIONAL_TEXT,
        "readers": Field(list, required=False, limit=2),  # [stream, reader, credit] each
    },
    "process.list": {"container": _ID},
    "process.info": {"process": _ID},
    "process.ticket": {"process": _ID},
    "process.signal": {"process": _ID, "signal": _INT, "target": _INT},
    "process.destroy": {"process": _ID, "grace": _SECONDS},
    # payload; `write` names it, so that a repeat writes nothing twice
    "process.stdin": {"process": _ID, "write": _OPTIONAL_TEXT},
    "process.close_stdin": {"process": _ID},
    "process.resize": {"process": _ID, "rows": _INT, "columns": _INT},
    "process.ask": {  # payload
        "process": _ID,
        "timeout": _SECONDS,
        "settle": _FLAG,
        "write": _OPTIONAL_TEXT,
    },
    # -- reading logs
    "log.read": {  # payload back
        "process": _ID,
        "stream": _INT,
        "offset": _INT,
        "limit": _INT,
        "order": _FLAG,
    },
    "reader.open": {
        "reader": _INT,
        "process": _ID,
        "stream": _INT,
        "offset": _INT,
        "credit": _INT,
        "tail": _OPTIONAL_INT,
        "window": _OPTIONAL_INT,
        "keep": _OPTIONAL_INT,
        "hold": _FLAG,
    },
    "reader.close": {"reader": _INT},
    # -- files; put: one or more messages with the same transfer, the last one says so
    "file.put": {
        "container": _ID,
        "transfer": _ID,
        "path": _TEXT,
        "mode": _OPTIONAL_INT,
        "user": _OPTIONAL_TEXT,
        "parents": _FLAG,
        "last": _FLAG,
    },
    "file.get": {"container": _ID, "path": _TEXT, "reader": _INT, "credit": _INT},
    "file.list": {"container": _ID, "path": _TEXT},
    "file.mkdir": {
        "container": _ID,
        "path": _TEXT,
        "mode": _OPTIONAL_INT,
        "user": _OPTIONAL_TEXT,
        "parents": _FLAG,
        "exist_ok": _FLAG,
    },
    # -- connections into a container
    "dial": {"container": _ID, "reader": _INT, "host": _TEXT, "port": _INT, "credit": _INT},
}

REPEATABLE: Final = frozenset(
    {
        "ping",
        "bye",
        "nodes",
        "images",
        "volume.create",
        "volume.list",
        "container.spawn",
        "container.list",
        "container.info",
        "container.start",
        "container.stats",
        "container.allow",
        "container.destroy",
        "process.spawn",
        "process.list",
        "process.info",
        "process.ticket",
        "process.destroy",
        "process.close_stdin",
        "process.resize",
        "log.read",
        "file.list",
        "reader.close",
    }
)
#: Repeatable, too: the agent knows them by their ``write``.
WRITES: Final = frozenset({"process.stdin", "process.ask"})

#: What a viewer may say, of its own process alone; and the note ``credit``.
OF_VIEWERS: Final = frozenset(
    {
        "ping",
        "bye",
        "process.info",
        "process.signal",
        "process.destroy",
        "process.stdin",
        "process.close_stdin",
        "process.resize",
        "log.read",
        "reader.open",
        "reader.close",
    }
)

#: Kernel to agent, unanswered.
NOTES: Final[Mapping[str, Shape]] = {
    "credit": {"reader": _INT, "upto": _INT},
    "dial.data": {"reader": _INT, "offset": _INT},  # payload
    "dial.eof": {"reader": _INT},
    "dial.close": {"reader": _INT},
}

#: Agent to kernel.
EVENTS: Final[Mapping[str, Shape]] = {
    # state: pulling | creating | starting | running | exited | failed | destroyed.
    "container": {"container": _ID, "info": _MAP},
    # A process exited ('returncode') or, with 'out' and 'err', all it had written is in the log.
    "process": {"process": _ID, "info": _MAP},
    "data": {"reader": _INT, "offset": _INT},  # payload; offset is of its first byte
    "eof": {"reader": _INT, "offset": _INT},
    "dial.credit": {"reader": _INT, "upto": _INT},
    "dial.closed": {"reader": _INT, "errno": _INT},
}

_TABLES: Final[Mapping[Kind, Mapping[str, Shape]]] = {
    Kind.REQUEST: REQUESTS,
    Kind.NOTE: NOTES,
    Kind.EVENT: EVENTS,
}
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
    # A later agent may tell of more than we know.
    if kind in _TABLES and not (kind is Kind.EVENT and name not in EVENTS):
        body = check(_TABLES[kind], name, body)
    return Message(kind, ident, name, body, parts[1] if len(parts) == 2 else None)


def check(table: Mapping[str, Shape], name: str, body: Mapping[Any, Any]) -> dict[str, Any]:
    """The known fields of ``body``, each held to the table."""
    shape = table.get(name)
    if shape is None:
        raise ProtocolError(f"{name[:64]!r} is not in the protocol.")
    known: dict[str, Any] = {}
    for key, rule in shape.items():
        if key not in body:
            if rule.required:
                raise ProtocolError(f"{name} lacks {key!r}.")
            continue
        value = body[key]
        # bool is an int to isinstance, and a flag is no number here.
        if not isinstance(value, rule.type) or (isinstance(value, bool) and rule.type is not bool):
            raise ProtocolError(f"{name}: {key!r} is a {type(value).__name__}.")
        size: Any = len(value) if isinstance(value, Sized) else value or 0
        if not 0 <= size <= rule.limit:
            raise ProtocolError(f"{name}: {key!r} is over its limit of {rule.limit}.")
        known[key] = value
    return known


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
