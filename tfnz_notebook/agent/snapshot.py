"""What a session holds, in pages: what a client is told before it hears of changes.

A page is made when it is sent, and says the number of the last event that it includes, so that
nothing falls between looking and listening.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tfnz_notebook._wire import operations as wire
from tfnz_notebook.agent.container.container import RECENT, Container
from tfnz_notebook.agent.large import packed

Info = dict[str, Any]


def pages(containers: Iterable[Container]) -> Iterator[Info]:
    """The bodies of ``snapshot`` events, without numbers; at least one, the last says so."""
    told, size = _blank(), 0
    for container in containers:
        if container.state == "destroyed":
            continue
        running, ended = container.counted(RECENT)
        told["ended"][container.ident] = ended
        infos = [("containers", container.info()), *(("processes", p.info()) for p in running)]
        for key, info in infos:
            told[key].append(info)
            size += packed(info)
            if size >= wire.PAGE:
                yield told
                told, size = _blank(), 0
    yield {**told, "more": False}


def _blank() -> Info:
    return {"containers": [], "processes": [], "ended": {}, "more": True}
