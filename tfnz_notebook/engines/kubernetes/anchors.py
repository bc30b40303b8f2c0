"""A session's anchor: one ConfigMap that owns all that the session has in the cluster.

Where the agent is a pod of the namespace itself, that owns it in turn: when it goes for good, so
does all that its sessions had, but for durable ones, which wait for the next agent.

It carries the guest's binary, which every pod of the session mounts; the policy that keeps its pods
apart is made with it, before the first of them. Whatever is left when nobody cleans up goes with
it. It is there while the session has pods: made for the first, dropped with the last.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from tfnz_notebook.engines.base import LABEL_OWNER, LABEL_SESSION
from tfnz_notebook.engines.kubernetes.api import Api
from tfnz_notebook.engines.kubernetes.pod import manifest
from tfnz_notebook.engines.kubernetes.pod.manifest import Anchor
from tfnz_notebook.engines.kubernetes.refusals import ApiError
from tfnz_notebook.errors import EngineError, TfnzError

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Held:
    """One session's, by name: one, unless an older guest is in some of its pods.

    ``pods``: those that hang on them, or are about to.
    """

    anchors: dict[str, Anchor] = field(default_factory=dict)
    pods: set[str] = field(default_factory=set)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Anchors:
    """Those of one owner. ``made`` is awaited for each new one, before it is used."""

    def __init__(
        self, api: Api, owner: str, guest: Path, made: Callable[[Anchor], Awaitable[None]]
    ) -> None:
        self._api = api
        self._owner = owner
        self._guest = guest
        self._binary: bytes = b""
        self._made = made
        self._sessions: dict[str, _Held] = {}

    async def hold(self, session: str, pod: str, *, durable: bool = False) -> Anchor:
        """The session's, for that pod, until :meth:`release`."""
        held = self._sessions.setdefault(session, _Held())
        held.pods.add(pod)
        try:
            async with held.turn:
                name = await self._name(session)
                if name not in held.anchors:
                    held.anchors[name] = await self._make(session, name, durable=durable)
                return held.anchors[name]
        except BaseException:
            held.pods.discard(pod)
            raise

    def adopt(self, session: str, pod: str, anchor: Anchor) -> None:
        """A pod of an earlier agent's, and what it hangs on."""
        held = self._sessions.setdefault(session, _Held())
        held.pods.add(pod)
        held.anchors.setdefault(anchor.name, anchor)

    async def release(self, session: str, pod: str) -> None:
        """That pod is gone; the last one's anchor goes, too."""
        held = self._sessions.get(session)
        if held is None or pod not in held.pods:
            return
        held.pods.discard(pod)
        async with held.turn:
            if held.pods:
                return
            while held.anchors:
                await self.drop(held.anchors.popitem()[1])
            if self._sessions.get(session) is held and not held.pods:
                del self._sessions[session]

    async def drop(self, anchor: Anchor) -> None:
        """Delete one, and with it what hangs on it still."""
        options = {"preconditions": {"uid": anchor.uid}, "propagationPolicy": "Background"}
        try:
            await self._api.call("DELETE", self._path(anchor.name), body=options)
        except TfnzError as error:
            if not (isinstance(error, ApiError) and error.status in (404, 409)):
                log.warning("the session's anchor %s is left: %s", anchor.name, error)

    async def sweep(self) -> None:
        """Drop those that no pod hangs on: an earlier agent was killed before it could."""
        path, query = self._api.path("configmaps"), {"labelSelector": self._selector}
        async for said in self._api.pages(path, query):
            about = said["metadata"]
            session = manifest.labels_of(said).get(LABEL_SESSION, "")
            held = self._sessions.get(session)
            if held is None or not held.pods:
                await self.drop(Anchor(about["name"], about["uid"]))

    @property
    def _selector(self) -> str:
        return manifest.owner_selector(self._owner)

    def _path(self, name: str) -> str:
        return self._api.path("configmaps", name)

    async def machine(self) -> str:
        """The architecture that the guest is for."""
        return manifest.machine(await self._load())

    async def _load(self) -> bytes:
        if not self._binary:
            self._binary = await asyncio.to_thread(self._guest.read_bytes)
        return self._binary

    async def _name(self, session: str) -> str:
        await self._load()
        told = b"\0".join((self._owner.encode(), session.encode(), self._binary))
        return f"tfnz-{hashlib.sha256(told).hexdigest()[:20]}"

    async def _own(self) -> list[manifest.Said]:
        """A reference to the pod that we are in, if any."""
        name = self._api.cluster.pod
        try:
            said = await self._api.call("GET", self._api.path("pods", name)) if name else {}
        except ApiError as error:
            if error.status not in (403, 404):  # its host's network, and so its host's name
                raise
            said = {}
        uid = (said.get("metadata") or {}).get("uid")
        return [{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}] if uid else []

    async def _make(self, session: str, name: str, *, durable: bool) -> Anchor:
        labels = {LABEL_OWNER: self._owner, LABEL_SESSION: session}
        body = manifest.anchor(name, labels, self._binary)
        if not durable:
            body["metadata"]["ownerReferences"] = await self._own()
        try:
            said = await self._api.call("POST", self._api.path("configmaps"), body=body)
        except ApiError as error:
            if error.status != 409:
                raise
            said = await self._api.call("GET", self._path(name))
            if (
                manifest.labels_of(said).get(LABEL_OWNER) != self._owner
                or said.get("binaryData") != body["binaryData"]
            ):
                raise EngineError(
                    f"Cannot use the ConfigMap {name!r}: it is not what was made here. Delete it."
                ) from None
        anchor = Anchor(name, said["metadata"]["uid"], manifest.machine(self._binary))
        try:
            await self._made(anchor)
        except BaseException:
            await self.drop(anchor)
            raise
        return anchor
