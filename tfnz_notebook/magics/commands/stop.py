"""``%tf_signal`` and ``%tf_stop``."""

from __future__ import annotations

import argparse
from typing import Final

from tfnz_notebook._base.names import signal_number
from tfnz_notebook._base.numbers import plural
from tfnz_notebook.container import Container
from tfnz_notebook.errors import ContainerGone, Misuse, ProcessGone
from tfnz_notebook.magics.here import Here, called, titled
from tfnz_notebook.magics.parse import Parser
from tfnz_notebook.magics.table import Magic
from tfnz_notebook.process import Process


def _signal_parser() -> Parser:
    parser = Parser("tf_signal", "Send a signal to a process, or to a container's main process.")
    parser.add(
        "target", metavar="PROCESS|CONTAINER", kind="target", help="variable, name, pid or id"
    )
    parser.add("signal", metavar="SIGNAL", kind="signal", help="as in TERM, SIGTERM or 15")
    parser.add("--tree", action="store_true", help="to everything it started, too")
    return parser


def signal(here: Here, asked: argparse.Namespace) -> None:
    """``%tf_signal``."""
    number = signal_number(int(asked.signal) if asked.signal.isdecimal() else asked.signal)
    target = here.target(asked.target)
    process = target.main if isinstance(target, Container) else target
    count = process.signal(number, tree=asked.tree)
    if asked.tree:
        print(f"signalled {plural(count, 'process')}")  # noqa: T201  # for the user


def _stop_parser() -> Parser:
    parser = Parser(
        "tf_stop",
        "End processes with all they started, and destroy containers (volumes stay).",
    )
    parser.add(
        *("targets",),
        metavar="CONTAINER|PROCESS",
        nargs="*",
        kind="target",
        help="variable, name, pid or id",
    )
    parser.add("--all", action="store_true", help="all containers of the session")
    parser.add(
        "--grace", type=float, default=5.0, metavar="S", help="from TERM to KILL (default 5)"
    )
    return parser


def stop(here: Here, asked: argparse.Namespace) -> None:
    """``%tf_stop``."""
    if bool(asked.targets) == asked.all:
        raise Misuse("Cannot stop: give either what to stop, or --all.")
    found: list[Container | Process] = [here.target(word) for word in asked.targets]
    if asked.all:
        found += here.location().containers()
    for each in {each.id: each for each in found}.values():
        if isinstance(each, Container):
            _destroy(each, asked.grace)
        else:
            _end(each, asked.grace)
    if asked.all and not found:
        print("there is no container")  # noqa: T201  # for the user


def _destroy(container: Container, grace: float) -> None:
    try:
        container.destroy(grace=grace)
    except ContainerGone:  # by itself, with --rm, or by another kernel
        if container.state != "destroyed":
            raise
        print(f"{called(container)} was destroyed before")  # noqa: T201  # for the user
        return
    print(f"destroyed {called(container)}")  # noqa: T201  # for the user


def _end(process: Process, grace: float) -> None:
    try:
        survivors = process.destroy(grace=grace)
    except ProcessGone:
        if process.returncode is None:
            raise
        print(f"{titled(process)} had ended with {process.returncode}")  # noqa: T201  # for the user
        return
    left = f"; {plural(survivors, 'process')} survived" if survivors else ""
    print(f"ended {titled(process)}{left}")  # noqa: T201  # for the user


MAGICS: Final = (Magic(_signal_parser(), signal), Magic(_stop_parser(), stop))
