"""A cell that waits for a process: interrupts go to the process, its end comes back.

The first interrupt sends INT to everything the process started, or types Ctrl-C on its terminal;
the second kills; the third gives up, and says that the process may go on. All of that from a
signal handler, so that an interrupt is never lost between two steps of ours.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine
from types import FrameType, TracebackType
from typing import Any, Final, Self

from tfnz_notebook._base.names import signal_name
from tfnz_notebook._base.text import clip, last_words
from tfnz_notebook._link.thread import io
from tfnz_notebook._wire import starts
from tfnz_notebook.container import Container
from tfnz_notebook.errors import ProcessFailed, ProcessGone, TfnzError, WaitTimeout
from tfnz_notebook.process import Process

#: Most of its last words that go into the error of a process that failed: lines, characters.
TAIL: Final = (12, 2000)
_CODES: Final = {126: "it cannot be executed", 127: "there is no such command"}


def background(coroutine: Coroutine[Any, Any, object]) -> None:
    """Run it on the I/O loop; what it raises is nobody's business."""

    async def run() -> None:
        try:
            await coroutine
        except TfnzError:
            pass

    asyncio.run_coroutine_threadsafe(run(), io().loop)


async def removed_after(
    process: Process,
    container: Container,
    kept: Callable[[str], Coroutine[Any, Any, None]] | None = None,
) -> None:
    """Destroy the container once its process has ended and, by ``kept``, what is shown of it."""
    try:
        await process.aio.wait()
    except TfnzError:
        pass  # gone already, with its container or its agent
    if kept is not None:
        await kept(container.id)
    await container.aio.destroy()


class Interrupts:
    """While a process is started and waited for: what SIGINT does.

    Before :meth:`watch` knows the process, the first interrupt is kept for it and the second
    raises KeyboardInterrupt. On other threads than the main one no interrupts arrive.
    """

    def __init__(self) -> None:
        self.count = 0
        self._process: Process | None = None
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._heard)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def watch(self, process: Process) -> None:
        """Interrupts are for this process from now on."""
        self._process = process
        if self.count:
            self._act(process)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.count += 1
        if self._process is not None:
            self._act(self._process)
        elif self.count > 1:
            raise KeyboardInterrupt

    def _act(self, process: Process) -> None:
        if self.count == 1:
            if process.tty:
                background(process.aio.stdin(b"\x03"))
            else:
                background(process.aio.signal("INT", tree=True))
        elif self.count == 2:
            background(_kill(process))
        else:
            raise KeyboardInterrupt


async def _kill(process: Process) -> None:
    try:
        await process.aio.destroy(grace=0.0)
    except ProcessGone:
        # Its leader has ended, but not all that it started: those still hold the cell's output.
        await process.aio.signal("KILL", tree=True)


def until_ended(process: Process) -> None:
    """Wait for its end, users' callbacks running meanwhile; what stops that says what goes on."""
    try:
        process.wait()
    except BaseException as error:
        if process.returncode is None:
            error.add_note(
                f"The process {clip(process.command, 60)!r} (pid {process.pid}) may still run: "
                f"%tf_attach shows it again, %tf_stop {process.id[:8]} ends it."
            )
        raise


def judge(process: Process, *, timeout: float | None, interrupted: bool) -> None:
    """Raise what its end was, unless that was good: ProcessFailed, WaitTimeout."""
    code = process.returncode
    if process.timed_out:
        raise WaitTimeout(
            f"Cannot complete {_short(process)} within {timeout:g} s: it was ended. "
            "Give it more time.",
            **_details(process),
        )
    if not code:
        return
    details = _details(process)
    log = details["stderr"] or (details["stdout"] if process.tty else b"")
    said = last_words(log, lines=TAIL[0], most=TAIL[1])
    cause = f"it ended with code {code}"
    if code < 0:
        cause = f"it was ended by {signal_name(-code, numbered=True)}"
    if interrupted:
        cause = f"it was interrupted, and {cause.removeprefix('it was ').removeprefix('it ')}"
    elif process.oom:
        cause = "it was killed for the container's memory limit"
    elif code in _CODES:
        cause = f"{_CODES[code]} (code {code})"
    raise ProcessFailed(
        f"Cannot complete {_short(process)}: {cause}."
        + (f" Its last words:\n{said}" if said else " It said nothing on stderr.")
        + starts.forbidden(log).replace(" ", "\n", 1),
        **details,
    )


def _short(process: Process) -> str:
    return repr(clip(process.command, 200))


def _details(process: Process) -> dict[str, Any]:
    """Its code and the ends of what it said, 64 KiB each at most."""
    return {
        "returncode": process.returncode,
        "stdout": _end_of(process, "out"),
        "stderr": b"" if process.tty else _end_of(process, "err"),
    }


def _end_of(process: Process, stream: str) -> bytes:
    length = int(process._info.get(stream) or 0)  # else all of it is to be read
    try:
        offset = max(0, length - (64 << 10))
        return process.log(offset, "stdout" if stream == "out" else "stderr", limit=64 << 10)
    except TfnzError:
        return b""  # the container went with it
