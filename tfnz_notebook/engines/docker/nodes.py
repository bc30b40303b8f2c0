"""The machine that a Docker-like engine runs on, and what is free there."""

from __future__ import annotations

import os
import platform

from tfnz_notebook._base import proc
from tfnz_notebook.engines.base import NodeInfo
from tfnz_notebook.engines.docker import answers, calls
from tfnz_notebook.engines.http.client import Client


async def nodes(client: Client, *, podman: bool) -> list[NodeInfo]:
    """One: this machine, or the one that the engine says it is on."""
    labels = {"engine": "podman" if podman else "docker"}
    if not client.endpoint.local:
        answer = await client.request("GET", "/info")
        calls.check(answer, "look at the engine")
        info = answers.mapping(answer.json())
        cpus, memory = int(info.get("NCPU") or 1), int(info.get("MemTotal") or 0)
        # Docker tells neither load nor free memory: all of it, then.
        name, running = str(info.get("Name") or client.name), info.get("ContainersRunning")
        return [NodeInfo(name, cpus, float(cpus), memory, memory, int(running or 0), labels)]
    answer = await client.request("GET", "/containers/json")
    calls.check(answer, "list the containers")
    cpus, (memory, free) = os.cpu_count() or 1, proc.memory()
    name, running = platform.node() or client.name, len(answer.json())
    return [NodeInfo(name, cpus, proc.cpu_free(cpus), memory, free, running, labels)]
