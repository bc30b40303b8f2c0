r"""Public fakes, for tests of code that uses this package, and for our own.

:class:`FakeEngine` is an engine in memory: containers are Python objects, their processes
coroutines. Add commands of your own, each ``async def program(p) -> exit code``::

    async def greet(p):
        await p.write(b"hello\n")
        return 0

    engine = FakeEngine(programs={"greet": greet})

It passes the contract suite that the real engines pass, but for what only a kernel can do.
"""

from __future__ import annotations

from tfnz_notebook.engines.fake import FakeEngine, World
from tfnz_notebook.engines.fake_programs import Main, Program

__all__ = ["FakeEngine", "Main", "Program", "World"]
