"""What an engine says while it works: a JSON object a line, an error among them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


class Lines:
    """Chunks in, JSON objects out; a line that is none is skipped (engines log into streams)."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[dict[str, Any]]:
        """The objects completed by this chunk. A 'line' beyond 1 MiB is dropped."""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > 1 << 20:
            self._rest = b""
        return [said for line in whole if (said := _object(line)) is not None]

    def end(self) -> list[dict[str, Any]]:
        """The last object, which may lack its newline."""
        rest, self._rest = self._rest, b""
        return [said] if (said := _object(rest)) is not None else []


def wrong(said: Mapping[str, Any]) -> str:
    """The error that an object is; empty if it is none."""
    detail = said.get("errorDetail")
    return str(
        said.get("error") or (detail.get("message") if isinstance(detail, dict) else "") or ""
    )


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None
