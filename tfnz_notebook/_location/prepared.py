"""What a location wants prepared: an agent that takes over has no spares, and is asked again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfnz_notebook._link.link import Link
    from tfnz_notebook.errors import TfnzError


class Prepared:
    """By their specs. A sink of no stream: those hear of a link that was mended."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._wanted: dict[str, dict[str, Any]] = {}
        self._number = 0

    def note(self, body: dict[str, Any]) -> None:
        """That was asked for, and is there."""
        key = json.dumps(body["spec"], sort_keys=True, default=str)
        self._wanted.pop(key, None)
        if body["spares"]:
            self._wanted[key] = body
        if self._wanted and not self._number:
            self._number = self._link.reader(self)

    def mended(self) -> None:
        """Another agent may be there."""
        for body in self._wanted.values():
            self._link.background(self._link.request("container.prepare", body))

    def broken(self, error: TfnzError, final: bool) -> None:
        """Spares are nobody's, and end with their agent."""

    def data(self, offset: int, payload: bytes) -> None:
        """Nothing is sent to it."""

    def eof(self, offset: int) -> None:
        """Nothing is sent to it."""

    def room(self, upto: int) -> None:
        """Nothing is sent to it."""

    def closed(self, errno: int) -> None:
        """Nothing is sent to it."""
