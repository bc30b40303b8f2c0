"""A question to a process: write to its stdin, wait until it waits for input again.

The guest knows when a process waits (PROTOCOL.md, AWAIT), so an answer is neither the next packet
nor what came within some time, but all that was written in between.
"""

from __future__ import annotations

import asyncio
import contextlib

from tfnz_notebook._wire.guest import Frame, Reason, Type
from tfnz_notebook.agent.processes import Process
from tfnz_notebook.errors import ContainerGone, ProcessGone, WaitTimeout


async def ask(
    process: Process, chunk: bytes, timeout: float | None, settle: bool
) -> dict[str, int | str]:
    """Write ``chunk`` and wait until the process waits for input again.

    The answer's offsets say where in the logs it is. Raises WaitTimeout, ProcessGone.
    """
    try:
        async with asyncio.timeout(timeout), process.turn:
            process.alive("ask")
            start = [log.head for log in process.logs]
            if settle:
                waiting = await _await_input(process)
                start = [waiting.values[3], waiting.values[4]]
                if waiting.values[1] == Reason.ENDED:
                    await process.done.wait()
                    process.alive("ask")
            await process.stdin(chunk)
            waiting = await _await_input(process)
    except TimeoutError:
        raise WaitTimeout(
            f"Cannot return the reply: the process did not wait for input within {timeout} s. "
            "Its output so far is in its log; give a longer timeout."
        ) from None
    ended = waiting.values[1] == Reason.ENDED
    if ended:
        await process.done.wait()
    return {
        "reason": "ended" if ended else "input",
        "out_from": start[0],
        "out": waiting.values[3],
        "err_from": start[1],
        "err": waiting.values[4],
    }


def close_stdin(process: Process) -> None:
    """End of file after what is queued. A second call changes nothing.

    On a terminal that is a character somebody types. A shell that is about to switch the terminal
    from cooked to raw would throw it away, so it is typed once the process waits for input.
    """
    if not process.command.tty or process.returncode is not None:
        process.input.close()
        return
    process.input.close(hold=True)

    async def type_it() -> None:
        with contextlib.suppress(ProcessGone, ContainerGone):
            await _await_input(process)
            process.input.close()

    process.closing = asyncio.create_task(type_it())


async def _await_input(process: Process) -> Frame:
    while True:
        try:
            return await process.guest.request(Type.AWAIT, process.channel, process.input.end)
        except ContainerGone:
            # The connection broke, not the container: ask again once it is back.
            process.alive("ask")
            await process.guest.up()
