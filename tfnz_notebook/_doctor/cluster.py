"""Clusters: what the kubeconfig's current context means and grants; what is ours in one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from tfnz_notebook._base import contexts
from tfnz_notebook._base.text import quoted
from tfnz_notebook._doctor.findings import Finding
from tfnz_notebook._doctor.holdings import Held, Holding, ours
from tfnz_notebook.engines.base import LABEL_OWNER
from tfnz_notebook.engines.kubernetes import permissions
from tfnz_notebook.engines.kubernetes.api import Api
from tfnz_notebook.engines.kubernetes.login import kubeconfig
from tfnz_notebook.engines.kubernetes.pod import manifest
from tfnz_notebook.engines.kubernetes.refusals import ApiError
from tfnz_notebook.errors import EngineGone, TfnzError

TOPIC: Final = "kubernetes"
#: Seconds for its answers, a plugin that logs in among them.
PATIENCE: Final = 20.0


async def examine(environ: Mapping[str, str] = os.environ) -> Finding:
    """``facts['installed']`` says whether there is a context at all."""
    where = environ.get("TFNZ_LOCATION") or ""
    if where.partition("://")[0] != contexts.SCHEME:
        where = contexts.SCHEME
    facts: dict[str, Any] = {"installed": True, "usable": False}
    try:
        if where == contexts.SCHEME and not contexts.names(environ):
            return Finding(TOPIC, "ok", "no context", facts={**facts, "installed": False})
        meant = contexts.find(where, environ)
        facts |= {"context": meant.name, "namespace": meant.namespace, "server": meant.server}
        async with asyncio.timeout(PATIENCE):
            return await _asked(meant, environ, facts)
    except TimeoutError:
        said = f"{where} does not answer within {PATIENCE:g} s"
        return Finding(TOPIC, "note", said, "Try 'kubectl get pods'.", facts)
    except TfnzError as error:
        return Finding(TOPIC, "note", str(error), facts=facts)


# -- what is ours there -----------------------------------------------------------------------

#: In the order in which it can be removed, with the API's group; claims have data.
_HELD: Final = (
    ("container", "pods", ""),
    ("network", "networkpolicies", "networking.k8s.io"),
    ("anchor", "configmaps", ""),
    ("volume", "persistentvolumeclaims", ""),
)


async def look(where: str, runtime: Path, owner: str) -> Held:
    """What a namespace holds of this user's. Never raises."""
    del runtime
    try:
        async with _opened(where) as api:
            return Held(where, [each async for each in _listed(where, api, owner)])
    except TfnzError as error:
        return Held(where, problem=str(error))


async def remove(where: str, runtime: Path, owner: str, kinds: set[str]) -> Held:
    """Remove what is there now of these kinds, and anchors; what is left. Never raises."""
    del runtime
    held = Held(where)
    resources = {kind: (resource, group) for kind, resource, group in _HELD}
    try:
        async with _opened(where) as api:
            for each in [found async for found in _listed(where, api, owner)]:
                if each.kind in kinds or each.kind == "anchor":
                    resource, group = resources[each.kind]
                    try:
                        path = api.path(resource, each.name, group=group)
                        await api.call("DELETE", path, repeatable=True)
                    except ApiError as error:
                        if error.status != 404:  # it went with what it hung on
                            held.things.append(each)
                            held.problem = str(error)
    except TfnzError as error:
        held.problem = str(error)
    return held


@asynccontextmanager
async def _opened(where: str) -> AsyncIterator[Api]:
    api = Api(kubeconfig.load(where), environ=os.environ)
    try:
        async with asyncio.timeout(PATIENCE):
            await api.open()
            yield api
    except TimeoutError:
        raise EngineGone(f"Cannot use {where}: it did not answer in time. Try again.") from None
    finally:
        await api.close()


async def _listed(where: str, api: Api, owner: str) -> AsyncIterator[Holding]:
    for kind, resource, group in _HELD:
        path, query = api.path(resource, group=group), {"labelSelector": LABEL_OWNER}
        async for said in api.pages(path, query):
            if ours(manifest.labels_of(said), owner):
                about = said["metadata"]
                yield Holding(where, kind, str(about["uid"]), str(about["name"]))


def namespaces(where: str) -> list[str]:
    """A cluster's; none where this user may not know them."""

    async def listed() -> list[str]:
        async with _opened(where) as api:
            return [str(e["metadata"]["name"]) async for e in api.pages("/api/v1/namespaces")]

    try:
        return asyncio.run(listed())
    except TfnzError:
        return []


# -- what it grants ---------------------------------------------------------------------------


async def _asked(
    meant: contexts.Context, environ: Mapping[str, str], facts: dict[str, Any]
) -> Finding:
    cluster = kubeconfig.cluster(meant, environ)
    api = Api(cluster, environ=environ)
    try:
        version = str((await api.open())["gitVersion"])
        lacking = await permissions.missing(api)
    finally:
        await api.close()
    facts |= {"version": version, "missing": lacking, "usable": not lacking}
    said = f"{version} at {meant.server}, {meant.where}"
    if cluster.insecure:
        said += "; its certificate is not looked at (insecure-skip-tls-verify)"
    if not lacking:
        return Finding(TOPIC, "ok", f"{said}: all that is needed is granted", facts=facts)
    remedy = (
        "Ask an administrator for the role below in that namespace: kubectl apply --filename "
        f"role.yaml, then kubectl --namespace {quoted(meant.namespace)} create rolebinding "
        "tfnz-notebook --role tfnz-notebook --user YOU"
    )
    said += f": not granted are {', '.join(lacking)}"
    return Finding(TOPIC, "note", said, remedy, facts, permissions.role(meant.namespace))
