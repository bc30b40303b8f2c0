"""A kernel of few words: raw messages over the socket of an agent on this machine."""

import socket
import time
from typing import Self

from tfnz_notebook._wire.stream import Messages, framed


class Words:
    """One connection, from entering to leaving."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._path = path
        self._messages = Messages()
        self._whole: list[list[bytes]] = []

    def __enter__(self) -> Self:
        self._socket.connect(self._path)
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def say(self, *parts: bytes) -> None:
        """A message, framed as it should be."""
        self.write(b"".join(framed(list(parts))))

    def write(self, data: bytes) -> None:
        """Bytes that may be no message."""
        self._socket.sendall(data)

    def hear(self, timeout: float = 10.0) -> list[bytes] | None:
        """The parts of the next message; None at the end of the connection. TimeoutError."""
        deadline = time.monotonic() + timeout
        while not self._whole:
            self._socket.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                size = self._socket.recv_into(self._messages.room)
            except ConnectionError:
                return None
            if not size:
                return None
            self._whole += self._messages.filled(size)
        return self._whole.pop(0)
