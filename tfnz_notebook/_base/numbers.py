"""Numbers as people read them: sizes, rates, percents, durations, counts.

One convention, everywhere: three digits that count and no more zeros than they need, a blank before
the unit, bytes in powers of 1024: ``15.8 MiB``, ``1 MiB``, ``0.977 MiB``; below 1 KiB they are
counted, ``1023 B``. What is not known (None, NaN, infinity) is the empty text.

Pages say the same through ``_frontend/src/text/numbers.ts``; ``tests/vectors/text.json`` holds both
to it. A half goes away from zero, by the same arithmetic in both languages: their own formatting
differs (115,200 bytes are 112.5 KiB, which Python would round down and JavaScript up).
"""

from __future__ import annotations

import math
from typing import Final

BYTES: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
#: Parts of a second: below how many seconds, how many of them one is, what it is called.
SECONDS: Final = ((999.5e-9, 1e-9, "ns"), (999.5e-6, 1e-6, "µs"), (0.9995, 1e-3, "ms"))


def number(value: float, digits: int = 3, places: int = 20) -> str:
    """``digits`` that count, at most ``places`` of them behind the point.

    The digits of whole numbers are never cut: ``12345``.
    """
    text, _, power = f"{abs(value):.{digits - 1}e}".partition("e")
    exponent = int(power)
    usual = -7 < exponent < 21
    if usual:
        behind = min(places, max(0, digits - 1 - exponent))
        text = f"{math.floor(abs(value) * 10.0**behind + 0.5) / 10.0**behind:.{behind}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    text = text if usual else f"{text}e{exponent}"
    return f"-{text}" if value < 0 and text != "0" else text


def count(value: int) -> str:
    """``1,234``."""
    return f"{value:,}"


def plural(value: int, thing: str) -> str:
    """``1 file``, ``2 files``, ``1,234 processes``."""
    ending = "" if value == 1 else "es" if thing.endswith("s") else "s"
    return f"{count(value)} {thing}{ending}"


def byte_unit(value: float) -> tuple[float, str]:
    """The unit that so many bytes are said in: how many one is, and its name."""
    power, most = 0, 1023.5  # from where bytes that are counted, or three digits, do not suffice
    while abs(value) >= most * 1024.0**power and power < len(BYTES) - 1:
        power, most = power + 1, 999.5
    return 1024.0**power, BYTES[power]


def size(value: float | None) -> str:
    """Bytes: ``15.8 MiB``."""
    if value is None or not math.isfinite(value):
        return ""
    factor, name = byte_unit(value)
    return f"{number(value / factor)} {name}"


def rate(value: float | None) -> str:
    """Bytes a second: ``15.8 MiB/s``."""
    said = size(value)
    return f"{said}/s" if said else ""


def percent(value: float | None) -> str:
    """``12.3 %``; a tenth is as fine as anybody asks."""
    return "" if value is None or not math.isfinite(value) else f"{number(value, places=1)} %"


def progress(done: float, whole: float) -> str:
    """Bytes of so many: ``1.5 MiB of 4 MiB``; without the whole while that is not known (0)."""
    if whole > 0:
        return f"{size(done)} of {size(whole)}"
    return size(done) if done > 0 else ""


def share(part: float, whole: float) -> str:
    """How much of it there is: ``42 %``; ``100 %`` is all. Empty while the whole is not known."""
    if not whole > 0:
        return ""
    return f"{math.floor(100 * min(max(part, 0), whole) / whole)} %"


def duration(seconds: float | None) -> str:
    """How long something took: ``35 µs``, ``12.3 s``, ``1 min 05 s``, ``2 h``, ``4 d 03 h``."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 59.95:
        units = ((factor, name) for below, factor, name in SECONDS if 0 < seconds < below)
        factor, name = next(units, (1.0, "s"))
        return f"{number(seconds / factor)} {name}"
    if seconds < 3599.5:
        text = _two(math.floor(seconds + 0.5), 60, "min", "s")
    elif seconds < 86370:
        text = _two(math.floor(seconds / 60 + 0.5), 60, "h", "min")
    else:
        text = _two(math.floor(seconds / 3600 + 0.5), 24, "d", "h")
    return text.partition(" 00 ")[0]


def elapsed(seconds: float) -> str:
    """How long something goes on: ``42 s``, ``3 min 20 s``, ``2 h 05 min``, ``4 d 03 h``.

    As a clock that is looked at again and again: whole, always as long, never more than has passed;
    0 where a clock was set back.
    """
    whole = max(0, math.floor(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return _two(whole, 60, "min", "s")
    if whole < 86400:
        return _two(whole // 60, 60, "h", "min")
    return _two(whole // 3600, 24, "d", "h")


def _two(number: int, each: int, large: str, small: str) -> str:
    return f"{number // each} {large} {number % each:02} {small}"
