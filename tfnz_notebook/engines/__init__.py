"""Container engines: the contract (``base``) and those that fulfil it.

:func:`create` is the only thing that the agent needs besides ``base``. What is imported for an
engine is imported when that engine is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal
from urllib.parse import parse_qs

from tfnz_notebook._base import endpoints
from tfnz_notebook.engines.base import Engine
from tfnz_notebook.errors import Misuse

__all__ = ["Engine", "create"]

_TRANSPORTS: Final[dict[str, Literal["socket", "exec"] | None]] = {
    "": None,
    "socket": "socket",
    "exec": "exec",
}


def create(
    where: str | None,
    *,
    runtime: Path,
    guest: Path,
    owner: str,
    former: str = "",
    environ: Mapping[str, str] = os.environ,
) -> Engine:
    """The engine that ``where`` names, not yet open.

    ``'podman'``, ``'docker'``, ``'kubernetes://context/namespace'``, ``'host'`` (no container),
    ``'fake'`` (in memory, for tests), or
    ``None``: ``$TFNZ_LOCATION``, else the first of Podman and Docker that answers now.
    ``'docker+exec'`` and ``'docker?transport=exec'`` choose how the guest is reached (``socket``
    or ``exec``); by default the engine's probing does.

    ``runtime`` is a directory of this agent that no other user can enter, ``guest`` the compiled
    guest, ``owner`` the value of the owner label, ``former`` another under which agents before this
    one held what is ours. Raises NoEngine when nothing answers, Misuse for a name that is no
    engine's.
    """
    where = where or environ.get("TFNZ_LOCATION") or endpoints.usual(environ)
    where, environ = endpoints.meant(where, environ)
    name, transport = endpoints.kind(where), _transport(where)
    if name in ("podman", "docker"):
        from tfnz_notebook.engines.docker.engine import DockerEngine

        if transport in _TRANSPORTS:
            return DockerEngine(
                name,
                runtime=runtime,
                guest=guest,
                owner=owner,
                former=former,
                transport=_TRANSPORTS[transport],
                environ=environ,
            )
    elif name == "host" and not transport:
        from tfnz_notebook.engines.host.engine import HostEngine

        return HostEngine(runtime=runtime, guest=guest, owner=owner)
    elif name == "kubernetes":
        from tfnz_notebook.engines.kubernetes.api import Api
        from tfnz_notebook.engines.kubernetes.engine import KubernetesEngine
        from tfnz_notebook.engines.kubernetes.login import kubeconfig

        api = Api(kubeconfig.load(where, environ), environ=environ)
        return KubernetesEngine(api, runtime=runtime, guest=guest, owner=owner, environ=environ)
    elif name == "fake" and not transport:
        from tfnz_notebook.engines.fake.engine import FakeEngine

        return FakeEngine(owner=owner)
    raise Misuse(
        f"Cannot use {where!r} as a location: no engine has that name. "
        "Use 'podman', 'docker', 'kubernetes://' or 'host'."
    )


def _transport(where: str) -> str:
    """'exec' of 'docker+exec' and 'docker?transport=exec'."""
    name, _, query = where.partition("?")
    return name.partition("+")[2] or parse_qs(query).get("transport", [""])[0]
