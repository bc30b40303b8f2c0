"""What engines hold for this user: everything whose owner label begins with this user's name.

Each agent has a label value of its own, ``OWNER-NAME``; all of them are ours. The engine filters by
the label's key, and each value is looked at again: a look-alike is never touched.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tfnz_notebook._base import endpoints
from tfnz_notebook._base.endpoints import parse
from tfnz_notebook._doctor.engine import candidates
from tfnz_notebook.engines.base import LABEL_OWNER
from tfnz_notebook.engines.docker import (
    answers,
    calls,
    probe,
)
from tfnz_notebook.engines.docker.podman import PodmanService
from tfnz_notebook.engines.http.client import Client
from tfnz_notebook.errors import NoEngine, TfnzError

Kind = str
KINDS: Final = ("container", "network", "volume")


@dataclass(frozen=True, slots=True)
class Holding:
    """One thing. ``name`` is for people and may be anything."""

    engine: str
    kind: Kind
    ref: str
    name: str


@dataclass(slots=True)
class Held:
    """What one engine holds, or why that cannot be known."""

    engine: str
    things: list[Holding] = field(default_factory=list)
    problem: str = ""


@asynccontextmanager
async def connected(name: str, runtime: Path) -> AsyncIterator[Client | None]:
    """A client of the engine; None if there is none. Podman's service is started for the while.

    Raises NoEngine, EngineGone where there is one that does not answer.
    """
    client, why = await probe.reach(name, candidates(name, runtime))
    if client is not None:
        await probe.probe(client, "exec")  # for the version it speaks; nothing is mounted
        yield client
        return
    binary = endpoints.podman_binary() if name == "podman" else None
    if binary is None:
        if why:
            raise NoEngine(why)
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="tfnz-clean-") as folder:
        service = PodmanService(binary, Path(folder))
        try:
            await service.start()
            client = Client(parse(str(service.socket)), name)
            await probe.probe(client, "exec")
            yield client
        finally:
            await service.stop()


async def listed(name: str, client: Client, owner: str) -> list[Holding]:
    """Containers first, then networks, then volumes: the order in which they can be removed."""
    filters = json.dumps({"label": [LABEL_OWNER]})

    async def ask(path: str, query: Mapping[str, str]) -> Any:
        answer = await client.request("GET", path, query={**query, "filters": filters})
        calls.check(answer, f"list {path.split('/')[1]}")
        return answer.json()

    containers = await ask("/containers/json", {"all": "1"}) or ()
    networks = await ask("/networks", {}) or ()
    volumes = answers.mapping(await ask("/volumes", {})).get("Volumes") or ()
    told = [
        *(("container", e["Id"], (e.get("Names") or [""])[0].lstrip("/"), e) for e in containers),
        *(("network", e["Id"], e.get("Name"), e) for e in networks),
        *(("volume", e["Name"], e["Name"], e) for e in volumes),
    ]
    return [
        Holding(name, kind, str(ref), str(called))
        for kind, ref, called, each in told
        if ours(each.get("Labels"), owner)
    ]


def ours(labels: Mapping[str, str] | None, owner: str) -> bool:
    """The label is of one of this user's agents."""
    value = str((labels or {}).get(LABEL_OWNER, ""))
    return bool(owner) and (value == owner or value.startswith(f"{owner}-"))


async def look(name: str, runtime: Path, owner: str) -> Held:
    """What the engine holds. Never raises."""
    try:
        async with connected(name, runtime) as client:
            return Held(name, await listed(name, client, owner) if client else [])
    except TfnzError as error:
        return Held(name, problem=str(error))


async def remove(name: str, runtime: Path, owner: str, kinds: set[Kind]) -> Held:
    """Remove what is there now, of these kinds; what is left, and why. Never raises."""
    held = Held(name)
    try:
        async with connected(name, runtime) as client:
            if client is None:
                return held
            for each in await listed(name, client, owner):
                if each.kind not in kinds:
                    continue
                try:
                    await _remove(client, each, podman=name == "podman")
                except TfnzError as error:
                    held.things.append(each)
                    held.problem = str(error)
    except TfnzError as error:
        held.problem = str(error)
    return held


async def _remove(client: Client, each: Holding, *, podman: bool) -> None:
    if each.kind == "container":
        await calls.delete(client, each.ref, podman)
        return
    answer = await client.request("DELETE", f"/{each.kind}s/{each.ref}")
    if answer.status != 404:
        calls.check(answer, f"remove the {each.kind} {each.name!r}")
