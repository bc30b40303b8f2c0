"""Frames between agent and guest: the table, the encoder and the incremental decoder.

A frame is a 12 byte little-endian header (payload size u32, type u8, stream u8, zero u16,
channel u32) and its payload. Payloads are one of three shapes: nothing, a *fixed* struct,
or *fields* (tag u16, size u32, value; integers are 8 bytes, signed). DATA is an offset (u64)
and raw bytes. Unknown fields are ignored, which is how the protocol grows; an unknown frame
type, a wrong size or a size over the limit is a :class:`ProtocolError`.

The C half lives in ``_guest/``; ``_guest/protocol.h`` is generated from the tables here
(``python -m tfnz_notebook._wire.header``), and the golden vectors hold both to each other.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

from tfnz_notebook._base import numbers
from tfnz_notebook.errors import ProtocolError, TooLarge

VERSION: Final = 1
#: The oldest version this side still speaks.
VERSION_MIN: Final = 1

MAX_PAYLOAD: Final = 1 << 20
#: Most bytes of a stream in one DATA frame, which bounds how long one stream holds the wire. With
#: its header and offset a full frame is 256 KiB: what a reader takes from a socket at once.
MAX_DATA: Final = (256 << 10) - 20
#: Bytes of one output stream that may be unacknowledged; the guest's ring has this size.
WINDOW_OUT: Final = 1 << 20
#: The same of a terminal: somebody looks at it, and waits for what they typed.
WINDOW_TTY: Final = 64 << 10
#: Bytes of one input stream (stdin, uploads) that may be unacknowledged.
WINDOW_IN: Final = 256 << 10
#: The same of a file, of which nobody waits for more than the end, and of output where the way is
#: long (``Feature.WIDE``, ``Flag.WIDE``): each acknowledgement travels as far as the bytes do.
WINDOW_WIDE: Final = 4 << 20
MAX_CHANNELS: Final = 16384
MAX_META: Final = 4096
#: Bytes of a process's arguments and environment: no Linux takes more, execve(2).
MAX_ARGUMENTS: Final = 6 << 20
#: Channel 0 is the connection, channel 1 the container's main process.
CONNECTION: Final = 0
MAIN: Final = 1
FIRST_CHANNEL: Final = 2


class Type(IntEnum):
    """What a frame says. A: agent to guest, G: guest to agent, B: both ways."""

    HELLO = 0x01  # B fields: first frame of each side
    READY = 0x02  # G nothing: the inventory is complete
    PING = 0x03  # A u64: any number
    PONG = 0x04  # G u64: the same number
    RESULT = 0x05  # G u32 request, u32 errno, i64 value
    SPAWN = 0x10  # A fields
    SPAWNED = 0x11  # G u32 pid
    FAILED = 0x12  # G fields: errno, stage, text; the channel never existed
    PROC = 0x13  # G fields: one process of the inventory
    DATA = 0x14  # B u64 offset, bytes
    ACK = 0x15  # B u64 offset: bytes before it need not be kept
    EOF = 0x16  # B u64 offset: where the stream ended
    EXIT = 0x17  # G i32 status, u32 flags, u64 user us, u64 system us
    END = 0x18  # G u64 stdout offset, u64 stderr offset: all that was written before EXIT
    FORGET = 0x19  # A nothing: EXIT and END are recorded
    GONE = 0x1A  # G nothing: the channel's number is free of everything
    SIGNAL = 0x1B  # A u32 request, i32 signal, u32 target
    RESIZE = 0x1C  # A u16 rows, u16 columns
    AWAIT = 0x1D  # A u32 request, u64 stdin offset
    WAITING = 0x1E  # G u32 request, u32 reason, u64 stdin, u64 stdout, u64 stderr offsets
    CANCEL = 0x1F  # A u32 request
    START = 0x20  # A u32 request: start the main process of a sleeping container
    ARGS = 0x21  # A fields: ARG and ENV that go before those of the SPAWN (SETUP) to come
    SETUP = 0x22  # A fields: request; what the image says of a container; answered by RESULT
    DIAL = 0x30  # A fields: host, port
    CLOSE = 0x31  # B u32 errno: the channel is dropped, both directions
    PUT = 0x40  # A fields: path, mode, user, flags; then DATA, EOF; answered by STAT or FAILED
    GET = 0x41  # A fields: path; answered by STAT, DATA, EOF or FAILED
    LIST = 0x42  # A fields: path; answered by STAT a piece, then EOF, or FAILED
    MKDIR = 0x43  # A fields: path, mode, user, flags; answered by STAT or FAILED
    STAT = 0x44  # G fields
    SAMPLE = 0x50  # A u32 request
    STATS = 0x51  # G fields


class Stream(IntEnum):
    """The stream byte of DATA, ACK and EOF. A dialled connection uses IN and OUT."""

    IN = 0
    OUT = 1
    ERR = 2


class Tag(IntEnum):
    """Field tags. ``*`` may repeat, ``#`` is an integer, others are bytes (paths, text: no NUL)."""

    VERSION = 1  # #
    VERSION_MIN = 2  # #
    BOOT = 3  # 16 random bytes, one guest's life
    PID = 4  # #
    UID = 5  # # effective uid of the guest
    NAME = 6
    ARG = 7  # *
    ENV = 8  # * KEY=value
    CWD = 9
    USER = 10  # name, uid, name:group or uid:gid; resolved inside the container
    FLAGS = 11  # # Flag
    ROWS = 12  # #
    COLUMNS = 13  # #
    META = 14  # opaque to the guest, given back in PROC
    ERRNO = 15  # #
    STAGE = 16  # what failed: fork, user, cwd, pty, exec, open, ...
    TEXT = 17
    STATUS = 18  # # exit code, or minus the signal; present only once exited
    IN_OFFSET = 19  # # stdin bytes received
    OUT_BASE = 20  # # first byte still held
    OUT_HEAD = 21  # # one past the last byte read
    ERR_BASE = 22  # #
    ERR_HEAD = 23  # #
    OUT_EOF = 24  # # 1: nothing follows OUT_HEAD
    ERR_EOF = 25  # #
    OUT_ELIDED = 26  # # bytes the main process's window dropped while no agent listened
    HOST = 27
    PORT = 28  # #
    PATH = 29
    MODE = 30  # # permission bits
    GID = 31  # #
    SIZE = 32  # #
    MTIME = 33  # # ns since the epoch
    KIND = 34  # # S_IFMT bits
    LINK = 35  # a symbolic link's target
    CLOCK = 36  # # ns since the epoch
    CPU = 37  # # us of CPU used by the container
    MEMORY = 38  # # bytes
    MEMORY_LIMIT = 39  # # bytes, 0: none
    PIDS = 40  # #
    READ = 41  # # bytes read from block devices
    WRITTEN = 42  # #
    RECEIVED = 43  # # network bytes
    SENT = 44  # #
    REQUEST = 45  # #
    STARTED = 46  # # ns since the epoch
    IN_EOF = 47  # # 1: stdin's end was received, or the process has closed it
    OOM = 49  # # OOM kills counted in the container's cgroup
    SLEEPING = 50  # # 1: the main process was not started yet
    AGE = 51  # # ns since the start, on a clock that nobody sets
    ARGUMENTS = 52  # # bytes of ARG and ENV of a process that the guest takes, in ARGS and SPAWN
    FEATURES = 53  # # Feature
    CONFIGURED = 54  # # 1: SETUP was said
    ORPHAN = 55  # # seconds without a word of its agent's after which the guest ends
    # The name of a FIFO beside the guest's socket. PUT, GET: it has the bytes; DIAL: what comes may
    # go there, and does if STAT says that KIND
    PIPE = 56


class Flag(IntFlag):
    """FLAGS of SPAWN, PUT, GET and MKDIR; of EXIT; of the agent's HELLO."""

    TTY = 1
    PARENTS = 2  # make missing directories
    CORE = 4  # EXIT: dumped core
    OOM = 8  # EXIT: killed for memory
    ADOPT = 16  # SPAWN: take the user's HOME and shell from the container's passwd, as a login does
    EXIST_OK = 32
    WIDE = 128  # PUT, GET: by a window of WINDOW_WIDE; HELLO: output, too. 64 was of 2 MiB


class Feature(IntFlag):
    """What a guest says in its HELLO that it can."""

    SETUP = 1  # it takes SETUP
    USERS = 2  # it may start processes as any user
    OWNERS = 4  # it may give files to any user
    PIPES = 16  # it takes and gives files through a FIFO; 8 was of windows of 2 MiB
    WIDE = 32  # it knows WINDOW_WIDE


class Target(IntEnum):
    """Whom a SIGNAL reaches."""

    LEADER = 0
    GROUP = 1
    TREE = 2


class Reason(IntEnum):
    """Why WAITING was said."""

    INPUT = 0  # the process waits for input
    ENDED = 1  # the process has exited
    CANCELLED = 2


#: Frames with a fixed payload: the struct. Nothing means an empty payload.
FIXED: Final[dict[Type, struct.Struct]] = {
    Type.READY: struct.Struct("<"),
    Type.PING: struct.Struct("<Q"),
    Type.PONG: struct.Struct("<Q"),
    Type.RESULT: struct.Struct("<IIq"),
    Type.SPAWNED: struct.Struct("<I"),
    Type.ACK: struct.Struct("<Q"),
    Type.EOF: struct.Struct("<Q"),
    Type.EXIT: struct.Struct("<iIQQ"),
    Type.END: struct.Struct("<QQ"),
    Type.FORGET: struct.Struct("<"),
    Type.GONE: struct.Struct("<"),
    Type.SIGNAL: struct.Struct("<IiI"),
    Type.RESIZE: struct.Struct("<HH"),
    Type.AWAIT: struct.Struct("<IQ"),
    Type.WAITING: struct.Struct("<IIQQQ"),
    Type.CANCEL: struct.Struct("<I"),
    Type.START: struct.Struct("<I"),
    Type.CLOSE: struct.Struct("<I"),
    Type.SAMPLE: struct.Struct("<I"),
}

#: Frames whose payload is fields.
FIELDS: Final = frozenset(
    {
        Type.HELLO,
        Type.SPAWN,
        Type.ARGS,
        Type.SETUP,
        Type.FAILED,
        Type.PROC,
        Type.DIAL,
        Type.PUT,
        Type.GET,
        Type.LIST,
        Type.MKDIR,
        Type.STAT,
        Type.STATS,
    }
)

#: Tags whose value is bytes; of all others it is an 8 byte signed integer.
BYTES: Final = frozenset(
    {Tag.BOOT, Tag.NAME, Tag.ARG, Tag.ENV, Tag.CWD, Tag.USER, Tag.META, Tag.STAGE, Tag.TEXT}
    | {Tag.HOST, Tag.PATH, Tag.LINK, Tag.PIPE}
)
INTEGERS: Final = frozenset(Tag) - BYTES

HEADER: Final = struct.Struct("<IBBHI")
_FIELD: Final = struct.Struct("<HI")
_OFFSET: Final = struct.Struct("<Q")
_INT: Final = struct.Struct("<q")

type_of: Final = {int(member): member for member in Type}
#: By number: the tag, and whether its value is an integer.
_tag_of: Final = {int(member): (member, member in INTEGERS) for member in Tag}

Value = int | bytes
Fields = list[tuple[Tag, Value]]


@dataclass(slots=True)
class Frame:
    """One decoded frame.

    ``values`` holds the fixed payload's numbers (for DATA: the offset), ``data`` DATA's bytes,
    ``fields`` the fields in order; each is empty where the type has none.
    """

    type: Type
    channel: int
    stream: int = 0
    values: tuple[int, ...] = ()
    data: bytes = b""
    fields: tuple[tuple[Tag, Value], ...] = ()

    def integer(self, tag: Tag, default: int = 0) -> int:
        """The first integer field of that tag."""
        for name, value in self.fields:
            if name is tag and isinstance(value, int):
                return value
        return default

    def raw(self, tag: Tag, default: bytes = b"") -> bytes:
        """The first bytes field of that tag."""
        for name, value in self.fields:
            if name is tag and isinstance(value, bytes):
                return value
        return default

    def text(self, tag: Tag, default: str = "") -> str:
        """The same as text; bytes that are not UTF-8 survive as surrogates (PEP 383)."""
        return self.raw(tag, default.encode("utf-8", "surrogateescape")).decode(
            "utf-8", "surrogateescape"
        )


def fixed(kind: Type, channel: int, *values: int, stream: int = 0) -> bytes:
    """Encode a frame with a fixed payload."""
    shape = FIXED[kind]
    return HEADER.pack(shape.size, kind, stream, 0, channel) + shape.pack(*values)


def fielded(kind: Type, channel: int, fields: Iterable[tuple[Tag, Value | str]]) -> bytes:
    """Encode a frame of fields; text is UTF-8. Raises TooLarge over ``MAX_PAYLOAD``."""
    return _fielded(kind, channel, [_encoded(tag, value) for tag, value in fields])


def spawn(
    channel: int, fields: Iterable[tuple[Tag, Value | str]], most: int = MAX_PAYLOAD
) -> list[bytes]:
    """Encode SPAWN, and before it as many ARGS as it needs. Raises TooLarge.

    ``most`` is what this guest takes of arguments and environment (``Tag.ARGUMENTS``).
    """
    return _worded(Type.SPAWN, channel, fields, most)


def setup(
    request: int, fields: Iterable[tuple[Tag, Value | str]], most: int = MAX_PAYLOAD
) -> list[bytes]:
    """Encode SETUP likewise: ARG, ENV, CWD and USER as the image would say them."""
    return _worded(Type.SETUP, MAIN, [(Tag.REQUEST, request), *fields], most)


def _worded(
    kind: Type, channel: int, fields: Iterable[tuple[Tag, Value | str]], most: int
) -> list[bytes]:
    words: list[bytes] = []
    others: list[bytes] = []
    for tag, value in fields:
        (words if tag in (Tag.ARG, Tag.ENV) else others).append(_encoded(tag, value))
    size = sum(map(len, words))
    if size > most:
        raise TooLarge(
            f"Cannot start a process: its arguments and environment take {numbers.size(size)}, and "
            f"at most {numbers.size(most)} go. Put large data in a file, or write it to its stdin.",
            size=size,
            limit=most,
        )
    frames: list[bytes] = []
    room = MAX_PAYLOAD - sum(map(len, others))
    while sum(map(len, words)) > room:
        count, filled = 1, len(words[0])
        while count < len(words) and filled + len(words[count]) <= room:
            filled += len(words[count])
            count += 1
        frames.append(_fielded(Type.ARGS, channel, words[:count]))
        del words[:count]
    return [*frames, _fielded(kind, channel, [*words, *others])]


def _encoded(tag: Tag, value: Value | str) -> bytes:
    if isinstance(value, int):
        raw = _INT.pack(value)
    else:
        raw = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    return _FIELD.pack(tag, len(raw)) + raw


def _fielded(kind: Type, channel: int, fields: list[bytes]) -> bytes:
    size = sum(map(len, fields))
    if size > MAX_PAYLOAD:
        raise TooLarge(
            f"Cannot tell the container {kind.name}: it takes {numbers.size(size)}, and at most "
            f"{numbers.size(MAX_PAYLOAD)} go. Put large data in a file.",
            size=size,
            limit=MAX_PAYLOAD,
        )
    return b"".join((HEADER.pack(size, kind, 0, 0, channel), *fields))


def greeting(name: str, *, wide: bool) -> bytes:
    """The agent's HELLO. ``wide``: its way is long, and each acknowledgement costs."""
    ours: Fields = [
        (Tag.VERSION, VERSION),
        (Tag.VERSION_MIN, VERSION_MIN),
        (Tag.NAME, name.encode()),
    ]
    if wide:
        ours.append((Tag.FLAGS, int(Flag.WIDE)))
    return fielded(Type.HELLO, CONNECTION, ours)


def data(channel: int, stream: int, offset: int, chunk: bytes | memoryview) -> bytes:
    """Encode a DATA frame of at most ``MAX_DATA`` bytes."""
    assert len(chunk) <= MAX_DATA  # its senders cut by it
    return b"".join(
        (
            HEADER.pack(_OFFSET.size + len(chunk), Type.DATA, stream, 0, channel),
            _OFFSET.pack(offset),
            chunk,
        )
    )


def parse_fields(payload: bytes) -> tuple[tuple[Tag, Value], ...]:
    """The fields of a payload, unknown tags left out. Raises ProtocolError if malformed."""
    fields: list[tuple[Tag, Value]] = []
    at, end = 0, len(payload)
    while at < end:
        if end - at < _FIELD.size:
            raise ProtocolError("A field's header is cut short.")
        number, size = _FIELD.unpack_from(payload, at)
        start = at + _FIELD.size
        at = start + size
        if at > end:
            raise ProtocolError(f"Field {number} says {size} bytes, {end - start} are left.")
        known = _tag_of.get(number)
        if known is None:
            continue
        tag, integer = known
        if not integer:
            fields.append((tag, payload[start:at]))
        elif size == _INT.size:
            fields.append((tag, _INT.unpack_from(payload, start)[0]))
        else:
            raise ProtocolError(f"Field {tag.name} is an integer of {size} bytes.")
    return tuple(fields)


def parse(kind: int, stream: int, channel: int, payload: bytes) -> Frame:
    """One frame from its header's numbers and payload. Raises ProtocolError."""
    known = type_of.get(kind)
    if known is None:
        raise ProtocolError(f"Frame type {kind:#04x} is unknown.")
    if stream > Stream.ERR and known in (Type.DATA, Type.ACK, Type.EOF):
        raise ProtocolError(f"Stream {stream} is unknown.")
    if known is Type.DATA:
        if len(payload) < _OFFSET.size:
            raise ProtocolError("DATA without an offset.")
        return Frame(known, channel, stream, _OFFSET.unpack_from(payload), payload[_OFFSET.size :])
    if known in FIELDS:
        return Frame(known, channel, stream, fields=parse_fields(payload))
    shape = FIXED[known]
    if len(payload) != shape.size:
        raise ProtocolError(f"{known.name} of {len(payload)} bytes, {shape.size} are due.")
    return Frame(known, channel, stream, shape.unpack(payload))


class Decoder:
    """Bytes in, frames out; keeps at most one incomplete frame.

    ``feed`` may raise :class:`ProtocolError`; the decoder is unusable afterwards, because where
    the next frame begins is unknown: close the connection.
    """

    __slots__ = ("_due", "_held", "_size")

    def __init__(self) -> None:
        # An incomplete frame waits in pieces, joined once it is whole: a copy a byte, not a copy
        # a piece.
        self._held: list[bytes] = []
        self._size = 0
        self._due = HEADER.size

    @property
    def rest(self) -> bytes:
        """The frame that is not whole yet, for who goes on with another decoder."""
        return b"".join(self._held)

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """The frames completed by ``chunk``, in order."""
        self._held.append(chunk)
        self._size += len(chunk)
        if self._size < self._due:
            return
        buffer = b"".join(self._held) if len(self._held) > 1 else chunk
        at, end = 0, len(buffer)
        due = HEADER.size
        try:
            while end - at >= HEADER.size:
                size, kind, stream, zero, channel = HEADER.unpack_from(buffer, at)
                if size > MAX_PAYLOAD or zero:
                    raise ProtocolError(
                        f"A frame of {size} bytes (limit {MAX_PAYLOAD}), reserved {zero:#06x}."
                    )
                start = at + HEADER.size
                if end - start < size:
                    due += size
                    break
                at = start + size
                if kind == Type.DATA and size >= _OFFSET.size and stream <= Stream.ERR:
                    # The hot path: one copy of the bytes, straight out of what was received.
                    values = _OFFSET.unpack_from(buffer, start)
                    yield Frame(Type.DATA, channel, stream, values, buffer[start + 8 : at])
                else:
                    yield parse(kind, stream, channel, buffer[start:at])
        finally:
            # Also when the consumer stops early: it must not see the same frames twice.
            self._held = [buffer[at:]] if at < end else []
            self._size = end - at
            self._due = due
