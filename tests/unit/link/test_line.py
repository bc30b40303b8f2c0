"""A line over a stream socket: who stops waiting for one leaves none behind."""

import asyncio
import contextlib
import socket
import threading
from pathlib import Path

from tfnz_notebook._link import line
from tfnz_notebook._link.ends import Address


class Slow:
    """A place whose agent is found once ``found`` is set."""

    where = "slow"

    def __init__(self, path: Path) -> None:
        self.found = threading.Event()
        self._path = path

    def find(self) -> Address:
        assert self.found.wait(10)
        return Address(f"ipc://{self._path}")


async def test_a_line_that_was_given_up_is_closed_all_the_same(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "a.sock"))
        listening.listen()
        listening.settimeout(10)
        place = Slow(tmp_path / "a.sock")
        opening = asyncio.create_task(line.connect(place, lambda _: None, lambda _: None))
        await asyncio.sleep(0)
        opening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await opening
        place.found.set()
        accepted, _ = await asyncio.to_thread(listening.accept)
        with accepted:
            accepted.settimeout(10)
            assert await asyncio.to_thread(accepted.recv, 1) == b""
