"""The cluster that the kubeconfig's current context means, if there is one, and what it grants."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Final

from tfnz_notebook._base import contexts
from tfnz_notebook._base.text import quoted
from tfnz_notebook._doctor.findings import Finding
from tfnz_notebook.errors import TfnzError

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


async def _asked(
    meant: contexts.Context, environ: Mapping[str, str], facts: dict[str, Any]
) -> Finding:
    from tfnz_notebook.engines.kubernetes import permissions
    from tfnz_notebook.engines.kubernetes.api import Api
    from tfnz_notebook.engines.kubernetes.login import kubeconfig

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
