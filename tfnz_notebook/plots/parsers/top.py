"""``top -b``: the summary, and the commands that use the most CPU, a block a period."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from tfnz_notebook._calls import arguments
from tfnz_notebook.plots.parsers.base import Parser, Row
from tfnz_notebook.plots.parsers.values import measure, number

#: Commands that get columns, over the plot's life; those that come later are left out.
MOST: Final = 16
_PAIR: Final = re.compile(r"(\d[\d.,]*[KMGT]?)%?\s*([a-z/]+(?: Mem)?)")
_SUMMARY: Final = re.compile(r"(top - |Tasks:|Threads:|%?Cpu|CPU|KiB |MiB |GiB |Mem|Swap|Load)")
#: The words of busybox's top, as procps writes them.
_CPU: Final = {"usr": "us", "sys": "sy", "nic": "ni", "idle": "id", "io": "wa", "irq": "hi"}
_CPU.update({"sirq": "si"})
_CPU_COLUMNS: Final = ("us", "sy", "ni", "id", "wa", "hi", "si", "st")
_MEMORY: Final = {"total": "total", "free": "free", "used": "used", "buff/cache": "cache"}
_MEMORY.update({"cached": "cache", "avail Mem": "available"})
_SCALES: Final = {"KiB": 1024.0, "MiB": 1024.0**2, "GiB": 1024.0**3}


class Top(Parser):
    """``top -b`` of procps or busybox, with ``-d SECONDS``.

    Columns: ``load1 load5 load15``, ``tasks running``, ``us sy ni id wa hi si st`` (percent),
    ``mem_used mem_free mem_cache mem_total mem_available``, ``swap_used`` (bytes), and for the
    ``most`` commands of each block that use most CPU ``python3.cpu`` (percent of one core) and
    ``python3.memory`` (resident bytes), summed over processes of that name.
    """

    name = "top"

    def __init__(self, most: int = 5) -> None:
        self._most = int(arguments.number("read top", "most", most, 0, MOST))
        self._values: dict[str, float] = {}
        self._heading: list[str] = []
        self._used: dict[str, float] = {}
        self._resident: dict[str, float] = {}
        self._commands: list[str] = []

    @property
    def pending(self) -> bool:
        """Whether a block is begun."""
        return bool(self._values)

    def feed(self, line: str) -> Sequence[Row]:
        """The row of the block before, with the first line of the next."""
        words = line.split()
        if not words:
            return ()
        if "PID" in words[:2] or words[0] == "PID":
            self._heading = words
            return ()
        if _SUMMARY.match(line):
            rows = self._finish() if self._heading else ()
            self._summary(line)
            return rows
        if not self._heading:
            raise ValueError("no block of top began before")
        self._process(words)
        return ()

    def _summary(self, line: str) -> None:
        values = self._values
        if line.startswith(("top - ", "Load")):
            words = re.split(r"load average:", line, flags=re.IGNORECASE)[-1]
            loads = re.findall(r"\d+(?:[.,]\d+)?", words)[:3]
            values.update(zip(("load1", "load5", "load15"), map(number, loads), strict=False))
            return
        head, _, rest = line.partition(":")
        pairs = {word: text for text, word in _PAIR.findall(rest or line)}
        if head in ("Tasks", "Threads"):
            values["tasks"] = number(pairs["total"])
            values["running"] = number(pairs.get("running", "0"))
        elif "cpu" in head.lower():
            for word, text in pairs.items():
                name = _CPU.get(word, word)
                if name in _CPU_COLUMNS:
                    values[name] = number(text)
        else:
            kind = "swap" if "Swap" in head else "mem"
            scale = _SCALES.get(head.split()[0], 1.0)
            for word, text in pairs.items():
                name = _MEMORY.get(word)
                if name is not None:
                    value = number(text) * scale
                    values["mem_available" if word == "avail Mem" else f"{kind}_{name}"] = value

    def _process(self, words: list[str]) -> None:
        heading = self._heading
        last = len(heading) - 1
        if len(words) <= last:
            raise ValueError(f"{len(heading)} fields expected, {len(words)} came")
        cell = dict(zip(heading, words, strict=False))
        command = words[last].rsplit("/", 1)[-1].rstrip(":") or words[last]
        used = number(cell["%CPU"])
        command = command[:40]
        self._used[command] = self._used.get(command, 0.0) + used
        if "RES" in cell or "VSZ" in cell:
            value, unit = measure(cell.get("RES") or cell["VSZ"])
            value *= 1 if unit else 1024
            self._resident[command] = self._resident.get(command, 0.0) + value

    def _finish(self) -> Sequence[Row]:
        values, self._values = self._values, {}
        used, self._used = self._used, {}
        resident, self._resident = self._resident, {}
        self._heading = []
        if not values:
            return ()
        for command in sorted(used, key=lambda name: -used[name])[: self._most]:
            if used[command] > 0 and command not in self._commands and len(self._commands) < MOST:
                self._commands.append(command)
        for command in self._commands:  # one that is not listed any more uses nothing
            values[f"{command}.cpu"] = used.get(command, 0.0)
            values[f"{command}.memory"] = resident.get(command, 0.0)
        return (Row(values),)

    def settle(self) -> Sequence[Row]:
        """The block that was begun, if its processes have come."""
        return self._finish() if self._heading else ()

    def unit(self, column: str) -> str:
        """Percent, bytes, or a plain number."""
        if column.startswith(("mem_", "swap_")) or column.endswith(".memory"):
            return "B"
        return "%" if column in _CPU_COLUMNS or column.endswith(".cpu") else ""

    def preferred(self, columns: Sequence[str]) -> Iterable[str]:
        """The machine's CPU, and that of the first few commands."""
        commands = [name for name in columns if name.endswith(".cpu")]
        return [name for name in ("us", "sy") if name in columns] + commands[:4]
