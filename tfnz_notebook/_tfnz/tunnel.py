"""The name under which 20ft's code imports :class:`tfnz_notebook.tunnel.Tunnel`."""

from tfnz_notebook.tunnel import Tunnel

__all__ = ["Tunnel"]
