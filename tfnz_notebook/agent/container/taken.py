"""Spares that were taken: a label cannot be changed, so what each is now is written down here.

One small file, for the next agent. A spare that is not in it is nobody's.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
from collections.abc import Mapping
from pathlib import Path

from tfnz_notebook.agent.disk import Disk
from tfnz_notebook.engines.base import LABEL_CONTAINER, LABEL_SPARE, NOT, Found

log = logging.getLogger(__name__)


class Taken:
    """By the id under which each was made: the labels that it would have."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self._path, self._disk = path, disk
        self._told: dict[str, dict[str, str]] = {}

    def read(self) -> None:
        """What an earlier agent wrote down."""
        try:
            told = json.loads(self._disk.read(self._path))
            self._told = {str(ident): dict(labels) for ident, labels in told.items()}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.warning("what became of spares is lost: %s", error)

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
        if self._told.pop(ident, None) is None:
            return
        with contextlib.suppress(OSError):
            if self._told:
                self._disk.replace(self._path, json.dumps(self._told).encode())
            else:
                self._disk.remove(self._path)
