"""A container's specification as a pod, and the few objects beside it. Pure code.

How a container of ours looks to the cluster:

- One pod, one container called ``main``, whose command is the guest with ``--sleep``: what it is
  for the guest is told on its stream (:mod:`boot`), so that neither arguments nor environment nor
  files lie in the API server's store.
- The guest's binary comes from the session's anchor, an immutable ConfigMap that owns all of the
  session, at ``/.tfnz/bin``; its socket lies in memory at ``/.tfnz/run``. An image with neither
  shell nor directories works, and one with a read-only root.
- No token of the namespace's service account, no environment of its services: what a notebook's
  container may reach, its owner says.
- Placement is the scheduler's, on a node's name too: ``nodeName`` would go past its limits.
- Labels are for selecting, and Kubernetes is particular about them; the engine's own, which hold
  what they like, are in one annotation.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tfnz_notebook.engines.base import (
    LABEL_CONTAINER,
    LABEL_OWNER,
    LABEL_SESSION,
    ContainerSpec,
    Image,
    PullPolicy,
)
from tfnz_notebook.engines.docker import create as shape
from tfnz_notebook.engines.kubernetes.pod import beside, flags
from tfnz_notebook.engines.kubernetes.pod.boot import Boot
from tfnz_notebook.errors import Misuse

Said = dict[str, Any]

#: The container's name in its pod.
MAIN: Final = "main"
HOME: Final = "/.tfnz"
BIN: Final = f"{HOME}/bin"
GUEST: Final = f"{BIN}/guest"
RUN: Final = f"{HOME}/run"
#: Seconds without an agent after which a guest ends its pod.
ORPHAN: Final = 600
_INIT: Final = (GUEST, "init", "--sleep", "--orphan", str(ORPHAN))
#: What starts the guest where the pod's own process is another.
BESIDE: Final = (*_INIT, "--beside", "--detach")
#: Who a guest is that may not be root, where nobody said who.
NOBODY: Final = 1000
#: All labels of a thing of ours, exactly: JSON.
LABELS: Final = "io.tfnz.labels"
#: When it was told what it is: from then on it runs, as its agent sees it.
STARTED: Final = "io.tfnz.started"
#: The label of those that are kept apart from others.
APART: Final = "io.tfnz.apart"
#: The label of those that have no network.
SHUT: Final = "io.tfnz.shut"
#: The label that says which session's anchor it hangs on.
ANCHOR: Final = "io.tfnz.anchor"

_NAME: Final = re.compile(
    r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII
)
_HOST: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_VALUE: Final = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?", re.ASCII)
_KEY: Final = re.compile(
    r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?",
    re.ASCII,
)
#: What machines call themselves in ELF, and on nodes.
_MACHINES: Final = {62: "amd64", 183: "arm64"}
_PULL: Final[dict[PullPolicy, str]] = {
    "missing": "IfNotPresent",
    "always": "Always",
    "never": "Never",
}
_PIDS: Final = ContainerSpec(id="", image="").pids


@dataclass(frozen=True, slots=True)
class Remote(Image):
    """An image that the cluster pulls when a pod wants it."""

    pull: PullPolicy = "missing"


@dataclass(frozen=True, slots=True)
class Hardened:
    """What Pod Security's profile ``restricted`` makes of a pod: its guest is that user."""

    user: int
    group: int


def hardened(spec: ContainerSpec) -> Hardened:
    """The user that a guest has to be who may not be root: the one asked for, or somebody."""
    user, _, group = (spec.user or "").partition(":")
    uid = int(user) if user.isdigit() and int(user) else NOBODY
    return Hardened(uid, int(group) if group.isdigit() else uid)


def softened(spec: ContainerSpec) -> ContainerSpec | None:
    """The spec for a guest that is that user already; None for what its profile forbids."""
    user = (spec.user or "").partition(":")[0]
    wishes = spec.capabilities or spec.new_privileges or spec.flags.get("privileged")
    if wishes or spec.network == "host":
        return None
    return replace(spec, user=None) if not user or (user.isdigit() and int(user)) else None


@dataclass(frozen=True, slots=True)
class Anchor:
    """A session's ConfigMap, which owns what the session has."""

    name: str
    uid: str
    machine: str = ""

    def reference(self) -> list[Said]:
        """``ownerReferences`` of what hangs on it."""
        return [{"apiVersion": "v1", "kind": "ConfigMap", "name": self.name, "uid": self.uid}]


def label(value: str) -> str:
    """A label's value that stands for that text: itself, or a digest where it cannot be one."""
    return value if _VALUE.fullmatch(value) else hashlib.sha256(value.encode()).hexdigest()[:40]


def owner_selector(owner: str) -> str:
    """Selects all that is ours."""
    return f"{LABEL_OWNER}={label(owner)}"


def metadata(name: str, labels: Mapping[str, str], **more: str) -> Said:
    """Name, selectable labels, and all labels as they are."""
    chosen = {
        key: label(labels[key])
        for key in (LABEL_OWNER, LABEL_SESSION, LABEL_CONTAINER)
        if key in labels
    }
    chosen |= {
        key: value
        for key, value in labels.items()
        if not key.startswith("io.tfnz.") and _KEY.fullmatch(key) and _VALUE.fullmatch(value)
    }
    return {
        "name": name,
        "labels": {**chosen, **more},
        "annotations": {LABELS: json.dumps(dict(labels))},
    }


def labels_of(said: Said) -> dict[str, str]:
    """The labels that :func:`metadata` was given; none for what is not ours."""
    kept = (said.get("metadata") or {}).get("annotations") or {}
    try:
        told = json.loads(kept.get(LABELS, ""))
        return {str(key): str(value) for key, value in told.items()}
    except (ValueError, AttributeError):
        return {}


def pod_name(spec: ContainerSpec) -> str:
    """As ``kubectl`` shows it. Misuse for a name that no pod can have."""
    name = spec.name or f"tfnz-{spec.id.lower()}"
    if not _NAME.fullmatch(name) or len(name) > 253:
        raise Misuse(
            f"Cannot name a container {name!r}: a pod's name has lower-case letters, digits, '-' "
            "and '.', and begins and ends with a letter or digit. Choose another name."
        )
    return name


def anchor(name: str, labels: Mapping[str, str], guest: bytes) -> Said:
    """The ConfigMap of one session: the guest, and whom all of the session belongs to."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(name, labels),
        "immutable": True,
        "binaryData": {"guest": base64.b64encode(guest).decode()},
    }


def files(spec: ContainerSpec, anchor: Anchor) -> Said:
    """The ConfigMap with the files of a container whose first process is the image's own."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            **metadata(beside.holder(spec.id), spec.labels),
            "ownerReferences": anchor.reference(),
        },
        "binaryData": beside.contents(spec),
    }


def machine(guest: bytes) -> str:
    """The architecture of nodes on which that program runs, '' if it does not tell."""
    return (
        _MACHINES.get(int.from_bytes(guest[18:20], "little"), "") if guest[:4] == b"\x7fELF" else ""
    )


def refuse(spec: ContainerSpec) -> None:
    """Misuse for what no pod can be asked for."""
    if spec.pids != _PIDS:
        raise Misuse(
            f"Cannot limit a container to {spec.pids} processes on Kubernetes: that is the node's "
            "to say (podPidsLimit of its kubelet). Leave pids= out."
        )
    if spec.network not in (None, "host", "bridge", "none"):
        raise Misuse(
            f"Cannot spawn with network={spec.network!r} on Kubernetes: pods have the cluster's "
            "network. Leave network= out (apart from other containers), or say 'bridge' (not "
            "apart), 'none' or 'host'."
        )
    if spec.unmodified:
        beside.refuse(spec)
    spec.refuse_flags("on Kubernetes: a pod has none of it", flags.HONOURED)
    flags.check(spec.flags)
    if odd := [each for each in spec.mounts if each.options or not each.source]:
        what = f"with :{odd[0].options[0]}" if odd[0].options else "a volume without a name"
        raise Misuse(
            f"Cannot mount {what} at {odd[0].target!r} on Kubernetes: its volumes have neither. "
            "Leave it out, or make a volume with create_volume()."
        )
    if spec.hostname is not None and not _HOST.fullmatch(spec.hostname):
        raise Misuse(
            f"Cannot call a container {spec.hostname!r}: a host's name has up to 63 lower-case "
            "letters, digits and '-'. Correct hostname=."
        )


def boot(spec: ContainerSpec, argv: tuple[str, ...]) -> Boot:
    """What its guest is told. Misuse for what cannot be told."""
    shape.environment(spec.env)
    if any("\0" in part for part in argv):
        raise Misuse("Cannot start a container: its command has a NUL character. Remove it.")
    if not argv and not spec.sleep:
        raise Misuse(
            f"Cannot start a container of {spec.image!r}: the image names no command. "
            "Give command=[…], or sleep=True to start processes yourself."
        )
    workdir = shape.absolute(spec.workdir, "a working directory") if spec.workdir else ""
    files = shape.checked_files(spec.files)
    return Boot(argv, dict(spec.env), spec.user or "", workdir, spec.sleep, files)


@dataclass(frozen=True, slots=True)
class Volumes:
    """What is mounted, in a pod's two places."""

    volumes: list[Said] = field(default_factory=list)
    mounts: list[Said] = field(default_factory=list)


def pod(
    spec: ContainerSpec,
    image: Image,
    anchor: Anchor,
    volumes: Volumes,
    hardened: Hardened | None = None,
) -> Said:
    """The pod's JSON."""
    limits: dict[str, str] = {}
    if spec.cpu is not None:
        limits["cpu"] = f"{math.ceil(spec.cpu * 1000)}m"
    if spec.memory is not None:
        limits["memory"] = str(spec.memory)
    limits |= {resource: str(count) for resource, count in spec.scheduling.gpus.items()}
    files, file_mounts = beside.mounted(spec) if spec.unmodified else ([], [])
    container: Said = {
        "name": MAIN,
        "image": spec.image,
        "imagePullPolicy": _PULL[image.pull if isinstance(image, Remote) else "missing"],
        **(beside.first(spec) if spec.unmodified else {"command": [*_INIT]}),
        "securityContext": _security(spec, hardened),
        "terminationMessagePolicy": "File",
        "volumeMounts": [
            {"name": "tfnz-bin", "mountPath": BIN, "readOnly": True},
            {"name": "tfnz-run", "mountPath": RUN},
            *volumes.mounts,
            *file_mounts,
        ],
    }
    if limits:
        container["resources"] = {"limits": limits}
    fenced = {None: APART, "none": SHUT}.get(spec.network)
    apart = {fenced: "true"} if fenced else {}
    made: Said = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **metadata(pod_name(spec), spec.labels, **{ANCHOR: anchor.name}, **apart),
            "ownerReferences": anchor.reference(),
        },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "tolerations": [
                {"key": f"node.kubernetes.io/{why}", "operator": "Exists", "effect": "NoExecute"}
                for why in ("not-ready", "unreachable")  # it goes on when its node is back
            ]
            + [dict(each) for each in spec.scheduling.tolerations],
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
            "volumes": [
                {"name": "tfnz-bin", "configMap": {"name": anchor.name, "defaultMode": 0o555}},
                {"name": "tfnz-run", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
                *volumes.volumes,
                *files,
            ],
        },
    }
    told, wanted = made["spec"], spec.scheduling
    if anchor.machine:
        told["nodeSelector"] = {"kubernetes.io/arch": anchor.machine, "kubernetes.io/os": "linux"}
    if wanted.node_selector:
        told["nodeSelector"] = {**told.get("nodeSelector", {}), **wanted.node_selector}
    if wanted.runtime_class:
        told["runtimeClassName"] = wanted.runtime_class
    if wanted.pull_secrets:
        told["imagePullSecrets"] = [{"name": name} for name in wanted.pull_secrets]
    if spec.node is not None:
        told["affinity"] = _on(spec.node)
    if spec.hostname is not None:
        told["hostname"] = spec.hostname
    if spec.network == "host":
        told["hostNetwork"] = True
    flags.apply(spec.flags, told, container)
    return made


def _security(spec: ContainerSpec, hardened: Hardened | None) -> Said:
    """Of the container: no more than an engine's few capabilities, and no way to gain any."""
    told: Said = {"allowPrivilegeEscalation": spec.new_privileges}
    capabilities: Said = {}
    if spec.read_only:
        told["readOnlyRootFilesystem"] = True
    if spec.capabilities:
        capabilities["add"] = list(spec.capabilities)
    if hardened is not None:
        capabilities["drop"] = ["ALL"]
        told["runAsNonRoot"] = True
        told["runAsUser"], told["runAsGroup"] = hardened.user, hardened.group
    elif spec.unmodified:
        told |= beside.identity(spec.user) if spec.user else {}
    elif spec.user is not None:
        told["runAsUser"] = 0  # the guest, who then starts processes as whom they are to be
    if capabilities:
        told["capabilities"] = capabilities
    return told


def _on(node: str) -> Said:
    """Through the scheduler, which says why if it cannot be there."""
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    terms = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
