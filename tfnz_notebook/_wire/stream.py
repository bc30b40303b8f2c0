"""Messages on a stream of bytes: what the socket of an agent on this machine carries.

Two lengths of 32 bits, big-endian, before each message: of its header, and of its payload plus one
or 0 for none. So the first byte is 0, which tells it from what kernels of 0.1 speak: ZeroMQ. That
frames, and encrypts, what comes over TCP.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from tfnz_notebook._wire.operations import MAX_FRAME
from tfnz_notebook.errors import ProtocolError

_LENGTHS: Final = struct.Struct(">II")
#: Bytes read at once; a message that is larger is read into a room of its own.
_ROOM: Final = 64 << 10
#: What a socket is asked to hold of what was written: a message of output, and half of the next.
BUFFER: Final = 1 << 20
#: Payloads from this size on are written by themselves, without another copy.
_LARGE: Final = 64 << 10


def framed(parts: list[bytes]) -> list[bytes]:
    """What to write for a message, one piece after the other."""
    header, *payload = parts
    if not payload:
        return [_LENGTHS.pack(len(header), 0) + header]
    lengths = _LENGTHS.pack(len(header), len(payload[0]) + 1)
    if len(payload[0]) < _LARGE:
        return [b"".join((lengths, header, payload[0]))]
    return [lengths + header, payload[0]]


class Messages:
    """The messages in what is read: into :attr:`room`, then :meth:`filled` says how much."""

    def __init__(self) -> None:
        self._whole = memoryview(bytearray(_ROOM))
        self._end = 0
        #: A message that is larger than the room, and how much of it is here.
        self._large: memoryview | None = None
        self._lengths = (0, 0)

    @property
    def room(self) -> memoryview:
        """Where the next bytes go; never empty."""
        return (self._whole if self._large is None else self._large)[self._end :]

    def filled(self, size: int) -> Iterator[list[bytes]]:
        """So many bytes were read: the parts of each message that is whole now.

        Raises ProtocolError for one that is over its limits, after those before it.
        """
        self._end += size
        if self._large is not None:
            if self._end == len(self._large):
                whole, self._large, self._end = self._large, None, 0
                yield _parts(whole, *self._lengths)
            return
        at, view = 0, self._whole
        while self._end - at >= _LENGTHS.size:
            header, payload = self._lengths = _LENGTHS.unpack_from(view, at)
            if max(header, payload - 1) > MAX_FRAME:
                raise ProtocolError(f"A message of {header + payload} bytes.")
            start = at + _LENGTHS.size
            end = start + header + max(payload - 1, 0)
            if end > self._end:
                if end - at > len(view):
                    self._begin_large(view[start : self._end], end - start)
                    return
                break
            at = end
            yield _parts(view[start:end], header, payload)
        if at:
            left = self._end - at
            view[:left] = view[at : self._end]
            self._end = left

    def _begin_large(self, begun: memoryview, size: int) -> None:
        self._large = memoryview(bytearray(size))
        self._large[: len(begun)] = begun
        self._end = len(begun)


def _parts(whole: memoryview, header: int, payload: int) -> list[bytes]:
    if not payload:
        return [bytes(whole)]
    return [bytes(whole[:header]), bytes(whole[header:])]
