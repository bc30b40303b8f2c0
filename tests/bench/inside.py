"""Cells that run in a container, beside those of the notebook's own kernel."""

import sys
import time
from functools import partial

import psutil
from bench.cases import Stage
from bench.measure import Bar, Case, Series, at_most, in_turns, thousandths
from bench.ours import Ours
from integration.notebook import Notebook
from integration.polling import until

SPAWN = (
    "from tfnz_notebook.location import Location\n"
    "{0} = Location({0!r}).best_node().spawn_container('debian', sleep=True).wait_until_ready()"
)
FLOOD = "%%tf_python {}\nwhile True: print('x' * 999)"
HUNDRED = "%%tf_python {}\nfor _ in range(100): print('x' * 1_000_000)"


def cells(stage: Stage) -> list[Case]:
    """The same cell here and there; the first one; the stop button; and a flood."""
    warm = Case("1+1 in a cell, to its result", "ms")
    stop = Case("■ in a cell that prints all it can, to its end", "ms")
    memory = Case("the kernel's memory after 100 MB of a cell's prints, more than before", "MiB")
    with Notebook(stage.world, "host") as notebook:
        notebook.run("%load_ext tfnz_notebook")
        turns = {"the notebook's own kernel": partial(_shown, notebook, "1+1")}
        for engine in stage.ours:
            notebook.run(SPAWN.format(engine), 60)
            turns[f"in a container, {engine}"] = partial(
                _shown, notebook, f"%%tf_python {engine}\n1+1"
            )
        in_turns(warm, turns, stage.rounds(30, 10), times=3)
        own = warm.series[0].median
        for engine in stage.ours:
            ratio = warm[f"in a container, {engine}"].median / own
            text = f"{engine}: {ratio:.2f} x the kernel's own, at most 1.5"
            warm.bars.append(Bar(text, ratio <= 1.5))
        kernel = psutil.Process(notebook.process.pid)
        for engine in stage.ours:
            values = [_stopped(notebook, engine) for _ in range(stage.rounds(5, 2))]
            stop.series.append(Series(engine, values))
            at_most(stop, engine, 0.3, "at most 300 ms")
            before = kernel.memory_info().rss
            notebook.run(HUNDRED.format(engine), 120)
            grown = (kernel.memory_info().rss - before) / (1 << 20)
            memory.series.append(Series(engine, [grown]))
            at_most(memory, engine, 50.0, "at most 50 MiB")
    for case in (stop, memory):
        print("\n".join(case.lines()), file=sys.stderr)
    return [warm, _first(stage), stop, memory]


def _shown(notebook: Notebook, code: str) -> float:
    began = time.monotonic()
    cell = notebook.start(code)
    notebook.wait(cell)
    (result,) = notebook.of(cell, "execute_result")
    return result.when - began


def _stopped(notebook: Notebook, engine: str) -> float:
    cell = notebook.start(FLOOD.format(engine))
    until(lambda: notebook.streams(cell), 30, "it prints")
    time.sleep(1)
    began = time.monotonic()
    notebook.interrupt()
    return notebook.wait(cell).when - began


def _first(stage: Stage) -> Case:
    case = Case("the first cell of a container, and its Python alone", "ms")
    turns = {}
    for engine, ours in stage.ours.items():
        turns[f"python3 -c 1, {engine}"] = partial(_fresh, ours, cell=False)
        turns[f"the first cell, {engine}"] = partial(_fresh, ours, cell=True)
    in_turns(case, turns, stage.rounds(10, 4))
    for engine in stage.ours:
        over = case[f"the first cell, {engine}"].median - case[f"python3 -c 1, {engine}"].median
        text = f"{engine}: {thousandths(over)} more than python3 -c 1, at most 50"
        case.bars.append(Bar(text, over <= 0.050))
    return case


def _fresh(ours: Ours, *, cell: bool) -> float:
    box = ours.spawn("debian")
    began = time.perf_counter()
    if cell:
        box.python().run("1")
    else:
        box.run_process(["python3", "-c", "1"])
    seconds = time.perf_counter() - began
    box.destroy()
    return seconds
