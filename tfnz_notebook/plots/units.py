"""Numbers for people: ``3.4 MiB/s``, ``12 %``, ``250 ms``; and where an axis has its ticks.

``_frontend/src/plot/units.ts`` says the same; both are held against one table of examples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

_BYTES: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_PLAIN: Final = ("", "k", "M", "G", "T", "P", "E")
_GLUED: Final = (*_PLAIN, "/")
_SECONDS: Final = ((1e-6, 1e-9, "ns"), (1e-3, 1e-6, "µs"), (1.0, 1e-3, "ms"), (120.0, 1.0, "s"))


def printable(text: str) -> str:
    """It without line ends, and other things that do not print: they come from containers."""
    return "".join(each if each.isprintable() else " " for each in text)


def _digits(value: float) -> str:
    """Three digits that count, no more zeros than they need."""
    size = abs(value)
    text = f"{value:.{0 if size >= 99.95 else 1 if size >= 9.995 else 2}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def scale(largest: float, unit: str) -> tuple[float, str]:
    """For numbers up to ``largest``: what to divide by, and what to write behind."""
    if not math.isfinite(largest):
        largest = 0.0
    size, slash, per = unit.partition("/")
    rate = slash + per
    if unit == "s":
        for below, factor, name in _SECONDS:
            if 0 < largest < below:
                return factor, name
        return (1.0, "s") if largest < 120 else (60.0, "min") if largest < 7200 else (3600.0, "h")
    if size == "B":
        power = 0
        while largest >= 1024 and power < len(_BYTES) - 1:
            largest, power = largest / 1024, power + 1
        return 1024.0**power, _BYTES[power] + rate
    power = 0
    if unit != "%":
        while largest >= 10000 ** (power == 0) * 1000 ** (power > 0) and power < len(_PLAIN) - 1:
            largest, power = largest / 1000, power + 1
    return 1000.0**power, _PLAIN[power] + ("/s" if unit == "1/s" else unit)


def human(value: float, unit: str = "") -> str:
    """A number with its unit; a dash for none."""
    if not math.isfinite(value):
        return "-"
    factor, name = scale(abs(value), unit)
    text = _digits(value / factor)
    return text + name if name[:1] in _GLUED and unit in ("", "1/s") else f"{text} {name}".rstrip()


def step(span: float, most: int, *, binary: bool = False) -> float:
    """A round distance of ticks, so that at most ``most`` of them lie in ``span``."""
    if not span > 0 or not math.isfinite(span):
        return 1.0
    rough = span / max(1, most)
    if binary:
        power = 1024.0 ** max(0, math.floor(math.log(rough, 1024))) if rough > 1 else 1.0
        for factor in (1, 2, 4, 5, 8, 10, 16, 20, 25, 32, 50, 64, 100, 128, 200, 256, 512, 1024):
            if rough <= power * factor:
                return power * factor
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10, 20) if rough <= power * factor)


#: Round distances of time, in seconds.
_TIMES: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)


def ticks(low: float, high: float, distance: float) -> Sequence[float]:
    """The multiples of ``distance`` from ``low`` to ``high``; at most 100."""
    first, last = math.ceil(low / distance - 1e-9), math.floor(high / distance + 1e-9)
    return [number * distance for number in range(first, min(last, first + 99) + 1)]


def time_step(span: float, most: int) -> float:
    """A round distance of ticks of time."""
    rough = span / max(1, most)
    if rough < 1:
        return step(span, most)
    return next(
        (float(each) for each in _TIMES if rough <= each), math.ceil(rough / 86400) * 86400.0
    )
