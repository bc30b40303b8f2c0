"""A registry for what images say of themselves: their manifests and configs, and no layers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from apiserver.node.images import Image, canonical

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def config(image: Image) -> bytes:
    """The blob."""
    said = {
        "Env": image.env,
        "Entrypoint": image.entrypoint or None,
        "Cmd": image.command or None,
        "User": image.user,
        "WorkingDir": image.workdir,
    }
    kept = {key: value for key, value in said.items() if value}
    return json.dumps({"architecture": "amd64", "os": "linux", "config": kept}).encode()


def manifest(image: Image) -> bytes:
    """What names the blob."""
    blob = config(image)
    told = {"mediaType": _CONFIG, "digest": digest(blob), "size": len(blob)}
    said = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": told, "layers": []}
    return json.dumps(said).encode()


def answer(path: str, images: Mapping[str, Image]) -> tuple[bytes, str] | None:
    """Of ``/v2/library/busybox/manifests/latest``: the body and its type; whatever the host."""
    words = [word for word in path.split("/") if word]
    *repository, kind, reference = words[1:] if len(words) > 3 else ["", "", ""]
    for name, image in images.items():
        place = canonical(name).partition("/")[2]
        if place.partition("@")[0].rpartition(":")[0] != "/".join(repository):
            continue
        whole, blob = manifest(image), config(image)
        if kind == "manifests" and reference in (place.rpartition(":")[2], digest(whole)):
            return whole, _MANIFEST
        if kind == "blobs" and reference == digest(blob):
            return blob, _CONFIG
    return None
