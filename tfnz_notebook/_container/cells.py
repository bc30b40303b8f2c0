"""Cells that run in a container: interpreters that are kept between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfnz_notebook._calls import arguments
from tfnz_notebook._container.base import Base

if TYPE_CHECKING:
    from tfnz_notebook.container import Container
    from tfnz_notebook.interpreter import Interpreter


class Cells(Base):
    """One interpreter for each kind and context, started by its first cell."""

    def python(self, context: str = "default", *, trust: bool = False) -> Interpreter:
        """Its own Python (3.8 or newer), kept between cells: what one defines, the next has.

        Nothing is installed: a program goes through stdin, of the standard library. Where there is
        ipykernel (6 or newer), that runs the cells: with magics, ``!`` and ``?``. Each ``context``
        has variables of its own::

            python = container.python()
            python.run('x = 6')
            python.run('x * 7').text         # '42'

        ``trust``: whether what it shows may be anything, scripts included; else text and pictures
        are shown, and HTML in a frame that runs nothing and reaches nothing.
        """
        return self._interpreter("python", context, trust)

    def bash(self, context: str = "default") -> Interpreter:
        r"""Its bash, or ``/bin/sh``, kept between cells: its directory and variables stay.

        Of what it writes there is one stream, as on a terminal::

            bash = container.bash()
            bash.run('cd /tmp; x=5')
            bash.run('echo $PWD $x').stdout  # b'/tmp 5\n'
        """
        return self._interpreter("bash", context, False)

    def _interpreter(self, kind: str, context: str, trust: bool) -> Interpreter:
        # Not before: who runs no cells need not load what they take.
        from tfnz_notebook._container.conversation import Conversation
        from tfnz_notebook.interpreter import Interpreter

        name = arguments.name(f"make a {kind} interpreter", "context", context)
        kept = self._conversations
        found = kept.get((kind, name))
        if found is None:
            container: Container = getattr(self, "_of", self._me)  # a twin's
            found = kept[kind, name] = Conversation(container, kind, name)
        return Interpreter._create(found, kind, name, bool(trust))
