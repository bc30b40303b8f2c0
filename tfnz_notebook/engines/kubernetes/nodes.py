"""A cluster's machines, and what is free there, as far as we may know.

Free is what pods may still ask for: a node's allocatable less what the pods on it have asked for.
Who may not list nodes has one, called as the namespace, of which nothing is known.
"""

from __future__ import annotations

import re
from typing import Any, Final

from tfnz_notebook.engines.base import NodeInfo
from tfnz_notebook.engines.kubernetes.api import Api
from tfnz_notebook.engines.kubernetes.pod import status
from tfnz_notebook.engines.kubernetes.refusals import ApiError

Said = dict[str, Any]

_QUANTITY: Final = re.compile(
    r"([+-]?[0-9.]+)(?:([eE][+-]?[0-9]+)|([numkMGTPE]|[KMGTPE]i)?)", re.ASCII
)
_SMALL: Final = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3}
_LARGE: Final = "KMGTPE"


def quantity(said: object) -> float:
    """A number as Kubernetes writes it: ``'2'``, ``'1930m'``, ``'7Gi'``, ``'1e3'``; 0 for none."""
    found = _QUANTITY.fullmatch(str(said))
    if found is None:
        return 0.0
    number, exponent, suffix = found.groups()
    value = float(number + (exponent or ""))
    if suffix in (None, "") or suffix in _SMALL:
        return value * _SMALL[suffix or ""]
    power = _LARGE.index(suffix[0]) + 1
    return float(value * (1024 if suffix.endswith("i") else 1000) ** power)


async def listed(api: Api) -> list[NodeInfo]:
    """All of them, those on which nothing can be placed now with nothing free."""
    try:
        nodes = {each["metadata"]["name"]: each async for each in api.pages("/api/v1/nodes")}
    except ApiError as error:
        if error.status not in (401, 403):
            raise
        return [unknown(api)]
    asked: dict[str, list[Said]] | None = {name: [] for name in nodes}
    try:
        query = {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"}
        async for pod in api.pages("/api/v1/pods", query):
            where = status.machine(pod)
            if asked is not None and where in asked:
                asked[where].append(pod["spec"])
    except ApiError as error:
        if error.status not in (401, 403):
            raise
        asked = None
    return [
        _info(said, None if asked is None else asked[name]) for name, said in sorted(nodes.items())
    ]


def unknown(api: Api) -> NodeInfo:
    """The one of who may not look."""
    labels = {"engine": "kubernetes"}
    return NodeInfo(api.namespace, None, None, None, None, None, labels)


def _info(said: Said, pods: list[Said] | None) -> NodeInfo:
    about, status = said["metadata"], said.get("status") or {}
    capacity, room = status.get("capacity") or {}, status.get("allocatable") or {}
    cpu, memory = quantity(room.get("cpu")), quantity(room.get("memory"))
    cpu_free: float | None = None
    memory_free: int | None = None
    if pods is not None:
        usable = _usable(said)
        cpu_free = max(0.0, cpu - sum(requested(each, "cpu") for each in pods)) * usable
        left = memory - sum(requested(each, "memory") for each in pods)
        memory_free = int(max(0.0, left)) * usable
    return NodeInfo(
        name=about["name"],
        cpus=int(quantity(capacity.get("cpu"))) or None,
        cpu_free=cpu_free,
        memory=int(quantity(capacity.get("memory"))) or None,
        memory_free=memory_free,
        containers=None if pods is None else sum(len(e.get("containers") or ()) for e in pods),
        labels={**(about.get("labels") or {}), "engine": "kubernetes"},
    )


def _usable(said: Said) -> bool:
    """It answers, and nobody has closed it to new pods."""
    conditions = (said.get("status") or {}).get("conditions") or ()
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    return ready and not (said.get("spec") or {}).get("unschedulable")


def requested(spec: Said, resource: str) -> float:
    """What a pod has asked for of it: of its containers together, or of one that is run first."""

    def of(container: Said) -> float:
        return quantity(((container.get("resources") or {}).get("requests") or {}).get(resource, 0))

    always = sum(of(each) for each in spec.get("containers") or ())
    first = max((of(each) for each in spec.get("initContainers") or ()), default=0.0)
    return max(always, first) + quantity((spec.get("overhead") or {}).get(resource, 0))
