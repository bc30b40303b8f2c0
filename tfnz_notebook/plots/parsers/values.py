"""Numbers as tools print them: ``1,234``, ``12.5%``, ``10K``, ``1.5 GiB``, ``350us``.

A suffix names the unit that an axis then shows: ``%``, ``B`` (bytes) or ``s`` (seconds). A bare K,
M, G is 1024-based, as ``top`` and ``df -h`` mean it, and so are KiB and MiB; kB, MB and GB are
powers of 1000, as ``docker stats`` means those.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Final

_NUMBER: Final = re.compile(
    r"""\s*([-+]?(?:\d[\d,_]*(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?)  # 1,234.5e3
        \s*([%\w/µμ]*)\s*\Z""",
    re.VERBOSE | re.ASCII,
)
_THOUSANDS: Final = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?\Z")
_SIZES: Final = {letter: power for power, letter in enumerate("kmgtpe", 1)}
_DURATIONS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0}
_DURATIONS.update({"sec": 1.0, "secs": 1.0, "min": 60.0})
#: Epoch numbers from here on are milliseconds, microseconds, nanoseconds: the year 5138 in seconds.
_EPOCH_STEP: Final = 1e11


def _plain(digits: str) -> float:
    if "," in digits:
        if _THOUSANDS.match(digits):
            digits = digits.replace(",", "")
        elif digits.count(",") == 1 and "." not in digits:
            digits = digits.replace(",", ".")  # a decimal comma, of another locale
        else:
            raise ValueError(f"{digits!r} is not a number")
    return float(digits)


def _unit(suffix: str) -> tuple[float, str]:
    """The factor and the unit that a suffix stands for."""
    if suffix in ("", "%"):
        return 1.0, suffix
    if suffix in _DURATIONS:
        return _DURATIONS[suffix], "s"
    size, slash, per = suffix.partition("/")
    rate = f"/{per}" if slash else ""
    power = _SIZES.get(size[:1].lower(), 0)
    rest = size[1:] if power else size
    if rest == "" and power:
        return 1024.0**power, f"B{rate}"
    if rest in ("iB", "i"):
        return 1024.0**power, f"B{rate}"
    if rest == "B" or suffix in ("b", "bytes"):
        return 1000.0**power, f"B{rate}"
    return 1.0, suffix[:12]


def measure(text: str) -> tuple[float, str]:
    """A number and its unit: ``('10K') -> (10240.0, 'B')``. ValueError if it is none."""
    found = _NUMBER.match(text)
    if found is None or (len(found[2]) > 12):
        raise ValueError(f"{text[:40]!r} is not a number")
    factor, unit = _unit(found[2])
    value = _plain(found[1]) * factor
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]!r} is too large")
    return value, unit


def number(text: str) -> float:
    """The number alone. ValueError if it is none."""
    return measure(text)[0]


def plain(text: str) -> bool:
    """Whether it reads as a number."""
    try:
        measure(text)
    except ValueError:
        return False
    return True


def moment(value: str | float) -> float:
    """A time as seconds since the epoch: ISO 8601 (UTC unless it says), or an epoch number.

    Numbers may count seconds, milliseconds, microseconds or nanoseconds. ValueError otherwise.
    """
    try:
        value = float(value)
    except ValueError:
        parsed = datetime.fromisoformat(str(value).strip())
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a time")
    while abs(value) >= _EPOCH_STEP:
        value /= 1000.0
    return value
