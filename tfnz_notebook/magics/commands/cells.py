"""``%%tf_python`` and ``%%tf_bash``: cells that run in a container, in what is kept there.

They answer as other cells do: text as it comes, figures, the last expression's value, tracebacks,
a question where ``input()`` asks one. The first interrupt is for the cell, the second ends its
interpreter, the third gives up.
"""

from __future__ import annotations

import argparse
import getpass
from types import FrameType
from typing import Any, Final

from tfnz_notebook.errors import Misuse
from tfnz_notebook.interpreter import Displayed, Interpreter, Result
from tfnz_notebook.magics.commands import waiting
from tfnz_notebook.magics.here import Here
from tfnz_notebook.magics.parse import Parser
from tfnz_notebook.magics.shown.text import Printer, clean
from tfnz_notebook.magics.table import Magic, one_of
from tfnz_notebook.process import Process


def _parser(name: str, description: str, epilog: str) -> Parser:
    parser = Parser(name, description, cell=True, epilog=epilog)
    parser.add("container", metavar="CONTAINER", kind="container", help="variable, name, tag or id")
    parser.add("--context", default="default", metavar="NAME", help="another one, of this name")
    parser.add("--timeout", type=float, metavar="S", help="interrupt it after so many seconds")
    return parser


def _python() -> Parser:
    parser = _parser(
        "tf_python",
        "Run the cell in a container, by its own python3 (3.8 or newer), which is kept between\n"
        "cells with all they have defined. Nothing is installed there. Where it has ipykernel,\n"
        "magics, !commands and questions with ? are run there, too.",
        "Displayed as any cell: output, the last value, figures, tracebacks; input() asks here.\n"
        "Interrupt it once to interrupt the cell, twice to end its interpreter: the next cell\n"
        "begins anew. HTML is shown in a frame that can do nothing.",
    )
    parser.add(
        "--in",
        dest="given",
        action="append",
        default=[],
        metavar="NAME",
        help="a variable of this notebook that the cell has: a JSON value, bytes, or a table",
    )
    parser.add(
        "--out",
        dest="wanted",
        action="append",
        default=[],
        metavar="NAME",
        help="a variable of the cell that this notebook has afterwards, likewise",
    )
    parser.add("--trust", action="store_true", help="show whatever it says, scripts included")
    return parser


def _bash() -> Parser:
    parser = _parser(
        "tf_bash",
        "Run the cell in a container, by its bash, or else /bin/sh, which is kept between cells:\n"
        "its directory and its variables stay.",
        "Interrupt it once to interrupt the cell, twice to end its shell.\n"
        "A code other than 0 raises CellFailed.",
    )
    parser.add("--check", default="yes", kind="yesno", metavar="yes|no", help="no: never raise")
    return parser


class Interrupts(waiting.Interrupts):
    """While a cell runs in a container: what SIGINT does."""

    def __init__(self, interpreter: Interpreter) -> None:
        super().__init__()
        self._interpreter = interpreter
        self._asking = False

    def _heard(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.count += 1
        conversation = self._interpreter._conversation
        if self._asking or self._interpreter.process is None or self.count > 2:
            raise KeyboardInterrupt
        if self.count == 1:
            waiting.background(conversation.interrupt())
        else:
            waiting.background(conversation.kill("as it was interrupted a second time"))

    def ask(self, process: Process, prompt: str, hidden: bool) -> str:
        """Where the cell calls input(): ask here. An interrupt is for that call."""
        del process
        self._asking = True
        try:
            return getpass.getpass(clean(prompt)) if hidden else input(clean(prompt))
        finally:
            self._asking = False


def python_cell(here: Here, asked: argparse.Namespace, body: str) -> Result | None:
    """``%%tf_python``."""
    interpreter = here.container(asked.container).python(asked.context, trust=asked.trust)
    count = here.shell.displayhook.prompt_count  # as its prompt has it
    missing = [name for name in asked.given if name not in here.variables]
    if missing:
        raise Misuse(
            f"Cannot hand over {missing[0]}: there is no such variable here. Set it first."
        )
    inputs = {name: here.variables[name] for name in asked.given}
    more = {"name": f"In [{count}]", "inputs": inputs, "outputs": asked.wanted}
    result = _run(here, interpreter, asked, body, **more)
    if result.error is not None:
        raise result.error
    here.variables.update({name: result.variables[name] for name in asked.wanted})
    return None if result.value is None else result


def bash_cell(here: Here, asked: argparse.Namespace, body: str) -> None:
    """``%%tf_bash``."""
    check = one_of("run a cell", "--check", asked.check, ("yes", "no")) == "yes"
    result = _run(here, here.container(asked.container).bash(asked.context), asked, body)
    if check and result.error is not None:
        raise result.error


def _run(
    here: Here, interpreter: Interpreter, asked: argparse.Namespace, body: str, **more: Any
) -> Result:
    if not body.strip():
        raise Misuse("Cannot run a cell: there is nothing in it. Write below its first line.")
    printer = Printer()
    end_line = printer.finish if not here.notebook else lambda: None

    def show(process: Process, value: Displayed) -> None:
        del process
        end_line()
        here.screen.value(value, trusted=interpreter.trusted)

    def clear(process: Process, wait: bool) -> None:
        del process
        here.screen.clear(wait=wait)

    with Interrupts(interpreter) as interrupts:
        try:
            result = interpreter.run(
                body.removesuffix("\n"),
                data_callback=printer.out,
                stderr_callback=printer.err,
                display_callback=show,
                input_callback=interrupts.ask,
                clear_callback=clear,
                timeout=asked.timeout,
                **more,
            )
        finally:
            end_line()
    if result.left_out:
        print(f"[left out: {', '.join(result.left_out)}]")  # noqa: T201  # for the user
    return result


MAGICS: Final = (Magic(_python(), None, python_cell), Magic(_bash(), None, bash_cell))
