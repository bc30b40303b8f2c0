"""The objects, each change under a version of its own, and who watches them.

What is kept is never changed in place: a change is a new object. The last changes are kept for
watches that resume; those before :attr:`Store.oldest` were compacted away.
"""

from __future__ import annotations

import copy
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from apiserver.objects import refusals

if TYPE_CHECKING:
    from apiserver.objects.refusals import Object
    from apiserver.objects.resources import Resource

#: Changes that a watch can resume from.
HISTORY: Final = 10_000
Key = tuple[str, str]


@dataclass(frozen=True)
class Change:
    """One step: ``old`` is None for what is new, ``new`` for what is gone."""

    version: int
    resource: Resource
    old: Object | None
    new: Object | None

    @property
    def last(self) -> Object:
        """What it is now, or was at its end (under the end's version)."""
        if self.new is not None:
            return self.new
        assert self.old is not None
        return versioned(self.old, self.version)


def versioned(it: Object, version: int) -> Object:
    return {**it, "metadata": {**it["metadata"], "resourceVersion": str(version)}}


def now() -> str:
    """As objects have it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Store:
    """All of it."""

    def __init__(self) -> None:
        self._objects: dict[Resource, dict[Key, Object]] = {}
        self.version = 100
        #: Watches from before this version are told that it is too old.
        self.oldest = self.version
        self.history: deque[Change] = deque(maxlen=HISTORY)
        self.heard: list[Callable[[Change], None]] = []

    def _changed(self, resource: Resource, old: Object | None, new: Object | None) -> Object:
        self.version += 1
        if new is not None:
            new = versioned(new, self.version)
            self._objects.setdefault(resource, {})[_key(new)] = new
        if len(self.history) == HISTORY:
            self.oldest = self.history[0].version
        change = Change(self.version, resource, old, new)
        self.history.append(change)
        for hear in [*self.heard]:
            hear(change)
        return change.last

    def compact(self) -> None:
        """Forget all changes so far: watches and pages from before get 410."""
        self.history.clear()
        self.oldest = self.version

    # --- reading -----------------------------------------------------------------------------

    def all(self, resource: Resource, namespace: str = "") -> list[Object]:
        """Sorted by namespace and name, as etcd has them."""
        held = self._objects.get(resource, {})
        return [it for key, it in sorted(held.items()) if not namespace or key[0] == namespace]

    def count(self, resource: Resource) -> int:
        return len(self._objects.get(resource, {}))

    def find(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return self._objects.get(resource, {}).get((namespace, name))

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        it = self.find(resource, namespace, name)
        if it is None:
            raise refusals.not_found(resource.plural, resource.group, name)
        return it

    # --- changing ----------------------------------------------------------------------------

    def create(self, resource: Resource, it: Object) -> Object:
        namespace, name = _key(it)
        held = self.find(resource, namespace, name)
        if held is not None:
            deleting = held["metadata"].get("deletionTimestamp")
            refuse = refusals.being_deleted if deleting else refusals.exists
            raise refuse(resource.plural, resource.group, name)
        about = {**it["metadata"], "uid": str(uuid.uuid4()), "creationTimestamp": now()}
        for word in ("resourceVersion", "deletionTimestamp"):
            about.pop(word, None)
        return self._changed(resource, None, {**it, "metadata": about})

    def replace(self, resource: Resource, it: Object, *, only: str = "") -> Object:
        """The same object anew; ``only`` its status, say. Its uid and times stay."""
        namespace, name = _key(it)
        old = self.get(resource, namespace, name)
        about = it["metadata"]
        if about.get("uid") not in (None, "", old["metadata"]["uid"]):
            why = (
                f"Precondition failed: UID in precondition: {about['uid']}, "
                f"UID in object meta: {old['metadata']['uid']}"
            )
            raise refusals.conflict(resource.plural, resource.group, name, why)
        if about.get("resourceVersion") not in (None, "", old["metadata"]["resourceVersion"]):
            raise refusals.conflict(resource.plural, resource.group, name)
        kept = {
            word: old["metadata"][word]
            for word in ("uid", "creationTimestamp", "deletionTimestamp", "namespace")
            if word in old["metadata"]
        }
        if only:
            new = {**old, only: it.get(only, {})}
        else:
            new = {**it, "metadata": {**about, **kept}}
            if "status" in old:
                new["status"] = old["status"]
        if versioned(new, 0) == versioned(old, 0):
            return old  # nothing changed, no new version
        stored = self._changed(resource, old, new)
        about = stored["metadata"]
        going = about.get("deletionTimestamp") and not about.get("finalizers")
        if going and resource.plural != "pods":  # which a kubelet ends
            return self.remove(resource, namespace, name)
        return stored

    def edit(
        self, resource: Resource, namespace: str, name: str, how: Callable[[Object], None]
    ) -> Object:
        """Change a copy; for controllers, which nobody races."""
        old = self.get(resource, namespace, name)
        new = copy.deepcopy(old)
        how(new)
        if new == old:
            return old
        return self._changed(resource, old, new)

    def remove(self, resource: Resource, namespace: str, name: str) -> Object:
        """Gone at once."""
        old = self.get(resource, namespace, name)
        del self._objects[resource][namespace, name]
        return self._changed(resource, old, None)


def _key(it: Object) -> Key:
    return it["metadata"].get("namespace", ""), it["metadata"]["name"]
