"""The cluster under test, where there is one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tfnz_notebook import engines
from tfnz_notebook.engines.base import Engine
from tfnz_notebook.engines.kubernetes.api import Api
from tfnz_notebook.engines.kubernetes.engine import KubernetesEngine
from tfnz_notebook.engines.kubernetes.pod import manifest
from tfnz_notebook.engines.launch import binary as guest_binary

if TYPE_CHECKING:
    from apiserver.cluster import Cluster
    from contract.conftest import Place

#: A kubeconfig, and the namespace in which everything is done.
KUBECONFIG, NAMESPACE = "TFNZ_TEST_KUBERNETES", "TFNZ_TEST_NAMESPACE"
#: The kubeconfig of who may do all in that cluster; empty: that of the environment.
ADMIN = "TFNZ_TEST_ADMIN"


def engine(
    *,
    runtime: Path,
    guest: Path,
    owner: str,
    namespace: str = "",
    there: Cluster | None = None,
    admin: bool = False,
) -> KubernetesEngine:
    """The engine of a test; ``there``: of a cluster in this process, whose users may do all."""
    if there is not None:
        environ = {**os.environ, "KUBECONFIG": str(there.kubeconfig())}
        environ["TFNZ_REGISTRIES"] = f"docker.io={there.url}"
        where = f"kubernetes:///{namespace}"
    else:
        environ = {**os.environ}
        if kubeconfig := os.environ[ADMIN if admin else KUBECONFIG]:
            environ["KUBECONFIG"] = kubeconfig
        where = f"kubernetes:///{namespace or os.environ.get(NAMESPACE, '')}"
    made = engines.create(where, runtime=runtime, guest=guest, owner=owner, environ=environ)
    assert isinstance(made, KubernetesEngine)
    return made


@asynccontextmanager
async def administrator(place: Place, namespace: str = "") -> AsyncIterator[KubernetesEngine]:
    """An engine of who may do what the documented role does not grant: open, as ``place``'s is."""
    made = engine(
        runtime=place.runtime,
        guest=guest_binary.locate(),
        owner=place.owner,
        namespace=namespace,
        there=place.there,
        admin=True,
    )
    await made.open()
    try:
        yield made
    finally:
        await made.close()


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
