"""The ``%tf`` magics: parse a line, make one call of the object model, return the object.

``here``      the shell around a magic, its current location, and what words name there
``again``     what a cell made when it ran last, and what becomes of it
``parse``     a line's words, options, and command as it was typed; ``table`` what a magic is
``spawn``, ``run``, ``places``, ``files``, ``ending``, ``views``    the magics
``waiting``   a cell that waits for a process, and its interrupts
``screen``    how things are shown: ``pictures`` in a notebook, ``terminal`` elsewhere
``text``      output made harmless; ``keyboard`` the real terminal, given to a process
``complete``  Tab

``%load_ext tfnz_notebook`` registers them; they need IPython, the objects do not.
"""

from __future__ import annotations

from typing import Any

from tfnz_notebook.errors import Misuse

__all__ = ["register", "unregister"]


def register(ip: Any) -> None:
    """Give an IPython shell the magics and their completion; again: nothing happens."""
    if not hasattr(ip, "register_magic_function"):
        raise Misuse(
            "Cannot register the magics: there is no IPython. Use the objects, which need none: "
            "from tfnz_notebook.location import Location."
        )
    from tfnz_notebook.magics import registered

    registered.register(ip)


def unregister(ip: Any) -> None:
    """Take them away again. Locations stay connected."""
    from tfnz_notebook.magics import registered

    registered.unregister(ip)
