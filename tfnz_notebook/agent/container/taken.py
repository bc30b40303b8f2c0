"""Spares that were taken: a label cannot be changed, so what each is now is written down here.

One small file, for the next agent. A spare that is not in it is nobody's.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from tfnz_notebook.agent.disk import Disk
from tfnz_notebook.agent.world import now
from tfnz_notebook.engines.base import LABEL_CONTAINER, LABEL_SPARE, NOT, Found
from tfnz_notebook.errors import AgentError

log = logging.getLogger(__name__)

#: Seconds for which a disk that errs is asked again, and from one time to the next.
PATIENCE: Final = 30.0
AGAIN: Final = 1.0


class Taken:
    """By the id under which each was made: the labels that it would have."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self._path, self._disk = path, disk
        self._told: dict[str, dict[str, str]] = {}
        self._stale = False  # the file has what is not so any more

    async def read(self) -> None:
        """What an earlier agent wrote down. AgentError if it cannot be read: guesses cost somebody.

        A spare that is not told of here is removed.
        """
        deadline = now() + PATIENCE
        while True:
            try:
                told = json.loads(self._disk.read(self._path))
                self._told = {str(ident): dict(labels) for ident, labels in told.items()}
                return
            except FileNotFoundError:
                return
            except (OSError, ValueError, TypeError, AttributeError) as error:
                if now() >= deadline or not isinstance(error, OSError):
                    raise AgentError(
                        f"Cannot take over what an earlier agent had: {self._path} cannot be read "
                        f"({error}). Mend that, or remove it and with it the containers that were "
                        "made of prepared ones; until then they go on by themselves."
                    ) from None
                log.warning("%s cannot be read now: %s", self._path, error)
                await asyncio.sleep(AGAIN)

    def seen(self, found: Found) -> Found:
        """What the engine holds, as it is now."""
        told = self._told.get(found.labels.get(LABEL_CONTAINER, ""))
        if told is None:
            return found
        return dataclasses.replace(found, labels={**found.labels, **told, LABEL_SPARE: NOT})

    def note(self, ident: str, labels: Mapping[str, str]) -> None:
        """One is taken. OSError: it was not written down."""
        told = {**self._told, ident: dict(labels)}
        self._disk.replace(self._path, json.dumps(told).encode())
        self._told = told

    def forget(self, ident: str) -> None:
        """It is gone, or is another container at the engine by now."""
        if self._told.pop(ident, None) is not None:
            self._stale = True
            self.tidy()

    def keep(self, idents: Collection[str]) -> None:
        """Only these are there still; the file may tell of others."""
        self._told = {ident: told for ident, told in self._told.items() if ident in idents}
        self._stale = True
        self.tidy()

    def tidy(self) -> None:
        """Have the file say what is so, if the disk would not before; called now and then."""
        if not self._stale:
            return
        with contextlib.suppress(OSError):
            if self._told:
                self._disk.replace(self._path, json.dumps(self._told).encode())
            else:
                self._disk.remove(self._path)
            self._stale = False
