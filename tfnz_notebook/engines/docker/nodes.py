"""The machine that a Docker-like engine runs on, and what is free there."""

from __future__ import annotations

import os
import platform

from tfnz_notebook._base import proc
from tfnz_notebook.engines.base import NodeInfo
from tfnz_notebook.engines.docker import calls
from tfnz_notebook.engines.docker.probe import Facts
from tfnz_notebook.engines.http.client import Client


async def nodes(client: Client, facts: Facts) -> list[NodeInfo]:
    """One: this machine, or the one that the engine said it is on."""
    # Podman looks at each container for Docker's list, some 20 ms with one of them; 2 for its own.
    answer = await client.request("GET", f"{'/libpod' if facts.podman else ''}/containers/json")
    calls.check(answer, "list the containers")
    labels, running = {"engine": "podman" if facts.podman else "docker"}, len(answer.json())
    if facts.machine is not None:
        # Docker tells neither load nor free memory: all of it, then.
        name, cpus, memory = facts.machine
        return [NodeInfo(name, cpus, float(cpus), memory, memory, running, labels)]
    cpus, (memory, free) = os.cpu_count() or 1, proc.memory()
    name = platform.node() or client.name
    return [NodeInfo(name, cpus, proc.cpu_free(cpus), memory, free, running, labels)]
