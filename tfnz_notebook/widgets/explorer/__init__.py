"""Cards and tables: what containers, nodes, locations and tunnels are, live, with their controls.

``card``      the picture of an object; ``ps``, ``top`` and ``preview`` those of the magics
``watched``   what they have in common: a source that works only while somebody looks
``ledger``    a session's containers and processes, kept while somebody looks; ``meter`` their use
``facts``     what is shown, as plain data; ``text`` and ``page`` draw it without a browser
``control``   what people may do

All are ``Picture``s for ``widgets.display``. In a terminal ``as_text`` is the same in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfnz_notebook._link import thread
from tfnz_notebook.container import Container
from tfnz_notebook.errors import Misuse
from tfnz_notebook.location import Location
from tfnz_notebook.node import Node
from tfnz_notebook.tunnel import Tunnel
from tfnz_notebook.widgets.explorer import text
from tfnz_notebook.widgets.explorer.card import ContainerCard
from tfnz_notebook.widgets.explorer.opening import TunnelCard
from tfnz_notebook.widgets.explorer.places import LocationCard, NodeCard
from tfnz_notebook.widgets.explorer.tables import ProcessTable, UsageTable

if TYPE_CHECKING:
    from tfnz_notebook.widgets.explorer.watched import Watched

__all__ = ["as_text", "card", "preview", "ps", "top"]


def card(thing: Container | Location | Node | Tunnel) -> Watched:
    """The card of an object. Misuse for anything else; TunnelGone of a tunnel that is closed."""
    match thing:
        case Container():
            return ContainerCard(thing)
        case Location():
            return LocationCard(thing)
        case Node():
            return NodeCard(thing)
        case Tunnel():
            return TunnelCard(thing)
        case _:  # a type checker does not see what a notebook gives
            raise Misuse(f"Cannot draw {thing!r}: cards are of containers and where they run.")


def ps(location: Location) -> Watched:
    """The table of a session's containers and their processes."""
    return ProcessTable(location)


def top(location: Location, containers: Sequence[Container] = ()) -> Watched:
    """The table of what containers use: all of the session, those that come included, or these."""
    return UsageTable(location, containers)


def preview(tunnel: Tunnel, path: str = "") -> Watched:
    """A tunnel's card with a frame that shows what answers there."""
    return TunnelCard(tunnel, preview=True, path=path)


def as_text(picture: Watched) -> str:
    """What it looks like now, in at most 120 columns. Blocks for the agent's answers."""
    return text.draw(picture.known() if picture.done() else thread.wait(picture.latest()))
