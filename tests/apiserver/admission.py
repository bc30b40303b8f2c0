"""What is refused, or changed, after a request was allowed and before it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from apiserver.objects import resources
from apiserver.objects.refusals import Object, forbidden
from apiserver.objects.resources import Resource, quantity

if TYPE_CHECKING:
    from apiserver.objects.store import Store

#: A webhook: it may change the object, or raise a Refusal.
Hook = Callable[[Resource, Object], None]
LEVEL = "pod-security.kubernetes.io/enforce"
_BASELINE_CAPABILITIES = {
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD"),
    *("NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
}


class Admission:
    """The plugins that concern us, and the hooks a test adds."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.hooks: list[Hook] = []

    def admit(self, resource: Resource, it: Object) -> None:
        """Raises Refusal; may change the object."""
        for hook in self.hooks:
            hook(resource, it)
        namespace = it["metadata"].get("namespace", "")
        if namespace:
            home = self.store.get(resources.NAMESPACES, "", namespace)
            if home["metadata"].get("deletionTimestamp"):
                name = it["metadata"]["name"]
                why = (
                    f"unable to create new content in namespace {namespace} because it is being "
                    "terminated"
                )
                refusal = forbidden(resource.plural, resource.group, name, why)
                cause = {"reason": "NamespaceTerminating", "field": "metadata.namespace"}
                cause["message"] = f"namespace {namespace} is being terminated"
                assert refusal.details is not None
                refusal.details["causes"] = [cause]
                raise refusal
        if resource is resources.PODS:
            self._account(it)
            if kind := it["spec"].get("runtimeClassName"):  # there is none
                why = f'pod rejected: RuntimeClass "{kind}" not found'
                raise forbidden("pods", "", it["metadata"]["name"], why)
            level = (home["metadata"].get("labels") or {}).get(LEVEL, "privileged")
            found = [*violations(it["spec"], level)]
            if found:
                why = f'violates PodSecurity "{level}:latest": {", ".join(found)}'
                raise forbidden("pods", "", it["metadata"]["name"], why)
        if resource is resources.CLAIMS and "storageClassName" not in it["spec"]:
            for kind in self.store.all(resources.CLASSES):
                notes = kind["metadata"].get("annotations") or {}
                if notes.get("storageclass.kubernetes.io/is-default-class") == "true":
                    it["spec"]["storageClassName"] = kind["metadata"]["name"]
        self._quota(resource, it)

    def _account(self, it: Object) -> None:
        namespace, name = it["metadata"]["namespace"], it["spec"]["serviceAccountName"]
        if self.store.find(resources.ACCOUNTS, namespace, name) is None:
            why = (
                f"error looking up service account {namespace}/{name}: "
                f'serviceaccount "{name}" not found'
            )
            raise forbidden("pods", "", it["metadata"]["name"], why)

    # --- quotas ------------------------------------------------------------------------------

    def _quota(self, resource: Resource, it: Object) -> None:
        for quota in self.store.all(resources.QUOTAS, it["metadata"].get("namespace", "-")):
            hard = (quota.get("spec") or {}).get("hard") or {}
            asked = {what: n for what, n in usage(resource, it).items() if what in hard}
            if resource is resources.PODS:
                self._must_say(quota, it, hard)
            used = self.used(quota)
            over = [
                what
                for what, amount in sorted(asked.items())
                if amount and used.get(what, 0) + amount > quantity(hard[what])
            ]
            if over:
                said = [
                    f"{word}: {','.join(f'{what}={amounts[what]}' for what in over)}"
                    for word, amounts in (
                        ("requested", {what: written(what, asked[what]) for what in over}),
                        ("used", {what: written(what, used.get(what, 0)) for what in over}),
                        ("limited", hard),
                    )
                ]
                why = f"exceeded quota: {quota['metadata']['name']}, {', '.join(said)}"
                name = it["metadata"]["name"]
                raise forbidden(resource.plural, resource.group, name, why)

    def _must_say(self, quota: Object, it: Object, hard: Object) -> None:
        lacking: dict[str, list[str]] = {}
        for what in hard:
            part, _, key = what.partition(".")
            if part not in ("requests", "limits"):
                continue
            for container in it["spec"]["containers"]:
                if key not in ((container["resources"] or {}).get(part) or {}):
                    lacking.setdefault(what, []).append(container["name"])
        if lacking:
            told = "; ".join(
                f"{what} for: {','.join(who)}" for what, who in sorted(lacking.items())
            )
            why = f"failed quota: {quota['metadata']['name']}: must specify {told}"
            raise forbidden("pods", "", it["metadata"]["name"], why)

    def used(self, quota: Object) -> dict[str, float]:
        """What counts against it now."""
        total: dict[str, float] = {}
        for resource in resources.TABLE:
            for it in self.store.all(resource, quota["metadata"]["namespace"]):
                if resource is resources.PODS and it["status"]["phase"] in ("Succeeded", "Failed"):
                    continue
                for what, amount in usage(resource, it).items():
                    total[what] = total.get(what, 0) + amount
        return total

    def counted(self, quota: Object) -> Object:
        """Its status."""
        hard = (quota.get("spec") or {}).get("hard") or {}
        used = self.used(quota)
        return {"hard": hard, "used": {what: written(what, used.get(what, 0)) for what in hard}}


def usage(resource: Resource, it: Object) -> dict[str, float]:
    """What one object counts for."""
    total: dict[str, float] = {resource.plural: 1, f"count/{resource.named}": 1}
    if resource is resources.PODS:
        for container in it["spec"]["containers"]:
            for part, amounts in (container.get("resources") or {}).items():
                for what, amount in (amounts or {}).items():
                    for key in (f"{part}.{what}", *([what] if part == "requests" else [])):
                        total[key] = total.get(key, 0) + quantity(amount)
    if resource is resources.CLAIMS:
        total["requests.storage"] = quantity(it["spec"]["resources"]["requests"]["storage"])
    return total


def written(what: str, amount: float) -> str:
    """An amount, as quotas write it."""
    if amount != int(amount):
        return f"{round(amount * 1000)}m"
    size = int(amount)
    if size and ("memory" in what or "storage" in what):
        for unit, bits in (("Gi", 30), ("Mi", 20), ("Ki", 10)):
            if not size % (1 << bits):
                return f"{size >> bits}{unit}"
    return str(size)


# --- pod security --------------------------------------------------------------------------------


def violations(spec: Object, level: str) -> Iterator[str]:
    """What a level forbids, in the words and the order of the real one."""
    if level == "privileged":
        return
    containers, whole = spec["containers"], spec.get("securityContext") or {}

    def bad(test: Callable[[Object], bool]) -> str:
        names = [f'"{c["name"]}"' for c in containers if test(c.get("securityContext") or {})]
        return f"container{'s' if len(names) > 1 else ''} {', '.join(names)}" if names else ""

    if spec.get("hostNetwork") or spec.get("hostPID") or spec.get("hostIPC"):
        held = [f"{w}=true" for w in ("hostNetwork", "hostPID", "hostIPC") if spec.get(w)]
        yield f"host namespaces ({', '.join(held)})"
    if who := bad(lambda c: bool(c.get("privileged"))):
        yield f"privileged ({who} must not set securityContext.privileged=true)"
    if level == "baseline" and (who := bad(lambda c: bool(_added(c) - _BASELINE_CAPABILITIES))):
        more = sorted({each for c in containers for each in _added(c.get("securityContext") or {})})
        told = ", ".join(f'"{each}"' for each in more)
        where = "securityContext.capabilities.add"
        yield f"non-default capabilities ({who} must not include {told} in {where})"
    paths = [f'"{v["name"]}"' for v in spec.get("volumes") or () if "hostPath" in v]
    if paths:
        yield f"hostPath volumes (volume{'s' if len(paths) > 1 else ''} {', '.join(paths)})"
    if level == "baseline":
        return
    if who := bad(lambda c: c.get("allowPrivilegeEscalation") is not False):
        yield (
            f"allowPrivilegeEscalation != false ({who} must set "
            "securityContext.allowPrivilegeEscalation=false)"
        )
    if who := bad(lambda c: "ALL" not in ((c.get("capabilities") or {}).get("drop") or ())):
        where = "securityContext.capabilities.drop"
        yield f'unrestricted capabilities ({who} must set {where}=["ALL"])'
    if who := bad(lambda c: not c.get("runAsNonRoot", whole.get("runAsNonRoot"))):
        yield f"runAsNonRoot != true (pod or {who} must set securityContext.runAsNonRoot=true)"
    if who := bad(lambda c: c.get("runAsUser", whole.get("runAsUser")) == 0):
        yield f"runAsUser=0 ({who} must not set runAsUser=0)"
    if who := bad(lambda c: not (c.get("seccompProfile") or whole.get("seccompProfile"))):
        yield (
            f"seccompProfile (pod or {who} must set securityContext.seccompProfile.type to "
            '"RuntimeDefault" or "Localhost")'
        )


def _added(context: Object) -> set[str]:
    return {*((context.get("capabilities") or {}).get("add") or ())}
