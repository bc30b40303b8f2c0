"""Large binary frames of a websocket, without the copies that a library for all frames makes.

``wsproto`` copies what it decodes four times and masks in four strides: of 256 MiB that came by
an exec it was 0.33 of 0.9 seconds of this process, of 100 MiB that went 0.5 of 0.6. So a whole,
unmasked binary frame is taken apart here, as it comes, and one of ours is made here, masked by
tornado's C (100 MiB in 0.013 s; 0.4 by Python's long integers). Every other frame (controls,
fragments, mistakes) is handed on as it is, for who knows the rest of RFC 6455.
"""

from __future__ import annotations

import os
import struct
from typing import Final, NamedTuple

from tornado.util import _websocket_mask as mask

_BINARY: Final = 0x82  # the last, and only, fragment of a binary message
_MASKED: Final = 0x80
_SIZE: Final = 0x7F


class Piece(NamedTuple):
    """``channel``: of a binary message's first byte; None: bytes of another frame, as they are."""

    channel: int | None
    data: memoryview


class Frames:
    """What a server sends, taken apart; any split of it gives the same."""

    def __init__(self) -> None:
        self._head = b""
        self._left = 0  # of the frame's payload
        self._plain = False  # it is one of those that are taken apart here
        self._channel: int | None = None
        self._midway = False  # in a message of several frames

    def feed(self, data: memoryview) -> list[Piece]:
        """The pieces of what came. They are views: good until ``data`` is used again."""
        found: list[Piece] = []
        at, end = 0, len(data)
        while at < end:
            if not self._left:
                at = self._begin(data, at, found)
                continue
            piece = data[at : at + self._left]
            at += len(piece)
            self._left -= len(piece)
            if not self._plain:
                found.append(Piece(None, piece))
                continue
            if self._channel is None:
                self._channel, piece = piece[0], piece[1:]
            if piece:
                found.append(Piece(self._channel, piece))
        return found

    def _begin(self, data: memoryview, at: int, found: list[Piece]) -> int:
        """Read on in a frame's head; where to go on."""
        need = 2
        if len(self._head) >= 2:
            need = {126: 4, 127: 10}.get(self._head[1] & _SIZE, 2)
        taken = bytes(data[at : at + need - len(self._head)])
        self._head += taken
        at += len(taken)
        head = self._head
        if len(head) < 2 or len(head) < {126: 4, 127: 10}.get(head[1] & _SIZE, 2):
            return at
        size = head[1] & _SIZE
        if size > 125:
            (size,) = struct.unpack_from(">H" if size == 126 else ">Q", head, 2)
        masked = bool(head[1] & _MASKED)
        self._plain = head[0] == _BINARY and not masked and not self._midway
        if not self._plain:
            found.append(Piece(None, memoryview(head)))
            if not head[0] & 0x08:
                self._midway = not head[0] & 0x80
        self._head, self._channel = b"", None
        self._left = size + (4 if masked else 0)
        return at


def binary(channel: int, data: bytes) -> bytes:
    """A client's frame: a binary message of a channel's number and bytes."""
    size = len(data) + 1
    head = struct.pack(
        *(
            (">BB", _BINARY, _MASKED | size)
            if size < 126
            else (">BBH", _BINARY, _MASKED | 126, size)
            if size < 1 << 16
            else (">BBQ", _BINARY, _MASKED | 127, size)
        )
    )
    key = os.urandom(4)
    # The channel is the message's first byte; the rest begins with the key's second.
    return b"".join((head, key, bytes((channel ^ key[0],)), mask(key[1:] + key[:1], data)))
