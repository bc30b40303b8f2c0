"""Container engines: the contract (``base``) and those that fulfil it.

:func:`create` is the only thing that the agent needs besides ``base``. What is imported for an
engine is imported when that engine is asked for.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal
from urllib.parse import parse_qs

from tfnz_notebook.engines.base import Engine
from tfnz_notebook.errors import Misuse, NoEngine

__all__ = ["Engine", "create", "usual"]


#: The end of a message about what is not there.
LOOK_CLOSER: Final = "'python -m tfnz_notebook doctor' looks closer."
_TRANSPORTS: Final[dict[str, Literal["socket", "exec"] | None]] = {
    "": None,
    "socket": "socket",
    "exec": "exec",
}


def create(where: str | None, *, runtime: Path, guest: Path, owner: str) -> Engine:
    """The engine that ``where`` names, not yet open.

    ``'podman'``, ``'docker'``, ``'host'`` (no container), ``'fake'`` (in memory, for tests), or
    ``None``: ``$TFNZ_LOCATION``, else the first of Podman and Docker that answers now.
    ``'docker+exec'`` and ``'docker?transport=exec'`` choose how the guest is reached (``socket``
    or ``exec``); by default the engine's probing does.

    ``runtime`` is a directory of this agent that no other user can enter, ``guest`` the compiled
    guest, ``owner`` the value of the owner label. Raises NoEngine when nothing answers, Misuse
    for a name that is no engine's.
    """
    name, transport = _parse(where or os.environ.get("TFNZ_LOCATION") or usual())
    if name in ("podman", "docker"):
        from tfnz_notebook.engines.docker.engine import DockerEngine

        if transport in _TRANSPORTS:
            return DockerEngine(
                name,
                runtime=runtime,
                guest=guest,
                owner=owner,
                transport=_TRANSPORTS[transport],
            )
    elif name == "host" and not transport:
        from tfnz_notebook.engines.host.engine import HostEngine

        return HostEngine(runtime=runtime, guest=guest, owner=owner)
    elif name == "fake" and not transport:
        from tfnz_notebook.engines.fake.engine import FakeEngine

        return FakeEngine(owner=owner)
    raise Misuse(
        f"Cannot use {where!r} as a location: no engine has that name. "
        "Use 'podman', 'docker' or 'host'."
    )


def usual() -> str:
    """The first of Podman and Docker that is there: 'podman', 'docker', or NoEngine."""
    from tfnz_notebook._base import endpoints
    from tfnz_notebook.engines import system

    if any(map(endpoints.answers, endpoints.podman())) or endpoints.podman_binary():
        return "podman"
    if any(map(endpoints.answers, endpoints.docker())):
        return "docker"
    causes = endpoints.silent()
    raise NoEngine(
        "Cannot find a container engine: neither Podman nor Docker answers, and there is no podman "
        f"command. {' '.join([*causes, system.look().advice()])} "
        f"{LOOK_CLOSER}"
    )


def _parse(where: str) -> tuple[str, str]:
    """'docker+exec' and 'docker?transport=exec' as ('docker', 'exec')."""
    name, _, query = where.partition("?")
    name, _, transport = name.partition("+")
    return name, transport or parse_qs(query).get("transport", [""])[0]
