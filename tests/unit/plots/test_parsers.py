"""Parsers, against what the tools print."""

import asyncio
import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfnz_notebook import plots
from tfnz_notebook.errors import Misuse
from tfnz_notebook.plots import parsers
from tfnz_notebook.plots.parsers import Parser, Row, guess, make
from tfnz_notebook.plots.parsers.own import Auto, Function

VMSTAT = """\
procs -----------memory---------- ---swap-- -----io---- -system-- ------cpu-----
 r  b   swpd   free   buff  cache   si   so    bi    bo   in   cs us sy id wa st
 1  0      0 23206376  11968 1279420    0    0  1061  1087  213  460  9  3 84  0  3
 2  0      0 23206376  11968 1279420    0    1    24    48  316  561  2  5 92  1  0
procs -----------memory---------- ---swap-- -----io---- -system-- ------cpu-----
 r  b   swpd   free   buff  cache   si   so    bi    bo   in   cs us sy id wa st
 0  0      0 23206000  11968 1279420    0    0     0     0  100  200  7  1 92  0  0
"""

STAMPS = ("-----timestamp-----", "UTC", "2026-11-23 13:38:06", "2026-11-23 13:38:07")
VMSTAT_T = "".join(
    f"{line} {stamp:>19}\n" for line, stamp in zip(VMSTAT.splitlines(), STAMPS, strict=False)
)

IOSTAT = """\
Linux 6.1.0-18-amd64 (box) \t11/23/26 \t_x86_64_\t(2 CPU)

avg-cpu:  %user   %nice %system %iowait  %steal   %idle
           5.00    0.00    1.00    0.10    0.00   93.90

Device             tps    kB_read/s    kB_wrtn/s    kB_dscd/s    kB_read    kB_wrtn    kB_dscd
loop0             0.00         0.00         0.00         0.00          0          0          0
sda               9.00        90.00        90.00         0.00       1000       2000          0


avg-cpu:  %user   %nice %system %iowait  %steal   %idle
          10.00    0.00    2.00    3.00    0.00   85.00

Device             tps    kB_read/s    kB_wrtn/s    kB_dscd/s    kB_read    kB_wrtn    kB_dscd
loop0             0.00         0.00         0.00         0.00          0          0          0
sda               5.00        10.00        20.00         0.00       1010       2020          0

"""

IOSTAT_X = """\
Device            r/s     rkB/s   rrqm/s  %rrqm r_await rareq-sz     w/s     wkB/s  aqu-sz  %util
nvme0n1          1.00     16.00     0.00   0.00    0.50    16.00    2.00      8.00    0.01   1.50
sdb              0.00      0.00     0.00   0.00    0.00     0.00    0.00      0.00    0.00   0.00

Device            r/s     rkB/s   rrqm/s  %rrqm r_await rareq-sz     w/s     wkB/s  aqu-sz  %util
nvme0n1          3.00     32.00     0.00   0.00    1.50    16.00    2.00      8.00    0.01   4.50
sdb              0.00      0.00     0.00   0.00    0.00     0.00    0.00      0.00    0.00   0.00
"""

TOP = """\
top - 13:44:58 up 25 min,  0 user,  load average: 1.69, 0.70, 0.40
Tasks:  89 total,   2 running,  87 sleeping,   0 stopped,   0 zombie
%Cpu(s):  3.5 us,  1.5 sy,  0.0 ni,100.0 id,  0.0 wa,  0.0 hi,  0.0 si,  0.0 st
MiB Mem :  24105.6 total,  22660.4 free,    480.7 used,   1261.3 buff/cache
MiB Swap:      0.0 total,      0.0 free,      0.0 used.  23624.9 avail Mem

  PID USER      PR  NI    VIRT    RES    SHR S  %CPU  %MEM     TIME+ COMMAND
   10 root      20   0   52716   1000   6352 S  20.0   0.1   0:07.09 python3
   11 root      20   0   52716   1.5g   6352 S  10.5   0.1   0:07.09 python3
   12 root      20   0       0      0      0 S   1.0   0.0   0:00.03 kworker/u8:1
   13 root      20   0       0      0      0 S   0.0   0.0   0:00.03 idle

top - 13:44:59 up 25 min,  0 user,  load average: 1.50, 0.70, 0.40
Tasks:  88 total,   1 running,  87 sleeping,   0 stopped,   0 zombie
%Cpu(s):  2.0 us,  1.0 sy,  0.0 ni, 97.0 id,  0.0 wa,  0.0 hi,  0.0 si,  0.0 st
MiB Mem :  24105.6 total,  22660.4 free,    480.7 used,   1261.3 buff/cache
MiB Swap:      0.0 total,      0.0 free,      0.0 used.  23624.9 avail Mem

  PID USER      PR  NI    VIRT    RES    SHR S  %CPU  %MEM     TIME+ COMMAND
   14 root      20   0   52716   1000   6352 S   5.0   0.1   0:07.09 bash
"""

BUSYBOX_TOP = """\
Mem: 1551416K used, 23132676K free, 8940K shrd, 12960K buff, 1144748K cached
CPU:   1% usr   4% sys   0% nic  90% idle   0% io   0% irq   5% sirq
Load average: 1.69 0.70 0.40 1/146 6
  PID  PPID USER     STAT   VSZ %VSZ %CPU COMMAND
    1     0 root     R     2268   0%   7% top -b -n1
"""


def rows(parser: Parser, text: str, unreadable: int = 0) -> list[Row]:
    found: list[Row] = []
    failed = 0
    for line in text.splitlines():
        try:
            found += parser.feed(line)
        except ValueError:
            failed += 1
    assert failed == unreadable
    return [*found, *parser.settle()]


def values(found: Iterable[Row], *names: str) -> list[tuple[float, ...]]:
    return [tuple(row.values[name] for name in names) for row in found]


# --- vmstat --------------------------------------------------------------------------------------


def test_vmstat_leaves_out_the_averages_since_boot_and_every_heading() -> None:
    found = rows(plots.vmstat(), VMSTAT)
    assert values(found, "us", "sy", "id", "wa") == [(2, 5, 92, 1), (7, 1, 92, 0)]
    assert len(rows(plots.vmstat(boot=True), VMSTAT)) == 3


def test_vmstat_is_in_bytes_and_percent() -> None:
    parser = plots.vmstat()
    (first, _) = rows(parser, VMSTAT)
    assert first.values["free"] == 23206376 * 1024
    assert (first.values["so"], first.values["bi"]) == (1024, 24 * 1024)
    assert [parser.unit(c) for c in ("free", "bi", "in", "us", "r")] == ["B", "B/s", "1/s", "%", ""]
    megas = rows(plots.vmstat(scale="m"), VMSTAT)[0].values
    assert megas["free"] == 23206376 * 1e6
    assert megas["bi"] == 24 * 1024
    with pytest.raises(Misuse, match="no scale 'x'. There are k, K, m, M"):
        plots.vmstat(scale="x")


def test_vmstat_tells_times() -> None:
    (row,) = rows(plots.vmstat(), VMSTAT_T)
    assert row.time == datetime(2026, 11, 23, 13, 38, 7, tzinfo=UTC).timestamp()
    assert row.values["us"] == 2


def test_a_line_of_vmstat_that_was_cut_is_not_understood() -> None:
    assert len(rows(plots.vmstat(), VMSTAT + " 1  0      0 2320\nBus error\n", unreadable=2)) == 2
    rows(plots.vmstat(), " 1 0 2 3\n", unreadable=1)


# --- iostat --------------------------------------------------------------------------------------


def test_iostat_has_a_row_for_each_block() -> None:
    parser = plots.iostat()
    (row,) = rows(parser, IOSTAT)
    assert row.values["cpu.user"] == 10
    assert row.values["sda.tps"] == 5
    assert row.values["sda.read"] == 10 * 1024
    assert row.values["sda.written_total"] == 2020 * 1024
    assert not any(name.startswith("loop0") for name in row.values)
    assert [parser.unit(c) for c in ("cpu.user", "sda.read", "sda.read_total")] == ["%", "B/s", "B"]
    assert list(parser.preferred(list(row.values))) == ["sda.read", "sda.written"]


def test_iostat_extended_without_the_cpu() -> None:
    parser = plots.iostat(boot=True)
    found = rows(parser, IOSTAT_X)
    names = ("nvme0n1.r/s", "nvme0n1.read", "nvme0n1.r_await", "nvme0n1.util")
    assert values(found, *names) == [(1, 16384, 0.0005, 1.5), (3, 32768, 0.0015, 4.5)]
    assert [parser.unit(name) for name in names] == ["1/s", "B/s", "s", "%"]


def test_iostat_of_chosen_devices() -> None:
    (row,) = rows(plots.iostat("nvme*"), IOSTAT_X)
    assert {name.split(".")[0] for name in row.values} == {"nvme0n1"}
    (row,) = rows(plots.iostat("loop0,sda"), IOSTAT)
    assert {name.split(".")[0] for name in row.values} == {"cpu", "loop0", "sda"}


def test_iostat_tells_times() -> None:
    stamped = IOSTAT.replace("avg-cpu", "11/23/2026 01:38:07 PM\navg-cpu")
    (row,) = rows(plots.iostat(), stamped)
    assert row.time == datetime(2026, 11, 23, 13, 38, 7, tzinfo=UTC).timestamp()
    (row,) = rows(plots.iostat(), IOSTAT.replace("avg-cpu", "2026-11-23T13:38:07+0000\navg-cpu"))
    assert row.time == datetime(2026, 11, 23, 13, 38, 7, tzinfo=UTC).timestamp()


def test_iostat_with_units_for_people() -> None:
    text = "     tps    kB_read/s    kB_wrtn/s Device\n    5.00        10.0k         2.0M sda\n"
    (row,) = rows(plots.iostat(boot=True), text)
    assert row.values == {"sda.tps": 5, "sda.read": 10240, "sda.written": 2 * 1024**2}


def test_iostat_waits_for_the_end_of_a_block() -> None:
    parser = plots.iostat(boot=True)
    for line in IOSTAT.splitlines()[:8]:
        assert not parser.feed(line)
    assert parser.pending
    assert len(parser.settle()) == 1
    assert not parser.pending


# --- top -----------------------------------------------------------------------------------------


def test_top_sums_up_commands() -> None:
    parser = plots.top()
    first, second = rows(parser, TOP)
    assert first.values["python3.cpu"] == 30.5
    assert first.values["python3.memory"] == 1000 * 1024 + 1.5 * 1024**3
    assert (first.values["load1"], first.values["tasks"], first.values["running"]) == (1.69, 89, 2)
    assert (first.values["us"], first.values["id"]) == (3.5, 100)
    assert first.values["mem_used"] == pytest.approx(480.7 * 1024**2)
    assert first.values["mem_available"] == pytest.approx(23624.9 * 1024**2)
    assert "idle.cpu" not in first.values
    assert (second.values["python3.cpu"], second.values["bash.cpu"]) == (0, 5)
    shown = list(parser.preferred(list(second.values)))
    assert shown == ["us", "sy", "python3.cpu", "u8:1.cpu", "bash.cpu"]
    assert [parser.unit(c) for c in ("bash.cpu", "bash.memory", "load1")] == ["%", "B", ""]


def test_top_of_busybox() -> None:
    (row,) = rows(plots.top(), BUSYBOX_TOP)
    assert (row.values["us"], row.values["sy"], row.values["id"]) == (1, 4, 90)
    assert row.values["mem_used"] == 1551416 * 1024
    assert (row.values["load1"], row.values["top.cpu"]) == (1.69, 7)


def test_top_keeps_as_many_commands_as_asked_for() -> None:
    first, _ = rows(plots.top(1), TOP)
    assert [name for name in first.values if name.endswith(".cpu")] == ["python3.cpu"]
    with pytest.raises(Misuse, match="most is 99"):
        plots.top(99)


# --- records -------------------------------------------------------------------------------------


def test_csv_with_a_header_that_comes_again() -> None:
    found = rows(plots.csv(), 'time,"a, b",c\n1,2,3\n\ntime,"a, b",c\n4,,6\n')
    assert [dict(row.values) for row in found] == [
        {"time": 1, "a, b": 2, "c": 3},
        {"time": 4, "c": 6},
    ]


@pytest.mark.parametrize("mark", [";", "\t", "|", " ", ","])
def test_csv_finds_out_what_separates(mark: str) -> None:
    assert values(rows(plots.csv(), f"1{mark}2.5\n"), "c1", "c2") == [(1, 2.5)]


def test_csv_as_one_says() -> None:
    assert values(rows(plots.csv(header=["x", "y"]), "1,2\n"), "x", "y") == [(1, 2)]
    assert values(rows(plots.csv(header=True), "1,2\n3,4\n"), "1", "2") == [(3, 4)]
    assert values(rows(plots.csv(delimiter=":"), "1:2\n"), "c2") == [(2,)]
    (row,) = rows(plots.csv(time="when"), "when,x\n2026-11-23T13:38:07Z,5\n")
    assert (row.time, row.values) == (1795441087, {"x": 5})
    for wrong in ({"delimiter": "ab"}, {"header": "a"}, {"header": 3}, {"time": 3}):
        with pytest.raises(Misuse, match="Cannot"):
            plots.csv(**wrong)  # type: ignore[arg-type]


def test_csv_lines_that_do_not_fit() -> None:
    assert len(rows(plots.csv(), "a,b\n1,2\n1,2,3\nonly text,here\n3,4\n", unreadable=2)) == 2
    assert len(rows(plots.csv(), "# a b\n1 2\n# a remark\n3 4\n")) == 2


def test_json_lines() -> None:
    text = '{"a": {"b": 1, "ok": true}, "l": [1, {"x": 2}], "s": "12.5%", "t": "text", "n": null}\n'
    parser = plots.jsonl()
    (row,) = rows(parser, text)
    assert row.values == {"a.b": 1, "a.ok": 1, "l.0": 1, "l.1.x": 2, "s": 12.5}
    assert parser.unit("s") == "%"
    assert values(rows(plots.jsonl(), "5\n"), "value") == [(5,)]
    rows(plots.jsonl(), '{"a": \nnot json\n"text"\n[]\n{"a": NaN}\n', unreadable=5)
    rows(plots.jsonl(), "[" * 100_000, unreadable=1)
    (row,) = rows(plots.jsonl("at"), '{"at": 1795441087000, "v": 1}\n')
    assert row.time == 1795441087
    rows(plots.jsonl("at"), '{"v": 1}\n{"at": "noon", "v": 1}\n{"at": [], "v": 1}\n', unreadable=3)


def test_key_value() -> None:
    text = (
        'level=info msg="a b=c" took=1.5ms size=10KiB rate = 3\ntemp: 21.5, fan: 900\n12:30 plain\n'
    )
    parser = plots.keyvalue()
    found = rows(parser, text, unreadable=1)
    assert found[0].values == {"took": pytest.approx(0.0015), "size": 10240, "rate": 3}
    assert found[1].values == {"temp": 21.5, "fan": 900}
    assert parser.unit("took") == "s"


# --- one's own -----------------------------------------------------------------------------------


def test_regular_expressions() -> None:
    parser = plots.regex(r"seq=(?P<seq>\d+).* time=(?P<time>[\d.]+) ms", units={"time": "s"})
    found = rows(parser, "PING\n64 bytes: seq=1 ttl=64 time=0.5 ms\n", unreadable=1)
    assert found == [Row({"seq": 1.0, "time": 0.5})]
    assert parser.unit("time") == "s"
    assert parser.closed == {"seq", "time"}
    assert rows(plots.regex(r"(\d+)/(\d+)"), "3/4")[0].values == {"g1": 3, "g2": 4}
    assert rows(plots.regex(r"\d+"), "load 7")[0].values == {"value": 7}
    with pytest.raises(Misuse, match="regular expression"):
        plots.regex("(")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (3, [{"value": 3.0}]),
        ({"a": 1, "b": 2.5}, [{"a": 1.0, "b": 2.5}]),
        ([1, 2], [{"c1": 1.0, "c2": 2.0}]),
        (None, []),
    ],
)
def test_functions(answer: Any, expected: Any) -> None:
    assert [dict(row.values) for row in Function(lambda _: answer).feed("x")] == expected


def test_a_function_that_fails_is_a_line_not_understood() -> None:
    with pytest.raises((TypeError, ValueError)):
        Function(lambda _: "text").feed("x")  # type: ignore[arg-type,return-value]
    with pytest.raises(ZeroDivisionError):
        Function(lambda _: 1 / 0).feed("x")


# --- which one -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("vmstat 1", plots.vmstat),
        ("sudo LANG=C /usr/bin/vmstat -w 1", plots.vmstat),
        ("stdbuf -oL iostat -x 1", plots.iostat),
        ("timeout 10 top -b", plots.top),
        ("tail -f /var/log/load.csv", plots.csv),
        ("cat x.ndjson", plots.jsonl),
        ("python3 train.py", Auto),
        ("echo 'unbalanced", Auto),
        ("", Auto),
    ],
)
def test_by_command(command: str, kind: type[Parser]) -> None:
    assert type(guess(command)) is kind


def test_guessing_minds_the_options_of_the_command() -> None:
    assert rows(guess("vmstat -S m 1"), VMSTAT)[0].values["free"] == 23206376 * 1e6
    assert len(rows(guess("iostat -dxy 1"), IOSTAT_X)) == 2
    assert len(rows(guess("iostat -dx 1"), IOSTAT_X)) == 1


@pytest.mark.parametrize(
    ("text", "column", "count"),
    [
        (VMSTAT, "us", 2),
        (IOSTAT, "sda.tps", 1),
        (TOP, "us", 2),
        (BUSYBOX_TOP, "us", 1),
        ('{"a": 1}\n{"a": 2}\n', "a", 2),
        ("a=1\na=2\n", "a", 2),
        ("a,b\n1,2\n", "b", 1),
        ("5\n6\n", "value", 2),
    ],
)
def test_auto_finds_out_from_the_lines(text: str, column: str, count: int) -> None:
    parser = Auto()
    found = rows(parser, text)
    assert len(found) == count
    assert column in found[-1].values
    assert not parser.pending
    assert set(parser.preferred(list(found[-1].values))) <= set(found[-1].values)


def test_auto_says_what_it_does_not_know() -> None:
    assert rows(Auto(), "just some words\n\n5\n")[0].values == {"value": 5}
    assert not rows(Auto(), "just some words\n5 apples are here\nand some more\n", unreadable=1)


def test_what_is_given_as_a_parser() -> None:
    assert type(make("csv")) is plots.csv
    assert type(make(plots.top)) is plots.top
    assert make(plots.vmstat(boot=True)).__dict__ == plots.vmstat(boot=True).__dict__
    assert type(make(re.compile(r"(\d)"))) is plots.regex
    assert rows(make(float), "5") == [Row({"value": 5.0})]
    assert type(make(lambda line: len(line))) is Function
    assert type(make(None, "vmstat 1")) is plots.vmstat


def test_each_plot_has_a_parser_of_its_own() -> None:
    mine = plots.csv()
    rows(make(mine), "a,b\n1,2\n")
    assert values(rows(make(mine), "x,y\n1,2\n"), "x") == [(1,)]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            "vmsat",
            "no parser 'vmsat'. There are auto, csv, iostat, jsonl, keyvalue, table, top",
        ),
        (plots.regex, r"regex: it needs something to go by. Write regex\(\.\.\.\)"),
        (7, "the parser is 7"),
        (asyncio.sleep, "the parser is <function sleep"),
    ],
)
def test_what_is_none(given: Any, says: str) -> None:
    with pytest.raises(Misuse, match=says):
        make(given)


@given(st.sampled_from(sorted(plots.PARSERS)), st.lists(st.text(max_size=60), max_size=12))
def test_no_line_breaks_a_parser(name: str, lines: list[str]) -> None:
    """It makes finite rows of it, or refuses it with ValueError or KeyError, which is counted."""
    parser = make(name)
    found: list[Row] = []
    for text in [*VMSTAT.splitlines()[:3], *TOP.splitlines()[:8], *IOSTAT.splitlines()[:8], *lines]:
        try:
            found += parser.feed(text)
        except (ValueError, KeyError):
            continue
    found += parser.settle()
    for row in found:
        assert all(math.isfinite(value) for value in row.values.values())
    assert parsers.PARSERS[name]().name == name
