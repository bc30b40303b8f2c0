"""The machine that a Docker-like engine runs on, and what is free there."""

from __future__ import annotations

import os
import platform

from tfnz_notebook._base import proc
from tfnz_notebook.engines.base import NodeInfo
from tfnz_notebook.engines.docker import calls
from tfnz_notebook.engines.docker.probe import Facts
from tfnz_notebook.engines.http.client import Client


async def running(client: Client, facts: Facts) -> int:
    """How many containers run. Podman looks at each, and for its own list not so long."""
    answer = await client.request("GET", f"{'/libpod' if facts.podman else ''}/containers/json")
    calls.check(answer, "list the containers")
    return len(answer.json())


def node(called: str, facts: Facts, containers: int | None) -> NodeInfo:
    """This machine, or the one that the engine said it is on."""
    name, labels = named(called, facts), {"engine": "podman" if facts.podman else "docker"}
    if facts.machine is not None:
        # Docker tells neither load nor free memory: all of it, then.
        _, cpus, memory = facts.machine
        return NodeInfo(name, cpus, float(cpus), memory, memory, containers, labels)
    cpus, (memory, free) = os.cpu_count() or 1, proc.memory()
    return NodeInfo(name, cpus, proc.cpu_free(cpus), memory, free, containers, labels)


def named(called: str, facts: Facts) -> str:
    """What it is called."""
    return facts.machine[0] if facts.machine is not None else platform.node() or called
