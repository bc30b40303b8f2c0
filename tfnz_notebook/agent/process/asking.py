"""What goes into a process's stdin: writes, questions, the end. Each of them once.

A question: write to stdin, wait until the process waits for input again. The guest knows when a
process waits (PROTOCOL.md, AWAIT), so an answer is neither the next packet nor what came within
some time, but all that was written in between.

``key`` names a request that its kernel may repeat, to this agent or to a later one (``writes``).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from tfnz_notebook._wire.guest import Frame, Reason, Type
from tfnz_notebook.agent.process.kept.ended import Ended
from tfnz_notebook.agent.process.writes import Write
from tfnz_notebook.errors import ContainerGone, ProcessGone, WaitTimeout

if TYPE_CHECKING:
    from tfnz_notebook.agent.process.process import Process


async def write(process: Process | Ended, chunk: bytes, key: str = "") -> None:
    """Write to its stdin; returns once the guest has it all. Raises ProcessGone."""
    if isinstance(process, Ended):
        process.written(key, "write to stdin")
        return
    with process.writes.awaited(process.ident, key):
        async with process.input.turn:
            # Beyond what is held for a process that does not read, its writers wait here.
            await process.input.room()
            written = _put(process, chunk, key)
        await process.input.arrived(written.end)


async def begin_stdin(process: Process, chunk: bytes | None, *, last: bool) -> None:
    """What its stdin begins with, and whether it ends there. ProcessGone is no error here."""
    with contextlib.suppress(ProcessGone):
        if chunk:  # under a name of its own: a spawn that is said again writes nothing twice
            await write(process, chunk, f"{process.ident} begins")
        if last and process.returncode is None:
            close_stdin(process)


def _put(process: Process, chunk: bytes, key: str, before: tuple[int, int] | None = None) -> Write:
    """Queue it, or what of it has not arrived yet. ``before``: where the outputs were."""
    known = process.writes.find(process.ident, key)
    if known is not None and (known.got is None or known.got == known.size):
        return known
    if known is None or process.returncode is None:
        process.alive("write to stdin")
        got = known.got or 0 if known is not None else 0
        out, err = (known.out, known.err) if known is not None else before or (0, 0)
        written = Write(process.input.head - got, len(chunk), out, err)
        # Noted before it is sent: of what is not noted nothing has arrived.
        process.writes.note(process.ident, key, written)
        process.input.write(chunk[got:])
        return written
    return known  # it ended with a part of it unread, as it may


async def ask(
    process: Process | Ended, chunk: bytes, timeout: float | None, settle: bool, key: str = ""
) -> dict[str, int | str]:
    """Write ``chunk`` and wait until the process waits for input again.

    The answer's offsets say where in the logs it is. Raises WaitTimeout, ProcessGone.
    """
    if isinstance(process, Ended):
        return _reply("ended", process.written(key, "ask"), process.final)
    try:
        with process.writes.awaited(process.ident, key):
            async with asyncio.timeout(timeout), process.turn:
                written = process.writes.find(process.ident, key)
                before = None
                if written is None:
                    before = await _before(process, settle)
                async with process.input.turn:
                    await process.input.room()
                    written = _put(process, chunk, key, before)
                waiting = await _await_input(process)
    except TimeoutError:
        raise WaitTimeout(
            f"Cannot return the reply: the process did not wait for input within {timeout} s. "
            "Its output so far is in its log; give a longer timeout."
        ) from None
    if waiting is None or waiting.values[1] == Reason.ENDED:
        await process.done.wait()
        reason, (out, err) = "ended", process.final or (0, 0)
    else:
        reason, (out, err) = "input", waiting.values[3:5]
    return _reply(reason, written, (out, err))


def _reply(reason: str, written: Write, end: tuple[int, int]) -> dict[str, int | str]:
    out, err = end
    # Of what had come before the question, its container's end may have taken the last.
    starts = {"out_from": min(written.out, out), "err_from": min(written.err, err)}
    return {"reason": reason, **starts, "out": out, "err": err}


async def _before(process: Process, settle: bool) -> tuple[int, int]:
    """Where its outputs are before a question; with ``settle`` once it waits for input."""
    process.alive("ask")
    out, err = (log.head for log in process.logs)
    if settle:
        waiting = await _await_input(process)
        if waiting is None or waiting.values[1] == Reason.ENDED:
            await process.done.wait()
            process.alive("ask")
        else:
            out, err = waiting.values[3:5]
    return out, err


def close_stdin(process: Process | Ended) -> None:
    """End of file after what is queued. A second call changes nothing.

    On a terminal that is a character somebody types. A shell that is about to switch the terminal
    from cooked to raw would throw it away, so it is typed once the process waits for input.
    """
    if isinstance(process, Ended):
        return
    if process.returncode is None:
        process.writes.close(process.ident)
    if not process.command.tty or process.returncode is not None:
        process.input.close()
        return
    process.input.close(hold=True)

    async def type_it() -> None:
        with contextlib.suppress(ProcessGone, ContainerGone):
            await _await_input(process)
            process.input.close()

    process.closing = asyncio.create_task(type_it())


async def _await_input(process: Process) -> Frame | None:
    """WAITING, once it is; None if it ended under an earlier agent."""
    while process.channel and process.returncode is None:
        try:
            return await process.guest.request(Type.AWAIT, process.channel, process.input.head)
        except ContainerGone:
            # The connection broke, not the container: ask again once it is back.
            try:
                await process.guest.up()
            except ContainerGone:
                if process.returncode is None:
                    raise
    return None
