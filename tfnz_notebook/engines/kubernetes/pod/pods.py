"""Every pod of ours, as one list and the watch behind it tell.

A watch ends by itself now and then and goes on from the last version it told; when the server has
forgotten that one (410), all are listed again. What is known here may be late, so it is good for
waiting, and for what does not change any more; whether a pod is gone, only asking for it says.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, Final, TypeVar

from tfnz_notebook.engines.kubernetes.api import Api
from tfnz_notebook.engines.kubernetes.pod import status
from tfnz_notebook.engines.kubernetes.refusals import Gone410
from tfnz_notebook.errors import TfnzError

log = logging.getLogger(__name__)

Said = dict[str, Any]
T = TypeVar("T")

#: Pods in one piece of a list.
_PAGE: Final = "500"
#: Seconds between two attempts while the API server is away.
_FIRST_PAUSE: Final = 0.1
_LAST_PAUSE: Final = 5.0


class Pods:
    """The pods that ``selector`` selects, by name."""

    def __init__(self, api: Api, selector: str) -> None:
        self._api = api
        self._query = {"labelSelector": selector}
        self._known: dict[str, Said] = {}
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        #: Why the cluster has ended some, in its words.
        self.taken: dict[str, str] = {}
        #: Told the name of each pod of which there is news.
        self.listeners: list[Callable[[str], None]] = []
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to follow."""
        self._task = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Follow no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def __getitem__(self, name: str) -> Said | None:
        return self._known.get(name)

    def __iter__(self) -> Any:
        return iter(list(self._known.values()))

    def learn(self, said: Said) -> None:
        """One that the server just told of: made, changed or asked for.

        An answer may come behind the watch that is already further: what is older is no news. Nor
        is what is known: whoever hears of news asks, and the answer would be the next news.
        """
        known = self._known.get(said["metadata"]["name"])
        if known is not None and (_is_same(known, said) or _version(known) > _version(said)):
            return
        self._known[said["metadata"]["name"]] = said
        if words := status.taken(said):
            self.taken[said["metadata"]["name"]] = words
        self._news(said["metadata"]["name"])

    def lost(self, name: str) -> None:
        """The server has it no more."""
        if self._known.pop(name, None) is not None:
            self._news(name)

    async def until(self, name: str, found: Callable[[Said | None], T | None]) -> T:
        """Wait until ``found`` makes something of the pod, None being one that is not there."""
        while (value := found(self._known.get(name))) is None:
            waiter = asyncio.get_running_loop().create_future()
            waiters = self._waiting.setdefault(name, set())
            waiters.add(waiter)
            try:
                await waiter
            finally:
                waiters.discard(waiter)
                if not waiters and self._waiting.get(name) is waiters:
                    del self._waiting[name]
        return value

    def _news(self, name: str) -> None:
        for waiter in self._waiting.get(name, ()):
            if not waiter.done():
                waiter.set_result(None)
        for tell in list(self.listeners):
            tell(name)

    async def _follow(self) -> None:
        version, pause = "", _FIRST_PAUSE
        path = self._api.path("pods")
        while True:
            try:
                if not version:
                    version = await self._list(path)
                async for kind, said in self._api.watch(path, self._query, version):
                    version = said["metadata"]["resourceVersion"]
                    if kind == "DELETED":
                        self._deleted(said)
                    elif kind != "BOOKMARK":
                        self.learn(said)
                    pause = _FIRST_PAUSE
            except Gone410:
                version = ""
            except TfnzError as error:
                log.info("pods are not watched: %s", error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LAST_PAUSE)

    async def _list(self, path: str) -> str:
        seen: set[str] = set()
        query = {**self._query, "limit": _PAGE}
        while True:
            listed = await self._api.call("GET", path, query=query)
            for said in listed.get("items") or ():
                seen.add(said["metadata"]["name"])
                self.learn(said)
            about = listed["metadata"]
            if not about.get("continue"):
                break
            query["continue"] = about["continue"]
        for name in set(self._known) - seen:
            self.lost(name)
        return str(about["resourceVersion"])

    def _deleted(self, said: Said) -> None:
        """A pod made anew under the name of one that goes must not go with it."""
        name, uid = said["metadata"]["name"], said["metadata"]["uid"]
        known = self._known.get(name)
        if known is not None and known["metadata"]["uid"] == uid:
            self.learn(said)  # its last state
            self.lost(name)


def _is_same(one: Said, other: Said) -> bool:
    """They are one version of one object; a list's items say less of themselves."""
    named = ("uid", "resourceVersion")
    return all(one["metadata"].get(each) == other["metadata"].get(each) for each in named)


def _version(said: Said) -> int:
    """Of an object; they grow with every change in a cluster (since 1.35 by its own word)."""
    text = str(said["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdecimal() else 0
