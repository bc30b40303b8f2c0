"""Files there and back, and what comes through a tunnel."""

import contextlib
import os
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from bench import peers
from bench.cases import Stage
from bench.measure import MIB, Case, at_least, in_turns
from integration.polling import until

from tfnz_notebook.container import Container

#: MiB of a file.
SIZE = 100
PORT = 9000
#: Whoever connects gets so many MiB, or as many as it wants.
SERVER = f"""
import contextlib, socket, sys
server, block = socket.create_server(("", {PORT})), bytes(1 << 20)
while True:
    with server.accept()[0] as client, contextlib.suppress(OSError):
        for _ in range(int(sys.argv[1])): client.sendall(block)
"""

#: Copies from a path to a path, of which the one in the container begins with a colon; seconds.
Copy = Callable[[str, str], float]


def there_and_back(
    boxes: Mapping[str, Container], copies: Mapping[str, Copy], rounds: int
) -> list[Case]:
    """``put`` and ``fetch`` of a file, beside command lines that copy one."""
    with tempfile.TemporaryDirectory() as folder:
        local, back = Path(folder) / "local", Path(folder) / "back"
        local.write_bytes(os.urandom(SIZE << 20))

        def put(box: Container) -> float:
            began = time.perf_counter()
            box.put("/tmp/ours", local)
            return SIZE * MIB / (time.perf_counter() - began)

        def fetch(box: Container) -> float:
            began = time.perf_counter()
            back.write_bytes(box.fetch("/tmp/ours"))
            return SIZE * MIB / (time.perf_counter() - began)

        def copied(copy: Copy, *pair: str) -> float:
            return SIZE * MIB / copy(*pair)

        cases = []
        for doing, ours, pair in (
            ("put", put, (str(local), ":/tmp/theirs")),
            ("fetch", fetch, (":/tmp/theirs", str(back))),
        ):
            turns = {name: partial(copied, copy, *pair) for name, copy in copies.items()}
            turns |= {name: partial(ours, box) for name, box in boxes.items()}
            cases.append(in_turns(Case(f"{doing}, a file of {SIZE} MiB", "MB/s"), turns, rounds))
        assert back.read_bytes() == local.read_bytes()
        return cases


def files(stage: Stage) -> list[Case]:
    """A file there and back."""
    boxes = {f"ours, {engine}": stage.ours[engine].box for engine in stage.peers}
    copies = {
        f"{engine} cp": peers.CommandLine(engine, peer.box).copy
        for engine, peer in stage.peers.items()
    }
    put, fetch = there_and_back(boxes, copies, stage.rounds(7, 3))
    for engine in stage.peers:
        at_least(put, f"ours, {engine}", f"{engine} cp", 1.5)
        at_least(fetch, f"ours, {engine}", f"{engine} cp", 2)
    return [put, fetch]


def serves(port: int) -> bytes:
    """A byte of what is behind it, if that listens yet: an engine does at once."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as server:
        return server.recv(1)
    return b""


def tunnel(stage: Stage) -> Case:
    """A download through a tunnel, beside one through a port that the engine publishes."""
    count = stage.rounds(1024, 256)
    command = ["python3", "-c", SERVER, str(count)]

    def download(port: int) -> float:
        piece, size = bytearray(1 << 20), 0
        began = time.perf_counter()
        with socket.create_connection(("127.0.0.1", port)) as server:
            while taken := server.recv_into(piece):
                size += taken
        seconds = time.perf_counter() - began
        assert size == count << 20
        return count * MIB / seconds

    turns, served, published = {}, [], []
    for engine in stage.peers:
        published.append(peers.Published(engine, command, PORT))
        until(partial(serves, published[-1].port), 10, "the published port serves")
        turns[f"published port, {engine}"] = partial(download, published[-1].port)
    for engine in stage.peers:
        box = stage.ours[engine].box
        served.append(box.spawn_process(command))
        box.wait_tcp(PORT)
        turns[f"ours, {engine}"] = partial(download, box.attach_tunnel(PORT).port)
    case = Case(f"{count} MiB to a socket of this machine", "MB/s")
    in_turns(case, turns, stage.rounds(5, 2))
    for engine, server in zip(stage.peers, served, strict=True):
        at_least(case, f"ours, {engine}", f"published port, {engine}", 0.9)
        server.destroy(grace=0)
        for each in stage.ours[engine].box.all_tunnels():
            stage.ours[engine].box.destroy_tunnel(each)
    for each in published:
        each.close()
    return case
