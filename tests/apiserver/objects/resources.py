"""The resources there are: what each is called, what is checked when one is made, what is added."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from apiserver.objects.refusals import Object, Refusal, bad_request, invalid, named

Cause = tuple[str, str, str]
#: Bytes of a ConfigMap's or a Secret's data.
MOST_DATA: Final = 1 << 20
ALL_VERBS: Final = (
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
)

_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_WORD: Final = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_KEY: Final = re.compile(r"[-._a-zA-Z0-9]+")

SUBDOMAIN: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
VALUE: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  "
    "or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
NAME_PART: Final = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)


@dataclass(frozen=True, eq=False)
class Resource:
    """One row of the table. ``check`` yields what is wrong, ``complete`` adds the defaults."""

    plural: str
    kind: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    subresources: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    check: Callable[[Object], Iterator[Cause]] = lambda it: iter(())
    complete: Callable[[Object], None] = lambda it: None
    #: Asked and answered; nothing is kept.
    review: bool = False

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def named(self) -> str:
        return named(self.plural, self.group)


# --- what every object has -----------------------------------------------------------------------


def quoted(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def wrong(field: str, value: object, why: str) -> Cause:
    return field, "FieldValueInvalid", f"Invalid value: {quoted(value)}: {why}"


def required(field: str, why: str = "") -> Cause:
    return field, "FieldValueRequired", f"Required value{f': {why}' if why else ''}"


def metadata(it: Object, resource: Resource) -> Iterator[Cause]:
    """Name, labels, annotations, owners."""
    about = it["metadata"]
    name = about.get("name", "")
    if not name:
        yield required("metadata.name", "name or generateName is required")
    elif resource.plural == "namespaces":
        if not _LABEL.fullmatch(name) or len(name) > 63:
            yield wrong("metadata.name", name, LABEL)
    else:
        if len(name) > 253:
            yield wrong("metadata.name", name, "must be no more than 253 characters")
        if not _SUBDOMAIN.fullmatch(name):
            yield wrong("metadata.name", name, SUBDOMAIN)
    for key, value in (about.get("labels") or {}).items():
        yield from label_key("metadata.labels", key)
        if len(value) > 63:
            yield wrong("metadata.labels", value, "must be no more than 63 bytes")
        if value and not _WORD.fullmatch(value):
            yield wrong("metadata.labels", value, VALUE)
    annotations = about.get("annotations") or {}
    for key in annotations:
        yield from label_key("metadata.annotations", key.lower())
    if sum(len(k.encode()) + len(v.encode()) for k, v in annotations.items()) > 256 << 10:
        yield (
            "metadata.annotations",
            "FieldValueTooLong",
            "Too long: may not be more than 262144 bytes",
        )
    for at, owner in enumerate(about.get("ownerReferences") or ()):
        for word in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(word):
                yield required(f"metadata.ownerReferences[{at}].{word}", "must not be empty")


def label_key(field: str, key: str) -> Iterator[Cause]:
    prefix, slash, word = key.rpartition("/")
    if slash and not _SUBDOMAIN.fullmatch(prefix):
        yield wrong(field, key, f"prefix part {SUBDOMAIN}")
    if len(word) > 63:
        yield wrong(field, key, "name part must be no more than 63 bytes")
    if not _WORD.fullmatch(word):
        yield wrong(field, key, NAME_PART)


# --- config maps and secrets ---------------------------------------------------------------------


def data(it: Object) -> Iterator[Cause]:
    size = 0
    for part in ("data", "binaryData"):
        for key, value in (it.get(part) or {}).items():
            if not _KEY.fullmatch(key) or len(key) > 253:
                yield wrong(
                    f"{part}[{key}]",
                    key,
                    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' "
                    "(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation "
                    "is '[-._a-zA-Z0-9]+')",
                )
            encoded = part == "binaryData" or it["kind"] == "Secret"
            size += len(value) * 3 // 4 if encoded else len(value.encode())
    if size > MOST_DATA:
        yield "[]", "FieldValueTooLong", f"Too long: may not be more than {MOST_DATA} bytes"


def secret(it: Object) -> None:
    it.setdefault("type", "Opaque")
    if words := it.pop("stringData", None):
        import base64

        told = {key: base64.b64encode(value.encode()).decode() for key, value in words.items()}
        it["data"] = {**(it.get("data") or {}), **told}


# --- pods ----------------------------------------------------------------------------------------


def pod(it: Object) -> Iterator[Cause]:
    spec = it.get("spec") or {}
    containers = spec.get("containers") or []
    volumes = {volume.get("name"): volume for volume in spec.get("volumes") or ()}
    for at, volume in enumerate(spec.get("volumes") or ()):
        if not _LABEL.fullmatch(volume.get("name", "")):
            yield wrong(f"spec.volumes[{at}].name", volume.get("name", ""), LABEL)
    if not containers:
        yield required("spec.containers")
    for at, container in enumerate(containers):
        yield from one_container(container, f"spec.containers[{at}]", volumes)
    if spec.get("restartPolicy", "Always") not in ("Always", "OnFailure", "Never"):
        value = spec["restartPolicy"]
        supported = 'supported values: "Always", "OnFailure", "Never"'
        why = f"Unsupported value: {quoted(value)}: {supported}"
        yield "spec.restartPolicy", "FieldValueNotSupported", why


def one_container(it: Object, field: str, volumes: Object) -> Iterator[Cause]:
    name = it.get("name", "")
    if not name:
        yield required(f"{field}.name")
    elif not _LABEL.fullmatch(name) or len(name) > 63:
        yield wrong(f"{field}.name", name, LABEL)
    if not it.get("image"):
        yield required(f"{field}.image")
    elif it["image"].strip() != it["image"]:
        yield wrong(f"{field}.image", it["image"], "must not have leading or trailing whitespace")
    seen = set[str]()
    for n, mount in enumerate(it.get("volumeMounts") or ()):
        at = f"{field}.volumeMounts[{n}]"
        if mount.get("name") not in volumes:
            yield f"{at}.name", "FieldValueNotFound", f"Not found: {quoted(mount.get('name', ''))}"
        if not mount.get("mountPath"):
            yield required(f"{at}.mountPath")
        elif mount["mountPath"] in seen:
            yield wrong(f"{at}.mountPath", mount["mountPath"], "must be unique")
        seen.add(mount.get("mountPath", ""))
    resources = it.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for amount in (*limits.values(), *requests.values()):
        try:
            quantity(amount)
        except ValueError:
            # Not even read: no field is named.
            message = f'Pod in version "v1" cannot be handled as a Pod: {QUANTITY}'
            raise bad_request(message) from None
    for what, amount in requests.items():
        if what in limits and quantity(amount) > quantity(limits[what]):
            why = f"must be less than or equal to {what} limit of {limits[what]}"
            yield wrong(f"{field}.resources.requests", str(amount), why)


QUANTITY: Final = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
_UNITS: Final = {
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "": 1,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 1 << 10,
    "Mi": 1 << 20,
    "Gi": 1 << 30,
    "Ti": 1 << 40,
    "Pi": 1 << 50,
    "P": 1e15,
}


def quantity(text: object) -> float:
    """``500m`` is 0.5, ``64Mi`` are bytes; ValueError."""
    found = re.fullmatch(r"([+-]?[0-9.]+(?:[eE][-+]?[0-9]+)?)([a-zA-Z]*)", str(text))
    if found is None or found[2] not in _UNITS:
        raise ValueError(text)
    return float(found[1]) * _UNITS[found[2]]


def complete_pod(it: Object) -> None:
    """What a server adds to a pod that does not say it."""
    spec = it["spec"]
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    spec.setdefault("priority", 0)
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("serviceAccount", spec["serviceAccountName"])
    tolerations = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(each.get("key") == key for each in tolerations):
            more = {"effect": "NoExecute", "tolerationSeconds": 300}
            tolerations.append({"key": key, "operator": "Exists", **more})
    for container in spec["containers"]:
        container.setdefault("resources", {})
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        tagged = container["image"].rpartition("/")[2]
        newest = "@" not in tagged and tagged.partition(":")[2] in ("", "latest")
        container.setdefault("imagePullPolicy", "Always" if newest else "IfNotPresent")
        resources = container["resources"]
        if resources.get("limits"):
            resources["requests"] = {**resources["limits"], **(resources.get("requests") or {})}
    for volume in spec.get("volumes") or ():
        for source in ("configMap", "secret"):
            if source in volume:
                volume[source].setdefault("defaultMode", 0o644)
    it["status"] = {"phase": "Pending", "qosClass": quality(spec)}


def quality(spec: Object) -> str:
    """Guaranteed, Burstable or BestEffort."""
    said = [container.get("resources") or {} for container in spec["containers"]]
    if not any(each.get("limits") or each.get("requests") for each in said):
        return "BestEffort"
    if all(
        {"cpu", "memory"} <= {*(each.get("limits") or {})}
        and (each.get("requests") or each["limits"]) == each["limits"]
        for each in said
    ):
        return "Guaranteed"
    return "Burstable"


def claim(it: Object) -> Iterator[Cause]:
    spec = it.get("spec") or {}
    if not spec.get("accessModes"):
        yield required("spec.accessModes", "at least 1 access mode is required")
    if not ((spec.get("resources") or {}).get("requests") or {}).get("storage"):
        yield required("spec.resources[storage]")


def complete_claim(it: Object) -> None:
    it["spec"].setdefault("volumeMode", "Filesystem")
    it["metadata"]["finalizers"] = ["kubernetes.io/pvc-protection"]
    it["status"] = {"phase": "Pending"}


def policy(it: Object) -> Iterator[Cause]:
    spec = it.get("spec") or {}
    for at, each in enumerate(spec.get("policyTypes") or ()):
        if each not in ("Ingress", "Egress"):
            supported = 'supported values: "Ingress", "Egress"'
            field = f"spec.policyTypes[{at}]"
            yield field, "FieldValueNotSupported", f"Unsupported value: {quoted(each)}: {supported}"


def complete_policy(it: Object) -> None:
    spec = it["spec"]
    spec.setdefault("podSelector", {})
    spec.setdefault("policyTypes", ["Ingress", *(["Egress"] if "egress" in spec else [])])


def _namespace(it: Object) -> None:
    it["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = it["metadata"]["name"]
    it["spec"] = {"finalizers": ["kubernetes"]}
    it["status"] = {"phase": "Active"}


# --- the table -----------------------------------------------------------------------------------

POD_FIELDS: Final = (
    *("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName"),
    *("spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName"),
)
PODS = Resource(
    "pods",
    "Pod",
    subresources=("status", "exec", "log", "eviction", "attach", "portforward", "binding"),
    fields=POD_FIELDS,
    check=pod,
    complete=complete_pod,
)
NAMESPACES = Resource(
    "namespaces", "Namespace", namespaced=False, fields=("status.phase",), complete=_namespace
)
NODES = Resource(
    "nodes", "Node", namespaced=False, subresources=("status",), fields=("spec.unschedulable",)
)
CONFIGMAPS = Resource("configmaps", "ConfigMap", check=data)
SECRETS = Resource("secrets", "Secret", fields=("type",), check=data, complete=secret)
CLAIMS = Resource(
    "persistentvolumeclaims",
    "PersistentVolumeClaim",
    subresources=("status",),
    check=claim,
    complete=complete_claim,
)
VOLUMES = Resource("persistentvolumes", "PersistentVolume", namespaced=False)
EVENT_FIELDS: Final = (
    *("involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "reason", "type"),
    *("involvedObject.uid", "involvedObject.fieldPath", "reportingComponent", "source"),
)
EVENTS = Resource("events", "Event", fields=EVENT_FIELDS)
QUOTAS = Resource("resourcequotas", "ResourceQuota", subresources=("status",))
LIMITS = Resource("limitranges", "LimitRange")
ACCOUNTS = Resource("serviceaccounts", "ServiceAccount")
POLICIES = Resource(
    "networkpolicies", "NetworkPolicy", "networking.k8s.io", check=policy, complete=complete_policy
)
CLASSES = Resource("storageclasses", "StorageClass", "storage.k8s.io", namespaced=False)
RUNTIMES = Resource("runtimeclasses", "RuntimeClass", "node.k8s.io", namespaced=False)
AUTHORIZATION: Final = "authorization.k8s.io"
REVIEWS = (
    Resource(
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
        AUTHORIZATION,
        namespaced=False,
        review=True,
    ),
    Resource(
        "selfsubjectrulesreviews",
        "SelfSubjectRulesReview",
        AUTHORIZATION,
        namespaced=False,
        review=True,
    ),
    Resource(
        "selfsubjectreviews",
        "SelfSubjectReview",
        "authentication.k8s.io",
        namespaced=False,
        review=True,
    ),
)
TABLE: Final = (
    *(PODS, NAMESPACES, NODES, CONFIGMAPS, SECRETS, CLAIMS, VOLUMES, EVENTS, QUOTAS, LIMITS),
    *(ACCOUNTS, POLICIES, CLASSES, RUNTIMES, *REVIEWS),
)


def find(group: str, version: str, plural: str) -> Resource | None:
    for resource in TABLE:
        if (resource.group, resource.version, resource.plural) == (group, version, plural):
            return resource
    return None


def checked(it: Any, resource: Resource, namespace: str) -> Object:
    """A copy of what a client sent to be made, checked, with its defaults; Refusal."""
    made = copy.deepcopy(it)
    made["kind"], made["apiVersion"] = resource.kind, resource.api_version
    about = made.setdefault("metadata", {})
    if not about.get("name") and about.get("generateName"):
        import secrets

        about["name"] = about["generateName"] + "".join(
            secrets.choice("bcdfghjklmnpqrstvwxz2456789") for _ in range(5)
        )
    if resource.namespaced:
        about["namespace"] = namespace
    causes = [*metadata(made, resource), *resource.check(made)]
    if causes:
        raise invalid(resource.kind, resource.group, about.get("name", ""), causes)
    resource.complete(made)
    return made


def unchangeable(old: Object, new: Object, resource: Resource) -> Refusal | None:
    """Why this update is refused."""
    name = old["metadata"]["name"]
    causes: list[Cause] = []
    if resource is PODS and stripped(old["spec"]) != stripped(new.get("spec") or {}):
        causes.append(
            (
                "spec",
                "FieldValueForbidden",
                (
                    "Forbidden: pod updates may not change fields other than "
                    "`spec.containers[*].image`,`spec.initContainers[*].image`,"
                    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
                    "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if "
                    "it was previously negative)"
                ),
            )
        )
    if resource in (CONFIGMAPS, SECRETS) and old.get("immutable"):
        for part in ("data", "binaryData"):
            if (old.get(part) or {}) != (new.get(part) or {}):
                why = "Forbidden: field is immutable when `immutable` is set"
                causes.append((part, "FieldValueForbidden", why))
    return invalid(resource.kind, resource.group, name, causes) if causes else None


def stripped(spec: Object) -> Object:
    """A pod's spec without what may change."""
    free = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "nodeName")
    kept = {key: value for key, value in spec.items() if key not in free}
    kept["containers"] = [{**each, "image": ""} for each in spec.get("containers") or ()]
    return kept
