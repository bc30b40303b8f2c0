"""Which cell runs, under a name that it has again when it runs again; and which were deleted.

A front-end names a cell by its id (``cellId`` in the metadata of an execute request, as
JupyterLab's), and says with the next cell which were deleted. Where nobody tells an id, a cell is
its text. But who runs a notebook once, from its first cell to its last (nbclient, papermill), tells
no ids, and runs nothing again: two cells of one text are two there, and have no name here.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

from tfnz_notebook.widgets import publish


class Cell(NamedTuple):
    """A cell, and which of its runs; both empty where none runs that could run again."""

    name: str
    run: str


_NONE = Cell("", "")
_runs = itertools.count(1)
#: What a terminal runs, which has no requests.
_typed = _NONE
_deleted: set[str] = set()
#: Ids of containers that their cell has made once, and does not any more.
_left: set[str] = set()


def present() -> Cell:
    """The cell that runs."""
    if publish.shell() is None:
        return _typed
    parent = publish.parent()
    ident, content = publish.place(), parent.get("content") or {}
    if not ident and not content.get("allow_stdin", True):
        return _NONE
    known = ident or str(content.get("code") or "")
    return Cell(_named(known), publish.cell()) if known.strip() else _NONE


def begun(info: Any) -> None:
    """A cell begins: what IPython tells of it (``pre_run_cell``)."""
    global _typed
    if publish.shell() is None:
        text = str(info.raw_cell or "").strip()
        _typed = Cell(_named(text), str(next(_runs))) if text else _NONE
        return
    metadata: Mapping[str, Any] = publish.parent().get("metadata") or {}
    deleted = metadata.get("deletedCells")
    _deleted.update(map(_named, deleted if isinstance(deleted, list) else ()))
    _deleted.discard(present().name)  # it was only cut, and pasted elsewhere


def leave(container: str) -> None:
    """Its cell ran through, and did not make it again."""
    _left.add(container)


def left(container: str, origin: str) -> str:
    """Why nothing in the notebook stands for a container any more, in a few words; mostly empty."""
    if origin.partition(":")[0] in _deleted:
        return "its cell was deleted"
    return "its cell makes it no more" if container in _left else ""


def _named(known: Any) -> str:
    return hashlib.blake2b(str(known).strip().encode("utf-8", "replace"), digest_size=8).hexdigest()
