"""Removes everything of ours: agents, containers, networks, outputs, sockets; volumes if asked.

Files are removed by the names that we give them, never a whole directory that somebody may have
named in a variable. Keys for remote agents are the user's, and stay.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tfnz_notebook._base import endpoints, paths, proc
from tfnz_notebook._base.contexts import SCHEME
from tfnz_notebook._base.numbers import size
from tfnz_notebook._base.running import Agent
from tfnz_notebook._base.text import one_line
from tfnz_notebook._doctor import agents, cluster, holdings
from tfnz_notebook._doctor.holdings import Held
from tfnz_notebook.engines.docker.podman import PodmanService
from tfnz_notebook.engines.host import state as host_state
from tfnz_notebook.errors import TfnzError

ENGINES: Final = ("podman", "docker")
_AGENTS_FILE: Final = re.compile(
    r"(podman|docker|host|auto|fake|kubernetes)[a-z0-9._-]*\.(sock|pid|lock|log|json)"
)
_CONTAINER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
#: Below the state directory; ``owner`` is looked at apart.
_STATE: Final = ("spool", "secrets", "agents")


@dataclass(slots=True)
class Found:
    """All there is."""

    runtime: Path
    state: Path
    owner: str
    #: Engines and clusters that are looked into.
    places: list[str] = field(default_factory=lambda: [*ENGINES])
    agents: list[Agent] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    #: Guests of the host engine that run.
    guests: list[host_state.Record] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)

    def lines(self, *, volumes: bool) -> Iterator[str]:
        """For people."""
        for agent in self.agents:
            yield f"agent {agent.name}, pid {agent.pid}"
        for held in self.held:
            for each in held.things:
                stays = " (stays: say --volumes)" if each.kind == "volume" and not volumes else ""
                yield f"{each.engine}: {each.kind} {one_line(each.name)} {each.ref[:12]}{stays}"
        for record in self.guests:
            yield f"host: container {one_line(record.ref)}, pid {record.pid}"
        for folder in sorted({path.parent for path in self.files}):
            inside = [path for path in self.files if path.parent == folder]
            names = ", ".join(one_line(path.name) for path in inside)
            yield f"{folder}: {names}; {size(sum(map(_size, inside)))}"

    @property
    def problems(self) -> list[str]:
        """Engines that could not be asked."""
        return [f"{each.engine}: {one_line(each.problem)}" for each in self.held if each.problem]


def find(clusters: Sequence[str] = ()) -> Found:
    """Everything of this user's; in these clusters, too, and in those that an agent runs for."""
    runtime, state = paths.runtime(), paths.state()
    try:
        owner = paths.owner(state).read_text().strip()
    except OSError:
        owner = ""  # no agent ever ran: nothing carries our label
    found = Found(runtime, state, owner, agents=agents.there())
    known = [each.where for each in found.agents if endpoints.kind(each.where) == SCHEME]
    found.places += dict.fromkeys([*(endpoints.resolve(each).where for each in clusters), *known])
    if owner:
        found.held = asyncio.run(_ask(found))
    found.guests = [
        record
        for record in host_state.records(runtime / "host")
        if record.pid and proc.alive(record.pid, record.started)
    ]
    found.files = [*_sockets(runtime), *(p for name in _STATE if paths.there(p := state / name))]
    return found


async def _ask(found: Found) -> list[Held]:
    asking = (_holder(place).look(place, found.runtime, found.owner) for place in found.places)
    return list(await asyncio.gather(*asking))


def _holder(place: str) -> Any:
    """Who knows what is held there."""
    return cluster if endpoints.kind(place) == SCHEME else holdings


def _sockets(runtime: Path) -> list[Path]:
    """What agents make in their runtime directory."""
    try:
        entries = sorted(runtime.iterdir())
    except OSError:
        return []
    files = [each for each in entries if _AGENTS_FILE.fullmatch(each.name)]
    folders = (runtime / "guests", runtime / "host")
    return files + [
        each
        for folder in folders
        if folder.is_dir() and not folder.is_symlink()
        for each in sorted(folder.iterdir())
        if _CONTAINER.fullmatch(each.name)
    ]


def _size(path: Path) -> int:
    try:
        paths = path.rglob("*") if path.is_dir() else (path,)
        return sum(each.lstat().st_size for each in paths if each.is_file())
    except OSError:
        return 0


@contextlib.contextmanager
def _nobody_starts(found: Found) -> Iterator[None]:
    """Kernels that miss their agent start another, once they have the lock: not meanwhile."""
    with contextlib.ExitStack() as stack:
        for agent in found.agents:
            with contextlib.suppress(OSError):
                lock = paths.turn(found.runtime, agent.name).open("a")
                fcntl.flock(stack.enter_context(lock), fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


async def remove(found: Found, *, volumes: bool) -> list[str]:
    """Remove it all; a line for each thing that could not be."""
    with _nobody_starts(found):
        return await _remove(found, volumes=volumes)


async def _remove(found: Found, *, volumes: bool) -> list[str]:
    left = [
        f"agent {each.name}, pid {each.pid}" for each in found.agents if not await agents.end(each)
    ]
    kinds = {"container", "network"} | ({"volume"} if volumes else set())
    for name in found.places if found.owner else ():
        held = await _holder(name).remove(name, found.runtime, found.owner, kinds)
        left += [f"{name}: {each.kind} {one_line(each.name)}" for each in held.things]
        left += [f"{name}: {one_line(held.problem)}"] if held.problem else []
    for record in found.guests:
        proc.kill_tree(record.pid, record.started)
    # An agent that was killed leaves the service it had started.
    await PodmanService("podman", found.runtime).stop()
    for path in (*_sockets(found.runtime), *(found.state / name for name in _STATE)):
        _delete(path)
    # The owner's name is needed as long as somebody holds something under it.
    stay = not volumes and any(t.kind == "volume" for held in found.held for t in held.things)
    if not left and not stay and not found.problems:
        _delete(paths.owner(found.state))
    for folder in (found.runtime / "guests", found.runtime / "host", found.runtime, found.state):
        with contextlib.suppress(OSError):
            folder.rmdir()  # if it is empty, nobody else uses it
    return left


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def main(clusters: Sequence[str] = (), *, volumes: bool, yes: bool, dry_run: bool) -> int:
    """List, ask, remove. 0: all is gone; 1: something is left; 2: nothing was done."""
    try:
        found = find(clusters)
    except TfnzError as error:
        print(error)
        return 2
    lines = list(found.lines(volumes=volumes))
    print("\n".join(lines) if lines else "Nothing of ours is here.")
    for problem in found.problems:
        print(f"Cannot look there: {problem}")
    if dry_run:
        return 0
    if not lines:
        return int(bool(found.problems))
    if not yes:
        if not sys.stdin.isatty():
            print("Nothing was removed: say --yes where nobody can be asked.")
            return 2
        if input("Remove all this? Notebooks that use it lose it. [y/N] ").strip().lower() != "y":
            print("Nothing was removed.")
            return 2
    left = asyncio.run(remove(found, volumes=volumes))
    for line in left:
        print(f"Cannot remove {line}")
    print("Something is left: see above." if left else "Removed.")
    return int(bool(left))
