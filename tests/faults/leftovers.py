"""What a fault may leave behind: nothing. Asked of the engine, of /proc and of the files."""

import os
from collections.abc import Iterable
from pathlib import Path

from integration import engine_api
from integration.polling import until
from integration.world import LABEL, World

#: Seconds that an engine's own helpers (conmon, shims, umounts) may take to end.
SETTLE = 15.0


class Watch:
    """Remembers which containers a world has had, and says what is left of them."""

    #: Seconds for all of it to go, and between two looks.
    within, every = SETTLE, 0.2

    def __init__(self, world: World, engine: str) -> None:
        self.world, self.engine = world, engine
        self._seen: set[str] = set()

    def look(self) -> None:
        """Note the engine's ids of the containers that are there now."""
        self._seen |= {each["Id"] for each in self.world.containers(self.engine)}

    def left(self) -> list[str]:
        """Everything of the world that is still there once the agent was stopped."""
        marks = [*self._seen, str(self.world.home)]
        return [
            *self._held(),
            *(f"mount {line}" for line in _mounts(marks)),
            *(f"process {line}" for line in _processes(marks)),
            *(f"file {path}" for path in self._files()),
            *(f"socket {line}" for line in _sockets(marks)),
        ]

    def _held(self) -> Iterable[str]:
        for each in self.world.containers(self.engine):
            yield f"container {each['Id']} ({each.get('State')})"
        for each in engine_api.ask(self.engine, "GET", "/networks"):
            owner = (each.get("Labels") or {}).get(LABEL, "")
            if self.world.owner and owner.startswith(self.world.owner):
                yield f"network {each['Name']}"
            for ident in self._seen & set(each.get("Containers") or {}):
                yield f"an endpoint of container {ident[:12]} in network {each['Name']}"

    def _files(self) -> Iterable[Path]:
        """Spools, records, and in the runtime directory all but logs and locks."""
        yield from (path for path in (self.world.state / "spool").glob("*/*"))
        guests = self.world.runtime / "guests"
        folders = [guests, *guests.glob("*")]  # an owner's; those of its containers are below
        for path in self.world.runtime.rglob("*"):
            if path.suffix in (".log", ".lock") or path in folders:
                continue
            yield path

    def settle(self) -> None:
        """Wait until nothing is left; AssertionError with what is, at the deadline."""
        found: list[str] = []

        def nothing() -> bool:
            found[:] = self.left()
            return not found

        try:
            until(nothing, self.within, "nothing is left", every=self.every)
        except AssertionError:
            raise AssertionError("left behind:\n" + "\n".join(found)) from None


def _mounts(marks: list[str]) -> Iterable[str]:
    for line in Path("/proc/mounts").read_text().splitlines():
        if any(mark in line for mark in marks):
            yield line


def _sockets(marks: list[str]) -> Iterable[str]:
    for line in Path("/proc/net/unix").read_text().splitlines():
        if any(mark in line for mark in marks):
            yield line


def _processes(marks: list[str]) -> Iterable[str]:
    """Of our containers or directories, by command line, directory or cgroup: shims, guests."""
    for path in Path("/proc").glob("[0-9]*"):
        if int(path.name) == os.getpid():
            continue
        try:
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            where = f"{(path / 'cgroup').read_text()}{(path / 'cwd').readlink()}"
        except OSError:
            continue  # it ended
        if any(mark in command or mark in where for mark in marks):
            yield f"{path.name}: {command}"
