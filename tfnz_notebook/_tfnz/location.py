"""The name under which 20ft's code imports :class:`tfnz_notebook.location.Location`."""

from tfnz_notebook.location import Location

__all__ = ["Location"]
