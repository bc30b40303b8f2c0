"""Who wants to hear of which container or process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Listener = Callable[[dict[str, Any] | None], None]


class Listeners:
    """Any number for each thing; each is told its ``info``, and ``None`` when it is not known."""

    def __init__(self) -> None:
        self._listeners: dict[tuple[str, str], list[Listener]] = {}

    def listen(self, name: str, ident: str, listener: Listener) -> None:
        """Hear of a container (``name`` 'container') or process; ident "": of all of the session.

        Who hears of all is told None when it should look again: one is unknown, or after a break.
        """
        self._listeners.setdefault((name, ident), []).append(listener)

    def forget(self, name: str, ident: str, listener: Listener | None = None) -> None:
        """Have one listener hear no more of it, or all."""
        if listener in (left := self._listeners.get((name, ident), [])):
            left.remove(listener)
        if listener is None or not left:
            self._listeners.pop((name, ident), None)

    def _tell(self, name: str, ident: str, info: dict[str, Any] | None) -> None:
        for key in dict.fromkeys(((name, ident), (name, ""))):
            for listener in list(self._listeners.get(key, ())):
                listener(info)

    def _tell_the_end(self) -> None:
        for name, ident in list(self._listeners):
            self._tell(name, ident, None)
        self._listeners.clear()
