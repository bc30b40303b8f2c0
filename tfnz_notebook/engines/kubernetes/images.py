"""What an image's command is, which a pod does not tell, for the guest has its place.

A node says which image it runs by digest; what belongs to a digest never changes, so it is asked
for once. Asked are, in this order, the image's registry from here, with the user's logins and the
pod's pull secrets; then the same registry from inside the pod: some are in the cluster alone.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
from collections.abc import Mapping
from typing import Any, Final

from tfnz_notebook._base import names
from tfnz_notebook.engines.base import Image
from tfnz_notebook.engines.kubernetes.api import Api
from tfnz_notebook.engines.kubernetes.pod.boot import Line
from tfnz_notebook.engines.kubernetes.pod.manifest import MAIN
from tfnz_notebook.engines.kubernetes.refusals import ApiError
from tfnz_notebook.engines.registry.config import Config, Registry, places
from tfnz_notebook.engines.registry.credentials import Store
from tfnz_notebook.errors import (
    EngineError,
    EngineGone,
    ImageConfigUnknown,
    NoEngine,
    TfnzError,
)

Said = dict[str, Any]

#: Seconds for a registry to answer; for which one that did not is not asked again.
_PATIENCE: Final = 5.0
_SILENT: Final = 60.0
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


class Images:
    """The configs that are known, by digest."""

    def __init__(self, api: Api, environ: Mapping[str, str] = os.environ) -> None:
        self._api = api
        self._environ = environ
        self._known: dict[str, Config] = {}
        self._silent: dict[str, float] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}

    def prepare(self, image: str, machine: str) -> None:
        """Ask already, by the name: most often it is what the node will have."""
        if image not in self._asking:
            asking = self._asking[image] = asyncio.create_task(self._ahead(image, machine))
            asking.add_done_callback(lambda _: self._asking.pop(image, None))

    async def _ahead(self, image: str, machine: str) -> None:
        try:
            name = names.parse(image)
            await self._ask(name, name.digest or name.tag or "latest", machine, [], None)
        except TfnzError:
            pass  # it is asked again, by its digest

    async def close(self) -> None:
        """Ask no more."""
        for asking in list(self._asking.values()):
            asking.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    async def of(self, image: str, pod: Said, machine: str, line: Line) -> Image:
        """What that pod's image is to start. ImageConfigUnknown."""
        digest = _digest(pod)
        if digest not in self._known and (ahead := self._asking.get(image)) is not None:
            await asyncio.wait([ahead])
        if (known := self._known.get(digest)) is None:
            known = await self._find(image, digest, pod, machine, line)
        return Image(digest, entrypoint=known.entrypoint, command=known.command, user=known.user)

    async def _find(self, image: str, digest: str, pod: Said, machine: str, line: Line) -> Config:
        name = names.parse(image)
        tag = name.digest or name.tag or "latest"
        causes = []
        for where, through in (("from here", None), ("from inside the pod", line)):
            try:
                secrets = await self._secrets(pod)
                try:
                    return await self._ask(name, digest or tag, machine, secrets, through)
                except EngineError as error:
                    # The node has what the registry has not, or not any more: an image that was
                    # built again, or brought there by hand. What the name means now is next best.
                    if not digest or error.details.get("status") != 404:
                        raise
                    return await self._ask(name, tag, machine, secrets, through)
            except TfnzError as error:
                causes.append(f"{where}: {str(error).removeprefix('Cannot ')}")
        raise ImageConfigUnknown(
            f"Cannot know what {image!r} starts: its registry does not say ({'; '.join(causes)}). "
            "Give entrypoint= and command=, or sleep=True, or say in TFNZ_REGISTRIES where its "
            "registry is reached.",
            image=image,
        )

    async def _ask(
        self,
        name: names.Name,
        reference: str,
        machine: str,
        secrets: list[Said],
        line: Line | None,
    ) -> Config:
        registry, url, path = places(name, self._environ)
        loop = asyncio.get_running_loop()
        if line is None and loop.time() < self._silent.get(url, 0.0):
            raise TfnzError("it was silent a moment ago.")
        login = await Store(self._environ).find(registry, path, secrets)
        asked = Registry(url, path, login, line.dial if line is not None else None)
        try:
            async with asyncio.timeout(_PATIENCE):
                config = await asked.config(reference, machine)
        except TimeoutError:
            self._silent[url] = loop.time() + _SILENT
            raise TfnzError(f"it did not answer within {_PATIENCE:g} s.") from None
        except (EngineGone, NoEngine):
            if line is None:
                self._silent[url] = loop.time() + _SILENT
            raise
        self._known.update(dict.fromkeys(config.digests, config))
        return config

    async def _secrets(self, pod: Said) -> list[Said]:
        """What the pod's pull secrets say, in the form of Docker's own file."""
        found = []
        for each in (pod.get("spec") or {}).get("imagePullSecrets") or ():
            try:
                said = await self._api.call("GET", self._api.path("secrets", str(each.get("name"))))
                raw = (said.get("data") or {}).get(".dockerconfigjson", "")
                found.append(json.loads(base64.b64decode(raw)))
            except (ApiError, ValueError):
                continue  # who may not read secrets has only the user's own logins
        return [each for each in found if isinstance(each, dict)]


def _digest(pod: Said) -> str:
    """Of the image that the node runs; '' where it does not say."""
    for each in (pod.get("status") or {}).get("containerStatuses") or ():
        if each.get("name") == MAIN:
            found = _DIGEST.search(str(each.get("imageID") or ""))
            return found[0] if found else ""
    return ""
