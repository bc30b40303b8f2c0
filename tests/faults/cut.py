"""Stands in front of a guest's socket, and breaks the connection in the middle of a frame."""

import random
import socket
import threading
from pathlib import Path
from typing import Self


class Cutter:
    """Forwards between whoever connects to the guest's socket and the guest.

    After a random number of bytes, counted over both directions, a connection is broken: what
    was read by then of the last piece is passed on in part. No frame ends there but by chance.
    """

    def __init__(self, directory: Path, least: int, most: int) -> None:
        self._path, self._real = directory / "guest.sock", directory / "behind.sock"
        self._range = (least, most)
        self._random = random.Random(4)
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self.cuts = 0

    def __enter__(self) -> Self:
        self._path.rename(self._real)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._path.chmod(0o600)
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *unused: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._path.unlink()
        self._real.rename(self._path)
        for each in self._open:
            _break(each)

    def _accept(self) -> None:
        while True:
            try:
                agent, _ = self._listener.accept()
            except OSError:
                return
            guest = socket.socket(socket.AF_UNIX)
            try:
                guest.connect(str(self._real))
            except OSError:
                agent.close()
                guest.close()
                continue  # the container is being removed
            self._open += [agent, guest]
            left = [self._random.randint(*self._range)]
            for pair in ((agent, guest), (guest, agent)):
                threading.Thread(target=self._pump, args=(*pair, left), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, left: list[int]) -> None:
        try:
            while data := source.recv(100_000):
                with self._lock:
                    data, cut = data[: left[0]], len(data) >= left[0] > 0
                    left[0] -= len(data)
                    self.cuts += cut
                sink.sendall(data)
                if cut:
                    break
        except OSError:
            pass  # the other direction has broken it
        _break(source)
        _break(sink)


def _break(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it was broken already
    sock.close()
