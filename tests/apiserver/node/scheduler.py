"""Which node a pod goes to, and in which words it goes to none."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from apiserver.objects import selectors
from apiserver.objects.resources import CLAIMS, NODES, PODS, VOLUMES, quantity
from apiserver.objects.store import Store, now

if TYPE_CHECKING:
    from apiserver.objects.refusals import Object


class Scheduler:
    """Looks at every pod without a node, after each change that may matter."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def turn(self) -> None:
        for pod in self.store.all(PODS):
            spec = pod["spec"]
            if not spec.get("nodeName") and spec["schedulerName"] == "default-scheduler":
                self._place(pod)

    def _place(self, pod: Object) -> None:
        if missing := self._missing_claim(pod):
            self._unschedulable(pod, missing)
            return
        reasons = Counter[str]()
        fitting: list[tuple[int, str]] = []
        nodes = self.store.all(NODES)
        for node in nodes:
            why = self._against(pod, node)
            reasons.update(why)
            if not why:
                busy = len(self._on(node["metadata"]["name"]))
                fitting.append((busy, node["metadata"]["name"]))
        if fitting:
            self._bind(pod, min(fitting)[1])
            return
        told = ", ".join(sorted(f"{n} {why}" for why, n in reasons.items()))
        count = f"0/{len(nodes)} nodes are available"
        help_ = f"{len(nodes)} Preemption is not helpful for scheduling"
        self._unschedulable(pod, f"{count}: {told}. preemption: {count}: {help_}.")

    def _missing_claim(self, pod: Object) -> str:
        for volume in pod["spec"].get("volumes") or ():
            claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if claim and self.store.find(CLAIMS, pod["metadata"]["namespace"], claim) is None:
                nodes = f"0/{self.store.count(NODES)} nodes are available"
                return f'{nodes}: persistentvolumeclaim "{claim}" not found. not found'
        return ""

    def _against(self, pod: Object, node: Object) -> list[str]:
        """Why not this one; the real one stops at the first plugin that objects."""
        spec, labels = pod["spec"], node["metadata"].get("labels") or {}
        taints = [*(node["spec"].get("taints") or ())]
        if node["spec"].get("unschedulable"):
            taints.append({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})
        for taint in taints:
            if taint["effect"] != "PreferNoSchedule" and not tolerated(spec, taint):
                if taint["key"] == "node.kubernetes.io/unschedulable":
                    return ["node(s) were unschedulable"]
                return ["node(s) had untolerated taint(s)"]
        wanted = spec.get("nodeSelector") or {}
        if any(labels.get(key) != value for key, value in wanted.items()):
            return ["node(s) didn't match Pod's node affinity/selector"]
        affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
            "requiredDuringSchedulingIgnoredDuringExecution"
        )
        if affinity is not None:
            name = node["metadata"]["name"]
            terms = affinity["nodeSelectorTerms"]
            if not any(matches(term, labels, name) for term in terms):
                by_name = all("matchFields" in term for term in terms)
                told = "didn't match Pod's node affinity/selector"
                return [
                    "node(s) didn't satisfy plugin(s) [NodeAffinity]"
                    if by_name
                    else f"node(s) {told}"
                ]
        for volume in spec.get("volumes") or ():
            claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if claim and self._elsewhere(pod["metadata"]["namespace"], claim, node):
                return ["node(s) didn't match PersistentVolume's node affinity"]
        return self._full(pod, node)

    def _elsewhere(self, namespace: str, claim: str, node: Object) -> bool:
        held = self.store.get(CLAIMS, namespace, claim)
        volume = self.store.find(VOLUMES, "", held["spec"].get("volumeName", ""))
        if volume is None:
            return False
        home = (volume["spec"].get("nodeAffinity") or {}).get("required")
        labels, name = node["metadata"].get("labels") or {}, node["metadata"]["name"]
        return home is not None and not any(
            matches(term, labels, name) for term in home["nodeSelectorTerms"]
        )

    def _full(self, pod: Object, node: Object) -> list[str]:
        allocatable = node["status"]["allocatable"]
        there = self._on(node["metadata"]["name"])
        lacking = []
        if len(there) >= quantity(allocatable["pods"]):
            lacking.append("Too many pods")
        asked = requests(pod)
        for what, amount in asked.items():
            used = sum(requests(each).get(what, 0.0) for each in there)
            if used + amount > quantity(allocatable.get(what, "0")):
                lacking.append(f"Insufficient {what}")
        return lacking

    def _on(self, node: str) -> list[Object]:
        return [
            pod
            for pod in self.store.all(PODS)
            if pod["spec"].get("nodeName") == node
            and pod["status"]["phase"] not in ("Succeeded", "Failed")
        ]

    def _bind(self, pod: Object, node: str) -> None:
        def bind(it: Object) -> None:
            it["spec"]["nodeName"] = node
            it["status"]["conditions"] = [condition("PodScheduled", status="True")]

        about = pod["metadata"]
        self.store.edit(PODS, about["namespace"], about["name"], bind)
        told = f"Successfully assigned {about['namespace']}/{about['name']} to {node}"
        happened(self.store, pod, "Scheduled", told, source="default-scheduler")

    def _unschedulable(self, pod: Object, why: str) -> None:
        held = pod["status"].get("conditions") or []
        if any(each.get("message") == why for each in held):
            return

        def refuse(it: Object) -> None:
            more = {"reason": "Unschedulable", "message": why}
            it["status"]["conditions"] = [condition("PodScheduled", status="False", **more)]

        about = pod["metadata"]
        self.store.edit(PODS, about["namespace"], about["name"], refuse)
        source = "default-scheduler"
        happened(self.store, pod, "FailedScheduling", why, kind="Warning", source=source)


def requests(pod: Object) -> dict[str, float]:
    total: dict[str, float] = {}
    for container in pod["spec"]["containers"]:
        asked = (container.get("resources") or {}).get("requests") or {}
        for what, amount in asked.items():
            total[what] = total.get(what, 0.0) + quantity(amount)
    return total


def tolerated(spec: Object, taint: Object) -> bool:
    for each in spec.get("tolerations") or ():
        if each.get("effect") not in (None, "", taint["effect"]):
            continue
        same = each.get("value", "") == taint.get("value", "")
        if each.get("key") in (None, "", taint["key"]) and (
            each.get("operator") == "Exists" or same
        ):
            return True
    return False


def matches(term: Object, labels: dict[str, str], name: str) -> bool:
    by_label = term.get("matchExpressions") or []
    by_field = term.get("matchFields") or []
    return all(selectors.expression(each, labels.get(each["key"])) for each in by_label) and all(
        selectors.expression(each, name) for each in by_field
    )


def condition(type_: str, *, status: str, **more: str) -> Object:
    return {
        "type": type_,
        "status": status,
        "lastProbeTime": None,
        "lastTransitionTime": now(),
        **more,
    }


def happened(
    store: Store, pod: Object, reason: str, message: str, *, kind: str = "Normal", source: str
) -> None:
    """An Event about a pod."""
    from apiserver.objects.resources import EVENTS

    about = pod["metadata"]
    it = {
        "kind": "Event",
        "apiVersion": "v1",
        "metadata": {
            "name": f"{about['name']}.{store.version:x}",
            "namespace": about["namespace"],
        },
        "involvedObject": {
            "kind": "Pod",
            "namespace": about["namespace"],
            "name": about["name"],
            "uid": about["uid"],
            "apiVersion": "v1",
        },
        "reason": reason,
        "message": message,
        "source": {"component": source},
        "firstTimestamp": now(),
        "lastTimestamp": now(),
        "count": 1,
        "type": kind,
        "eventTime": None,
        "reportingComponent": source,
        "reportingInstance": "",
    }
    store.create(EVENTS, it)
