"""An agent that finds much: python tests/bench/start.py [ENGINE [CONTAINERS [ENDS]]]

How long it takes to answer. So many real containers of a durable session, ten of them paused, with
so many ended processes in their indexes; the agent is killed, and a kernel that comes back asks.
Then, in turns, what a mute container costs another session: its first answer with one that is
stopped, and without.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.ended import index  # noqa: E402 - found on the path above
from integration.world import World  # noqa: E402

#: Run as another kernel: seconds from nothing to the first answer, of this session's container.
FIRST = """
import sys, time
from tfnz_notebook.location import Location
began = time.perf_counter()
location = Location(sys.argv[1], session=sys.argv[2])
box = location.container(sys.argv[3])
connected = time.perf_counter() - began
box.run_process(["true"])
print(connected, time.perf_counter() - began)
location.disconnect()
"""


def first(world: World, engine: str, session: str, ident: str) -> tuple[float, float]:
    """Seconds to be connected, and to the first process's end."""
    command = [sys.executable, "-c", FIRST, engine, session, ident]
    done = subprocess.run(
        command, env=world.environment(), capture_output=True, text=True, check=True
    )
    connected, answered = map(float, done.stdout.split())
    return connected, answered


def spool(world: World, ident: str) -> Path:
    """Where the agent keeps what a container's processes said."""
    return next((world.state / "spool").glob(f"*/{ident}"))


def main(engine: str, count: int, ends: int) -> None:
    world = World(TFNZ_SESSION_GRACE="600")
    os.environ.update(world.settings)
    from tfnz_notebook.location import Location

    try:
        location = Location(engine, session="kept", ttl=None)
        other = Location(engine, session="other", ttl=None)
        node = location.best_node()
        boxes = [node.spawn_container("busybox", sleep=True) for _ in range(count)]
        mine = other.best_node().spawn_container("busybox", sleep=True).wait_until_ready()
        for box in boxes:
            box.wait_until_ready(timeout=300)
            box.run_process(["true"])
        paused = boxes[:10] if engine != "host" else []
        for box in paused:
            box.pause()
        asked = boxes[-1].id
        for ident in [box.id for box in boxes]:
            index(spool(world, ident), ends // count)
        location.disconnect()
        other.disconnect()
        for _ in range(3):
            world.kill_agent(engine)
            connected, answered = first(world, engine, "kept", asked)
            print(
                f"{engine}: {count} containers ({len(paused)} paused), {ends} ends: a new agent is "
                f"there after {connected:.2f} s, the first process has ended after {answered:.2f} s"
            )
        taken: dict[bool, list[float]] = {False: [], True: []}
        pid = _guest(world, engine, boxes[20].id)
        for number in range(20):
            mute = bool(number % 2)
            os.kill(pid, signal.SIGSTOP if mute else signal.SIGCONT)
            world.kill_agent(engine)
            taken[mute].append(first(world, engine, "other", mine.id)[1])
        os.kill(pid, signal.SIGCONT)
        without, beside = (statistics.median(taken[mute]) for mute in (False, True))
        print(
            f"{engine}: another session's first answer after a restart, beside a guest that is "
            f"stopped {beside:.3f} s, without {without:.3f} s: {beside / without:.2f} x"
        )
    finally:
        world.close()


def _guest(world: World, engine: str, ident: str) -> int:
    """The process of a container's guest, as this machine has it."""
    if engine == "host":
        told = json.loads((world.runtime / "host" / ident / "state.json").read_text())
        return int(told["pid"])
    return int(world.container(engine, ident)["State"]["Pid"])


if __name__ == "__main__":
    ENGINE, COUNT, ENDS = [*sys.argv[1:], *("podman", "100", "100000")[len(sys.argv) - 1 :]]
    main(ENGINE, int(COUNT), int(ENDS))
