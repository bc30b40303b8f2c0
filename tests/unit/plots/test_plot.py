"""A plot of a process's log, from the scripted agent."""

import asyncio
import io
import itertools
import math
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image
from unit.link.scripted_agent import ScriptedAgent

from tfnz_notebook import plots
from tfnz_notebook.container import Container, Stats
from tfnz_notebook.errors import Misuse, WaitTimeout
from tfnz_notebook.plots import Plot
from tfnz_notebook.plots.choice import MOST_SHOWN
from tfnz_notebook.plots.feed import MAX_LINE
from tfnz_notebook.process import Process


@pytest.fixture
def process(container: Container) -> Process:
    return container.spawn_process("worker")


def filled(agent: ScriptedAgent, process: Process, text: str, *given: Any, **options: Any) -> Plot:
    """A plot of all of a process's output."""
    process._info["started"] = time.time()  # as a real agent tells it
    plot = plots.plot(process, *given, **options)
    agent.write(process.id, text.encode())
    agent.end(process.id)
    return plot.wait(20)


def test_rows_by_time(agent: ScriptedAgent, process: Process) -> None:
    before = time.time()
    plot = filled(agent, process, "a=1 b=2\na=3\na=5 b=6", "keyvalue")
    assert [(row["a"], row["b"]) for row in plot.rows[::2]] == [(1, 2), (5, 6)]
    assert math.isnan(plot.rows[1]["b"])
    times = [row["time"] for row in plot.rows]
    assert times == sorted(times)
    assert before - 1 <= times[0] <= times[-1] <= time.time()
    assert (len(plot), plot.columns, plot.shown, plot.ended) == (3, ["a", "b"], ["a", "b"], True)
    assert plot.text == "worker: 3 rows; a 5 (1 to 5); b 6 (2 to 6)"
    assert repr(plot) == "<Plot 'worker': 3 rows of a, b>"


def test_the_methods_of_processes_and_samples(agent: ScriptedAgent, container: Container) -> None:
    process = container.spawn_process("vmstat 1")
    plot = process.plot(plots.vmstat, columns="us,sy")
    assert isinstance(plot, Plot)
    assert plot.title == "vmstat 1"
    with pytest.raises(Misuse, match="of no container"):
        Stats(*[1.0] * 10).plot()  # type: ignore[arg-type]
    with pytest.raises(Misuse, match=r"Use process\.plot\(\)"):
        Plot()
    plot.stop()
    assert plot.ended


def test_a_pattern_is_a_parser(agent: ScriptedAgent, process: Process) -> None:
    plot = process.plot(pattern=r"time=(?P<ms>[\d.]+)")
    agent.write(process.id, b"64 bytes: seq=1 time=0.5 ms\n")
    agent.end(process.id)
    assert [row["ms"] for row in plot.wait(20).rows] == [0.5]
    with pytest.raises(Misuse, match="with a parser and a pattern"):
        process.plot("csv", pattern="x")


def test_a_container_plots_a_command(agent: ScriptedAgent, container: Container) -> None:
    plot = container.plot("worker --fast", columns="a", title="mine")
    (process,) = container.all_processes()
    agent.write(process.id, b"a=1 b=2\n")
    agent.end(process.id)
    assert [row["a"] for row in plot.wait(20).rows] == [1]
    assert (plot.title, plot.shown) == ("mine", ["a"])
    with pytest.raises(Misuse, match="no such column"):
        container.plot("vmstat 1", columns="nothere")
    agent.until(lambda: not any(p.returncode is None for p in container.all_processes()))
    for wrong in ({"parser": "csv"}, {"pattern": "x"}):
        with pytest.raises(Misuse, match="is for a command"):
            container.plot(**wrong)


async def test_plots_are_awaitable(agent: ScriptedAgent, container: Container) -> None:
    plot = await container.aio.plot("worker")
    assert isinstance(plot, Plot)
    await asyncio.to_thread(plot.stop)


def test_a_dataframe(agent: ScriptedAgent, process: Process) -> None:
    frame = filled(
        agent,
        process,
        "when,a\n2026-11-23T13:38:07Z,1\n2026-11-23T13:38:08Z,2\n",
        plots.csv(time="when"),
    ).data
    assert list(frame.columns) == ["a"]
    assert [str(at) for at in frame.index] == [
        "2026-11-23 13:38:07+00:00",
        "2026-11-23 13:38:08+00:00",
    ]
    assert frame["a"].sum() == 3


def test_without_pandas_data_is_the_rows(
    agent: ScriptedAgent, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    plot = filled(agent, process, "a=1\n", "keyvalue", x="row")
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert plot.data == plot.rows == [{"row": 0.0, "a": 1.0}]


def test_lines_that_are_not_understood_are_counted(agent: ScriptedAgent, process: Process) -> None:
    def read(line: str) -> float:
        if line == "boom":
            raise RuntimeError("I do not like it")
        if line == "exit":
            sys.exit("I leave")
        return float(line)

    plot = filled(agent, process, "1\nwhat\x1b[31m?\nexit\nboom\n2\n", read)
    assert [row["value"] for row in plot.rows] == [1, 2]
    assert plot.skipped == 3
    assert plot.complaint == "'boom': I do not like it"
    assert "3 lines not understood" in plot.text
    assert plot.info()["skipped"] == 3


def test_without_a_row_it_says_what_came(agent: ScriptedAgent, process: Process) -> None:
    plot = plots.plot(process)
    assert plot.empty == "No row came yet."
    agent.write(process.id, b"Loading \x1b[1mthe model\x1b[0m\n")
    agent.until(lambda: plot.heard)
    assert plot.empty == "1 line came. It is no row of numbers. It wrote:\nLoading the model"
    agent.write(process.id, b"please wait\n")
    agent.until(lambda: plot.heard == "please wait")
    assert plot.info()["empty"].startswith("2 lines came. None of them is a row of numbers.")
    assert "please wait" in plot.text
    agent.write(process.id, b"a=1\n")
    agent.until(lambda: len(plot))
    assert (plot.empty, plot.info()["empty"]) == ("", "")
    agent.until(lambda: len(agent.readers) == 1)


def test_a_wrong_command_says_so(agent: ScriptedAgent, process: Process) -> None:
    plot = plots.plot(process, "vmstat")
    agent.write(process.id, b"sh: 1: vmsat: not found\n", stream=2)
    agent.until(lambda: plot.heard)
    assert plot.empty == "No row came yet. It wrote:\nsh: 1: vmsat: not found"
    agent.end(process.id, 127)
    plot.wait(10)
    assert plot.empty == "It ended with 127. No row came. It wrote:\nsh: 1: vmsat: not found"
    assert plot.text.endswith("No row came. It wrote: sh: 1: vmsat: not found")
    picture(plot)


def test_lines_without_end_do_not_fill_the_memory(agent: ScriptedAgent, process: Process) -> None:
    text = "a=1\n" + "x" * (3 * MAX_LINE) + " a=2\na=3\n" + "a=" + "9" * MAX_LINE
    plot = filled(agent, process, text, "keyvalue")
    assert [row["a"] for row in plot.rows] == [1, 3]
    assert plot.skipped == 2
    assert len(plot.complaint) < 500


def test_terminals_colour_and_rewrite_lines(agent: ScriptedAgent, process: Process) -> None:
    plot = filled(agent, process, "\x1b[1;32ma=1\x1b[0m\r\na=7\ra=8\n", "keyvalue")
    assert [row["a"] for row in plot.rows] == [1, 8]


def test_what_was_written_before_is_spread_over_its_time(
    agent: ScriptedAgent, process: Process
) -> None:
    agent.write(process.id, b"".join(b"a=%d\n" % n for n in range(1000)))
    agent.do(lambda: None)
    agent.until(lambda: process.log().count(b"\n") == 1000)
    process._info["started"] = time.time() - 500
    plot = plots.plot(process, "keyvalue")
    agent.until(lambda: len(plot) == 1000 and not plot.replaying)
    times = [row["time"] for row in plot.rows]
    steps = [b - a for a, b in itertools.pairwise(times)]
    assert min(steps) == pytest.approx(0.5, rel=0.05)
    assert max(steps) == pytest.approx(0.5, rel=0.05)
    agent.write(process.id, b"a=1000\n")
    agent.until(lambda: len(plot) == 1001)
    assert plot.rows[-1]["time"] >= times[-1]


def test_a_line_that_was_torn_is_no_row(agent: ScriptedAgent, process: Process) -> None:
    """With ``retain='tail'`` the log drops what nobody read in time."""
    plot = plots.plot(process, "keyvalue")
    agent.write(process.id, b"a=1\na=2")
    agent.until(lambda: len(plot) == 1)

    def drop() -> None:
        stream = agent.processes[process.id].streams[1]
        stream.base, stream.data = stream.head + 100, bytearray(b"77\na=5\n")

    agent.do(drop)
    agent.end(process.id)
    assert [row["a"] for row in plot.wait(20).rows] == [1, 5]
    assert plot.complaint == "'a=2': what followed was left out"


def test_stderr_too(agent: ScriptedAgent, process: Process) -> None:
    plot = plots.plot(process, "keyvalue", stream="stderr")
    agent.write(process.id, b"a=1\n", stream=2)
    agent.write(process.id, b"a=2\n")
    agent.end(process.id)
    assert [row["a"] for row in plot.wait(20).rows] == [1]
    with pytest.raises(Misuse, match="stdin"):
        plots.plot(process, stream="stdin")  # type: ignore[arg-type]


def test_x_may_be_a_column_or_a_number(agent: ScriptedAgent, container: Container) -> None:
    text = "step=1 loss=9\nloss=8\nstep=3 loss=7\nstep=2 loss=6\n"
    plot = filled(agent, container.spawn_process("train"), text, "keyvalue", x="step")
    assert [row["step"] for row in plot.rows] == [1, 3]
    assert plot.skipped == 2
    assert "step does not grow" in plot.complaint
    assert plot.info()["x_name"] == "step"
    assert plot.shown == ["loss"]
    assert plot.window == "all"
    plot = filled(agent, container.spawn_process("train"), "5\n6\n", float, x="row")
    assert [row["row"] for row in plot.rows] == [0, 1]
    with pytest.raises(Misuse, match="no such column"):
        plots.plot(container.spawn_process("vmstat 1"), x="nothere")


def test_choosing_columns(agent: ScriptedAgent, process: Process) -> None:
    plot = filled(agent, process, '{"a": {"x": 1, "y": 2}, "b": 3}\n', columns=["b", "a.*"])
    assert plot.shown == ["b", "a.x", "a.y"]
    colors = {c["name"]: c["color"] for c in plot.info()["columns"]}
    assert len(set(colors.values())) == 3
    assert plot.select("a.x").shown == ["a.x"]
    assert plot.info()["order"] == [0]
    assert plot.select(None).shown == ["a.x", "a.y", "b"]
    assert {c["name"]: c["color"] for c in plot.info()["columns"]} == colors, "they keep theirs"
    with pytest.raises(Misuse, match=r"Cannot show 'c': there is no such column. There are a.x"):
        plot.select("a.x,c")
    assert plot.shown == ["a.x", "a.y", "b"]
    for wrong in ([3], ""):
        with pytest.raises(Misuse, match="Cannot show"):
            plot.select(wrong)  # type: ignore[arg-type]


def test_columns_that_can_never_be_are_refused_at_once(process: Process) -> None:
    with pytest.raises(Misuse, match=r"Cannot show 'usr': .* There are active, b, bi,.* us, wa"):
        plots.plot(process, plots.vmstat, columns="usr")


def test_columns_that_do_not_come_are_told(agent: ScriptedAgent, process: Process) -> None:
    plot = plots.plot(process, "keyvalue", columns="a,z")
    assert plot.error == "", "nothing has come yet"
    agent.write(process.id, b"a=1 b=2\n")
    agent.until(lambda: len(plot))
    assert plot.shown == ["a"]
    assert plot.error == "Cannot show 'z': there is no such column. There are a, b."
    agent.write(process.id, b"z=1\n")
    agent.until(lambda: plot.shown == ["a", "z"])
    assert plot.error == ""


def test_things_in_turns_have_lines_of_their_own(agent: ScriptedAgent, process: Process) -> None:
    plot = plots.plot(process, columns="sm")
    agent.write(process.id, b"# gpu  sm  pwr\n# Idx   %    W\n  0   5  50\n")
    agent.until(lambda: len(plot) == 1)
    assert plot.shown == ["sm"]
    color = plot.choice.color("sm")
    agent.write(process.id, b"  0   6  51\n  1   7  52\n")
    agent.end(process.id)
    assert [(r["gpu0.sm"], r["gpu1.sm"]) for r in plot.wait(20).rows[1:]] == [(6, 7)]
    assert plot.rows[0]["gpu0.sm"] == 5
    assert plot.shown == ["gpu0.sm", "gpu1.sm"]
    assert plot.choice.color("gpu0.sm") == color
    assert (plot.unit("gpu1.sm"), plot.unit("gpu1.pwr"), plot.skipped) == ("%", "W", 0)


def test_too_many_columns_are_told(agent: ScriptedAgent, process: Process) -> None:
    text = "".join(f"key{n}={n}\n" for n in range(200))
    plot = filled(agent, process, text, "keyvalue", columns="key*")
    assert len(plot.columns) == 128
    assert len(plot.shown) == MOST_SHOWN
    assert "128 are the most" in plot.error


def test_windows(agent: ScriptedAgent, process: Process) -> None:
    plot = plots.plot(process, "keyvalue")
    assert (plot.window, plot.chosen, plot.info()["window"]) == (60, False, 60)
    plot.window = "all"
    assert (plot.window, plot.chosen, plot.info()["window"]) == ("all", True, 0)
    plot.window = 5.5
    assert plot.window == 5.5
    for wrong in (-1, "5", True, math.nan):
        with pytest.raises(Misuse, match="window"):
            plot.window = wrong
    with pytest.raises(Misuse, match="window"):
        plots.plot(process, "keyvalue", window=-3)


def test_waiting_and_stopping(agent: ScriptedAgent, process: Process) -> None:
    plot = plots.plot(process, "keyvalue")
    with pytest.raises(WaitTimeout, match=r"0\.01 s are over"):
        plot.wait(0.01)
    agent.write(process.id, b"a=1\n")
    agent.until(lambda: len(plot))
    plot.stop()
    plot.stop()
    assert plot.wait(1) is plot
    agent.write(process.id, b"a=2\n")
    agent.until(lambda: b"a=2" in process.log())
    assert len(plot) == 1
    assert process.returncode is None
    agent.until(lambda: not agent.readers)


def test_the_end_of_the_link_is_told(process: Process, container: Container) -> None:
    plot = plots.plot(process, "keyvalue")
    container.location.disconnect()
    plot.wait(10)
    assert "Cannot" in plot.error
    assert plot.error in plot.text


def test_many_lines_leave_the_loop_free(agent: ScriptedAgent, process: Process) -> None:
    """Other things on the I/O loop are not held up while a log is parsed."""
    agent.write(process.id, b"a=1 b=2 c=3\n" * 30_000)
    agent.end(process.id)
    plot = plots.plot(process, "keyvalue")
    longest = 0.0
    while not plot.ended:
        begun = time.monotonic()
        assert process.log(limit=10)
        longest = max(longest, time.monotonic() - begun)
    assert plot.table.end == 30_000
    assert longest < 2.0


# --- statistics ----------------------------------------------------------------------------------


def samples(agent: ScriptedAgent) -> Callable[[], int]:
    """Half a core, 1 MiB/s read, growing memory; the answer says how many were asked for."""
    asked: list[int] = []

    def answer(_agent: ScriptedAgent, _message: Any) -> Any:
        n = len(asked)
        asked.append(n)
        return {
            "sample": {
                "clock": (1000 + n) * 1e9,
                "cpu": n * 500_000,
                "memory": (10 + n) << 20,
                "pids": 3,
                "read": n << 20,
            }
        }, None

    agent.answers["container.stats"] = answer
    return lambda: len(asked)


def test_statistics(agent: ScriptedAgent, container: Container) -> None:
    asked = samples(agent)
    sample = container.stats()
    assert sample == tuple(sample) and sample.container is container
    plot = sample.plot(every=0.05)
    agent.until(lambda: len(plot) >= 4)
    assert plot.columns == ["cpu", "memory", "read", "written", "received", "sent", "pids"]
    assert plot.shown == ["cpu", "memory"]
    assert (plot.unit("cpu"), plot.unit("memory"), plot.unit("sent")) == ("%", "B", "B/s")
    first, second, *_ = plot.rows
    assert math.isnan(first["cpu"]) and first["memory"] == 11 << 20
    assert (second["cpu"], second["read"], second["pids"]) == (50, 1 << 20, 3)
    assert math.isnan(second["sent"])
    agent.set_state(container.id, "exited", returncode=0)
    plot.wait(10)
    before = asked()
    assert before >= 4
    assert container.plot(every=0.05).wait(10).title == plot.title
    with pytest.raises(Misuse, match="no such column"):
        plots.stats_plot(container, "cpu,disk")
    with pytest.raises(Misuse, match="every"):
        plots.stats_plot(container, every=0)


# --- the picture ---------------------------------------------------------------------------------


def picture(plot: Plot, **options: Any) -> Image.Image:
    png = plot.picture(**options)
    assert len(png) <= 40_000
    return Image.open(io.BytesIO(png)).convert("RGB")


def near(image: Image.Image, color: str) -> int:
    """How many dots have that colour, nearly."""
    wanted = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
    counts = image.getcolors(1 << 24) or []
    return sum(
        count
        for count, dot in counts
        if all(abs(a - b) < 12 for a, b in zip(dot, wanted, strict=True))  # type: ignore[arg-type]
    )


def test_its_picture(agent: ScriptedAgent, process: Process) -> None:
    text = "".join(f"a={50 + 40 * math.sin(n / 9):.2f}% b={n}KiB\n" for n in range(400))
    plot = filled(agent, process, text, "keyvalue")
    image = picture(plot)
    assert image.size == (1280, 440)
    for name in ("a", "b"):
        assert near(image, plot.choice.color(name)) > 100
    assert near(image, "#ffffff") > 400_000
    plot.select("a")
    assert near(picture(plot), plot.choice.color("b")) < 20
    assert near(picture(plot), plot.choice.color("a")) > 100


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a=1\n",
        "a=1\na=1\n",
        "a=-5\na=-5\n",
        "a=1e300\na=-1e300\n",
        "a=1e-9\na=2e-9\n",
        "a=1 b=2s c=3% d=4KiB e=5req\na=2 b=1s\n",
        "a=0\nb=1\na=2\n",
    ],
)
def test_pictures_of_little(agent: ScriptedAgent, process: Process, text: str) -> None:
    for whole in (True, False):
        picture(filled(agent, process, text, "keyvalue"), whole=whole)


def test_the_picture_of_much_noise_is_small_and_soon_drawn(
    agent: ScriptedAgent, process: Process
) -> None:
    text = "".join(
        f"a={n * 7919 % 101} b={n * 104729 % 97} c={n * 31 % 89} d={n * 17 % 83} e={n % 7}\n"
        for n in range(8_000)
    )
    plot = filled(agent, process, text, "keyvalue")
    assert len(plot.picture()) <= 40_000


def test_hostile_names_are_only_text(agent: ScriptedAgent, container: Container) -> None:
    process = container.spawn_process("echo '<script>alert(1)</script>\x1b]0;x\x07'" * 20)
    plot = filled(agent, process, '{"<b>\\u202e\\n": 1}\n', "jsonl")
    picture(plot)
    assert plot._repr_mimebundle_()["image/png"]


def test_importing_it_is_light() -> None:
    heavy = "{'PIL', 'pandas', 'numpy', 'ipywidgets', 'anywidget', 'IPython', 'traitlets'}"
    code = f"import tfnz_notebook.plots, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
