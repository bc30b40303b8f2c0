"""The callbacks of one process: its output, in order, and then its end.

Readers bring the bytes to the I/O loop, the process's lane takes them to where callbacks run. The
termination callback is queued when everything that was written before the end has been: END says
how much that is. What descendants write later is delivered after it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

from tfnz_notebook._calls.changes import Changes
from tfnz_notebook._calls.dispatch import Item, Lane
from tfnz_notebook._link.link import Link
from tfnz_notebook._link.reader import WINDOW, Reader
from tfnz_notebook._link.thread import io
from tfnz_notebook.errors import Misuse, TfnzError

Data = Callable[[Any, bytes], object]
#: Bytes that callbacks have taken before the I/O loop is told: each telling is a wake-up.
TELL: Final = WINDOW // 8


class _Output:
    """One stream: reader, callback, and how far it has come."""

    def __init__(self, follower: Follower, stream: int, callback: Data, offset: int) -> None:
        self._follower = follower
        self._callback = callback
        self._untold = 0
        self.over = False
        self.reader = Reader(
            follower.link, follower.ident, stream, offset, self._received, self._ended
        )

    def _received(self, payload: bytes) -> None:
        follower = self._follower
        follower.lane.push(Item(self._callback, (follower.subject,), payload, self._ran))
        follower.check()

    def _ran(self, size: int) -> None:
        # On the home's thread; one callback of the lane at a time, so no lock.
        self._untold += size
        if self._untold >= TELL:
            told, self._untold = self._untold, 0
            io().soon(self.reader.taken, told)

    def _ended(self, _error: TfnzError | None) -> None:
        self.over = True
        self._follower.check()


class Follower:
    """Calls ``data`` for each stream given, and ``termination`` with the return code."""

    def __init__(
        self,
        link: Link,
        lane: Lane,
        ident: str,
        subject: object,
        data: dict[int, Data | None],
        termination: Callable[[int | None], object] | None,
        changes: Changes,
        offsets: dict[int, int] | None = None,
    ) -> None:
        self.link = link
        self.lane = lane
        self.ident = ident
        self.subject = subject
        #: Every callback up to the termination's has run.
        self.settled = False
        self._changes = changes
        self._termination = termination
        self._final: dict[int, int] | None = None
        self._returncode: int | None = None
        self._told = False
        self._outputs = {
            stream: _Output(self, stream, callback, (offsets or {}).get(stream, 0))
            for stream, callback in data.items()
            if callback is not None
        }

    @property
    def readers(self) -> list[Reader]:
        """To be opened by whoever made this."""
        return [output.reader for output in self._outputs.values()]

    def ended(self, info: dict[str, Any]) -> None:
        """The process ended, and had written as much as its ``info`` says."""
        self._final = {1: int(info.get("out") or 0), 2: int(info.get("err") or 0)}
        self._returncode = info.get("returncode")
        self.check()

    def check(self) -> None:
        """Queue the termination if its time has come."""
        if self._final is None or self._told:
            return
        for stream, output in self._outputs.items():
            if not output.over and output.reader.offset < self._final[stream]:
                return
        self._told = True
        function = self._termination
        arguments = () if function is None else (self._returncode,)
        self.lane.push(Item(function, arguments, None, self._ran))

    def _ran(self, _size: int) -> None:
        io().soon(self._settle)

    def _settle(self) -> None:
        self.settled = True
        self._changes.tell()

    def close(self) -> None:
        """Want no more output."""
        for output in self._outputs.values():
            output.over = True
            output.reader.close()
        self.check()


def callback(doing: str, name: str, value: object) -> None:
    """A function to call back, or None."""
    if value is None:
        return
    if not callable(value):
        raise Misuse(f"Cannot {doing}: {name} is a {type(value).__name__}. Give a function.")
    if inspect.iscoroutinefunction(value):
        raise Misuse(
            f"Cannot {doing}: {name} is a coroutine function, which nobody would await. "
            "Give a plain function, or iterate with 'async for' instead."
        )


def callbacks(doing: str, data: object, termination: object, stderr: object) -> None:
    """The three functions that follow a process, each may be None."""
    callback(doing, "data_callback", data)
    callback(doing, "termination_callback", termination)
    callback(doing, "stderr_callback", stderr)


def _positional(function: Callable[..., object]) -> tuple[list[inspect.Parameter], bool] | None:
    """Its positional parameters, and whether it takes more of them; None of who does not say."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a builtin
        return None
    named = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return named, any(p.kind is p.VAR_POSITIONAL for p in parameters)


def takes_nothing(function: Callable[..., object]) -> bool:
    """Whether a termination callback can be given nothing, as a method like ``disconnect``."""
    return _positional(function) == ([], False)


def takes_returncode(function: Callable[..., object]) -> bool:
    """Whether a termination callback wants the code too, by its required positional parameters."""
    told = _positional(function)
    if told is None:
        return False
    positional, variadic = told
    required = [p for p in positional if p.default is p.empty]
    return (
        len(required) >= 2
        or (variadic and len(positional) < 2)
        or (len(positional) == 2 and positional[1].name == "returncode")
    )


def termination(
    function: Callable[..., object] | None, subject: object
) -> Callable[[int | None], object] | None:
    """A user's termination callback, with or without the return code, as one of the code."""
    if function is None:
        return None
    if takes_nothing(function):
        return lambda _returncode: function()
    if takes_returncode(function):
        return lambda returncode: function(subject, returncode)
    return lambda _returncode: function(subject)
