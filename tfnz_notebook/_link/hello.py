"""The first words on a link: a kernel that has a session, or a viewer that has a ticket."""

from __future__ import annotations

import os
from typing import Any

from tfnz_notebook import __version__
from tfnz_notebook._base import proc
from tfnz_notebook._wire import link as wire


def of_kernel(
    client: str, session: str | None, durable: bool, ttl: float | None, *, again: bool
) -> dict[str, Any]:
    """For what this process's kernel may do: everything in its session.

    ``again``: after a break, when another kernel may have set another ``ttl`` meanwhile.
    """
    said = {"session": session, "durable": durable, "ttl": ttl, "again": again}
    pid = os.getpid()
    return {**_of_all(client), **said, "pid": pid, "pid_start": proc.start_time(pid) or None}


def of_viewer(client: str, process: str, ticket: str, port: int | None = None) -> dict[str, Any]:
    """For one process, as its ticket allows; or for a port of the container of that id."""
    said = {"viewer": True, "process": process, "ticket": ticket}
    return {**_of_all(client), **said, **({} if port is None else {"port": port})}


def _of_all(client: str) -> dict[str, Any]:
    versions = {"version": wire.VERSION, "version_min": wire.VERSION_MIN}
    return {**versions, "package": __version__, "client": client}
