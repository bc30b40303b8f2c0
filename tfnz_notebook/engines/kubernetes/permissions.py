"""What the engine asks of an API server, and who may: the one place that says it.

``docs/kubernetes/role/role.yaml`` is :func:`role`, a test holds; ``doctor`` asks the server.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from tfnz_notebook.engines.kubernetes.api import Api

_REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

_HEAD: Final = (
    "What `python -m tfnz_notebook doctor` asks for; tests hold that it is all the engine uses."
)


@dataclass(frozen=True, slots=True)
class Need:
    """Verbs on a resource of the namespace, and what for."""

    resource: str
    verbs: tuple[str, ...]
    why: str
    group: str = ""


NEEDED: Final = (
    Need("pods", ("get", "list", "watch", "create", "patch", "delete"), "a container is a pod"),
    Need(
        "pods/exec",
        ("get", "create"),
        "the one stream to its guest: either verb alone is refused",
    ),
    Need("pods/log", ("get",), "last words of one that has ended"),
    Need("events", ("list",), "why one does not start"),
    Need(
        "configmaps",
        ("get", "list", "create", "delete"),
        "a session's anchor, with the guest's binary: what is left of the session goes with it",
    ),
    Need("persistentvolumeclaims", ("get", "list", "create", "delete"), "what a volume is"),
    Need(
        "networkpolicies",
        ("get", "list", "create", "update", "delete"),
        "who reaches whom",
        "networking.k8s.io",
    ),
)


def role(namespace: str = "", needs: tuple[Need, ...] = NEEDED) -> str:
    """A Role that grants what is needed, as YAML."""
    place = f", namespace: {namespace}" if namespace else ""
    lines = [
        f"# {_HEAD}",
        "apiVersion: rbac.authorization.k8s.io/v1",
        "kind: Role",
        f"metadata: {{name: tfnz-notebook{place}}}",
        "rules:",
    ]
    for need in needs:
        group = need.group or '""'
        lines.append(f"  # {need.why}")
        lines.append(
            f"  - {{apiGroups: [{group}], resources: [{need.resource}], "
            f"verbs: [{', '.join(need.verbs)}]}}"
        )
    return "\n".join([*lines, ""])


async def missing(api: Api) -> list[str]:
    """What this user may not do in the namespace, as 'create pods/exec'. As :meth:`Api.call`."""
    asked = [(need, verb) for need in NEEDED for verb in need.verbs]
    allowed = await asyncio.gather(*(_may(api, need, verb) for need, verb in asked))
    return [
        f"{verb} {need.resource}"
        for (need, verb), granted in zip(asked, allowed, strict=True)
        if not granted
    ]


async def _may(api: Api, need: Need, verb: str) -> bool:
    resource, _, sub = need.resource.partition("/")
    wanted = {
        "namespace": api.namespace,
        "verb": verb,
        "group": need.group,
        "resource": resource,
        "subresource": sub,
    }
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": wanted},
    }
    said = await api.call("POST", _REVIEWS, body=body, repeatable=True, timeout=10.0)
    status = said.get("status")
    return isinstance(status, dict) and status.get("allowed") is True
