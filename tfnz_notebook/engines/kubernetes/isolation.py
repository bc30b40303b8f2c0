"""Keeping pods apart by network policies: none may come to any, but for who was allowed.

A policy for each session, made with its anchor and before its first pod, lets nobody in; one for
each pod that allows somebody adds those, and goes with the pod; another for each session has pods
that are to have no network send nothing either. Policies are wishes, though: where
nobody enforces them they are taken all the same, and change nothing. So it is tried, once two pods
that are kept apart run: whether one reaches the other, and does when it may.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final

from tfnz_notebook.engines.base import LABEL_CONTAINER, LABEL_OWNER
from tfnz_notebook.engines.kubernetes.api import Api
from tfnz_notebook.engines.kubernetes.pod import manifest
from tfnz_notebook.engines.kubernetes.pod.manifest import Anchor
from tfnz_notebook.engines.kubernetes.refusals import ApiError
from tfnz_notebook.errors import EngineError, TfnzError

log = logging.getLogger(__name__)

Said = dict[str, Any]
#: What one pod finds at a port of another's: 'refused' (it got there), 'silent', or else.
Reach = Callable[[str, str, int], Awaitable[str]]

_GROUP: Final = "networking.k8s.io"
#: How the verdict begins where policies are without effect.
_NOBODY: Final = "nobody enforces network policies here:"
#: Where nothing listens: an answer comes from the pod's own system, or none does.
_PORT: Final = 9
#: Seconds in which a policy takes effect, where somebody enforces it.
_EFFECT: Final = 10.0
_PAUSE: Final = 0.5


class Isolation:
    """The policies of one owner, and what is known of whether they count."""

    def __init__(self, api: Api, owner: str) -> None:
        self._api = api
        self._owner = owner
        self._told: dict[str, tuple[str, frozenset[str]]] = {}
        #: Why there are none.
        self.why_not = ""
        self.verdict = "not tried yet"
        self._tried = False
        #: Uids of anchors whose pods may have no network.
        self._shut: set[str] = set()
        #: Names of the policies that earlier agents left, once they were asked for.
        self._left: set[str] | None = None
        self._asking = asyncio.Lock()

    def __str__(self) -> str:
        if self.why_not:
            return f"none: {self.why_not}"
        return "verified" if self.verdict == "verified" else f"unverified: {self.verdict}"

    @property
    def missing(self) -> str:
        """Why pods are not kept apart; '' if they are, or as long as nobody knows."""
        return self.verdict if self.verdict.startswith(_NOBODY) else self.why_not

    async def before(self, anchor: Anchor) -> None:
        """Nobody comes to a pod of this anchor that is kept apart."""
        try:
            await self._of_all(anchor, _named(anchor.uid), {manifest.APART: "true"})
        except ApiError as error:
            if error.status != 403:
                raise
            self.why_not = f"network policies cannot be made here ({error.message})"
            log.warning("containers are not kept apart: %s", self.why_not)

    async def shut(self, anchor: Anchor) -> None:
        """Nothing goes to or from a pod of this anchor that is to have no network."""
        if anchor.uid in self._shut:
            return
        if self.missing:
            raise EngineError(
                f"Cannot spawn with network='none': only network policies could do that here, and "
                f"{self.missing}. Leave network= out, or use another cluster."
            )
        chosen = {manifest.SHUT: "true"}
        await self._of_all(anchor, f"{_named(anchor.uid)}-shut", chosen, "Ingress", "Egress")
        self._shut.add(anchor.uid)

    async def _of_all(self, anchor: Anchor, name: str, chosen: dict[str, str], *ways: str) -> None:
        """A policy that allows nothing, and goes with the anchor."""
        about = manifest.metadata(name, {LABEL_OWNER: self._owner})
        about["ownerReferences"] = anchor.reference()
        chosen = {manifest.ANCHOR: anchor.name, **chosen}
        await self._put(name, about, chosen, [], ways or ("Ingress",))

    async def allow(self, pod: Said, sources: Collection[Said], *, fresh: bool) -> None:
        """Let these pods come to that one, and no others. ``fresh``: none could before."""
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        wanted = frozenset(_container(each) for each in sources)
        if self.why_not:
            if wanted:
                raise EngineError(
                    f"Cannot allow a connection: containers are not kept apart, {self.why_not}, so "
                    "they may reach each other already. Ask an administrator for the role that "
                    "'python -m tfnz_notebook doctor' prints."
                )
            return
        known, policy = self._told.get(name, ("", frozenset())), _named(uid)
        if known == (uid, wanted):
            return
        if not wanted and known[0] != uid and (fresh or policy not in await self._earlier()):
            return
        if wanted:
            about = manifest.metadata(policy, {LABEL_OWNER: self._owner})
            owner = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}
            who = {"key": LABEL_CONTAINER, "operator": "In", "values": sorted(wanted)}
            rule = {"from": [{"podSelector": {"matchExpressions": [who]}}]}
            chosen = {LABEL_CONTAINER: _container(pod)}
            await self._put(policy, {**about, "ownerReferences": [owner]}, chosen, [rule])
        else:
            await self._drop(policy)
        self._told[name] = uid, wanted

    async def _earlier(self) -> set[str]:
        """What there was: an agent that finds a thousand pods asks once, not for each."""
        async with self._asking:
            if self._left is None:
                asked = {"labelSelector": manifest.owner_selector(self._owner)}
                pages = self._api.pages(self._path(), asked)
                self._left = {said["metadata"]["name"] async for said in pages}
            return self._left

    def forget(self, name: str) -> None:
        """That pod is gone, and what it allowed with it."""
        self._told.pop(name, None)

    async def _put(
        self,
        name: str,
        about: Said,
        chosen: dict[str, str],
        ingress: list[Said],
        ways: Sequence[str] = ("Ingress",),
    ) -> None:
        body = {
            "apiVersion": f"{_GROUP}/v1",
            "kind": "NetworkPolicy",
            "metadata": about,
            "spec": {
                "podSelector": {"matchLabels": chosen},
                "policyTypes": list(ways),
                "ingress": ingress,
            },
        }
        try:
            await self._api.call("POST", self._path(), body=body)
        except ApiError as error:
            if error.status != 409:
                raise
            await self._api.call("PUT", self._path(name), body=body)

    async def _drop(self, name: str) -> None:
        try:
            await self._api.call("DELETE", self._path(name), repeatable=True)
        except ApiError as error:
            if error.status != 404:
                raise

    def _path(self, name: str = "") -> str:
        return self._api.path("networkpolicies", name, group=_GROUP)

    # -- does it count?

    def due(self) -> bool:
        """It was not tried yet, and there is something to try. The first who asks does."""
        if self._tried or self.why_not:
            return False
        self._tried = True
        return True

    async def probe(self, source: Said, target: Said, reach: Reach) -> None:
        """Find out, by two pods that may not reach each other, at a port where nothing listens."""
        name, address = source["metadata"]["name"], str(target["status"]["podIP"])
        try:
            found = await self._until(lambda: reach(name, address, _PORT), "silent")
            if _container(source) in self._told.get(target["metadata"]["name"], ("", ()))[1]:
                self._tried = False  # it was allowed meanwhile, which says nothing: the next two
                return
            if found != "silent":
                self.verdict = (
                    f"{_NOBODY} a container reaches another"
                    if found == "refused"
                    else f"it could not be tried ({found})"
                )
                return
            self.verdict = "silence may be the network's"
            policy = f"{_named(target['metadata']['uid'])}-probe"
            about = manifest.metadata(policy, {LABEL_OWNER: self._owner})
            owner = {"apiVersion": "v1", "kind": "Pod", "name": target["metadata"]["name"]}
            owner["uid"] = target["metadata"]["uid"]
            who = {"podSelector": {"matchLabels": {LABEL_CONTAINER: _container(source)}}}
            rule = {"from": [who], "ports": [{"protocol": "TCP", "port": _PORT}]}
            chosen = {LABEL_CONTAINER: _container(target)}
            try:
                await self._put(policy, {**about, "ownerReferences": [owner]}, chosen, [rule])
                found = await self._until(lambda: reach(name, address, _PORT), "refused")
            finally:
                await self._drop(policy)
            if found == "refused":
                self.verdict = "verified"
        except TfnzError as error:
            self.verdict = f"it could not be tried ({error})"
            self._tried = False  # by the next two

    @staticmethod
    async def _until(look: Callable[[], Awaitable[str]], wanted: str) -> str:
        """What is found, at last: that, or what there is when it ought to have been."""
        deadline = asyncio.get_running_loop().time() + _EFFECT
        while True:
            found = await look()
            if found == wanted or asyncio.get_running_loop().time() > deadline:
                return found
            await asyncio.sleep(_PAUSE)


def _named(uid: str) -> str:
    """A policy of whose uid that is, which goes with it.

    Not of its name: another of that name may come before the policy of the first is collected.
    """
    return f"tfnz-{hashlib.sha256(uid.encode()).hexdigest()[:20]}"


def _container(pod: Said) -> str:
    return str((pod["metadata"].get("labels") or {}).get(LABEL_CONTAINER, ""))
