r"""Public fakes, for tests of code that uses this package, and for our own.

``Location('fake')`` is a location without any engine: an agent over an engine in memory, whose
containers can run ``echo``, ``cat``, ``sleep`` and a few commands more. The examples in these pages
are executed there::

    >>> from tfnz_notebook.location import Location
    >>> with Location('fake') as location:
    ...     location.run('debian', 'echo hello').stdout
    b'hello\n'

:class:`FakeEngine` is an engine in memory: containers are Python objects, their processes
coroutines. Add commands of your own, each ``async def program(p) -> exit code``::

    async def greet(p):
        await p.write(b"hello\n")
        return 0

    engine = FakeEngine(programs={"greet": greet})

It passes the contract suite that the real engines pass, but for what only a kernel can do.
"""

from __future__ import annotations

from tfnz_notebook.engines.fake import programs as fake_programs
from tfnz_notebook.engines.fake.engine import FakeEngine, World
from tfnz_notebook.engines.fake.programs import Program

__all__ = ["FakeEngine", "Main", "Program", "World"]

Main = fake_programs.Main
"""A program: what it is given is the process it runs in, what it returns is its exit code."""
