"""Waiting for conditions: of :mod:`tfnz_notebook.waits`, all of them or any."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tfnz_notebook import waits
from tfnz_notebook._calls import arguments
from tfnz_notebook._calls.faces import face
from tfnz_notebook._container.ports import Ports
from tfnz_notebook.errors import WaitTimeout
from tfnz_notebook.waits import Condition

if TYPE_CHECKING:
    from tfnz_notebook.container import Container

_DOING = "wait until"


class Conditions(Ports):
    """One deadline for all of them."""

    @face
    async def wait_until(
        self,
        *conditions: Condition,
        any: bool = False,  # noqa: A002  # as people say it
        timeout: float | None = 60.0,
    ) -> Container:
        """Wait until conditions of ``tfnz_notebook.waits`` hold: all of them, or ``any``.

        Each has to hold once, and is asked anew until it does, a bounded attempt at a time. For
        example ``wait_until(http(8080, '/health'), log('ready'), timeout=30)``. WaitTimeout, with
        what each still lacks and the log's tail, after ``timeout`` seconds for all; fails at once
        when the container has exited.
        """
        seconds = arguments.seconds(_DOING, "timeout", timeout)
        wanted = waits.check(conditions)
        lacking = dict.fromkeys((str(each) for each in wanted), "it does not run yet")
        tasks = [
            asyncio.ensure_future(
                self._until(_DOING, str(each), each.begin(self._me), lacking, after=each.after)
            )
            for each in wanted
        ]
        when = asyncio.FIRST_COMPLETED if any else asyncio.FIRST_EXCEPTION
        try:
            done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=when)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()  # or what it raises
        if len(done) == len(tasks) or (any and done):
            return self._me
        log, tail = await self._last_words()
        said = "; ".join(f"{what}: {why}" for what, why in lacking.items() if why)
        raise WaitTimeout(
            f"Cannot {_DOING} {'any' if any and len(tasks) > 1 else 'it'} holds any longer, after "
            f"{timeout} s. {said}. Look at container.logs().{tail}",
            log=log,
        )
