"""An interpreter in a container, kept between the cells that it runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

from tfnz_notebook._base.numbers import size
from tfnz_notebook._base.text import clip, one_line
from tfnz_notebook._calls import arguments
from tfnz_notebook._calls.faces import Closed, Owned, Twin, face
from tfnz_notebook._calls.follow import callback
from tfnz_notebook._container import frames
from tfnz_notebook._container.conversation import Callbacks, Conversation, Displayed, Told
from tfnz_notebook._wire.cells import Table
from tfnz_notebook.errors import CellFailed, Misuse

if TYPE_CHECKING:
    from tfnz_notebook.container import Container
    from tfnz_notebook.process import Process

__all__ = ["Displayed", "Interpreter", "InterpreterAio", "Result"]


@dataclass(frozen=True, repr=False)
class Result:
    """What a cell said. All of it is as the container has it, and to be taken for anything."""

    stdout: bytes
    """What it wrote, as far as that is taken: the first MiB, and its end."""
    stderr: bytes
    """What ``sys.stderr`` was given; of a shell, and of what a cell starts, it is in stdout."""
    returncode: int
    """A shell's code; else 0, or 1 with an error."""
    value: dict[str, Any] | None = None
    """The last expression's value by MIME type, pictures in base64, or None."""
    displays: list[dict[str, Any]] = field(default_factory=list)
    """What it showed on the way, figures included, likewise; of what was shown again, the last."""
    error: CellFailed | None = None
    """What it raised."""
    left_out: list[str] = field(default_factory=list)
    """Of what it showed, what was too large to be taken, in words."""
    variables: dict[str, Any] = field(default_factory=dict)
    """What was asked for with ``outputs``, by name."""
    trusted: bool = False
    """Whether its interpreter was made with ``trust=True``."""

    @property
    def text(self) -> str:
        """The value as text; empty if there is none."""
        return str((self.value or {}).get("text/plain", ""))

    def __repr__(self) -> str:
        if self.error is not None:
            return f"<Result: {clip(str(self.error), 200)}>"
        said = one_line(self.text, 60) or f"{size(len(self.stdout))} of output"
        return f"<Result: {said}>"


class Interpreter(Owned, metaclass=Closed):
    """A Python or a shell of a container, made by ``container.python()`` or ``container.bash()``.

    It starts with its first cell and is a :attr:`process` like any other: its log is what cells
    wrote. Where the session is durable, a kernel that comes later goes on with it. What ends it
    raises ProcessGone, and the next cell has a new one.
    """

    _comes_from = "Use container.python() or container.bash()."

    def __init__(self, conversation: Conversation, kind: str, name: str, trusted: bool) -> None:
        self._conversation = conversation
        self._kind = kind
        self._name = name
        self._trusted = trusted

    @property
    def container(self) -> Container:
        """The container it runs in."""
        return self._conversation._container

    @property
    def context(self) -> str:
        """The name of its context."""
        return self._name

    @property
    def trusted(self) -> bool:
        """Whether what it shows may be anything."""
        return self._trusted

    @property
    def process(self) -> Process | None:
        """Its process, with its log; None before its first cell, and once it has ended."""
        return self._conversation.process

    @property
    def aio(self) -> InterpreterAio:
        """The same interpreter with awaitable methods."""
        return InterpreterAio._see(self)

    def __repr__(self) -> str:
        state = f"pid {self.process.pid}" if self.process else "not started"
        called = self.container._called
        return f"<Interpreter {self._kind}, context {self._name!r}: {state}, in {called}>"

    @face
    async def run(
        self,
        code: str,
        *,
        data_callback: Callable[[Process, bytes], object] | None = None,
        stderr_callback: Callable[[Process, bytes], object] | None = None,
        display_callback: Callable[[Process, Displayed], object] | None = None,
        input_callback: Callable[[Process, str, bool], str] | None = None,
        clear_callback: Callable[[Process, bool], object] | None = None,
        timeout: float | None = None,
        check: bool = False,
        inputs: dict[str, Any] | None = None,
        outputs: Sequence[str] = (),
        name: str = "",
    ) -> Result:
        """Run a cell: statements, of which the last may be an expression, whose value it has.

        Cells run one after the other, those of other kernels too. Callbacks hear of it as it goes:

        :param data_callback: with (process, bytes) of what it writes.
        :param stderr_callback: likewise, of stderr.
        :param display_callback: with (process, data by MIME type) of what it shows. Where that
            has a ``data.place``, another may come for it, with ``data.again``.
        :param input_callback: with (process, prompt, hidden) where it calls ``input()``; returns
            the line. Without one ``input()`` raises EOFError.
        :param clear_callback: with (process, wait) where it calls IPython's ``clear_output()``;
            ``wait``: only once there is something new.
        :param timeout: seconds after which it is interrupted, and if it does not heed that its
            interpreter ended: WaitTimeout.
        :param check: raise CellFailed for what it raises, or a shell's code that is not 0.
        :param inputs: variables that a Python cell finds: JSON values (None, bool, int, float,
            str, lists and dicts of them), bytes, and tables of pandas and pyarrow, where pyarrow is
            on both sides.
        :param outputs: names of variables to be had afterwards, likewise, 6 MiB each and 8 MiB in
            all; they are in the result's ``variables``.
        :param name: what tracebacks call it.

        An interrupt of this call interrupts the cell. Raises ProcessGone if the interpreter ends;
        CommandNotFound if the image has none.
        """
        doing = "run a cell"
        text = _code(doing, code)
        given = Callbacks(
            data_callback, stderr_callback, display_callback, input_callback, clear_callback
        )
        for kind, function in given._asdict().items():
            callback(doing, f"{kind}_callback", function)
        seconds = arguments.seconds(doing, "timeout", timeout)
        called = arguments.text(doing, "name", name, empty=True)
        conversation = self._conversation
        lane = conversation._container._location._lane()
        variables: dict[str, Any] = {}
        if inputs or outputs:
            given_names = _names("hand over", list(inputs or {}))
            values = {name: (inputs or {})[name] for name in given_names}
            tables = {name: value for name, value in values.items() if frames.kind(value)}
            variables = {
                "given": {n: _plain(n, value) for n, value in values.items() if n not in tables},
                "tables": {name: frames.packed(name, value) for name, value in tables.items()},
                "wanted": _names("get", list(outputs)),
            }
            if self._kind != "python":
                raise Misuse(f"Cannot {doing} with variables: its {self._kind} has none of Python.")
        told = await conversation.run(text, called, lane, given, seconds, **variables)
        result = _result(told, self._trusted)
        if check and result.error is not None:
            raise result.error
        return result

    @face
    async def interrupt(self) -> None:
        """Interrupt the cell that runs, as Ctrl-C does: it, and all that it started."""
        await self._conversation.interrupt()

    @face
    async def destroy(self) -> None:
        """End it, and all that it started. The next cell begins anew."""
        await self._conversation.destroy()


class InterpreterAio(Twin, Interpreter):
    """An interpreter whose methods are awaitable."""


def _code(doing: str, code: object) -> str:
    if not isinstance(code, str):
        raise Misuse(f"Cannot {doing}: its code is a {type(code).__name__}. Give a str.")
    if "\0" in code:
        raise Misuse(f"Cannot {doing}: there is a NUL in its code. Leave that out.")
    try:
        code.encode()
    except UnicodeEncodeError:
        raise Misuse(
            f"Cannot {doing}: there is half a surrogate pair in its code. Leave that out."
        ) from None
    return code


def _names(doing: str, names: list[Any]) -> list[str]:
    for name in names:
        if not isinstance(name, str) or not name.isidentifier() or iskeyword(name):
            raise Misuse(
                f"Cannot {doing} a variable: {name!r} is no name of one. Give an identifier."
            )
    return names


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise Misuse(
            f"Cannot hand over {name}: it is neither bytes, a table, nor a value of JSON "
            f"({error}). Convert it, or put it into a file."
        ) from None


def _taken(name: str, value: Any) -> Any:
    return frames.unpacked(name, *value) if isinstance(value, Table) else value


def _result(told: Told, trusted: bool) -> Result:
    done = told.done
    stdout, stderr = told.stream(1), told.stream(2)
    error = None
    code = done["code"]
    if done["error"] is not None:
        what = one_line(": ".join(filter(None, (done["error"]["name"], done["error"]["text"]))))
        error = CellFailed(
            f"Cannot complete the cell: it raised {what}.",
            **done["error"],
            stdout=stdout,
            stderr=stderr,
            returncode=1,
        )
    elif code:
        error = CellFailed(
            f"Cannot complete the cell: it ended with code {code}.",
            stdout=stdout,
            stderr=stderr,
            returncode=code,
        )
    return Result(
        stdout,
        stderr,
        (1 if error else 0) if code is None else code,
        None if done["value"] is None else done["value"]["data"],
        [each["data"] for each in told.values],
        error,
        told.left_out(),
        {name: _taken(name, value) for name, value in (done.get("taken") or {}).items()},
        trusted,
    )
