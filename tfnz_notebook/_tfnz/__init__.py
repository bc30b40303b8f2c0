"""20ft's import name for the object model: ``from tfnz.location import Location``.

Installed by the wheel as the top-level package ``tfnz``, so that 20ft's users' code runs with few
changes; docs/20ft.md says of each name of theirs what it is here. ``from tfnz import *`` brings
their modules, and the classes. Everything here is tfnz_notebook's; new code imports that.
"""

from tfnz_notebook import __version__
from tfnz_notebook.container import Container
from tfnz_notebook.location import Location
from tfnz_notebook.node import Node
from tfnz_notebook.process import Process
from tfnz_notebook.tunnel import Tunnel
from tfnz_notebook.volume import Volume

__all__ = [
    "Container",
    "Location",
    "Node",
    "Process",
    "Tunnel",
    "Volume",
    "__version__",
    "container",
    "location",
    "node",
    "process",
    "tunnel",
    "volume",
]
