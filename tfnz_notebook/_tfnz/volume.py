"""The name under which 20ft's code imports :class:`tfnz_notebook.volume.Volume`."""

from tfnz_notebook.volume import Volume

__all__ = ["Volume"]
