"""What a session holds, in pages: what a client is told before it hears of changes.

A page is made when it is sent, and says the number of the last event that it includes, so that
nothing falls between looking and listening.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgpack

from tfnz_notebook.agent.container.container import Container

Info = dict[str, Any]

#: Bytes of a page, about: the last thing on it may be larger.
PAGE: Final = 256 << 10
#: Processes of a container that ended and are told of all the same: what a card shows of them.
RECENT: Final = 3


def first_page(infos: Iterable[Info]) -> tuple[list[Info], bool]:
    """As many as fit on a page, and whether there are more."""
    page, size = list[Info](), 0
    for info in infos:
        if size >= PAGE:
            return page, True
        page.append(info)
        size += len(msgpack.packb(info, unicode_errors="surrogateescape"))
    return page, False


def pages(containers: Iterable[Container]) -> Iterator[Info]:
    """The bodies of ``snapshot`` events, without numbers; at least one, the last says so."""
    told, size = _blank(), 0
    for container in containers:
        if container.state == "destroyed":
            continue
        size += _add(told["containers"], container.info())
        running, ended = container.counted(RECENT)
        told["ended"][container.ident] = ended
        for process in running:
            if size >= PAGE:
                yield told
                told, size = _blank(), 0
            size += _add(told["processes"], process.info())
    yield {**told, "more": False}


def _blank() -> Info:
    return {"containers": [], "processes": [], "ended": {}, "more": True}


def _add(page: list[Info], info: Info) -> int:
    page.append(info)
    return len(msgpack.packb(info, unicode_errors="surrogateescape"))
