"""The JavaScript of the views: sent once a kernel and kind, however many views there are.

anywidget sends ``_esm`` with every instance. So ours is a stub (``live``) that finds the code in
a hidden model, and imports it once a page.
"""

from __future__ import annotations

import os
from functools import cache
from importlib import resources
from typing import Final

import ipywidgets
import traitlets

from tfnz_notebook.errors import Misuse, TfnzError

KINDS: Final = ("output", "shell", "plot", "explorer")
#: What looks after them all; its code comes with the hub.
PAGE: Final = "page"


class Bundle(ipywidgets.Widget):  # type: ignore[misc]  # ipywidgets has no types
    """A model without a view that holds one kind's code."""

    code = traitlets.Unicode().tag(sync=True)

    @property
    def closed(self) -> bool:
        """Whether pages cannot find it any more."""
        return self.comm is None


@cache
def code(kind: str) -> str:
    """The code of one kind of view: an ES module that exports ``render``; or of ``PAGE``."""
    if kind not in (*KINDS, PAGE):
        raise Misuse(f"Cannot show a {kind!r}: there is no such view. There are {KINDS}.")
    file = resources.files("tfnz_notebook.widgets") / "static" / f"{kind}.js"
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise TfnzError(
            f"Cannot show a live view: {kind}.js is not in this installation ({error.strerror}). "
            "Reinstall tfnz-notebook; in a source tree run 'make frontend'."
        ) from None


_bundles: dict[str, Bundle] = {}


def bundle(kind: str) -> Bundle:
    """This kernel's bundle of a kind, made at the first call. Raises Misuse, TfnzError."""
    found = _bundles.get(kind)
    if found is None or found.closed:
        found = _bundles[kind] = Bundle(code=code(kind))
    return found


# The child of a fork has no pages; what it inherits must not talk to the parent's.
os.register_at_fork(after_in_child=_bundles.clear)
