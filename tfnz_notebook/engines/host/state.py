"""The state file of each container of the host engine: ``<runtime>/host/<id>/state.json``.

Written beside and renamed, so that a reader sees the old or the new one, whole. The directory is
the agent's alone; a file that cannot be read is no container.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Record:
    """One container. ``pid`` 0: never started; ``exit_code`` None: running, or nobody saw it."""

    ref: str
    labels: dict[str, str]
    command: list[str]
    workdir: str
    env: dict[str, str] = field(default_factory=dict)
    pid: int = 0
    started: int = 0
    exit_code: int | None = None


def write(home: Path, record: Record) -> None:
    """Keep it in the container's directory (mode 0600: the environment may hold secrets)."""
    beside = home / "state.json.new"
    beside.touch(mode=0o600)
    beside.write_text(json.dumps(asdict(record)))
    beside.replace(home / "state.json")


def read(home: Path) -> Record | None:
    """What is kept there; None if nothing is, or nothing sensible."""
    try:
        said = json.loads((home / "state.json").read_text())
        record = Record(**said)
    except (OSError, ValueError, TypeError):
        return None
    return record if record.ref == home.name and isinstance(record.labels, dict) else None


def records(top: Path) -> Iterator[Record]:
    """All containers below the engine's directory."""
    try:
        homes = sorted(top.iterdir())
    except OSError:
        return
    for home in homes:
        record = read(home)
        if record is not None:
            yield record
