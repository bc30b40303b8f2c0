"""Our side: one location an engine, and the timed things that users do with it."""

import asyncio
import hashlib
import time
from queue import SimpleQueue
from typing import Any

from tfnz_notebook.container import Container
from tfnz_notebook.location import Location
from tfnz_notebook.process import Process


class Ours:
    """A location, a sleeping Debian in it, and what is measured there."""

    def __init__(self, engine: str) -> None:
        self.engine = engine
        self.location = Location(engine)
        self.node = self.location.best_node()
        self.box = self.spawn("debian")

    def spawn(self, image: str) -> Container:
        """A sleeping container that is ready."""
        return self.node.spawn_container(image, sleep=True).wait_until_ready()

    def close(self) -> None:
        """Its containers go."""
        self.location.disconnect()

    def true(self) -> float:
        """Spawn to exit of /bin/true."""
        began = time.perf_counter()
        process = self.box.spawn_process(["/bin/true"])
        process.wait_until_complete()
        seconds = time.perf_counter() - began
        assert process.returncode == 0
        return seconds

    def ran(self) -> float:
        """The same by ``run_process``, as ``subprocess.run`` has it."""
        began = time.perf_counter()
        code = self.box.run_process(["/bin/true"]).returncode
        seconds = time.perf_counter() - began
        assert code == 0
        return seconds

    def many(self, count: int, runner: "asyncio.Runner") -> float:
        """So many of /bin/true in one container at once."""
        return runner.run(at_once([self.box] * count))

    def stream(self, command: list[str], expected: str) -> float:
        """Seconds until a callback has had all of a command's output; hashed afterwards.

        Its log goes with its container: what is left of one round would slow down the next, for
        the system finds memory for a file's pages the slower, the less of it was in use before.
        """
        chunks: list[bytes] = []

        def take(process: Process, data: bytes) -> None:
            chunks.append(data)

        box = self.spawn("debian")
        began = time.perf_counter()
        process = box.spawn_process(command, data_callback=take)
        process.wait()
        seconds = time.perf_counter() - began
        box.destroy()
        digest = hashlib.sha256()
        for chunk in chunks:
            digest.update(chunk)
        assert digest.hexdigest() == expected, f"{self.engine}: a byte was lost or changed"
        return seconds

    def create(self, image: str) -> dict[str, float]:
        """Seconds from spawn_container until it is ready, and until echo in it was heard."""
        heard: SimpleQueue[float] = SimpleQueue()

        def hear(process: Process, data: bytes) -> None:
            heard.put(time.perf_counter())

        began = time.perf_counter()
        container = self.node.spawn_container(image, sleep=True).wait_until_ready()
        ready = time.perf_counter() - began
        container.spawn_process(["/bin/echo", "hello"], data_callback=hear)
        output = heard.get(timeout=30) - began
        container.destroy()
        return {"started": ready, "output": output}


async def at_once(containers: list[Container]) -> float:
    """Spawn /bin/true in each, all at once; seconds until the last has ended."""

    async def one(container: Container) -> int | None:
        process = await container.aio.spawn_process(["/bin/true"])
        await process
        return process.returncode

    began = time.perf_counter()
    codes = await asyncio.gather(*map(one, containers))
    seconds = time.perf_counter() - began
    assert codes == [0] * len(containers), "an exit code is wrong"
    return seconds


class Terminal:
    """cat on a terminal in a container; every keystroke comes back."""

    def __init__(self, ours: Ours) -> None:
        self._heard: SimpleQueue[float] = SimpleQueue()
        self._process: Any = ours.box.spawn_process(
            ["/bin/cat"], tty=True, data_callback=lambda *_: self._heard.put(time.perf_counter())
        )

    def echo(self) -> float:
        """From the call of stdin to the callback that has its echo."""
        began = time.perf_counter()
        self._process.stdin(b"x")
        return self._heard.get(timeout=30) - began

    def close(self) -> None:
        """End it."""
        self._process.destroy(grace=0)
