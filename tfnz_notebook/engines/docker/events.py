"""What others do with our containers at the engine: its events, as they happen."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Final

from tfnz_notebook.engines.base import LABEL_OWNER
from tfnz_notebook.engines.docker.calls import check
from tfnz_notebook.engines.docker.image.lines import Lines
from tfnz_notebook.engines.http.client import Client
from tfnz_notebook.errors import EngineGone

#: Docker's and Podman's word for a removal; an end is told by the guest's connection, and sooner.
_ACTIONS: Final = frozenset({"start", "pause", "unpause", "destroy", "remove"})


async def follow(client: Client, owners: Collection[str], happened: Callable[[str], None]) -> None:
    """Tell the id of each container of theirs to which something happens, until it breaks off."""
    filters = json.dumps({"type": ["container"]})  # labels in it would have to be there all
    lines = Lines()
    async with client.stream("GET", "/events", query={"filters": filters}) as answer:
        if answer.status != 200:
            check(await answer.whole(), "follow the engine's events")
        async for chunk in answer:
            for said in lines.feed(chunk):
                actor = said.get("Actor")
                if said.get("Action") not in _ACTIONS or not isinstance(actor, dict):
                    continue
                if (actor.get("Attributes") or {}).get(LABEL_OWNER) in owners:
                    happened(str(actor.get("ID")))
    raise EngineGone("Cannot follow the engine's events: it broke off. They are asked for again.")
