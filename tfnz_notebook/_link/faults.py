"""One broken link, many who wait: each gets an error that says what it could not do."""

from __future__ import annotations

from typing import Final

from tfnz_notebook._wire.operations import OPERATIONS
from tfnz_notebook.errors import LinkClosed, TfnzError

DISCONNECTED: Final = "this location was disconnected. Make another Location()."

FORKED: Final = (
    "this location belongs to the process that forked this one. Make another Location() here."
)


def again(error: TfnzError, name: str) -> LinkClosed:
    """The same error for another raise, as a sentence about what was asked."""
    text = str(error)
    if not text.startswith("Cannot "):
        text = f"Cannot {OPERATIONS[name].doing if name in OPERATIONS else name}: {text}"
    kind = type(error) if isinstance(error, LinkClosed) else LinkClosed
    return kind(text, **error.details)
