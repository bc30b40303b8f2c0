"""A pod's volumes as directories of this machine."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

from apiserver.objects import refusals
from apiserver.objects.resources import CLAIMS, CONFIGMAPS, SECRETS, VOLUMES, Resource

if TYPE_CHECKING:
    from apiserver.objects.refusals import Object
    from apiserver.objects.store import Store


class NotYet(Exception):
    """A volume that cannot be mounted; it is tried again after the next change."""


def prepared(store: Store, pod: Object, home: Path) -> dict[str, Path]:
    """Each volume's directory (or file), made now; NotYet."""
    made = {}
    for volume in pod["spec"].get("volumes") or ():
        made[volume["name"]] = _one(store, pod, volume, home / "volumes" / volume["name"])
    return made


def _one(store: Store, pod: Object, volume: Object, place: Path) -> Path:
    namespace, name = pod["metadata"]["namespace"], volume["name"]
    if "emptyDir" in volume:
        place.mkdir(parents=True, exist_ok=True)
        memory = (volume["emptyDir"] or {}).get("medium") == "Memory"
        place.chmod(0o1777 if memory else 0o777)
        return place
    for source, resource, key in (
        ("configMap", CONFIGMAPS, "name"),
        ("secret", SECRETS, "secretName"),
    ):
        if source in volume:
            return _files(store, resource, namespace, name, volume[source], key, place)
    if "persistentVolumeClaim" in volume:
        return _claimed(store, namespace, volume["persistentVolumeClaim"]["claimName"])
    if "hostPath" in volume:
        return Path(volume["hostPath"]["path"])
    place.mkdir(parents=True, exist_ok=True)  # projected, downwardAPI: nothing in them
    return place


def _files(
    store: Store,
    resource: Resource,
    namespace: str,
    volume: str,
    source: Object,
    key: str,
    place: Path,
) -> Path:
    held = store.find(resource, namespace, source[key])
    if held is None:
        if source.get("optional"):
            place.mkdir(parents=True, exist_ok=True)
            return place
        what = refusals.not_found(resource.kind.lower(), "", source[key]).message
        raise NotYet(f'MountVolume.SetUp failed for volume "{volume}" : {what}')
    contents = {k: v.encode() for k, v in (held.get("data") or {}).items()}
    if resource is SECRETS:
        contents = {k: base64.b64decode(v) for k, v in (held.get("data") or {}).items()}
    contents |= {k: base64.b64decode(v) for k, v in (held.get("binaryData") or {}).items()}
    wanted = source.get("items") or [{"key": each, "path": each} for each in contents]
    place.mkdir(parents=True, exist_ok=True)
    for item in wanted:
        path = place / item["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(contents[item["key"]])
            path.chmod(item.get("mode") or source["defaultMode"])
    return place


def _claimed(store: Store, namespace: str, claim: str) -> Path:
    held = store.find(CLAIMS, namespace, claim)
    volume = held and store.find(VOLUMES, "", held["spec"].get("volumeName", ""))
    if not volume:
        raise NotYet(f'persistentvolumeclaim "{claim}" is not bound')
    path = Path(volume["spec"]["local"]["path"])
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o777)
    return path
