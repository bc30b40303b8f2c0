"""What may be said on a link: one row an operation, from which everything else is derived.

A row says which fields a message has, who may send it, whether it may be said again after a broken
connection, and in whose scope it runs. Decoding (``link``), dispatch in the agent, what a kernel
repeats, the tables in PROTOCOL.md and the exhaustive tests read these rows; nothing else lists
operations. To add one: a row here, and a function in the module of its noun in
``agent/operations``. ``python -m tfnz_notebook._wire.operations`` prints the tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from tfnz_notebook._base import numbers
from tfnz_notebook.errors import ProtocolError

#: Bytes of a message, encoded, without its payload; and of any payload. Whoever sends checks it:
#: what may be larger streams, goes ahead in pieces (``Operation.ahead``), or comes in pages.
MAX_BODY: Final = 1 << 20
MAX_PAYLOAD: Final = 1 << 20
#: Bytes of a message's part that are taken off the wire at all; between that and the bounds above,
#: what is refused is refused by name.
MAX_FRAME: Final = 4 << 20
#: Bytes of output or of an upload in one message.
MAX_CHUNK: Final = 512 << 10
#: Bytes of a log that one event tells the place of.
MAX_LYING: Final = 1 << 20
#: Bytes that may go ahead of a request (a container's files, a question); and of a process, whose
#: arguments and environment no Linux takes beyond 6 MiB, execve(2).
MAX_AHEAD: Final = 64 << 20
MAX_ARGUMENTS: Final = 8 << 20
#: Bytes of a page of a listing, about: its last item may reach beyond. And of all its pages.
PAGE: Final = 256 << 10
MAX_LISTING: Final = 64 << 20
#: Bytes of each stream that the event of a process's end may carry.
MAX_SAID: Final = 64 << 10
#: Bytes of a container's last words in what is told of it; and kept, for who asks.
MAX_WORDS: Final = 4 << 10
MAX_TAIL: Final = 64 << 10
#: Characters of any text in an ``info``, and of a command's text for people.
MAX_INFO: Final = 4 << 10
MAX_TEXT: Final = 500
#: Containers of one kind that may wait for a spawn.
MAX_SPARES: Final = 100
#: Characters of an ``origin``: what made it, in words that only kernels read.
MAX_ORIGIN: Final = 200


class Scope(Enum):
    """What an operation is about: it can be asked for as long as that is there."""

    LINK = "link"
    SESSION = "session"
    CONTAINER = "container"
    PROCESS = "process"


class Again(Enum):
    """What a kernel does with a request that a broken connection left unanswered."""

    NEVER = "fails"  # it may have been done, and doing it twice is something else
    SAID = "said again"  # ids are the kernel's, so a repeat finds what the first one made
    NAMED = "said again by name"  # a write: the agent knows it by its ``write``


@dataclass(frozen=True, slots=True)
class Field:
    """What a field may be. ``limit`` bounds length (text, bytes, lists, maps) or the number."""

    kind: type | tuple[type, ...]
    required: bool = True
    limit: int = 4096
    #: What a list's elements are.
    of: type | None = None

    def check(self, name: str, key: str, value: Any) -> None:
        """Raise ProtocolError, which names the message and its field, for what may not be."""
        # bool is an int to isinstance, and a flag is no number here.
        if not isinstance(value, self.kind) or (isinstance(value, bool) and self.kind is not bool):
            raise ProtocolError(f"{name}: {key!r} is a {type(value).__name__}.")
        size: Any = len(value) if isinstance(value, (str, bytes, list, dict)) else value or 0
        if not 0 <= size <= self.limit:
            raise ProtocolError(f"{name}: {key!r} is over its limit of {self.limit}.")
        elements: Any = value
        if self.of and not all(isinstance(each, self.of) for each in elements):
            what = self.of.__name__
            raise ProtocolError(f"{name}: {key!r} holds something that is no {what}.")


Shape = Mapping[str, Field]

_ID: Final = Field(str, limit=64)
_TEXT: Final = Field(str, limit=65536)
_NUMBER: Final = Field(int, limit=1 << 62)
_OPTIONAL_ID: Final = Field((str, type(None)), required=False, limit=64)
_OPTIONAL_TEXT: Final = Field((str, type(None)), required=False, limit=65536)
_OPTIONAL_NUMBER: Final = Field((int, type(None)), required=False, limit=1 << 62)
_SECONDS: Final = Field((int, float, type(None)), required=False, limit=1 << 31)
_FLAG: Final = Field(bool, required=False)
_TEXTS: Final = Field(list, limit=1 << 20, of=str)
_MAP: Final = Field(dict, limit=65536)

#: The id of what went ahead.
_AHEAD: Final = {"ahead": _OPTIONAL_ID}
#: Who hears what is said meanwhile; pieces of what is sent.
_HEARD: Final = {"reader": _OPTIONAL_NUMBER, "credit": _OPTIONAL_NUMBER}
_SENT: Final = {"transfer": _ID, "offset": _OPTIONAL_NUMBER, "last": _FLAG, "drop": _FLAG}
_CONTAINER: Final = {"container": _ID}
_PROCESS: Final = {"process": _ID}


@dataclass(frozen=True, slots=True)
class Operation:
    """One request: what a kernel, or a viewer, may ask of the agent."""

    name: str
    #: As in "Cannot list nodes: ...".
    doing: str
    scope: Scope
    fields: Shape = field(default_factory=dict)
    again: Again = Again.SAID
    #: Whether a viewer may ask it, of its own process.
    viewer: bool = False
    #: Most bytes of the payload that comes along; 0: there is none.
    payload: int = 0
    #: Most bytes of its lists, maps and payload that may go ahead of it, in pieces, where they do
    #: not fit in it; 0: none may.
    ahead: int = 0
    #: Names of the reply's fields, and whether bytes come with them.
    reply: tuple[str, ...] = ()
    answers_bytes: bool = False
    #: Whether the first of these fields is a list that comes in pages.
    pages: bool = False


_ROWS: Final = (
    # -- the link and its session
    Operation(
        "hello",
        "open the link",
        Scope.LINK,
        {
            "version": _NUMBER,
            "version_min": _NUMBER,
            "package": _OPTIONAL_TEXT,  # for people
            "client": _ID,
            "session": _OPTIONAL_TEXT,
            "durable": _FLAG,
            "ttl": _SECONDS,
            "again": _FLAG,  # it has said so before: what is known of ``ttl`` is newer
            "files": _FLAG,  # it may see the agent's files: see the event ``lies``
            "pid": _OPTIONAL_NUMBER,
            "pid_start": _OPTIONAL_NUMBER,
            # A viewer has no session: it may use this one process, or connect to this one port of
            # the container whose main process it is, as its ticket says.
            "viewer": _FLAG,
            "process": _OPTIONAL_ID,
            "port": _OPTIONAL_NUMBER,
            "ticket": Field((str, type(None)), required=False, limit=128),
        },
        Again.NEVER,
        viewer=True,
        reply=("version", "agent", "session", "engine", "about", "resumed", "heartbeat"),
    ),
    Operation("ping", "reach the agent", Scope.LINK, viewer=True, reply=("about",)),
    Operation("bye", "leave the session", Scope.LINK, viewer=True),
    # -- what is too large for one message: a piece of a request to come, a page of an answer
    Operation(
        "ahead",
        "send it in pieces",
        Scope.SESSION,
        {"ahead": _ID, "offset": _NUMBER},
        payload=MAX_CHUNK,
    ),
    Operation("more", "list the rest", Scope.SESSION, {"more": _NUMBER}, reply=("items", "more")),
    # -- places
    # with "counted" how many containers run there, for which an engine may look at each
    Operation(
        "node.list", "list nodes", Scope.SESSION, {"counted": _FLAG}, reply=("nodes",), pages=True
    ),
    # "reader": what is said meanwhile, or the bytes that are asked for, as far as "credit"
    Operation("image.list", "list images", Scope.SESSION, reply=("images",), pages=True),
    Operation(
        "image.inspect",
        "look at the image",
        Scope.SESSION,
        {"image": _TEXT},
        reply=("image", "said"),
    ),
    Operation(
        "image.pull",
        "pull the image",
        Scope.SESSION,
        {"image": _TEXT, "pull": _OPTIONAL_ID, **_HEARD},
        reply=("image",),
    ),
    Operation(
        "image.remove",
        "remove the image",
        Scope.SESSION,
        {"image": _TEXT, "force": _FLAG},
        Again.NEVER,
    ),
    Operation(
        "image.save",
        "save the image",
        Scope.SESSION,
        {"image": _TEXT, "reader": _NUMBER, "credit": _NUMBER},
        Again.NEVER,
        reply=("image",),
    ),
    # one or more messages with the same transfer, as those of a file; the last one's answer is the
    # outcome, the first one says what is to be done
    Operation(
        "image.load",
        "load images",
        Scope.SESSION,
        _SENT,
        Again.NEVER,
        payload=MAX_CHUNK,
        reply=("images",),
    ),
    Operation(
        "image.build",
        "build the image",
        Scope.SESSION,
        {
            **_SENT,
            **_HEARD,
            "name": _OPTIONAL_TEXT,
            "dockerfile": _OPTIONAL_TEXT,
            "arguments": Field(dict, required=False, limit=1024),
            "target": _OPTIONAL_TEXT,
            "platform": _OPTIONAL_ID,
            "fresh": _FLAG,
            "pull": _FLAG,
        },
        Again.NEVER,
        payload=MAX_CHUNK,
        reply=("image",),
    ),
    Operation(
        "volume.create",
        "create the volume",
        Scope.SESSION,
        {"name": _ID, "size": _OPTIONAL_NUMBER, "kind": _OPTIONAL_TEXT, "access": _OPTIONAL_ID},
    ),
    Operation(
        "volume.list",
        "list volumes",
        Scope.SESSION,
        {"sizes": _FLAG},  # which may take an engine long
        reply=("volumes",),
        pages=True,
    ),
    Operation("volume.remove", "destroy the volume", Scope.SESSION, {"name": _ID}, Again.NEVER),
    # -- containers; payload of spawn: msgpack map, absolute path to bytes
    Operation(
        "container.spawn",
        "spawn a container",
        Scope.SESSION,
        {**_CONTAINER, "spec": _MAP, **_AHEAD},
        payload=MAX_CHUNK,
        ahead=MAX_AHEAD,
    ),
    # "spares" containers of that spec, there before they are spawned; answered once they are
    Operation(
        "container.prepare",
        "prepare containers",
        Scope.SESSION,
        {"spec": _MAP, "spares": Field(int, limit=MAX_SPARES), **_AHEAD},
        ahead=MAX_AHEAD,
        reply=("ready",),
    ),
    # "log": the last of its output, of one that ended
    Operation(
        "container.info",
        "look at the container",
        Scope.CONTAINER,
        _CONTAINER,
        reply=("info", "log"),
    ),
    Operation("container.start", "start the main process", Scope.CONTAINER, _CONTAINER),
    Operation(
        "container.stats", "measure the container", Scope.CONTAINER, _CONTAINER, reply=("sample",)
    ),
    Operation("container.pause", "pause the container", Scope.CONTAINER, _CONTAINER),
    Operation("container.unpause", "unpause the container", Scope.CONTAINER, _CONTAINER),
    Operation(
        "container.reboot",
        "reboot the container",
        Scope.CONTAINER,
        {**_CONTAINER, "reset_filesystem": _FLAG},
        Again.NEVER,
    ),
    # an image of it as it is, called that, or for the container "fork" alone, with which it goes
    Operation(
        "container.commit",
        "make an image of the container",
        Scope.CONTAINER,
        {**_CONTAINER, "name": _OPTIONAL_TEXT, "fork": _OPTIONAL_ID},
        Again.NEVER,
        reply=("image",),
    ),
    # "other" may connect to "container", or not any more
    Operation(
        "container.allow", "allow connections", Scope.CONTAINER, {**_CONTAINER, "other": _ID}
    ),
    Operation(
        "container.disallow",
        "disallow connections",
        Scope.CONTAINER,
        {**_CONTAINER, "other": _ID},
        Again.NEVER,
    ),
    # One that is gone already is fine.
    Operation(
        "container.destroy",
        "destroy the container",
        Scope.SESSION,
        {**_CONTAINER, "grace": _SECONDS},
    ),
    # -- processes; the main process's id is its container's
    Operation(
        "process.spawn",
        "spawn a process",
        Scope.CONTAINER,
        {
            **_CONTAINER,
            **_PROCESS,
            "command": _TEXTS,
            "text": Field(str, limit=MAX_TEXT),
            "env": _TEXTS,
            "cwd": _OPTIONAL_TEXT,
            "user": _OPTIONAL_TEXT,
            "tty": _FLAG,
            "login": _FLAG,
            "rows": _OPTIONAL_NUMBER,
            "columns": _OPTIONAL_NUMBER,
            "timeout": _SECONDS,
            "retain": _OPTIONAL_TEXT,
            "origin": Field(str, required=False, limit=MAX_ORIGIN),
            "readers": Field(list, required=False, limit=2, of=list),  # [stream, reader, credit]
            # Its stdin ends after the payload.
            "last": _FLAG,
            # The event of its end shall carry its output, if each stream has at most so much.
            "said": Field(int, required=False, limit=MAX_SAID),
            **_AHEAD,
        },
        payload=MAX_CHUNK,
        ahead=MAX_ARGUMENTS,
        reply=("info",),
    ),
    # All of a container, in the order in which they were started.
    Operation(
        "process.list",
        "list processes",
        Scope.CONTAINER,
        _CONTAINER,
        reply=("processes",),
        pages=True,
    ),
    # Of those that are known; a kernel that was away asks for what no snapshot named. ``all``: the
    # others are gone; not so while a container has not been met.
    Operation(
        "process.info",
        "look at processes",
        Scope.SESSION,
        {"processes": Field(list, limit=256, of=str)},
        reply=("processes", "all"),
        pages=True,
    ),
    Operation(
        "process.ticket", "view the process", Scope.PROCESS, _PROCESS, reply=("ticket", "agent")
    ),
    Operation(
        "process.signal",
        "signal the process",
        Scope.PROCESS,
        {**_PROCESS, "signal": _NUMBER, "target": _NUMBER},
        Again.NEVER,
        viewer=True,
        reply=("count",),
    ),
    Operation(
        "process.destroy",
        "destroy the process",
        Scope.PROCESS,
        {**_PROCESS, "grace": _SECONDS},
        viewer=True,
        reply=("survivors",),
    ),
    Operation(
        "process.stdin",
        "write to stdin",
        Scope.PROCESS,
        {**_PROCESS, "write": _OPTIONAL_TEXT},
        Again.NAMED,
        viewer=True,
        payload=MAX_CHUNK,
    ),
    Operation("process.close_stdin", "close stdin", Scope.PROCESS, _PROCESS, viewer=True),
    Operation(
        "process.resize",
        "resize the terminal",
        Scope.PROCESS,
        {**_PROCESS, "rows": _NUMBER, "columns": _NUMBER},
        viewer=True,
    ),
    Operation(
        "process.ask",
        "ask the process",
        Scope.PROCESS,
        {**_PROCESS, "timeout": _SECONDS, "settle": _FLAG, "write": _OPTIONAL_TEXT, **_AHEAD},
        Again.NAMED,
        payload=MAX_CHUNK,
        ahead=MAX_AHEAD,
        reply=("reason", "out_from", "out", "err_from", "err"),
    ),
    # -- reading logs
    Operation(
        "log.read",
        "read the log",
        Scope.PROCESS,
        {
            **_PROCESS,
            "stream": _NUMBER,
            "offset": _NUMBER,
            "limit": _NUMBER,
            "order": _FLAG,
            "times": _FLAG,
        },
        viewer=True,
        reply=("offset", "head", "base", "eof", "order", "times"),
        answers_bytes=True,
    ),
    Operation(
        "reader.open",
        "read the log",
        Scope.PROCESS,
        {
            "reader": _NUMBER,
            **_PROCESS,
            "stream": _NUMBER,
            "offset": _NUMBER,
            "credit": _NUMBER,
            "tail": _OPTIONAL_NUMBER,
            "window": _OPTIONAL_NUMBER,
            "keep": _OPTIONAL_NUMBER,
            "hold": _FLAG,
            "order": _FLAG,
        },
        Again.NEVER,  # not by the link: the sink opens again, at the offset it has
        viewer=True,
        reply=("offset", "head", "order"),
    ),
    Operation("reader.close", "stop reading", Scope.SESSION, {"reader": _NUMBER}, viewer=True),
    # -- files; put: one or more messages with the same transfer, the last one says so, or one that
    # the file is given up: drop. Or one with ``reader``, whose bytes are to go through a pipe: the
    # events and the note ``pipe…`` say where, and how many it were. Answered with ``piped`` when it
    # is there; without, nothing was done.
    Operation(
        "file.put",
        "put the file",
        Scope.CONTAINER,
        {
            **_CONTAINER,
            "transfer": _ID,
            "path": _TEXT,
            "mode": _OPTIONAL_NUMBER,
            "user": _OPTIONAL_TEXT,
            "parents": _FLAG,
            "offset": _OPTIONAL_NUMBER,
            "last": _FLAG,
            "drop": _FLAG,
            "reader": _OPTIONAL_NUMBER,
        },
        Again.NEVER,
        payload=MAX_CHUNK,
        reply=("piped",),
    ),
    Operation(
        "file.get",
        "fetch the file",
        Scope.CONTAINER,
        {**_CONTAINER, "path": _TEXT, "reader": _NUMBER, "credit": _NUMBER, "pipe": _FLAG},
        Again.NEVER,
        reply=("size", "mode", "uid", "gid", "mtime", "kind"),
    ),
    Operation(
        "file.list",
        "list the directory",
        Scope.CONTAINER,
        {**_CONTAINER, "path": _TEXT},
        reply=("entries",),
        pages=True,
    ),
    Operation(
        "file.mkdir",
        "make the directory",
        Scope.CONTAINER,
        {
            **_CONTAINER,
            "path": _TEXT,
            "mode": _OPTIONAL_NUMBER,
            "user": _OPTIONAL_TEXT,
            "parents": _FLAG,
            "exist_ok": _FLAG,
        },
        Again.NEVER,
    ),
    # -- connections into a container
    Operation(
        "dial.ticket",
        "open the port to pages",
        Scope.CONTAINER,
        {**_CONTAINER, "port": _NUMBER},  # a viewer's is its process's, whatever it says
        viewer=True,
        reply=("container", "ticket", "agent"),
    ),
    Operation(
        "dial.open",
        "connect to the port",
        Scope.CONTAINER,
        {
            **_CONTAINER,
            "reader": _NUMBER,
            "host": _TEXT,
            "port": _NUMBER,
            "credit": _NUMBER,
            "pipe": _FLAG,
        },
        Again.NEVER,
    ),
)

#: What may be asked, by name.
OPERATIONS: Final[Mapping[str, Operation]] = {row.name: row for row in _ROWS}

#: Kernel to agent, unanswered.
NOTES: Final[Mapping[str, Shape]] = {
    "credit": {"reader": _NUMBER, "upto": _NUMBER},
    "dial.data": {"reader": _NUMBER, "offset": _NUMBER},  # payload
    "dial.eof": {"reader": _NUMBER},
    "dial.close": {"reader": _NUMBER},
    # An upload's bytes are in its pipe, so many.
    "pipe.eof": {"reader": _NUMBER, "offset": _NUMBER},
    # What ``lies`` told of cannot be read there: the reader is closed, and opened anew.
    "unseen": {"reader": _NUMBER},
}

#: Agent to kernel.
EVENTS: Final[Mapping[str, Shape]] = {
    # After hello, in pages: the containers, what runs in them and the last that ended there.
    # ``number`` is of the last event that this page includes, ``ended`` counts, by container.
    "snapshot": {
        "number": _NUMBER,
        "containers": Field(list, of=dict),
        "processes": Field(list, limit=65536, of=dict),
        "ended": _MAP,
        "more": Field(bool),
    },
    # state: as in agent/container/states.py. ``met``: what runs in it is known, and was told.
    "container": {"container": _ID, "info": _MAP, "number": _NUMBER},
    # One was started, by another client; has exited ('returncode'); or, with 'ended', all it had
    # written is in the log. ``said`` is that: [stdout, stderr], see process.spawn.
    "process": {
        **_PROCESS,
        "info": _MAP,
        "number": _NUMBER,
        "said": Field(list, required=False, limit=2, of=bytes),
    },
    "data": {"reader": _NUMBER, "offset": _NUMBER},  # payload; offset is of its first byte
    # The same of a log, for who said ``files``: so many bytes are in that file, ``at`` that place.
    "lies": {
        "reader": _NUMBER,
        "offset": _NUMBER,
        "path": _TEXT,
        "at": _NUMBER,
        "size": Field(int, limit=MAX_LYING),
    },
    "eof": {"reader": _NUMBER, "offset": _NUMBER},
    "dial.credit": {"reader": _NUMBER, "upto": _NUMBER},
    "dial.closed": {"reader": _NUMBER, "errno": _NUMBER},
    # A file's bytes, or what comes from a port, go through the FIFO at ``path``, a download's
    # ``size`` or about that; and then they are in it, so many.
    "pipe": {"reader": _NUMBER, "path": _TEXT, "size": _OPTIONAL_NUMBER},
    "pipe.eof": {"reader": _NUMBER, "offset": _NUMBER},
}


def checked(name: str, shape: Shape | None, body: Mapping[Any, Any]) -> dict[str, Any]:
    """The known fields of ``body``, each held to its rule. Raises ProtocolError."""
    if shape is None:
        raise ProtocolError(f"{name[:64]!r} is not in the protocol.")
    known = {}
    for key, value in body.items():
        rule = shape.get(key)
        if rule is not None:
            rule.check(name, key, value)
            known[key] = value
    if len(known) < len(shape):
        for key, rule in shape.items():
            if rule.required and key not in known:
                raise ProtocolError(f"{name} lacks {key!r}.")
    return known


#: What PROTOCOL.md says of sizes.
BOUNDS: Final[Mapping[str, int]] = {
    "a message, encoded, without its payload": MAX_BODY,
    "a payload": MAX_PAYLOAD,
    "a part of a message, to be refused by name": MAX_FRAME,
    "a page of a listing or of a snapshot, about": PAGE,
    "all pages of a listing": MAX_LISTING,
    "each stream in the event of a process's end": MAX_SAID,
    "a container's last words in its `info`": MAX_WORDS,
    "the same for who asks (`container.info`)": MAX_TAIL,
    "any text in an `info` (characters)": MAX_INFO,
    "a command's `text` (characters)": MAX_TEXT,
    "an `origin` (characters)": MAX_ORIGIN,
}


def tables() -> str:
    """The rows as PROTOCOL.md has them."""
    lines = [
        "| request | fields | payload | ahead | after a break | scope | viewers | reply |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| `{row.name}` | {_fields(row.fields)} | {_size(row.payload)} | {_size(row.ahead)} "
        f"| {row.again.value} | {row.scope.value} | {'yes' if row.viewer else ''} | {_reply(row)} |"
        for row in OPERATIONS.values()
    ]
    for title, shapes in (("note", NOTES), ("event", EVENTS)):
        lines += ["", f"| {title} | fields |", "|---|---|"]
        lines += [f"| `{name}` | {_fields(shape)} |" for name, shape in shapes.items()]
    lines += ["", "| at most | of |", "|---|---|"]
    lines += [f"| {_size(most)} | {what} |" for what, most in BOUNDS.items()]
    return "\n".join(lines) + "\n"


def _fields(shape: Shape) -> str:
    return ", ".join(key if rule.required else f"*{key}*" for key, rule in shape.items())


def _reply(row: Operation) -> str:
    listed = [f"{row.reply[0]} …", *row.reply[1:]] if row.pages else row.reply
    return ", ".join([*listed, *(["bytes"] if row.answers_bytes else [])])


def _size(most: int) -> str:
    return numbers.size(most) if most else ""


if __name__ == "__main__":
    import sys

    sys.stdout.write(tables())
