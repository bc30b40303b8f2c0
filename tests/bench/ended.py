"""What ended processes cost an agent: python tests/bench/ended.py [COUNT [CONTAINERS]]

An index of so many ends is read, in one container and in many that an agent takes over; the agent
and a link are in this process, over an engine in memory and the real disk. Printed are times,
bytes of memory for each, and how long a turn of the loop took meanwhile.
"""

import asyncio
import json
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from unit.agent.test_handed_in import Agent, Nowhere  # noqa: E402 - found on the path above

from tfnz_notebook._link.link import Link  # noqa: E402
from tfnz_notebook.agent.disk import RealDisk  # noqa: E402
from tfnz_notebook.agent.process.records import Records  # noqa: E402
from tfnz_notebook.testing import FakeEngine  # noqa: E402

TOLD = {
    "process": "",
    "text": "echo hello",
    "tty": False,
    "pid": 1234,
    "started": 1764131234.123456,
    "returncode": 0,
    "seconds": 0.001234,
    "timed_out": False,
    "oom": False,
    "ran": 0.0123456,
    "retain": "all",
    "out": 6,
    "err": 0,
    "logs": [[0, -6], [0]],
    "place": [0, 123456],
    "marks": [[1, 0, 2]],
    "at": 1234,
    "kept": 6,
    "pack": 0,
    "rest": 1,
}


def index(folder: Path, count: int) -> None:
    """Of so many processes that said hello."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "ended").open("w") as file:
        for _ in range(count):
            told = {**TOLD, "process": uuid.uuid4().hex}
            file.write(json.dumps(told, separators=(",", ":")) + "\n")


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@asynccontextmanager
async def watched(what: str) -> AsyncIterator[None]:
    """Say how long that took, and how long the loop's longest turn."""
    longest, began = 0.0, time.perf_counter()

    async def turns() -> None:
        nonlocal longest
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - last)
            last = time.perf_counter()

    watching = asyncio.create_task(turns())
    try:
        yield
    finally:
        watching.cancel()
    took = (time.perf_counter() - began) * 1000
    print(f"{what}: {took:.0f} ms, the longest turn {longest * 1000:.1f} ms")


async def one(count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / uuid.uuid4().hex
        index(folder, count)
        before, records = resident(), Records(folder)
        async with watched(f"{count} ends of one container are read"):
            await records.load(asyncio.Lock(), over=False)
        print(f"each takes {(resident() - before) / count:.0f} bytes")
        began = time.perf_counter()
        records.processes.counted(folder.name, 3)
        print(f"they are counted in {(time.perf_counter() - began) * 1e6:.0f} us")


async def many(count: int, containers: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        engine = FakeEngine()
        await engine.open()

        def agent() -> Agent:
            made = Agent(engine, RealDisk())  # type: ignore[arg-type]
            made.sessions.spool = Path(name)
            return made

        first = agent()
        link = Link(Nowhere(), session="kept", connect=first.connect)
        await link.open()
        for _ in range(containers):
            ident = uuid.uuid4().hex
            body = {"container": ident, "spec": {"image": "debian", "sleep": True}}
            await link.request("container.spawn", body)
            await link.request("container.stats", {"container": ident})
            index(Path(name) / ident, count // containers)
        await first.server.close()
        first.sessions.close()
        second, began = agent(), time.perf_counter()
        async with watched(f"{containers} containers with {count} ends are known"):
            changed = second.server.container_changed, second.server.process_changed
            await second.sessions.adopt(*changed)
            other = Link(Nowhere(), session="another", connect=second.connect)
            await other.open()
            body = {"container": uuid.uuid4().hex, "spec": {"image": "debian", "sleep": True}}
            await other.request("container.spawn", body)
            await other.request("container.stats", {"container": body["container"]})
            first_answer = (time.perf_counter() - began) * 1000
            for session in second.sessions:
                for container in session.containers.values():
                    await container.recalled.wait()
        print(f"a container of another session answered after {first_answer:.0f} ms")
        known = sum(len(c.processes) for s in second.sessions for c in s.containers.values())
        assert known == count // containers * containers
        await second.server.close()
        second.sessions.close()
        await engine.close()


if __name__ == "__main__":
    COUNT, CONTAINERS = (*map(int, sys.argv[1:]), *(100_000, 100)[len(sys.argv) - 1 :])
    asyncio.run(one(COUNT))
    asyncio.run(many(COUNT, CONTAINERS))
