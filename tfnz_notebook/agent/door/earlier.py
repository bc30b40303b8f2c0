"""What a kernel of 0.1 speaks at the socket of this machine: enough of ZeroMQ to send it away.

It runs where the package was replaced under it. It says hello, as every version does, and has to
understand why it is refused. ZMTP 3.0 with the NULL mechanism (rfc.zeromq.org/spec/23), as a
ROUTER: greetings and READY on both sides, then messages in frames, each with its flags and size.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from tfnz_notebook._wire.operations import MAX_FRAME
from tfnz_notebook.errors import ProtocolError

#: The first byte of a greeting; of a message of ours it is 0.
SIGNATURE: Final = 0xFF
_GREETING: Final = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
_READY: Final = b"\x05READY\x0bSocket-Type" + struct.pack(">I", 6) + b"ROUTER"
#: Flags of a frame.
_MORE, _LONG, _COMMAND = 1, 2, 4
#: What is said first, whatever the other side says.
GREETING: Final = _GREETING + bytes((_COMMAND, len(_READY))) + _READY


class Frames:
    """The messages in what such a kernel writes."""

    def __init__(self) -> None:
        self._data = b""
        self._greeted = False
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[list[bytes]]:
        """Bytes that were read: the parts of each message that is whole. ProtocolError."""
        self._data += data
        if len(self._data) > 2 * MAX_FRAME:
            raise ProtocolError("A frame without an end.")
        if not self._greeted:
            if len(self._data) < len(_GREETING):
                return
            self._data, self._greeted = self._data[len(_GREETING) :], True
        while (frame := self._frame()) is not None:
            flags, body = frame
            if flags & _COMMAND:
                continue
            self._parts.append(body)
            if not flags & _MORE:
                parts, self._parts = self._parts, []
                yield parts

    def _frame(self) -> tuple[int, bytes] | None:
        head = 9 if self._data[:1] and self._data[0] & _LONG else 2
        if len(self._data) < head:
            return None
        end = head + int.from_bytes(self._data[1:head], "big")
        if len(self._data) < end:
            return None
        flags, body, self._data = self._data[0], self._data[head:end], self._data[end:]
        return flags, body


def framed(parts: list[bytes]) -> bytes:
    """What to write for a message to such a kernel."""
    last = len(parts) - 1
    return b"".join(
        bytes((_LONG | (_MORE if index < last else 0),)) + struct.pack(">Q", len(part)) + part
        for index, part in enumerate(parts)
    )
