"""Containers and live processes as first-class objects of a Jupyter notebook."""

from typing import Any

__version__ = "0.2.0"


def load_ipython_extension(ip: Any) -> None:
    """``%load_ext tfnz_notebook``: the ``%tf`` magics, and views of our objects."""
    from tfnz_notebook import magics
    from tfnz_notebook.widgets import register

    magics.register(ip)
    register.register(ip)


def unload_ipython_extension(ip: Any) -> None:
    """``%unload_ext tfnz_notebook``."""
    from tfnz_notebook import magics
    from tfnz_notebook.widgets import register

    register.unregister(ip)
    magics.unregister(ip)
