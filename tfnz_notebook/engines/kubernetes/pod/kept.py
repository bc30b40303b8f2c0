"""What containers are made of, for when they are started again: by this agent, or a later one.

The API server is told little of it, so it is kept here: one file a container, in the agent's own
directory, which no other user can enter.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgpack

from tfnz_notebook.engines.base import ContainerSpec, Mount, Scheduling, State
from tfnz_notebook.engines.kubernetes.pod.manifest import Remote

log = logging.getLogger(__name__)

#: Bytes of files that are kept of one container.
_MOST: Final = 64 << 20


@dataclass(slots=True)
class Made:
    """A container. ``stopped``: it has no pod, and ended so."""

    spec: ContainerSpec
    image: Remote
    stopped: State | None = None


class Kept:
    """The containers of one owner that this machine knows, by the names of their pods."""

    def __init__(self, runtime: Path, owner: str) -> None:
        digest = hashlib.sha256(owner.encode()).hexdigest()[:12]
        self._folder = runtime / "kubernetes" / digest
        self._known: dict[str, Made] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def here(self) -> dict[str, Made]:
        """Those of this agent."""
        return dict(self._known)

    def put(self, name: str, made: Made) -> None:
        """Keep it. Where the disk is full the next agent cannot start it again, no more."""
        self._known[name] = made
        spec, image = made.spec, made.image
        if sum(map(len, spec.files.values())) > _MOST:
            return
        told = msgpack.packb(
            [_plain(spec), {"id": image.id, "pull": image.pull}], unicode_errors="surrogateescape"
        )
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self._path(spec.id)
            path.touch(mode=0o600)
            path.write_bytes(told)
        except OSError as error:
            log.warning("what the container %s is made of is not kept: %s", name, error)

    def get(self, name: str, container: str = "") -> Made | None:
        """What that is made of; ``container`` is its id, for one of an earlier agent's."""
        if name not in self._known and container:
            try:
                spec, image = msgpack.unpackb(
                    self._path(container).read_bytes(), unicode_errors="surrogateescape"
                )
                mounts = tuple(Mount(*mount) for mount in spec.pop("mounts"))
                spec["scheduling"] = Scheduling.of(spec["scheduling"])
                for key in ("command", "entrypoint", "capabilities"):
                    spec[key] = None if spec[key] is None else tuple(spec[key])
                self._known[name] = Made(ContainerSpec(**spec, mounts=mounts), Remote(**image))
            except (OSError, ValueError, TypeError, KeyError, AttributeError):
                return None
        return self._known.get(name)

    def drop(self, name: str, container: str = "") -> None:
        """It is no more."""
        made = self._known.pop(name, None)
        ident = made.spec.id if made is not None else container
        if ident:
            self._path(ident).unlink(missing_ok=True)

    def sweep(self, kept: Collection[str]) -> None:
        """Drop all but those with these ids."""
        here = {made.spec.id for made in self._known.values()}
        wanted = {self._path(each) for each in {*kept, *here}}
        for path in self._folder.glob("*"):
            if path not in wanted:
                path.unlink(missing_ok=True)

    def _path(self, container: str) -> Path:
        # Labels name it, and others may write labels.
        return self._folder / hashlib.sha256(container.encode()).hexdigest()[:32]


def _plain(spec: ContainerSpec) -> dict[str, Any]:
    told = {each.name: getattr(spec, each.name) for each in dataclasses.fields(spec)}
    told["mounts"] = [[each.source, each.target, each.read_only] for each in spec.mounts]
    for key in ("env", "files", "labels"):
        told[key] = dict(told[key])
    told["scheduling"] = dataclasses.asdict(spec.scheduling)
    return told
