"""Tab and Shift-Tab in a cell that runs in a container, from the interpreter that will run it.

One that runs a cell, or was never asked for anything, is not asked: nothing is offered then. Nor is
an answer awaited for longer than a quarter of a second.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tfnz_notebook._link.thread import io
from tfnz_notebook.errors import TfnzError
from tfnz_notebook.magics.completion.sources import PATIENCE, Offer, Sources
from tfnz_notebook.magics.parse import Parser
from tfnz_notebook.magics.shown.text import clean

if TYPE_CHECKING:
    from tfnz_notebook._container.conversation import Conversation

_CELL: Final = re.compile(r"\s*%%(tf_python|tf_bash)\s(.*)")
#: Characters of a line that are looked at.
_LONGEST: Final = 4096


class Cell(NamedTuple):
    """One that runs in a container; of an interpreter that was not asked for yet, there is none."""

    conversation: Conversation | None
    #: Where its first line ends.
    begins: int


class Inside:
    """What the interpreters of one shell's cells know."""

    def __init__(self, sources: Sources, parsers: dict[str, Parser]) -> None:
        self._sources = sources
        self._parsers = parsers
        self._kernel: Any = None
        self._inspect: Callable[..., Any] | None = None

    def cell(self, text: str) -> Cell | None:
        """The cell that this is, if it runs in a container."""
        first, newline, _ = text.partition("\n")
        found = _CELL.fullmatch(first)
        if found is None or not newline:
            return None
        begins = len(first) + 1
        try:
            asked = self._parsers[found[1]].read(found[2])
        except TfnzError:
            asked = None
        container = asked and self._sources.known_container(asked.container)
        if not asked or container is None:
            return Cell(None, begins)
        kept = container._conversations.get((found[1].removeprefix("tf_"), asked.context))
        return Cell(kept, begins)

    def complete(self, text: str, row: int, column: int) -> tuple[str, list[Offer]] | None:
        """What is typed, and what may stand there; None where that is not a cell of these."""
        cell = self.cell(text) if row else None
        if cell is None:
            return None
        line = text.split("\n")[row][:column][-_LONGEST:]
        asked = self._ask(cell, "complete", line)
        try:
            told = asked.result(PATIENCE) if asked else None
        except TimeoutError:
            told = None
        if told is None or not line.endswith(told["typed"]):
            return "", []
        return told["typed"], [Offer(n, kind) for n, kind in told["offers"] if n.isprintable()]

    def _ask(self, cell: Cell, do: str, text: str) -> Future[dict[str, Any] | None] | None:
        if cell.conversation is None:
            return None
        return asyncio.run_coroutine_threadsafe(cell.conversation.look(do, text), io().loop)

    # -- Shift-Tab: a kernel is asked with the whole cell, a shell with a name alone

    def install(self, kernel: Any) -> None:
        """Have the kernel ask us first, if there is one."""
        if kernel is not None and hasattr(kernel, "do_inspect"):
            self._kernel, self._inspect = kernel, kernel.do_inspect
            kernel.do_inspect = self._do_inspect

    def remove(self) -> None:
        """What :meth:`install` did."""
        if self._kernel is not None:
            del self._kernel.do_inspect
            self._kernel = self._inspect = None

    async def _do_inspect(self, code: str, cursor_pos: int, *args: Any, **more: Any) -> Any:
        cell = self.cell(code)
        if cell is not None and cursor_pos >= cell.begins:
            said = await self._about(cell, code, cursor_pos)
            data = {"text/plain": said} if said else {}
            return {"status": "ok", "found": bool(said), "data": data, "metadata": {}}
        assert self._inspect is not None
        found = self._inspect(code, cursor_pos, *args, **more)
        return await found if asyncio.iscoroutine(found) else found

    async def _about(self, cell: Cell, code: str, cursor: int) -> str:
        from IPython.utils.tokenutil import token_at_cursor

        name = token_at_cursor(code[cell.begins :], cursor - cell.begins)
        asked = self._ask(cell, "inspect", name) if name else None
        if asked is None:
            return ""
        try:
            async with asyncio.timeout(PATIENCE):
                told = await asyncio.wrap_future(asked)
        except TimeoutError:
            return ""
        return clean(told["text"]) if told else ""
