"""What draws objects stands above them, and is found when somebody asks for it.

Plots and views import the objects; these know only where those are. So a script that draws nothing
loads nothing of it, and yet ``process.plot()`` and ``show()`` are methods as any other.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def plots() -> Any:
    """The room of the plots."""
    return import_module("tfnz_notebook.plots")


def views() -> Any:
    """What shows objects in cells."""
    return import_module("tfnz_notebook.widgets.register")


class Drawn:
    """Base of what can be shown."""

    def show(self) -> None:
        """Show it in the present cell, wherever in it; as a line where there is no notebook.

        A cell's last expression shows itself so.
        """
        views().show(self)
