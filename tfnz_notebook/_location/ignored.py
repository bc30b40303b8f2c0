"""What a ``.dockerignore`` keeps out of a context, by the rules of Docker's own.

A line is a pattern for the whole path below the directory, with ``*``, ``?``, ``[a-z]`` and ``**``
(any number of directories); what it names is left out with all that is below. ``!`` lets it in
again; the last line that fits counts.
"""

from __future__ import annotations

import posixpath
import re
from typing import Final, NamedTuple

_WILD: Final = re.compile(r"[*?\[\\]")


class _Pattern(NamedTuple):
    text: str
    fits: re.Pattern[str]
    lets_in: bool


class Ignored:
    """The patterns of one file. ValueError for one that is none."""

    def __init__(self, text: str) -> None:
        self._patterns: list[_Pattern] = []
        for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
            if line.startswith("#") or not line.strip():
                continue
            lets_in = line.strip().startswith("!")
            words = line.strip().removeprefix("!").strip() if lets_in else line.strip()
            pattern = posixpath.normpath(words).lstrip("/")
            if pattern in ("", "."):
                continue
            try:
                fits = re.compile(_expression(pattern), re.DOTALL)
            except re.error as error:
                raise ValueError(
                    f"line {number} ({line.strip()!r}) is no pattern: {error}"
                ) from None
            self._patterns.append(_Pattern(pattern, fits, lets_in))

    def keeps_out(self, path: str) -> bool:
        """Whether that path, relative and with slashes, is left out."""
        out = False
        for pattern in self._patterns:
            if pattern.lets_in is out and _fits(pattern, path):
                out = not pattern.lets_in
        return out

    def lets_in_below(self, directory: str) -> bool:
        """Whether something below a directory that is left out may be let in again."""
        return any(
            pattern.lets_in
            and (_WILD.search(pattern.text) or pattern.text.startswith(f"{directory}/"))
            for pattern in self._patterns
        )


def _fits(pattern: _Pattern, path: str) -> bool:
    """It, or a directory that it is in."""
    while path:
        if pattern.fits.fullmatch(path):
            return True
        path = path.rpartition("/")[0]
    return False


def _expression(pattern: str) -> str:
    found, at = "", 0
    while at < len(pattern):
        sign, at = pattern[at], at + 1
        if sign == "*" and pattern[at : at + 1] == "*":
            at += 1
            if pattern[at : at + 1] == "/":
                at += 1
            found += ".*" if at == len(pattern) else "(.*/)?"
        elif sign == "*":
            found += "[^/]*"
        elif sign == "?":
            found += "[^/]"
        elif sign == "\\" and at < len(pattern):
            found, at = found + re.escape(pattern[at]), at + 1
        elif sign in "[]^-":
            found += sign if sign in "[]" else f"\\{sign}" if "[" not in found else sign
        else:
            found += re.escape(sign)
    return found
