"""Cards of a location and of a node: what is there, and what is free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfnz_notebook._base.text import one_line
from tfnz_notebook.widgets.explorer import facts
from tfnz_notebook.widgets.explorer.ledger import Interest
from tfnz_notebook.widgets.explorer.watched import Info, Watched

if TYPE_CHECKING:
    from tfnz_notebook.location import Location
    from tfnz_notebook.node import Node

#: Containers that a card lists.
MOST = 50


class _Places(Watched):
    """Knows the nodes."""

    period = 5.0

    def __init__(self, location: Location, subject: str, text: str) -> None:
        super().__init__(location, subject, text)
        self.nodes: list[Info] = []

    def interest(self) -> Interest:
        """The containers as such."""
        return Interest()

    async def gather(self) -> None:
        """Ask what is free."""
        told = (await self.ledger.link.request("node.list", {"counted": True})).body["nodes"]
        self.nodes = [facts.node(each) for each in told]


class LocationCard(_Places):
    """Of a location."""

    shows = "location"

    def __init__(self, location: Location) -> None:
        subject = f"location/{location._link.client}"
        super().__init__(location, subject, repr(location))

    def facts(self) -> Info:
        """Engine, session, nodes, containers."""
        told = sorted(self.ledger.containers.values(), key=lambda c: float(c.get("created") or 0))
        shown = [facts.container(each) for each in told[:MOST]]
        keys = ("id", "title", "image", "state", "returncode")
        about = {one_line(k, 40): one_line(v, 120) for k, v in self.location.about.items()}
        return {
            "engine": one_line(self.location.engine, 40),
            "version": about.get("version", ""),
            "about": about,
            "session": one_line(self.location.session, 80),
            "durable": self.ledger.link.durable,
            "nodes": self.nodes,
            "containers": [{key: each[key] for key in keys} for each in shown],
            "more": len(told) - len(shown),
        }


class NodeCard(_Places):
    """Of a node."""

    shows = "node"

    def __init__(self, node: Node) -> None:
        location = node.location
        subject = f"node/{location._link.client}/{node.name}"
        super().__init__(location, subject, repr(node))
        self.node = node

    def facts(self) -> Info:
        """What it has, and what is free."""
        for each in self.nodes:
            if each["name"] == one_line(self.node.name, 64):
                return {"node": each}
        return {"node": facts.node(self.node._info)}
