"""The name under which 20ft's code imports :class:`tfnz_notebook.container.Container`."""

from tfnz_notebook.container import Container

__all__ = ["Container"]
