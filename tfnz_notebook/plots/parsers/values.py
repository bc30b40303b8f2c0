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
        \s*((?:[%A-Za-zµμ]|/(?=[A-Za-z]))[%\w/µμ]*)?\s*\Z""",
    re.VERBOSE | re.ASCII,
)
_THOUSANDS: Final = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?\Z")
_SIZES: Final = {letter: power for power, letter in enumerate("kmgtpe", 1)}
_DURATIONS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0}
_DURATIONS.update({"sec": 1.0, "secs": 1.0, "min": 60.0})
#: Epoch numbers from here on are milliseconds, microseconds, nanoseconds: the year 5138 in seconds.
_EPOCH_STEP: Final = 1e11
_SLASHED: Final = re.compile(r"\A(\d{4})[/.](\d\d)[/.](\d\d)")
#: Those that datetime.fromisoformat does not know: of sysstat, of web servers, of ``date``.
_CLOCKS: Final = (
    *("%m/%d/%Y %I:%M:%S %p", "%m/%d/%y %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%d/%m/%y %H:%M:%S"),
    *("%d/%b/%Y:%H:%M:%S %z", "%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %Z %Y"),
)
_STAMP: Final = re.compile(
    r"""\s*\[?(
        (?:(?P<date>\d{4}([-/.])\d\d\3\d\d|\d{8}|\d\d/\d\d/\d{2,4})(?:T|\s+))?
        \d\d:\d\d:\d\d(?:[.,]\d+)?
        (?:\ [AP]M\b)?(?:\ ?(?:Z|[+-]\d\d:?\d\d)\b)?
    )\]?(?=[\s:,|]|\Z)[:,|]?\s*""",
    re.VERBOSE,
)


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
    suffix = (found[2] or "") if found is not None else ""
    if found is None or len(suffix) > 12:
        raise ValueError(f"{text[:40]!r} is not a number")
    factor, unit = _unit(suffix)
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
    """A time as seconds since the epoch: a date with its hour, or an epoch number.

    ISO 8601 (``2026-11-25T19:40:11Z``), as tools write it (``2026/11/25 19:40:11.123``,
    ``20261125 19:40:11``, ``11/25/26 19:40:11``, ``11/25/2026 07:40:11 PM``), as ``date`` and web
    servers do. UTC unless it says: containers keep that unless somebody set TZ. Numbers may count
    seconds, milliseconds, microseconds or nanoseconds. ValueError otherwise.
    """
    try:
        value = float(value)
    except ValueError:
        return _dated(str(value).strip())
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a time")
    while abs(value) >= _EPOCH_STEP:
        value /= 1000.0
    return value


def _dated(text: str) -> float:
    try:
        parsed = datetime.fromisoformat(_SLASHED.sub(r"\1-\2-\3", text, count=1))
    except ValueError:
        for pattern in _CLOCKS:
            try:
                parsed = datetime.strptime(text, pattern)  # noqa: DTZ007  # as below
            except ValueError:
                continue
            break
        else:
            raise ValueError(f"{text[:40]!r} is not a time") from None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def stamp(line: str) -> tuple[str, float | None, str]:
    """The time that a line begins with, and what follows it: (as written, moment, the rest).

    An hour alone is no moment: it has no day. Without any: ``('', None, line)``.
    """
    found = _STAMP.match(line)
    if found is None:
        return "", None, line
    told, date = " ".join(found[1].split()), found["date"]
    try:
        return told, moment(told) if date else None, line[found.end() :]
    except ValueError:
        return "", None, line
