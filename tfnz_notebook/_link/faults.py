"""One broken link, many who wait: each gets an error that says what it could not do."""

from __future__ import annotations

from typing import Final

from tfnz_notebook.errors import LinkClosed, TfnzError

DISCONNECTED: Final = "this location was disconnected. Make another Location()."

FORKED: Final = (
    "this location belongs to the process that forked this one. Make another Location() here."
)

_DOING: Final = {
    "container.spawn": "spawn a container",
    "container.destroy": "destroy the container",
    "container.list": "list containers",
    "process.spawn": "spawn a process",
    "process.destroy": "destroy the process",
    "process.stdin": "write to stdin",
    "process.ask": "ask the process",
    "process.signal": "signal the process",
    "log.read": "read the log",
    "reader.open": "read the log",
    "file.put": "put the file",
    "file.get": "fetch the file",
    "file.list": "list the directory",
    "dial": "connect to the port",
    "nodes": "list nodes",
}


def again(error: TfnzError, name: str) -> LinkClosed:
    """The same error for another raise, as a sentence about what was asked."""
    text = str(error)
    if not text.startswith("Cannot "):
        text = f"Cannot {_DOING.get(name, name)}: {text}"
    return LinkClosed(text, **error.details)
