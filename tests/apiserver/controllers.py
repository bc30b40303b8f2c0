"""What goes on by itself: owners' belongings, namespaces, quotas, claims, placement."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from apiserver.node.scheduler import Scheduler
from apiserver.objects import resources
from apiserver.objects.resources import (
    ACCOUNTS,
    CLAIMS,
    CLASSES,
    CONFIGMAPS,
    NAMESPACES,
    NODES,
    PODS,
    QUOTAS,
    VOLUMES,
    Resource,
)

if TYPE_CHECKING:
    from apiserver.api import Api
    from apiserver.objects.refusals import Object
    from apiserver.objects.store import Change

Where = tuple[Resource, str, str]


class Controllers:
    """One task, that looks after each change. A test stops one by taking it out of ``turns``."""

    def __init__(self, api: Api, home: Path) -> None:
        self.api, self.store, self._home = api, api.store, home
        self.scheduler = Scheduler(self.store)
        self._moved = asyncio.Event()
        self._lost: list[Where] = []
        self._touched = set[Resource]()
        #: Who belongs to whom, by the owner's uid.
        self._belongings: dict[str, set[Where]] = {}
        self._uids = set[str]()
        self.turns = [
            (self._namespaces, None),
            (self._garbage, None),
            (self._claims, {CLAIMS, VOLUMES, PODS, CLASSES}),
            (self._quotas, {QUOTAS, PODS, CONFIGMAPS, CLAIMS}),
            (self.scheduler.turn, {PODS, NODES, CLAIMS, VOLUMES}),
        ]
        self.store.heard.append(self._heard)

    def _heard(self, change: Change) -> None:
        about = change.last["metadata"]
        where = change.resource, about.get("namespace", ""), about["name"]
        if change.new is None:
            self._uids.discard(about["uid"])
            self._lost += self._belongings.pop(about["uid"], ())
        elif change.old is None:
            self._uids.add(about["uid"])
            for owner in about.get("ownerReferences") or ():
                self._belongings.setdefault(owner["uid"], set()).add(where)
                if owner["uid"] not in self._uids:
                    self._lost.append(where)
        self._touched.add(change.resource)
        self._moved.set()

    async def run(self) -> None:
        while True:
            await self._moved.wait()
            self._moved.clear()
            touched, self._touched = self._touched, set()
            for turn, concerns in self.turns:
                if concerns is None or concerns & touched:
                    turn()
            await asyncio.sleep(0)

    def _garbage(self) -> None:
        lost, self._lost = self._lost, []
        for resource, namespace, name in lost:
            it = self.store.find(resource, namespace, name)
            if it is None:
                continue
            owners = it["metadata"].get("ownerReferences") or ()
            if owners and not any(each["uid"] in self._uids for each in owners):
                self.api.delete(resource, namespace, name, {})

    def _namespaces(self) -> None:
        for space in self.store.all(NAMESPACES):
            name = space["metadata"]["name"]
            if "deletionTimestamp" not in space["metadata"]:
                if self.store.find(ACCOUNTS, name, "default") is None:
                    about = {"name": "default", "namespace": name}
                    self.store.create(ACCOUNTS, _object(ACCOUNTS, about))
                    about = {"name": "kube-root-ca.crt", "namespace": name}
                    self.store.create(CONFIGMAPS, _object(CONFIGMAPS, about, data={"ca.crt": ""}))
                continue
            left = [
                (resource, it)
                for resource in resources.TABLE
                if resource.namespaced
                for it in self.store.all(resource, name)
            ]
            for resource, it in left:
                if "deletionTimestamp" not in it["metadata"]:
                    self.api.delete(resource, name, it["metadata"]["name"], {})
            if not left:
                self.store.remove(NAMESPACES, "", name)

    def _quotas(self) -> None:
        for quota in self.store.all(QUOTAS):
            status = self.api.admission.counted(quota)
            if quota.get("status") != status:
                about = quota["metadata"]
                self.store.edit(
                    QUOTAS,
                    about["namespace"],
                    about["name"],
                    lambda it, status=status: it.update(status=status),  # type: ignore[misc]
                )

    def _claims(self) -> None:
        """Claims of a class that waits are bound when a pod that uses them is placed."""
        used: dict[tuple[str, str], list[Object]] = {}
        for pod in self.store.all(PODS):
            if pod["status"]["phase"] in ("Succeeded", "Failed"):
                continue
            for volume in pod["spec"].get("volumes") or ():
                if "persistentVolumeClaim" in volume:
                    name = volume["persistentVolumeClaim"]["claimName"]
                    used.setdefault((pod["metadata"]["namespace"], name), []).append(pod)
        for claim in self.store.all(CLAIMS):
            about = claim["metadata"]
            users = used.get((about["namespace"], about["name"]), [])
            if "deletionTimestamp" in about:
                if not users:
                    self._released(claim)
                continue
            nodes = [pod["spec"]["nodeName"] for pod in users if pod["spec"].get("nodeName")]
            if claim["status"]["phase"] == "Pending":
                self._bound(claim, nodes)

    def _released(self, claim: Object) -> None:
        about = claim["metadata"]
        self.store.remove(CLAIMS, about["namespace"], about["name"])
        volume = claim["spec"].get("volumeName")
        if volume and self.store.find(VOLUMES, "", volume):
            self.store.remove(VOLUMES, "", volume)

    def _bound(self, claim: Object, nodes: list[str]) -> None:
        about, spec = claim["metadata"], claim["spec"]
        wanted = spec.get("storageClassName", "")
        kind = self.store.find(CLASSES, "", wanted)
        waits = kind is None or (kind["volumeBindingMode"] == "WaitForFirstConsumer" and not nodes)
        volume = f"pvc-{about['uid']}"

        def bind(it: Object) -> None:
            it["spec"]["volumeName"] = volume
            capacity = spec["resources"]["requests"]
            modes = spec["accessModes"]
            it["status"] = {"phase": "Bound", "accessModes": modes, "capacity": capacity}

        if waits:
            return
        made = {
            "capacity": spec["resources"]["requests"],
            "accessModes": spec["accessModes"],
            "claimRef": {"namespace": about["namespace"], "name": about["name"]},
            "local": {"path": str(self._home / "claims" / volume)},
            "storageClassName": wanted,
        }
        if nodes and kind is not None and kind["volumeBindingMode"] != "Immediate":
            one = {"key": "metadata.name", "operator": "In", "values": nodes[:1]}
            terms = [{"matchFields": [one]}]
            made["nodeAffinity"] = {"required": {"nodeSelectorTerms": terms}}
        self.store.create(VOLUMES, _object(VOLUMES, {"name": volume}, spec=made))
        self.store.edit(CLAIMS, about["namespace"], about["name"], bind)


def _object(resource: Resource, about: Object, **more: object) -> Object:
    said = {"kind": resource.kind, "apiVersion": resource.api_version}
    return {**said, "metadata": about, **more}
