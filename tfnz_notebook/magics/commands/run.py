"""``%tf_run`` and ``%%tf_run``: a process in a container that runs.

In the foreground the cell waits, and output streams; see ``waiting`` for interrupts. The body of
a cell is fed to its interpreter's stdin, as IPython's ``%%script`` does: no file is left behind,
and nothing limits its length.
"""

from __future__ import annotations

import argparse
import os
from typing import Any, Final

from tfnz_notebook._calls.spec import from_here
from tfnz_notebook.container import Container
from tfnz_notebook.errors import Misuse, ProcessGone
from tfnz_notebook.magics import again
from tfnz_notebook.magics.commands import waiting
from tfnz_notebook.magics.here import Here
from tfnz_notebook.magics.parse import Parser
from tfnz_notebook.magics.table import Magic, one_of
from tfnz_notebook.process import Process

#: Runs a cell's script where no interpreter is named.
INTERPRETER: Final = "/bin/sh"
_DOING: Final = "run a process"


def process_options(parser: Parser) -> None:
    """The options of what starts processes."""
    parser.add("-e", "--env", action="append", default=[], metavar="NAME=VALUE", help="a variable")
    parser.add("--cwd", metavar="DIR", kind="inside", help="its working directory")
    parser.add("-u", "--user", metavar="USER", help="name or uid, or either with :group")


def _parser() -> Parser:
    parser = Parser(
        "tf_run",
        "Run a command in a container. What follows CONTAINER goes to /bin/sh -c as it is typed.\n"
        "As a cell magic the command is an interpreter (default /bin/sh) that reads the cell from\n"
        "its stdin.",
        command=True,
        cell=True,
        epilog="The cell waits: interrupt it once to interrupt the process, twice to kill it.\n"
        "A code other than 0 raises ProcessFailed. Returns the Process.",
    )
    parser.add("container", metavar="CONTAINER", kind="container", help="variable, name, tag or id")
    parser.add("-d", "--detach", action="store_true", help="do not wait: it runs on under the cell")
    parser.add("-t", "--tty", action="store_true", help="give it a terminal")
    parser.add("-i", "--stdin", action="store_true", help="have a line to type into its stdin")
    parser.add("--timeout", type=float, metavar="S", help="end it after so many seconds")
    parser.add("--check", default="yes", kind="yesno", metavar="yes|no", help="no: never raise")
    process_options(parser)
    again.options(parser)
    return parser


def run_line(here: Here, asked: argparse.Namespace) -> Process:
    """``%tf_run``."""
    if not asked.command:
        raise Misuse(f"Cannot {_DOING}: no command is given. %tf_shell opens a shell.")
    return run(here, here.container(asked.container), asked.command, asked)


def run_cell(here: Here, asked: argparse.Namespace, body: str) -> Process:
    """``%%tf_run``."""
    return script(here, here.container(asked.container), asked, body)


def script(here: Here, container: Container, asked: argparse.Namespace, body: str) -> Process:
    """Run a cell's body."""
    if asked.tty or asked.stdin:
        raise Misuse(
            f"Cannot {_DOING} with a terminal or a line for stdin: its stdin is the cell. "
            "Put the script into a file with %tf_put, and %tf_run that."
        )
    return run(here, container, asked.command or INTERPRETER, asked, body.encode())


def run(
    here: Here,
    container: Container,
    command: str,
    asked: argparse.Namespace,
    given: bytes | None = None,
) -> Process:
    """Start a command and, but for ``-d``, wait for it. ``given``: all of its stdin."""
    check = one_of(_DOING, "--check", asked.check, ("yes", "no")) == "yes"
    options: dict[str, Any] = {
        "env": from_here(asked.env, dict(os.environ)),
        "cwd": asked.cwd,
        "user": asked.user,
        "timeout": asked.timeout,
    }
    container.wait_until_ready()
    origin = here.again.origin(container.id, command, options, asked.tty, given)
    last = here.again.process(container, origin, asked, first=not asked.tty)
    with waiting.Interrupts() as interrupts:
        if last.again is not None:
            process = last.again
            interrupts.watch(process)
            here.screen.again(process)
        elif asked.tty:
            process = here.screen.shell(container, command, {**options, "origin": origin})
            interrupts.watch(process)
        else:
            if last.first:
                _may_begin(container, options)
                here.again.replace(last, first=True)
            process = again.spawned(container, command, origin, **options)
            interrupts.watch(process)
            here.screen.output(process, stdin=asked.stdin, waits=not asked.detach)
            _feed(process, given, more=asked.stdin or (asked.detach and given is None))
        here.again.made(process)
        here.again.replace(last)
        if asked.detach:
            return process
        left = (asked.tty or asked.stdin) and here.screen.attached(process, stdin=asked.stdin)
        if left:
            return process
        waiting.until_ended(process)
    here.screen.settle(process)
    if check:
        waiting.judge(process, timeout=asked.timeout, interrupted=interrupts.count > 0)
    return process


def _may_begin(container: Container, options: dict[str, Any]) -> None:
    """Before another process goes for it: raise what would keep it from being started.

    What it needs at its engine is there; a user and a directory it alone names.
    """
    if options["user"] is not None or options["cwd"] is not None:
        container.spawn_process(":", cwd=options["cwd"], user=options["user"])


def _feed(process: Process, given: bytes | None, *, more: bool) -> None:
    """Give it its stdin, and the end of that unless there may be more."""
    try:
        if given:
            process.stdin(given)
        if not more:
            process.close_stdin()
    except ProcessGone:
        pass  # it ended without reading all of it, as it may


MAGICS: Final = (Magic(_parser(), run_line, run_cell),)
