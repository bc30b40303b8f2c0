"""Outputs of a cell that can be replaced later, from any thread.

IPython's ``update_display`` sends with the parent of whatever runs in the calling thread. Ours
remembers the cell that made the output, so that an update reaches it while another one runs.
"""

from __future__ import annotations

import os
import re
import sys
import uuid
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

Data = Mapping[str, str]

#: CSS pixels that a picture is wide where there is room: so it is as high as a live plot.
PICTURE: Final = 806


def metadata(data: Data) -> dict[str, Any]:
    """What a front-end is told of an output besides: its picture has more pixels than it takes."""
    return {"image/png": {"width": PICTURE}} if "image/png" in data else {}


def shell() -> Any | None:
    """The IPython shell of this process if it belongs to a kernel; else None."""
    if "IPython" not in sys.modules:  # a script: nothing is imported to find that out
        return None
    from IPython import get_ipython

    found = get_ipython()  # type: ignore[no-untyped-call,unused-ignore]  # older IPythons
    return found if getattr(found, "kernel", None) is not None else None


def parent() -> Mapping[str, Any]:
    """The request that is being handled: a cell's, most often."""
    found = shell()
    parent = found.get_parent() if found is not None and hasattr(found, "get_parent") else None
    return parent if isinstance(parent, Mapping) else {}


def cell() -> str:
    """An id of the present run of a cell; empty where there is none."""
    return str((parent().get("header") or {}).get("msg_id", ""))


def place() -> str:
    """An id of the cell itself, the same when it runs again; empty where nobody tells."""
    return str((parent().get("metadata") or {}).get("cellId", ""))


def watched() -> bool:
    """Whether there may be a page: not when nbconvert, papermill and the like run a notebook.

    They are the ones that take no input; what they show is static, and widgets would only swell
    what they save. (Voila takes none either, but has pages.)
    """
    allowed = (parent().get("content") or {}).get("allow_stdin", True)
    return bool(allowed) or any(name.startswith("VOILA_") for name in os.environ)


@cache
def console() -> bool:
    """Whether a console asks this kernel: it prints texts, and takes no update of one.

    It says nothing of itself; but it started the kernel.
    """
    try:
        started = Path(f"/proc/{os.getppid()}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(re.search(rb"\bjupyter[-_](qt)?console\b", word) for word in started)


class Output:
    """One output of the present cell. Made where that runs; :meth:`update` from any thread."""

    def __init__(self, data: Data) -> None:
        self.id = uuid.uuid4().hex
        self._late: dict[str, Any] | None = None
        self._send: Callable[[dict[str, Any], Mapping[str, Any]], object] = _nowhere
        self._parent: Mapping[str, Any] = {}
        found = shell()
        if found is None:
            return
        self._publisher = publisher = found.display_pub
        session, socket = (getattr(publisher, name, None) for name in ("session", "pub_socket"))
        if session is not None and socket is not None:
            self._parent, topic = publisher.parent_header, publisher.topic

            def send(content: dict[str, Any], parent: Mapping[str, Any]) -> None:
                session.send(socket, "update_display_data", content, parent=parent, ident=topic)

            self._send = send
        # else %%capture holds it, and it stays as it is; or it is of another kernel than ipykernel,
        # whose publisher is for the main thread: repeat()
        publisher.publish(dict(data), metadata(data), transient={"display_id": self.id})

    def update(self, data: Data) -> None:
        """Replace it. Nothing happens once the kernel is shutting down."""
        self._late = {
            "data": dict(data),
            "metadata": metadata(data),
            "transient": {"display_id": self.id},
        }
        self._try(self._late, self._parent)

    def repeat(self) -> None:
        """Say the last update again, if there was one since, as the present cell.

        For who runs a notebook without a page: nbclient hears only the cell that it is at. And for
        kernels other than ipykernel, whose publishers are for the main thread. On that thread.
        """
        late, self._late = self._late, None
        if late is None:
            return
        if self._send is not _nowhere:
            self._try(late, self._publisher.parent_header)
        elif (found := shell()) is not None and found.display_pub is self._publisher:
            self._publisher.publish(
                late["data"], late["metadata"], transient=late["transient"], update=True
            )

    def _try(self, content: dict[str, Any], parent: Mapping[str, Any]) -> None:
        try:
            self._send(content, parent)
        except Exception:  # noqa: BLE001  # the socket is gone, whatever that raises; nobody sees it any more
            self._send = _nowhere


def _nowhere(_content: dict[str, Any], _parent: Mapping[str, Any]) -> None:
    pass


_seen: tuple[str, list[object]] = ("", [])


def mark_shown(thing: object) -> None:
    """This cell has shown it: as the cell's last expression it need not show itself again."""
    global _seen
    here = cell()
    if _seen[0] != here:
        _seen = (here, [])
    _seen[1].append(thing)


def was_shown(thing: object) -> bool:
    """Whether the present cell has shown it."""
    return _seen[0] == cell() != "" and any(thing is each for each in _seen[1])
