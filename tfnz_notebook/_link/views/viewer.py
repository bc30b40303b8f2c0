"""The place of a viewer: an agent of this user on this machine, which lives already.

A viewer starts no agent: it has no session to start one for, and a page in a browser asked for it.
"""

from __future__ import annotations

import re
import stat
from typing import Final

from tfnz_notebook._link.agents.starter import accepts, runtime_directory
from tfnz_notebook._link.ends import Address
from tfnz_notebook._link.link import Link
from tfnz_notebook.errors import LinkClosed, Misuse

#: The stems of sockets, as ``starter.file_name`` makes them: one part of a path, no '.' first.
_NAME: Final = re.compile(r"[a-z0-9_-][a-z0-9._-]{0,63}")


class LivePlace:
    """Where the agent of that name listens. Raises Misuse if that is no agent's name."""

    def __init__(self, agent: str) -> None:
        if not _NAME.fullmatch(agent):
            raise Misuse("Cannot look for that agent: it is not an agent's name. Open a new view.")
        self._agent = agent

    @property
    def where(self) -> str:
        return self._agent

    def find(self) -> Address:
        """Its address. Raises LinkClosed if it does not listen here, AgentError."""
        path = runtime_directory() / f"{self._agent}.sock"
        try:
            there = stat.S_ISSOCK(path.lstat().st_mode)
        except OSError:
            there = False
        if not there or not accepts(path):
            raise LinkClosed(
                f"Cannot reach the agent {self._agent!r}: it does not run here. "
                "Views start none; run a cell that uses it."
            )
        return Address(f"ipc://{path}")


def viewer(agent: str, process: str, ticket: str) -> Link:
    """A link, to be opened, to one process of that agent. Raises Misuse."""
    return Link(LivePlace(agent), viewer=(process, ticket))
