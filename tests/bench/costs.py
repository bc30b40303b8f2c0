"""What it costs to have us around: an idle agent, and an import."""

import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from bench import measure
from bench.cases import Stage
from bench.measure import Bar, Case, Series, at_most, in_turns


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
