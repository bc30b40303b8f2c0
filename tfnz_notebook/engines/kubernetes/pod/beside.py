"""Pods whose image's own first process is PID 1: the guest runs beside it, by an exec.

Then the cluster has to know what otherwise only the guest is told: command, environment, user and
directory are in the pod, and files in a ConfigMap of its own, mounted one by one. The guest is
started before each connection to it: where one runs, another ends at once (``--beside``).
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any, Final

from tfnz_notebook._base.numbers import size
from tfnz_notebook.engines.base import ContainerSpec
from tfnz_notebook.engines.docker import create as shape
from tfnz_notebook.errors import Misuse

Said = dict[str, Any]

#: What is weaker on a cluster than on a machine's own engine.
COSTS: Final = (
    "The cluster's records show its command, environment and files, which cannot be written to; "
    "its output is told as one stream, of which nodes keep some 10 MiB."
)
#: Bytes of files: etcd takes 1.5 MiB, and they are written as base64.
_MOST: Final = 1 << 20
_FILES: Final = "tfnz-files"


def refuse(spec: ContainerSpec) -> None:
    """Misuse for what only a guest can that starts the first process."""
    if spec.sleep or spec.entrypoint is not None:
        raise Misuse(
            "Cannot have the image's own first process sleep, or be another: "
            "entrypoint='unmodified' keeps it as it is. Leave one of the two out."
        )
    user, _, group = (spec.user or "0").partition(":")
    if not (user.isdigit() or user == "root") or not (group or "0").isdigit():
        raise Misuse(
            f"Cannot run the image's own first process as {spec.user!r} on Kubernetes: a cluster "
            "knows users by number. Give user='UID' or 'UID:GID', or leave "
            "entrypoint='unmodified' out."
        )
    total = sum(map(len, spec.files.values()))
    if total > _MOST:
        raise Misuse(
            f"Cannot write {size(total)} before boot beside an image's own first process: a "
            f"ConfigMap has at most {size(_MOST)}. Put them on a volume."
        )


def first(spec: ContainerSpec) -> Said:
    """Of the pod's one container: what its first process is."""
    told: Said = {}
    if spec.command is not None:
        told["args"] = [_plain(word) for word in spec.command]
    if spec.env:
        shape.environment(spec.env)
        told["env"] = [{"name": key, "value": _plain(value)} for key, value in spec.env.items()]
    if spec.workdir:
        told["workingDir"] = shape.absolute(spec.workdir, "a working directory")
    return told


def _plain(text: str) -> str:
    """A cluster would expand ``$(NAME)``."""
    return text.replace("$", "$$")


def identity(user: str) -> Said:
    """Of its security context."""
    name, _, group = user.partition(":")
    told = {"runAsUser": 0 if name == "root" else int(name)}
    return {**told, "runAsGroup": int(group)} if group else told


# -- files ------------------------------------------------------------------------------------


def holder(container: str) -> str:
    """The name of the ConfigMap that has the files of that container."""
    return f"tfnz-files-{hashlib.sha256(container.encode()).hexdigest()[:20]}"


def contents(spec: ContainerSpec) -> dict[str, str]:
    """Its data: keys are no paths."""
    files = shape.checked_files(spec.files)
    return {str(n): base64.b64encode(data).decode() for n, data in enumerate(files.values())}


def mounted(spec: ContainerSpec) -> tuple[list[Said], list[Said]]:
    """(volumes, mounts) of its files."""
    if not spec.files:
        return [], []
    volume = {"name": _FILES, "configMap": {"name": holder(spec.id), "defaultMode": 0o644}}
    paths = shape.checked_files(spec.files)
    return [volume], [
        {"name": _FILES, "mountPath": path, "subPath": str(n), "readOnly": True}
        for n, path in enumerate(paths)
    ]
