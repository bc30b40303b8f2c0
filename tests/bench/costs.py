"""What it costs to have us around: an idle agent, and an import."""

import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from bench import measure
from bench.cases import Stage
from bench.measure import Bar, Case, Series, at_most, in_turns
from bench.peers import said_after
from integration.world import World

from tfnz_notebook.location import Location


def idle(stage: Stage) -> list[Case]:
    """An agent with 20 containers and 100 processes that do nothing."""
    cpu, memory = Case("CPU of an idle agent", "%"), Case("memory of an idle agent", "MiB")
    for case in (cpu, memory):
        case.title += ", 20 containers, 100 processes"
    for engine in stage.peers:
        ours = stage.ours[engine]
        boxes = [ours.node.spawn_container("busybox", sleep=True) for _ in range(20)]
        for box in boxes:
            for _ in range(5):
                box.spawn_process(["/bin/sleep", "100000"])
        pid = stage.world.agents()[engine]
        shares = [_share(pid, stage.rounds(10, 5)) for _ in range(stage.rounds(3, 1))]
        cpu.series.append(Series(f"agent, {engine}", shares))
        memory.series.append(Series(f"agent, {engine}, resident", [_memory(pid, "Rss")]))
        memory.series.append(Series(f"agent, {engine}, proportional", [_memory(pid, "Pss")]))
        at_most(cpu, f"agent, {engine}", 1.0, "less than 1 % of a core")
        at_most(memory, f"agent, {engine}, resident", 80.0, "less than 80 MiB")
        for box in boxes:
            box.destroy()
    for case in (cpu, memory):
        print("\n".join(case.lines()), file=sys.stderr)
    return [cpu, memory]


def _share(pid: int, seconds: float) -> float:
    """Percent of a core that a process uses over so many seconds."""

    def used() -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    before, began = used(), time.perf_counter()
    time.sleep(seconds)
    ticks = (used() - before) / os.sysconf("SC_CLK_TCK")
    return 100 * ticks / (time.perf_counter() - began)


def _memory(pid: int, kind: str) -> float:
    """MiB, from smaps_rollup."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(kind)


def processes(stage: Stage) -> Case:
    """An agent with 1,000 processes that run; one of its own: others have memory to spare."""
    case = Case("memory of a new agent, 1,000 processes that run", "MiB")
    for engine in stage.peers:
        world = World()
        try:
            with pytest.MonkeyPatch.context() as patch:
                world.enter(patch)
                before, after = _with_a_thousand(world, engine)
        finally:
            world.close()
        each = (after - before) * 1024 / 1000
        case.series.append(Series(f"agent, {engine}, resident", [after]))
        at_most(case, f"agent, {engine}, resident", 40.0, "at most 40 MiB")
        case.bars.append(Bar(f"{engine}: {each:.1f} KiB a process, at most 10", each <= 10))
    print("\n".join(case.lines()), file=sys.stderr)
    return case


def _with_a_thousand(world: World, engine: str) -> tuple[float, float]:
    """MiB of that world's agent, with one container and then with as many processes in it."""
    with Location(engine) as location:
        box = location.best_node().spawn_container("busybox", sleep=True)
        box.run_process(["/bin/true"])
        pid = world.agents()[engine]
        before = _memory(pid, "Rss")
        for _ in range(1000):
            box.spawn_process(["/bin/sleep", "100000"])
        return before, _memory(pid, "Rss")


OURS = """
import sys
from tfnz_notebook.location import Location
with Location(sys.argv[1]) as location:
    box = location.best_node().spawn_container("busybox", sleep=True)
    print(box.run_process(["/bin/true"]).returncode, flush=True)
"""
THEIRS = """
import sys, docker
client = docker.DockerClient(base_url="unix://" + sys.argv[1])
box = client.containers.run("busybox", ["sleep", "1000"], detach=True)
print(box.exec_run(["/bin/true"])[0], flush=True)
box.remove(force=True)
"""


def cold(stage: Stage) -> Case:
    """From nothing, no agent either, to the end of a first process in a first container."""

    def ours(engine: str) -> float:
        world = World()
        try:
            return said_after(sys.executable, OURS, engine, **world.settings)
        finally:
            world.close()

    turns = {}
    for engine, peer in stage.peers.items():
        turns[f"docker-py, {engine}"] = partial(said_after, peer.python, THEIRS, peer.socket)
        turns[f"ours, {engine}"] = partial(ours, engine)
    case = Case("an interpreter's start to the end of its first process in a container", "ms")
    in_turns(case, turns, stage.rounds(10, 3))
    for engine in stage.peers:
        ratio = case[f"ours, {engine}"].median / case[f"docker-py, {engine}"].median
        text = f"ours, {engine}: {ratio:.2f} x docker-py, at most 1"
        case.bars.append(Bar(text, ratio <= 1))
    return case


HEAVY = "ipywidgets anywidget traitlets IPython ipykernel h11 httpx requests urllib3 http.client"
LOADED = f"""
import json, sys
import tfnz_notebook
print(json.dumps([name for name in {HEAVY.split()} if name in sys.modules]))
"""


def imports(stage: Stage) -> Case:
    """What ``import tfnz_notebook`` costs."""

    def run(code: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-P", "-c", code], check=True)
        return time.perf_counter() - began

    contestants = {
        name: partial(run, code)
        for name, code in {
            "bare Python": "pass",
            "import tfnz_notebook": "import tfnz_notebook",
            "import tfnz_notebook.location": "import tfnz_notebook.location",
        }.items()
    }
    case = in_turns(Case("import, whole interpreter", "ms"), contestants, stage.rounds(20, 5))
    bare = case["bare Python"].median
    for name in ("import tfnz_notebook", "import tfnz_notebook.location"):
        over = case[name].median - bare
        text = f"{name}: {measure.thousandths(over)} over bare Python, at most 100"
        case.bars.append(Bar(text, over <= 0.1))
    loaded = json.loads(subprocess.check_output([sys.executable, "-P", "-c", LOADED]))
    text = f"no widget or HTTP library loaded{': but ' + ', '.join(loaded) if loaded else ''}"
    case.bars.append(Bar(text, not loaded))
    return case
