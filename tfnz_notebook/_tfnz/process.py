"""The name under which 20ft's code imports :class:`tfnz_notebook.process.Process`."""

from tfnz_notebook.process import Process

__all__ = ["Process"]
