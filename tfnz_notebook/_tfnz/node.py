"""The name under which 20ft's code imports :class:`tfnz_notebook.node.Node`."""

from tfnz_notebook.node import Node

__all__ = ["Node"]
