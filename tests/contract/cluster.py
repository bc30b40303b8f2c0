"""The cluster under test, where there is one."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tfnz_notebook import engines
from tfnz_notebook.engines.base import Engine
from tfnz_notebook.engines.kubernetes.api import Api
from tfnz_notebook.engines.kubernetes.engine import KubernetesEngine
from tfnz_notebook.engines.kubernetes.pod import manifest

if TYPE_CHECKING:
    from apiserver.cluster import Cluster

#: A kubeconfig, and the namespace in which everything is done.
KUBECONFIG, NAMESPACE = "TFNZ_TEST_KUBERNETES", "TFNZ_TEST_NAMESPACE"


def engine(
    *, runtime: Path, guest: Path, owner: str, namespace: str = "", there: Cluster | None = None
) -> KubernetesEngine:
    """The engine of a test; ``there``: of a cluster in this process."""
    if there is not None:
        environ = {**os.environ, "KUBECONFIG": str(there.kubeconfig())}
        environ["TFNZ_REGISTRIES"] = f"docker.io={there.url}"
        where = f"kubernetes:///{namespace}"
    else:
        environ = {**os.environ, "KUBECONFIG": os.environ[KUBECONFIG]}
        where = f"kubernetes:///{namespace or os.environ.get(NAMESPACE, '')}"
    made = engines.create(where, runtime=runtime, guest=guest, owner=owner, environ=environ)
    assert isinstance(made, KubernetesEngine)
    return made


async def left(engine: KubernetesEngine) -> list[str]:
    """What there is of this owner's."""
    api: Api = engine.api
    query = {"labelSelector": manifest.owner_selector(engine.owner)}
    paths = [api.path(each) for each in ("pods", "configmaps", "persistentvolumeclaims")]
    paths.append(api.path("networkpolicies", group="networking.k8s.io"))
    return [
        f"{path.rpartition('/')[2]} {said['metadata']['name']}"
        for path in paths
        async for said in api.pages(path, query)
    ]


async def nothing_is_left(engine: Engine) -> None:
    """Once the cluster has collected what went with its owner."""
    assert isinstance(engine, KubernetesEngine)
    there: list[str] = []
    try:
        async with asyncio.timeout(60):
            while there := await left(engine):
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"left in the cluster: {there}") from None
