"""One at a time: who changes the cluster of this machine, or uses it as a whole."""

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from cluster.build import say


@contextmanager
def turn(name: str) -> Iterator[None]:
    """Wait until nobody else has one; they do not meet, whatever account or clone they are of.

    An abstract socket has no file that could be left, and ends with its process, however that
    ends. Whoever waits is connected to it, and hears of its end.
    """
    address = f"\0{name}"
    while True:
        with socket.socket(socket.AF_UNIX) as ours:
            try:
                ours.bind(address)
            except OSError:
                _wait(address)
                continue
            ours.listen(64)
            yield
            return


def _wait(address: str) -> None:
    """Until who has the turn has it no more."""
    with socket.socket(socket.AF_UNIX) as theirs:
        try:
            theirs.connect(address)
            pid = struct.unpack("iII", theirs.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            say(f"process {pid[0]} uses it: waiting for its end")
            theirs.recv(1)
        except ConnectionError:
            os.sched_yield()  # it has just ended, or is about to listen
