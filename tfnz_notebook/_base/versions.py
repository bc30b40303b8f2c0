"""Versions of packages, in their order."""

from __future__ import annotations

import re
from typing import Final

_NUMBERS: Final = re.compile(r"\d+(?:\.\d+)*")
_EARLY: Final = re.compile(r"[-_.]?(a|b|c|rc|alpha|beta|pre|preview|dev)")


def older(version: str, than: str) -> bool:
    """It comes before the other: by its numbers, and a pre-release before the release (PEP 440).

    What names no number, as a package that is not there, is older than everything else.
    """
    return _rank(version) < _rank(than)


def _rank(version: str) -> tuple[tuple[int, ...], bool, str]:
    match = _NUMBERS.match(version)
    numbers = tuple(int(part) for part in match[0].split(".")) if match else ()
    rest = version[match.end() :] if match else version
    while numbers and not numbers[-1]:
        numbers = numbers[:-1]
    return numbers, _EARLY.match(rest) is None, rest
