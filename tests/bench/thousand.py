"""A thousand pods: python tests/bench/thousand.py [PODS [PROCESSES]]

On the cluster in memory, whose pods are models and whose API takes as long as a real one's; under
`python -m cluster with` on that one, which has room for some two hundred. A durable session gets
so many containers with so many processes between them; nobody asks for anything for some minutes;
the agent is killed, and a kernel that comes back uses each. Printed are times, the agent's memory,
and what the API server in memory was asked for.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from apiserver.cluster import Cluster, apart  # noqa: E402 - found on the path above
from apiserver.faults import takes  # noqa: E402
from integration.polling import until  # noqa: E402
from integration.world import World  # noqa: E402

#: What a real one took on two busy cores, in seconds: any call, one that etcd writes down, an exec;
#: and from a pod's binding to its start.
CALL, WRITE, EXEC, START = 0.004, 0.015, 0.045, 0.45
#: As real nodes have it.
PODS_OF_A_NODE = 110
#: Seconds in which nobody asks for anything, once an agent that is new has seen to everything.
SETTLES, REST = 75.0, 120.0

#: Kernels. The first makes it all, and goes; the second comes back.
MAKE = """
import asyncio, sys, time
from tfnz_notebook.location import Location
pods, each = int(sys.argv[1]), int(sys.argv[2])
began = time.perf_counter()
location = Location("kubernetes://", session="kept", ttl=None)
nodes = location.nodes()
boxes = [nodes[n % len(nodes)].spawn_container("busybox", sleep=True) for n in range(pods)]
for box in boxes:
    box.wait_until_ready(timeout=900)
ready = time.perf_counter() - began
async def fill(box):
    return [await box.aio.spawn_process(["sleep", "100000"]) for _ in range(each)]
async def all_of_them():
    made = await asyncio.gather(*map(fill, boxes))
    for processes in made:
        for process in processes:
            assert process.pid
began = time.perf_counter()
asyncio.run(all_of_them())
print(ready, time.perf_counter() - began)
location.disconnect()
"""
#: The last one.
END = """
import asyncio
from tfnz_notebook.location import Location
location = Location("kubernetes://", session="kept")
async def all_of_them():
    await asyncio.gather(*(box.aio.destroy() for box in location.containers()))
asyncio.run(all_of_them())
location.disconnect()
"""
FIND = """
import asyncio, sys, time
from tfnz_notebook.errors import ContainerUnresponsive
from tfnz_notebook.location import Location
pods, each = int(sys.argv[1]), int(sys.argv[2])
began = time.perf_counter()
location = Location("kubernetes://", session="kept")
connected = time.perf_counter() - began
first = next(iter(location.containers()))
first.run_process(["true"])
answered = time.perf_counter() - began
boxes = location.containers()
assert len(boxes) == pods, len(boxes)
async def use(box):
    while True:
        try:
            running = [p for p in await box.aio.all_processes() if p.returncode is None]
            assert len(running) == each, len(running)
            assert (await box.aio.run_process(["true"])).returncode == 0
            return
        except ContainerUnresponsive:  # so many are met that some are asked in vain
            await asyncio.sleep(0.5)
async def all_of_them():
    await asyncio.gather(*map(use, boxes))
asyncio.run(all_of_them())
print(connected, answered, time.perf_counter() - began)
location.disconnect()
"""


def kernel(world: World, program: str, *arguments: object) -> list[float]:
    """What it measured."""
    command = [sys.executable, "-P", "-c", program, *map(str, arguments)]
    done = subprocess.run(
        command, env=world.environment(), stdout=subprocess.PIPE, text=True, check=True
    )
    return [float(each) for each in done.stdout.split()]


def slow(cluster: Cluster) -> None:
    """As slow as a real one."""
    for seconds, on in (
        (CALL, "get *"),
        (CALL, "list *"),
        (CALL, "watch *"),
        (WRITE, "patch *"),
        (WRITE, "delete *"),
        (WRITE, "create pods"),
        (WRITE, "create configmaps"),
        (EXEC, "get pods/exec"),
    ):
        cluster.api.faults.add(takes(seconds, seconds / 2), on=on)
    for kubelet in cluster.api.kubelets.values():
        kubelet.latency = START


def memory(world: World) -> float:
    """Of the agent, in MiB."""
    pid = world.agents()["kubernetes"]
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 2**20


def passes(seconds: float) -> None:
    end = time.monotonic() + seconds
    until(lambda: time.monotonic() > end, seconds + 30, "time passes")


def measure(world: World, there: Cluster | None, pods: int, each: int) -> None:
    def mark() -> int:
        return len(there.calls) if there is not None else 0

    def asked(since: int) -> str:
        if there is None:
            return ""
        counted = Counter(f"{call.verb} {call.resource}" for call in there.calls[since:])
        told = ", ".join(f"{count} x {what}" for what, count in counted.most_common())
        return f"; API calls: {told or 'none'}"

    began = mark()
    ready, filled = kernel(world, MAKE, pods, each)
    print(f"{pods} containers are ready after {ready:.1f} s{asked(began)}")
    print(f"{pods * each} processes run after {filled:.1f} s more")
    if there is not None:
        passes(SETTLES)
        began = mark()
        passes(REST)
        print(f"{REST:.0f} s at rest{asked(began)}")
    print(f"the agent has {memory(world):.0f} MiB")
    world.kill_agent("kubernetes")
    began = mark()
    connected, answered, all_used = kernel(world, FIND, pods, each)
    print(
        f"a new agent is there after {connected:.2f} s, the first process in one of the "
        f"{pods} containers has ended after {answered:.2f} s, one in each after {all_used:.1f} s"
        f"{asked(began)}; it has {memory(world):.0f} MiB"
    )
    kernel(world, END)


def main(pods: int, processes: int) -> None:
    each, settings = processes // pods, {"TFNZ_SESSION_GRACE": "900"}
    with contextlib.ExitStack() as stack:
        there = None
        if kubeconfig := os.environ.get("TFNZ_TEST_KUBERNETES"):
            settings["KUBECONFIG"] = kubeconfig
        else:
            nodes = -(-pods // PODS_OF_A_NODE)
            made = stack.enter_context(apart(models=True, tls=True, nodes=nodes))
            made.do(slow)
            there = made.cluster
            settings["KUBECONFIG"] = str(there.kubeconfig())
            # nobody is there: what sleeps needs no registry
            settings["TFNZ_REGISTRIES"] = "docker.io=http://127.0.0.1:9"
        world = World(**settings)
        try:
            measure(world, there, pods, each)
        finally:
            print(*world.close(), sep="\n", end="")


if __name__ == "__main__":
    PODS, PROCESSES = (*map(int, sys.argv[1:]), *(1000, 10_000)[len(sys.argv) - 1 :])
    main(PODS, PROCESSES)
