"""``timeout=`` of a public call: it bounds all of it, whatever of it hangs.

``async with within("list nodes", timeout):`` around what a method does on the I/O loop. What is
cancelled by that undoes what it began, as after any other cancel.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Final

from tfnz_notebook._calls import arguments
from tfnz_notebook.errors import WaitTimeout

#: Seconds that the agent's own word of a deadline may take.
WORD: Final = 1.0


class within:  # noqa: N801  # read as a statement: async with within(...)
    """Raise WaitTimeout after so many seconds; None: never. Misuse for what is no duration.

    ``slack``: seconds more, where the agent has the same deadline and the better words.
    ``details`` are those of the error.
    """

    def __init__(
        self, doing: str, timeout: float | None, *, slack: float = 0.0, **details: Any
    ) -> None:
        self._doing = doing
        self._details = details
        self._seconds = arguments.seconds(doing, "timeout", timeout)
        self._slack = slack
        self._limit: asyncio.Timeout | None = None

    async def __aenter__(self) -> None:
        if self._seconds is not None:
            self._limit = asyncio.timeout(self._seconds + self._slack)
            await self._limit.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._limit is None:
            return
        try:
            await self._limit.__aexit__(kind, error, trace)
        except TimeoutError:
            raise WaitTimeout(
                f"Cannot {self._doing}: it took longer than {self._seconds:g} s. Give it more "
                "time, or look at what it waits for.",
                **self._details,
            ) from None
