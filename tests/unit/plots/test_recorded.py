"""What tools print, recorded (recorded/README.md): read, by the command and without knowing it."""

import re
from pathlib import Path
from typing import Any

import pytest

from tfnz_notebook._base import escapes
from tfnz_notebook.plots.parsers import Parser, Row, Things, guess, make

RECORDED = Path(__file__).with_name("recorded")
#: What each is: the command, how many rows, the columns shown, and of the last row some numbers.
KNOWN: dict[str, tuple[str, int, list[str], dict[str, float]]] = {
    "mpstat": ("mpstat 1", 2, ["%usr", "%sys", "%iowait"], {}),
    "mpstat-P": (
        "mpstat -P ALL 1",
        2,
        ["%usr", "cpu0.%usr", "cpu1.%usr", "%sys", "cpu0.%sys", "cpu1.%sys"],
        {},
    ),
    "sar-u": ("sar -u 1", 2, ["%user", "%system", "%iowait"], {}),
    "sar-u-r-q": ("sar -u -r -q 1", 2, ["%user", "%system", "%iowait"], {"ldavg-5": 5.26}),
    "sar-n-DEV": (
        "sar -n DEV 1",
        2,
        [f"{each}.{way}xkB/s" for way in "rt" for each in ("lo", "ifb0", "ifb1", "eth0")],
        {"lo.rxkB/s": 12.62 * 1024, "lo.rxpck/s": 6, "eth0.%ifutil": 0},
    ),
    "sar-h": (
        "sar -h -u -n DEV 1",
        2,
        ["%user", "%system", "%iowait"],
        {"%user": 1.6, "lo.rxkB/s": 12.6 * 1024},
    ),
    "sar-d-p": ("sar -d -p 1", 2, ["rkB/s", "wkB/s"], {"await": 0.00225, "%util": 3.2}),
    "pidstat": ("pidstat 1", 2, [], {}),
    "pidstat-h": ("pidstat -d -r -u -h 1", 2, [], {}),
    "pidstat-u-r": ("pidstat -u -r 1", 2, [], {}),
    "iostat-xt": ("iostat -xt 1", 1, ["vda.read", "vda.written"], {"vda.r/s": 7}),
    "iostat-h": ("iostat -h 1", 1, ["vda.read", "vda.written"], {}),
    "free": (
        "free -s 1",
        2,
        ["Mem.used", "Swap.used", "Mem.available"],
        {"Mem.total": 24684084 * 1024},
    ),
    "free-h-w": (
        "free -h -w -s 1",
        2,
        ["Mem.used", "Swap.used", "Mem.available"],
        {"Mem.total": 23 << 30, "Mem.shared": 8.8 * (1 << 20)},
    ),
    "free-L": (
        "sh -c free",
        2,
        ["SwapUse", "CachUse", "MemUse", "MemFree"],
        {"MemFree": 14733724},
    ),
    "vmstat-wt": ("vmstat -w -t 1", 1, ["us", "sy", "id", "wa"], {}),
    "nvidia-smi-dmon.driver-470": (
        "nvidia-smi dmon",
        5,
        ["sm", "mem"],
        {"sm": 75, "pwr": 274, "gtemp": 55, "mclk": 7e9},
    ),
    "nvidia-smi-dmon.driver-550": (
        "nvidia-smi dmon",
        2,
        ["gpu0.sm", "gpu1.sm", "gpu0.mem", "gpu1.mem"],
        {"gpu0.sm": 93, "gpu1.sm": 9, "gpu1.jpg": 0},
    ),
    "nvidia-smi-dmon-o-TD": (
        "nvidia-smi dmon -s mutc -o TD",
        2,
        ["sm", "mem"],
        {"fb": 74 << 20, "txpci": 677 << 20},
    ),
    "nvidia-smi-pmon": (
        "nvidia-smi pmon",
        1,
        ["python:12345.sm", "python:12346.sm", "python:12345.mem", "python:12346.mem"],
        {"python:12346.sm": 95},
    ),
    "nvidia-smi-query": (
        "nvidia-smi --query-gpu=index,name,utilization.gpu,memory.used --format=csv -l 1",
        2,
        ["gpu0.utilization.gpu", "gpu1.utilization.gpu"],
        {"gpu1.utilization.gpu": 46, "gpu1.memory.used": 8000 << 20},
    ),
    "nvidia-smi-query-timestamp": (
        "nvidia-smi --query-gpu=timestamp,utilization.gpu --format=csv -l 60",
        2,
        ["utilization.gpu"],
        {"utilization.gpu": 92},
    ),
    "docker-stats.docker-24": (
        "docker stats",
        2,
        ["CPU %", "MEM %"],
        {"CPU %": 0.19, "MEM USAGE": 64.2 * (1 << 20), "MEM LIMIT": 6.698 * (1 << 30), "PIDS": 20},
    ),
    "docker-stats.docker-28": (
        "docker stats",
        0,
        ["web.CPU %", "db.CPU %", "web.MEM %", "db.MEM %"],
        {"web.NET I": 736, "db.MEM USAGE": 672 << 10},
    ),
    "podman-stats": ("podman stats", 1, ["CPU %", "MEM %"], {"MEM USAGE": 749600, "NET O": 2362}),
    "trainer.transformers-4": ("python train.py", 2, ["loss"], {"loss": 1.7079, "epoch": 0.03}),
    "trainer.transformers-5": (
        "python train.py",
        3,
        ["loss", "train_loss"],
        {"train_loss": 2.286, "epoch": 1},
    ),
    "trainer.swift": ("swift sft", 1, ["loss"], {"loss": 0.6647, "learning_rate": 3.333e-05}),
}
UNITS = {"pwr": "W", "gtemp": "°C", "sm": "%", "mclk": "Hz", "fb": "B", "txpci": "B/s"}
UNITS |= {"memory.used": "B", "utilization.gpu": "%", "MEM USAGE": "B", "CPU %": "%"}
UNITS |= {"rxkB/s": "B/s", "rxpck/s": "1/s", "%user": "%", "used": "B", "await": "s"}
UNITS |= {"VSZ": "B", "kB_rd/s": "B/s", "minflt/s": "1/s", "kbavail": "B", "loss": ""}


def known(path: Path) -> tuple[str, int, list[str], dict[str, float]]:
    """The longest name that it begins with."""
    return KNOWN[max((name for name in KNOWN if path.name.startswith(f"{name}.")), key=len)]


def read(parser: Parser, text: str) -> tuple[Things, list[Row], list[str]]:
    """As a plot's feed does it; columns by their last names."""
    things = Things(parser)
    found: list[Row] = []
    failed: list[str] = []
    for line in [*text.splitlines(), None]:
        try:
            rows = things.settle() if line is None else things.feed(escapes.without(line))
        except ValueError as error:
            failed.append(f"{line}: {error}")
            continue
        names, things.renamed = things.renamed, {}
        found = [
            row._replace(values={names.get(key, key): value for key, value in row.values.items()})
            for row in found
        ]
        found += rows
    return things, found, failed


FILES = sorted(RECORDED.glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("told", [True, False], ids=["by command", "by its lines"])
def test_what_tools_print_is_read(path: Path, told: bool) -> None:
    command, count, shown, last = known(path)
    parser = guess(command) if told else make("auto")
    things, rows, failed = read(parser, path.read_text())
    assert not failed
    assert rows and count in (0, len(rows))
    columns = list(dict.fromkeys(key for row in rows for key in row.values))
    assert list(things.preferred(columns))[: len(shown)] == shown
    for name, value in last.items():
        assert rows[-1].values[name] == pytest.approx(value), name
    for name in columns:
        key = re.sub(r"^[^.]*(?:\.\d)?\.(?=\D)", "", name) if name not in UNITS else name
        if key in UNITS:
            assert things.unit(name) == UNITS[key], name
    assert not any(name.endswith((".PID", ".UID")) or name == "UID" for name in columns)


@pytest.mark.parametrize("version", ["sysstat-12.6.1", "sysstat-12.7.5"])
def test_each_process_has_lines_of_its_own(version: str) -> None:
    _, rows, _ = read(guess("pidstat 1"), (RECORDED / f"pidstat.{version}.txt").read_text())
    busy = {name for row in rows for name in row.values if name.startswith("python:")}
    assert {name.partition(".")[0] for name in busy} == {"python:11842", "python:12122"}
    assert all("python:11842.%CPU" in row.values for row in rows)
    tables = (RECORDED / f"pidstat-u-r.{version}.txt").read_text()
    _, rows, _ = read(guess("pidstat -u -r 1"), tables)
    assert {"python:11842.%CPU", "python:11842.RSS"} <= set(rows[0].values), "of both tables"


def test_times_of_tables() -> None:
    """With a date they are the rows'; an hour alone says what was measured together."""
    _, rows, _ = read(make("auto"), (RECORDED / "nvidia-smi-dmon-o-TD.driver-535.txt").read_text())
    assert [row.time for row in rows] == [1704376475, 1704376476]
    path = RECORDED / "nvidia-smi-query-timestamp.csv.txt"
    _, rows, _ = read(make("auto"), path.read_text())
    assert [row.time for row in rows] == [1709294400, 1709294460]
    _, rows, _ = read(make("table"), "08:30:01 PM  CPU  %usr\n08:30:02 PM  all  1.5\n")
    assert [(row.time, dict(row.values)) for row in rows] == [(None, {"%usr": 1.5})]


def table(text: str, **options: Any) -> list[dict[str, float]]:
    from tfnz_notebook import plots

    _, rows, failed = read(plots.table(**options), text)
    assert not failed
    return [dict(row.values) for row in rows]


def test_one_may_say_what_names_the_things() -> None:
    text = "ZONE  SLOT  TEMP\na     1     20\nb     2     30\n"
    assert table(text, by="ZONE") == [{"a.SLOT": 1, "a.TEMP": 20, "b.SLOT": 2, "b.TEMP": 30}]
    assert table(text, by=["zone", "slot"]) == [{"a:1.TEMP": 20, "b:2.TEMP": 30}]
    assert table(text) == [{"SLOT": 1, "TEMP": 20}, {"SLOT": 2, "TEMP": 30}]
    text = "IFACE rx\neth0 1\nlo 2\neth1 3\n"
    assert table(text, only="eth*") == [{"eth0.rx": 1, "eth1.rx": 3}]
    assert table(text, by=False) == [{"rx": 1}, {"rx": 2}, {"rx": 3}]


def test_what_names_the_things_of_records() -> None:
    def shown(text: str, name: str = "jsonl") -> list[str]:
        _, rows, _ = read(make(name), text)
        return list(dict.fromkeys(key for row in rows for key in row.values))

    lines = '{"gpu": 0, "util": 5}\n{"gpu": 1, "util": 6}\n'
    assert shown(lines) == ["gpu0.util", "gpu1.util"]
    assert shown("rank=0 loss=1\nrank=1 loss=2\n", "keyvalue") == ["rank0.loss", "rank1.loss"]
    assert shown("host=a load=1\nhost=b load=2\n", "keyvalue") == ["a.load", "b.load"]
    assert shown("cpu,gpu,disk\n1,2,3\n4,5,6\n", "csv") == ["cpu", "gpu", "disk"], "are numbers"
    assert shown("index,loss\n0,2\n1,3\n", "csv") == ["index", "loss"], "the number of the row"


def test_a_second_thing_gives_the_first_its_name() -> None:
    things = Things(make("table"))
    for line in ("GPU  SM", "0  5", "0  6"):
        rows = things.feed(line)
    assert [dict(row.values) for row in rows] == [{"SM": 5}] and not things.renamed
    rows = [*things.feed("1  7"), *things.settle()]
    assert [dict(row.values) for row in rows] == [{"gpu0.SM": 6, "gpu1.SM": 7}]
    assert things.renamed == {"SM": "gpu0.SM"}


def test_of_too_many_things_those_that_do_most_are_kept() -> None:
    text = "PID  %CPU  Command\n" + "".join(f"{n}  {n % 7}  p\n" for n in range(1, 41))
    things, rows, _ = read(make("table"), text)
    assert len(rows[0].values) == 16
    assert {"p:6.%CPU", "p:13.%CPU", "p:5.%CPU"} <= set(rows[0].values)
    assert "p:7.%CPU" not in rows[0].values
    assert things.remark.startswith("Cannot plot all: 16 are the most, ")
    assert things.remark.endswith(", ... left out. Name some: only=.")
