"""What headings of columns say: names, units, and which of them people look at first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from tfnz_notebook.plots.parsers.values import measure

_KIB: Final = 1024.0
#: Units as they stand in brackets behind a name, or below it. NVIDIA's MB are of 1024 KiB.
UNITS: Final = {
    "%": (1.0, "%"),
    "W": (1.0, "W"),
    "C": (1.0, "°C"),
    "degC": (1.0, "°C"),
    "MHz": (1e6, "Hz"),
    "MB": (_KIB**2, "B"),
    "MB/s": (_KIB**2, "B/s"),
}
#: Of procps and sysstat, in KiB without saying so.
_SIZES: Final = frozenset(("VSZ", "RSS", "StkSize", "StkRef", "VIRT", "RES", "SHR"))
_FREE: Final = frozenset(("total", "used", "free", "shared", "buffers", "cache", "cached"))
_BRACKETS: Final = re.compile(r"(.*\S)\s*\[([^\]]+)\]\Z")
#: What is shown of a table when nobody chose: the first of these that it has.
_TELLING: Final = (
    ("%CPU", "CPU%"),
    ("CPU %", "MEM %"),
    ("%usr", "%user", "%sys", "%system", "%iowait"),
    ("rxkB/s", "txkB/s"),
    ("kB_rd/s", "kB_wr/s"),
    ("rkB/s", "wkB/s"),
    ("sm", "mem"),
    ("utilization.gpu", "utilization.memory"),
    ("used", "available"),
    ("kbmemused", "kbavail"),
    ("ldavg-1", "ldavg-5"),
    ("loss", "train_loss", "eval_loss", "val_loss", "accuracy", "acc", "eval_accuracy", "val_acc"),
)


class Heading(NamedTuple):
    """A column's name, what its numbers are multiplied by, and their unit then."""

    name: str
    factor: float = 1.0
    unit: str = ""


def heading(text: str, beside: Sequence[str] = (), scale: float = _KIB) -> Heading:
    """What a heading says: ``memory.used [MiB]``, ``rxkB/s``, ``%idle``.

    ``beside``: the table's other headings; ``scale``: bytes of ``free``'s unit.
    """
    if found := _BRACKETS.match(text):
        return Heading(found[1], *_unit(found[2]))
    if text.startswith("%") or text.endswith("%"):
        return Heading(text, 1.0, "%")
    if text.endswith("/s"):
        if "kB" in text or "MB" in text:
            return Heading(text, _KIB if "kB" in text else _KIB**2, "B/s")
        return Heading(text, 1.0, "1/s")
    if text in _SIZES or re.match(r"kb[a-z]+\Z", text) or text.endswith("req-sz"):
        return Heading(text, _KIB, "B")
    if text.endswith("await"):
        return Heading(text, 1e-3, "s")
    if text in (_FREE | {"buff/cache", "available"}) and _FREE.issuperset(beside[:3]):
        return Heading(text, scale, "B")
    return Heading(text, *UNITS.get(text, (1.0, ""))) if text == "degC" else Heading(text)


def _unit(text: str) -> tuple[float, str]:
    if text in UNITS:
        return UNITS[text]
    try:
        return measure(f"1 {text}")
    except ValueError:
        return 1.0, ""


def pair(text: str) -> tuple[str, str]:
    """The names of a column with two numbers: ``MEM USAGE / LIMIT``, ``NET I/O``, ``BLOCK IO``."""
    first, slash, second = (part.strip() for part in text.partition("/"))
    before = first.rpartition(" ")[0]
    if slash:
        return first, f"{before} {second}".strip()
    if text.endswith(" IO"):
        return text[:-1], f"{text[:-2]}O"
    return f"{text} 1", f"{text} 2"


def telling(columns: Sequence[str]) -> Iterable[str]:
    """Those that people look at first; else the first five."""
    for wanted in _TELLING:
        found = [name for name in columns if name in wanted]
        if found:
            return found
    return columns[:5]
