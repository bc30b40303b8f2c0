"""Fifty processes with a mebibyte each, found again by a script, and shown again by a notebook."""

import re
import subprocess
import time
from typing import Any

from bench.cases import Stage
from bench.measure import Case, Series, at_most, in_turns
from integration.notebook import Notebook
from integration.polling import until
from integration.world import PYTHON

from tfnz_notebook.container import Container
from tfnz_notebook.location import Location

COUNT, SIZE = 50, 1 << 20
LAST = re.compile(r"the last line of (\d+)")
#: Writes SIZE bytes of numbered lines, the last of which names the process; and goes on to run.
WRITER = """
import sys, time
last = b"the last line of %d\\n" % int(sys.argv[1])
lines = b"".join(b"%015d\\n" % number for number in range(1 << 16))
sys.stdout.buffer.write(lines[:(1 << 20) - len(last)] + last)
sys.stdout.flush()
time.sleep(1000)
"""
#: What a script does to have all of it: from the location on, its imports are not counted.
READER = """
import sys, time
from tfnz_notebook.location import Location
where, session, count, size = sys.argv[1:]
began = time.perf_counter()
location = Location(where, session=session)
(container,) = location.containers()
outputs = [process.stdout for process in container.all_processes()]
seconds = time.perf_counter() - began
lines = b"".join(b"%015d\\n" % number for number in range(1 << 16))
assert len(outputs) == int(count)
for output in outputs:
    last = output[output.rindex(b"the last"):]
    assert len(output) == int(size) and output == lines[: len(output) - len(last)] + last
assert len(set(outputs)) == len(outputs)
print(seconds)
"""


def _prepared(location: Location) -> Container:
    container = location.best_node().spawn_container("debian", sleep=True)
    argv = ["python3", "-c", WRITER]
    processes = [container.spawn_process([*argv, str(number)]) for number in range(COUNT)]
    for process in processes:
        until(lambda process=process: len(process.log()) == SIZE, 60, "it has written all")
    return container


def reattach(stage: Stage) -> Case:
    """Reattaching to many processes, with everything that they wrote."""
    case = Case(f"reattach {COUNT} processes with {SIZE >> 20} MiB each", "s")
    contestants: dict[str, Any] = {}
    sessions = {engine: f"bench-{engine}" for engine in stage.ours}
    for engine, session in sessions.items():
        with Location(engine, session=session) as location:
            _prepared(location)

        def read(engine: str = engine, session: str = session) -> float:
            arguments = [*PYTHON, "-c", READER, engine, session, str(COUNT), str(SIZE)]
            done = subprocess.run(arguments, capture_output=True, text=True, check=True)
            return float(done.stdout)

        contestants[f"a script reads all, {engine}"] = read
    in_turns(case, contestants, stage.rounds(7, 3))
    for engine, session in sessions.items():
        values = [_shown(stage, engine, session) for _ in range(stage.rounds(3, 1))]
        case.series.append(Series(f"%tf_attach in a notebook, {engine}", values))
    for engine, session in sessions.items():
        at_most(case, f"a script reads all, {engine}", 1.0, "at most 1 s")
        at_most(case, f"%tf_attach in a notebook, {engine}", 1.0, "at most 1 s")
        with Location(engine, session=session) as location:
            for container in location.containers():
                container.destroy()
    return case


def _shown(stage: Stage, engine: str, session: str) -> float:
    """Seconds from the cell's start until the last of all transcripts has been shown."""
    with Notebook(stage.world, engine) as notebook:
        notebook.run("%load_ext tfnz_notebook")
        began = time.monotonic()
        cell = notebook.start(f"%tf_attach {session}")

        def last() -> float:
            first: dict[int, float] = {}
            for each in notebook.of(cell, "display_data", "update_display_data"):
                name = LAST.search(each.content["data"].get("text/plain", ""))
                if name:
                    first.setdefault(int(name[1]), each.when)
            return max(first.values()) if len(first) == COUNT else 0.0

        seconds = until(last, 60, "all are shown") - began
        notebook.wait(cell)
        return seconds
