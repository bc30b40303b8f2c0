"""The place of a viewer: an agent of this user on this machine, which lives already.

A viewer starts no agent: it has no session to start one for, and a page in a browser asked for it.
"""

from __future__ import annotations

import re
from typing import Final

from tfnz_notebook._base import paths, running
from tfnz_notebook._link.ends import Address
from tfnz_notebook._link.link import Link
from tfnz_notebook.errors import LinkClosed, Misuse

#: Names as ``endpoints.resolve`` makes them.
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
        runtime = paths.private(paths.runtime())
        agent = running.look_up(self._agent, runtime, paths.state())
        # One for other machines wants keys, which a page has none of.
        if agent is None or not agent.socket.startswith("ipc:") or not agent.listens:
            raise LinkClosed(
                f"Cannot reach the agent {self._agent!r}: it does not run here. "
                "Views start none; run a cell that uses it."
            )
        return Address(agent.socket)


def gate(agent: str, container: str, port: int, ticket: str) -> Link:
    """A link, to be opened, to one port of a container of that agent. Raises Misuse."""
    return Link(LivePlace(agent), viewer=(container, ticket, port))


def viewer(agent: str, process: str, ticket: str) -> Link:
    """A link, to be opened, to one process of that agent. Raises Misuse."""
    return Link(LivePlace(agent), viewer=(process, ticket))
