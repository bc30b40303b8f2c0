"""``%tf_connect`` and ``%tf_attach``: where containers run, and finding again what runs there."""

from __future__ import annotations

import argparse
from typing import Final

from tfnz_notebook.container import Container
from tfnz_notebook.errors import ContainerGone, Misuse, ProcessGone
from tfnz_notebook.location import Location
from tfnz_notebook.magics.here import Here
from tfnz_notebook.magics.parse import Parser
from tfnz_notebook.magics.table import Magic
from tfnz_notebook.process import Process


def _connect_parser() -> Parser:
    parser = Parser(
        "tf_connect",
        "Choose where containers run, for the magics that follow. Without arguments: where that\n"
        "is now. Returns the Location.",
        epilog="The former location stays as it is, for the objects that came from it.",
    )
    parser.add(
        "where", nargs="?", metavar="WHERE", kind="where", help="podman, docker, host, tcp://host"
    )
    parser.add("--session", metavar="NAME", help="a durable session, found again by its name")
    parser.add("--ttl", type=float, metavar="S", help="seconds that it stays after its last kernel")
    parser.add("--server-key", metavar="KEY", help="of an agent at tcp://, if no file has it")
    return parser


def connect(here: Here, asked: argparse.Namespace) -> Location:
    """``%tf_connect``."""
    given = here.variables.get(asked.where or "")
    if isinstance(given, Location):
        if asked.session or asked.ttl or asked.server_key:
            raise Misuse(f"Cannot connect: {asked.where} is a Location, which has its session.")
        here.move(given)
        return given
    if not (asked.where or asked.session):
        return here.location()
    location = Location(
        asked.where, session=asked.session, ttl=asked.ttl, server_key=asked.server_key
    )
    here.move(location)
    return location


def _attach_parser() -> Parser:
    parser = Parser(
        "tf_attach",
        "Show again what runs in a session, each output from its beginning, as after a kernel's\n"
        "restart. Without arguments: list what there is. SESSION is the name of a durable one,\n"
        "which becomes the current one.",
    )
    parser.add(
        *("words",),
        nargs="*",
        metavar="[SESSION] [CONTAINER|PROCESS]",
        kind="target",
        help="name, pid or id",
    )
    return parser


def attach(here: Here, asked: argparse.Namespace) -> Location | Container | Process:
    """``%tf_attach``."""
    words = list(asked.words)
    if len(words) > 2:  # as its usage says
        raise Misuse("Cannot attach: give a session, a container or process, or one of each.")
    if len(words) == 1 and here.known is not None:
        try:
            return _show(here, here.target(words[0]))
        except (ContainerGone, ProcessGone):
            pass  # a session then
    if not words:
        location = here.location()
        here.screen.table(location)
        return location
    session, *rest = words
    location = _session(here, session)
    if rest:
        return _show(here, here.target(rest[0]))
    here.screen.table(location)
    for container in location.containers():
        _show(here, container)
    return location


def _session(here: Here, name: str) -> Location:
    known = here.known
    if known is not None and known.session == name:
        return known
    location = Location(known.where if known else None, session=name)
    if not location.containers():
        location.disconnect()
        raise ContainerGone(
            f"Cannot attach to {name!r}: it names no container or process, and a session of that "
            f"name holds nothing. %tf_connect --session {name} begins one."
        )
    here.move(location)
    return location


def _show(here: Here, found: Container | Process) -> Container | Process:
    if isinstance(found, Process):
        here.screen.again(found)
        return found
    here.screen.card(found)
    if found.main.pid or found.main.returncode is not None:
        here.screen.again(found.main)
    for process in found.all_processes():
        here.screen.again(process)
    return found


MAGICS: Final = (Magic(_connect_parser(), connect), Magic(_attach_parser(), attach))
