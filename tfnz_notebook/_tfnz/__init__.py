"""20ft's import name for the object model: ``from tfnz.location import Location``.

Installed by the wheel as the top-level package ``tfnz``, so that 20ft's text and its users' code
run unchanged. Everything here is tfnz_notebook's; new code imports that.
"""

from tfnz_notebook import __version__

__all__ = ["__version__"]
