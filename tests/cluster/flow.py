"""Containers whose processes write numbered lines while something happens to the cluster."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from faults.check import Stream
from faults.scene import Scene, command, read
from integration.polling import until

from tfnz_notebook.container import Container
from tfnz_notebook.process import Process

#: Bytes a second of a writer: within a minute more than a guest keeps of a stream.
RATE = 100e3


class Flow:
    """So many writers, over some containers; every one ends by itself when it is told to."""

    def __init__(self, boxes: list[Container], writers: int) -> None:
        self.boxes = boxes
        self.streams = [Stream(number) for number in range(writers)]
        self.processes: list[Process] = [
            boxes[number % len(boxes)].spawn_process(command(number, rate=RATE))
            for number in range(writers)
        ]
        self.pids = [process.pid for process in self.processes]

    def flows(self, seconds: float = 60.0) -> None:
        """From now on, of each of them something new."""
        sizes = [stream.size for stream in self.streams]

        def grown() -> bool:
            pairs = zip(self.streams, sizes, strict=True)
            return all(stream.size > size for stream, size in pairs)

        until(grown, seconds, "lines of every writer come")

    def end(self) -> None:
        """They are the same processes, and end as they do when they are told."""
        assert [process.pid for process in self.processes] == self.pids
        for process in self.processes:
            process.signal("TERM")
        assert [process.wait(60) for process in self.processes] == [0] * len(self.processes)


@contextmanager
def flowing(scene: Scene, *, boxes: int = 2, writers: int = 4) -> Iterator[Flow]:
    """Lines flow; after the block they do still, and of all that was written nothing is missing."""
    location = scene.location()
    flow = Flow([scene.box(location) for _ in range(boxes)], writers)
    with ThreadPoolExecutor(writers) as pool:
        reading: list[Future[None]] = [
            pool.submit(read, *each) for each in zip(flow.processes, flow.streams, strict=True)
        ]
        try:
            flow.flows()
            yield flow
            flow.flows()
            flow.end()
        except BaseException:
            location.disconnect()  # or its readers would read for ever
            raise
        for each in reading:
            each.result(60)
    for stream in flow.streams:
        stream.complete()
