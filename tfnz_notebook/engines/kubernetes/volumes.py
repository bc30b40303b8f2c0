"""Volumes of a cluster: claims, which outlive pods; and what a namespace has under other names.

A mount's source is a claim's name, ``configmap:NAME`` or ``secret:NAME`` (read-only by nature), or
a path of the node, which most clusters' policies refuse.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from tfnz_notebook.engines.base import LABEL_OWNER, Claim, ContainerSpec
from tfnz_notebook.engines.docker import create as shape
from tfnz_notebook.engines.kubernetes.api import Api
from tfnz_notebook.engines.kubernetes.nodes import quantity
from tfnz_notebook.engines.kubernetes.pod import manifest, status
from tfnz_notebook.engines.kubernetes.pod.manifest import Volumes
from tfnz_notebook.engines.kubernetes.refusals import ApiError
from tfnz_notebook.errors import EngineError, VolumeError

Said = dict[str, Any]

#: Bytes of a claim that nobody gave a size.
SIZE: Final = 1 << 30
#: Seconds for a claim to go: the cluster holds it while somebody uses it.
_GONE: Final = 20.0
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
#: How many may mount it, as the API has it, to what we call that.
ACCESS: Final = {"one": "ReadWriteOnce", "many": "ReadWriteMany", "container": "ReadWriteOncePod"}


def named(name: str) -> str:
    """The name, if one of ours can have it. VolumeError."""
    if not _NAME.fullmatch(name):
        raise VolumeError(
            f"Cannot use {name!r} as a volume's name: a claim's name has lower-case letters, "
            "digits, '-' and '.', and begins and ends with a letter or digit. Choose another."
        )
    return name


async def create(
    api: Api,
    name: str,
    labels: Mapping[str, str],
    owner: str,
    claim: Claim,
) -> None:
    """Make it, or find it made."""
    spec: Said = {
        "accessModes": [ACCESS[claim.access or "one"]],
        "resources": {"requests": {"storage": str(claim.size or SIZE)}},
    }
    if claim.kind is not None:
        spec["storageClassName"] = claim.kind
    about = manifest.metadata(named(name), {**labels, LABEL_OWNER: owner})
    body = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": about,
        "spec": spec,
    }
    path = api.path("persistentvolumeclaims")
    try:
        held = await api.call("POST", path, body=body)
    except ApiError as error:
        if error.status != 409:
            raise VolumeError(
                f"Cannot make the volume {name!r}: {error.message or error}. Correct what it "
                "names.",
                status=error.status,
            ) from error
        held = await _claim(api, name) or {}
    if manifest.labels_of(held).get(LABEL_OWNER) != owner:
        raise VolumeError(
            f"Cannot make the volume {name!r}: one of that name exists and is not ours. "
            "Choose another name.",
            foreign=bool(held),
        )


async def listed(api: Api, labels: Mapping[str, str], owner: str) -> list[str]:
    """Names of this owner's claims that carry all these labels."""
    wanted = {**labels, LABEL_OWNER: owner}
    query = {"labelSelector": manifest.owner_selector(owner)}
    found = set()
    async for said in api.pages(api.path("persistentvolumeclaims"), query):
        told = manifest.labels_of(said)
        going = said["metadata"].get("deletionTimestamp")
        if not going and all(told.get(key) == value for key, value in wanted.items()):
            found.add(str(said["metadata"]["name"]))
    return sorted(found)


async def sizes(api: Api, names: Collection[str]) -> dict[str, int | None]:
    """What each claim was given, or asks for: what of it is used, no cluster tells."""
    found = dict[str, int | None].fromkeys(names)
    async for said in api.pages(api.path("persistentvolumeclaims")):
        if (name := str(said["metadata"]["name"])) in found:
            asked = (said.get("spec") or {}).get("resources") or {}
            given = (said.get("status") or {}).get("capacity") or asked.get("requests") or {}
            found[name] = int(quantity(given.get("storage"))) or None
    return found


async def remove(api: Api, name: str, owner: str) -> None:
    """Delete it, if it is this owner's and no pod has it."""
    held = await _claim(api, named(name))
    if held is None or manifest.labels_of(held).get(LABEL_OWNER) != owner:
        why = "there is none of that name" if held is None else "it is not ours"
        raise VolumeError(f"Cannot remove the volume {name!r}: {why}. List the volumes.")
    used = [
        pod["metadata"]["name"] async for pod in api.pages(api.path("pods")) if name in _claims(pod)
    ]
    if used:
        raise VolumeError(
            f"Cannot remove the volume {name!r}: it is in use by {', '.join(used[:3])}. "
            "Destroy the containers that use it."
        )
    path = api.path("persistentvolumeclaims", name)
    try:
        await api.call("DELETE", path, repeatable=True)
    except ApiError as error:
        if error.status != 404:
            raise
    deadline = asyncio.get_running_loop().time() + _GONE
    while await _claim(api, name) is not None:
        if asyncio.get_running_loop().time() > deadline:
            raise VolumeError(
                f"Cannot remove the volume {name!r} now: the cluster still holds it. It goes when "
                "nothing uses it any more."
            )
        await asyncio.sleep(0.1)


async def mounted(api: Api, spec: ContainerSpec, pods: Iterable[Said]) -> tuple[Volumes, str]:
    """What the spec mounts; and the node it has to be on for that, '' if any will do.

    ``pods``: those of ours, for a claim that one node has at a time is where they use it.
    """
    made, node = Volumes([], []), ""
    for number, mount in enumerate(shape.check_mounts(spec.mounts)):
        name = f"v{number}"
        kind, colon, rest = mount.source.partition(":")
        read_only = mount.read_only
        if mount.source.startswith("/"):
            volume: Said = {"hostPath": {"path": mount.source}}
        elif colon and kind == "configmap":
            volume, read_only = {"configMap": {"name": rest}}, True
        elif colon and kind == "secret":
            volume, read_only = {"secret": {"secretName": rest}}, True
        else:
            volume = {"persistentVolumeClaim": {"claimName": mount.source}}
            where = await _place(api, mount.source, pods)
            if where and spec.node not in (None, where):
                raise VolumeError(
                    f"Cannot mount the volume {mount.source!r} on {spec.node}: one node has it at "
                    f"a time, and {where} does. Spawn there, destroy what uses it, or make a "
                    "volume with access='many'."
                )
            node = where or node
        made.volumes.append({"name": name, **volume})
        made.mounts.append({"name": name, "mountPath": mount.target, "readOnly": read_only})
    return made, node


async def _place(api: Api, name: str, pods: Iterable[Said]) -> str:
    """The one node that has this claim now. VolumeError if there is no such claim."""
    held = await _claim(api, named(name))
    if held is None:
        raise VolumeError(
            f"Cannot mount the volume {name!r}: the namespace {api.namespace!r} has no claim of "
            "that name. Make it with create_volume."
        )
    modes = (held.get("spec") or {}).get("accessModes") or ()
    if ACCESS["many"] in modes or "ReadOnlyMany" in modes:
        return ""
    for pod in pods:
        phase = (pod.get("status") or {}).get("phase")
        if name in _claims(pod) and phase not in ("Succeeded", "Failed"):
            if ACCESS["container"] in modes:
                raise VolumeError(
                    f"Cannot mount the volume {name!r}: one container has it at a time, and "
                    f"{pod['metadata']['name']} does. Destroy that first."
                )
            if where := status.machine(pod):
                return where
    return ""


async def _claim(api: Api, name: str) -> Said | None:
    try:
        return await api.call("GET", api.path("persistentvolumeclaims", name))
    except ApiError as error:
        if error.status == 404:
            return None
        raise EngineError(
            f"Cannot look at the volume {name!r}: {error.message or error}. "
            "Ask for the role that 'python -m tfnz_notebook doctor' prints.",
            status=error.status,
        ) from error


def _claims(pod: Said) -> set[str]:
    """Names of the claims that it mounts."""
    found = ((pod.get("spec") or {}).get("volumes")) or ()
    return {str((each.get("persistentVolumeClaim") or {}).get("claimName")) for each in found}
