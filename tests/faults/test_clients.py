"""Who connects and says nothing, or greets and never reads: nobody else notices."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import msgpack
import pytest
from faults.check import Stream
from faults.processes import MIB, descriptors, memory
from faults.scene import Scene, command, read
from integration.polling import until
from words import Words

from tfnz_notebook._wire import link

pytestmark = pytest.mark.faults


@contextmanager
def silent(path: str) -> Iterator[socket.socket]:
    """A connection that says nothing."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        yield sock


def test_silent_and_deaf_clients(scene: Scene) -> None:
    box = scene.box()
    address = scene.world.socket(scene.where)
    (guest,) = scene.world.runtime.glob(f"guests/*/{box.id}/guest.sock")
    before, began = descriptors(scene.agent), memory(scene.agent)
    stream = Stream(1)
    process = box.spawn_process(command(1, blocks=3000, rate=40e6, code=3))
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(silent(address))
        for deaf in range(10):
            kernel = stack.enter_context(Words(address))
            hello = {"version": link.VERSION, "version_min": 1, "client": f"deaf{deaf}"}
            kernel.say(msgpack.packb([0, 1, "hello", hello]))
            for number in range(2, 500):  # and asks, and never takes an answer
                kernel.say(msgpack.packb([0, number, "node.list", {}]))
        read(process, stream)
        # The newest connection of a guest wins. One that is silent costs a pause.
        stack.enter_context(silent(str(guest)))
        assert box.run_process("echo here", timeout=60).stdout == b"here\n"
    assert process.wait(30) == 3
    stream.complete()
    assert memory(scene.agent) - began < 64 * MIB
    # Some are for the container's own files; there were more than a hundred strangers.
    until(lambda: descriptors(scene.agent) <= before + 20, 30, "they are forgotten")
    box.destroy()
