"""The parts of a container, one concern a file; :class:`tfnz_notebook.container.Container` has all.

``base``      what it is, what is heard of it, and whether it can be used
``processes`` spawning, running, shells
``files``     put, fetch, list
``ports``     waiting for them, tunnels to them
``conditions`` waiting for anything
``cells``     interpreters that run cells; ``conversation`` is with one of them
"""
