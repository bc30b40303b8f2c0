"""Who kills agents while processes write, and what they write meanwhile."""

import os
import random
import re
import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from faults.check import Stream
from faults.scene import Scene, command, read
from integration.polling import until

from tfnz_notebook.errors import ContainerGone, LinkClosed, ProcessGone
from tfnz_notebook.process import Process


class Killer:
    """Kills the agent of a scene, at random moments, until it has done so often enough."""

    def __init__(self, scene: Scene, most: int) -> None:
        self.kills, self.most = 0, most
        self.back: list[float] = []
        #: The stream of lines that come every few milliseconds.
        self.ticks: Stream | None = None
        self.over = threading.Event()
        self._scene = scene
        self._random = random.Random(scene.where)

    def work(self) -> None:
        """In a thread of its own."""
        try:
            while self.kills < self.most:
                self._kill()
        finally:
            self.over.set()

    def _kill(self) -> None:
        world, where = self._scene.world, self._scene.where
        time.sleep(self._random.uniform(0, 0.4))  # the random moment
        until(lambda: self._scene.agent, 60, "an agent to kill", every=0.005)
        killed = time.monotonic()
        before = world.kill_agent(where)
        self.kills += 1
        if self._random.random() < 0.2:
            # The next one, too, while it starts: it has told nobody yet that it is there.
            os.kill(until(self._starting, 60, "another starts", every=0.005), signal.SIGKILL)
            self.kills += 1
            return
        until(lambda: self._scene.agent not in (0, before), 60, "a new agent", every=0.005)
        stream = self.ticks
        if stream is not None:
            size = stream.size
            until(lambda: self.ticks is not stream or stream.size > size, 60, "flow", every=0.005)
            if self.ticks is stream:
                self.back.append(time.monotonic() - killed)

    def _starting(self) -> int:
        """The process id of an agent that starts; 0 if there is none."""
        where, runtime = self._scene.where, self._scene.world.runtime
        # a cluster's also says which context and namespace
        starting = re.compile(rf"\0serve\0--where\0{where}(:[^\0]*)?\0--runtime\0{runtime}\0")
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if starting.search((path / "cmdline").read_text(errors="replace")):
                    return int(path.name)
            except OSError:
                continue  # it ended
        return 0


def shift(scene: Scene, killer: Killer, number: int, blocks: int) -> None:
    """A container whose processes write so many blocks of 64 KiB, all of them read and checked."""
    box = scene.box(scene.locations[0])
    seeds = [number * 100 + each for each in range(3)]
    ticker = box.spawn_process(command(seeds[0], lines=1, rate=64 * 200))
    ticks = Stream(seeds[0], lines=1)
    called = Stream(seeds[1])
    with ThreadPoolExecutor(2) as pool:
        reading: list[Future[None]] = [pool.submit(read, ticker, ticks)]
        killer.ticks = ticks
        fast = box.spawn_process(command(seeds[2], blocks=blocks, code=7))
        stream = Stream(seeds[2])
        reading.append(pool.submit(read, fast, stream))
        other = box.spawn_process(
            command(seeds[1], blocks=blocks // 2, code=8),
            data_callback=lambda process, data: called.feed(data),
        )
        short = [box.spawn_process(f"echo {n}; exit {n}") for n in range(5)]
        assert [each.wait(60) for each in short] == list(range(5))
        assert [each.stdout for each in short] == [b"%d\n" % n for n in range(5)]
        assert (fast.wait(120), other.wait(120)) == (7, 8)
        killer.ticks = None
        until(lambda: _told_to_end(ticker), 60, "the ticker ends")
        for future in reading:
            future.result(60)
    for each in (ticks, stream, called):
        each.complete()
    box.destroy()


def _told_to_end(ticker: Process) -> bool:
    """A signal is a request that is not repeated: an agent that is killed may take it along."""
    try:
        ticker.signal("TERM")
    except ProcessGone:
        return True
    except (LinkClosed, ContainerGone):
        pass
    return False
