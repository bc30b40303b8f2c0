"""Numbers with the units of a plot's columns, and where an axis has its ticks.

``_frontend/src/plot/units.ts`` says the same; ``tests/vectors/text.json`` holds both to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from tfnz_notebook._base.numbers import BYTES, SECONDS, byte_unit, duration, number, percent

_PLAIN: Final = ("", "k", "M", "G", "T", "P", "E")
#: Round distances of bytes: numbers of a unit, or parts, as people who count in twos like them and
#: three digits can say them.
_ROUND: Final = (
    *(0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 5, 8, 10, 16, 20, 25, 32, 50, 64, 100, 128),
    *(200, 256, 512),
)
_STEPS: Final[list[float]] = sorted(
    {each * 1024.0**power for power in range(len(BYTES)) for each in _ROUND}
)
#: Ticks of an axis, at most.
MOST: Final = 5


def human(value: float, unit: str = "") -> str:
    """A number with its unit: ``3.4 MiB/s``, ``12 %``, ``250 ms``, ``45k/s``; a dash for none."""
    if not math.isfinite(value):
        return "-"
    if unit == "s":
        return duration(value)
    if unit == "%":
        return percent(value)
    factor, name = _scale(abs(value), unit)
    return number(value / factor) + name


def _scale(largest: float, unit: str) -> tuple[float, str]:
    """For numbers up to ``largest``: what to divide by, and what to write behind.

    Without a unit the prefix is part of the number: ``45k``, ``45k/s``, but ``45 kreq``.
    """
    if unit == "s":
        for below, factor, name in SECONDS:
            if 0 < largest < below:
                return factor, f" {name}"
        large = (60.0, " min") if largest < 7200 else (3600.0, " h")
        return (1.0, " s") if largest < 120 else large
    if unit.partition("/")[0] == "B":
        factor, name = byte_unit(largest)
        return factor, f" {name}{unit[1:]}"
    power, most = 0, 9999.5
    while unit != "%" and largest >= most * 1000.0**power and power < len(_PLAIN) - 1:
        power, most = power + 1, 999.5
    prefix = _PLAIN[power]
    return 1000.0**power, prefix + unit[1:] if unit in ("", "1/s") else f" {prefix}{unit}"


def labels(ticks: Sequence[float], unit: str) -> list[str]:
    """What stands at ticks: all in one unit, as exact as they are."""
    factor, name = _scale(max(map(abs, ticks), default=0.0), unit)
    return [number(tick / factor, 6) + (name if tick else "") for tick in ticks]


def step(low: float, high: float, most: int, unit: str = "") -> float:
    """A round distance of ticks, so that at most ``most`` of them lie between.

    Of bytes: round in the unit that they are labelled with, and of at most three digits there.
    """
    span = high - low
    if not span > 0 or not math.isfinite(span):
        return 1.0
    rough = span / max(1, most)
    if unit.partition("/")[0] == "B":
        for distance in _STEPS:
            if max(rough, 1) <= distance and _short(around(low, high, distance), unit):
                return distance
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10, 20) if rough <= power * factor)


def _short(ticks: Sequence[float], unit: str) -> bool:
    factor, _ = _scale(max(map(abs, ticks)), unit)
    said = [tick / factor for tick in ticks]
    return factor == 1 or all(float(f"{each:.3g}") == float(f"{each:.9g}") for each in said)


def around(low: float, high: float, distance: float) -> Sequence[float]:
    """The multiples of ``distance`` from that at or below ``low`` to that at or above ``high``."""
    first, last = math.floor(low / distance + 1e-9), math.ceil(high / distance - 1e-9)
    return [each * distance for each in range(first, max(last, first + 1) + 1)]


def ticks(low: float, high: float, distance: float) -> Sequence[float]:
    """The multiples of ``distance`` from ``low`` to ``high``; at most 100."""
    first, last = math.ceil(low / distance - 1e-9), math.floor(high / distance + 1e-9)
    return [each * distance for each in range(first, min(last, first + 99) + 1)]


def bounds(low: float, high: float, unit: str) -> tuple[float, float, float]:
    """An axis for numbers between: from, to, distance of its ticks.

    From 0, or below if something is, to a round number above all; percents to 100 if near. NaN or
    infinity where there are no numbers.
    """
    top = max(high, 0.0) if math.isfinite(high) else 1.0
    bottom = low if math.isfinite(low) else 0.0
    if not 0.02 * top < top - bottom < 0.2 * top:  # else what moves little would not be seen to
        bottom = min(bottom, 0.0)
    if top <= bottom:
        top = bottom + 1.0
    if unit == "%" and bottom >= 0 and 50 < top <= 100:
        return 0.0, 100.0, 20.0
    distance = step(bottom, top, MOST, unit)
    found = around(bottom, top, distance)
    return found[0], found[-1], distance


#: Round distances of time, in seconds.
_TIMES: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)


def time_step(span: float, most: int) -> float:
    """A round distance of ticks of time."""
    rough = span / max(1, most)
    if rough < 1:
        return step(0.0, span, most)
    return next(
        (float(each) for each in _TIMES if rough <= each), math.ceil(rough / 86400) * 86400.0
    )
