"""``%tf_spawn`` and ``%%tf_spawn``: a container, as ``docker run`` makes them."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from typing import Any, Final

from tfnz_notebook._base.paths import expanded
from tfnz_notebook._calls.run import values
from tfnz_notebook._calls.run.flags import FLAGS, Flag
from tfnz_notebook._calls.spec import UNMODIFIED, container_spec, from_here
from tfnz_notebook._link.thread import wait
from tfnz_notebook.container import Container
from tfnz_notebook.errors import (
    ContainerFailed,
    FileError,
    Misuse,
    QuotaFull,
    TfnzError,
    WaitTimeout,
)
from tfnz_notebook.magics import again
from tfnz_notebook.magics.commands import waiting
from tfnz_notebook.magics.commands.run import script
from tfnz_notebook.magics.here import Here
from tfnz_notebook.magics.parse import Parser, Refused, Run, pair, shell_line
from tfnz_notebook.magics.shown.text import clean
from tfnz_notebook.magics.table import Magic
from tfnz_notebook.process import Process

_DOING: Final = "spawn a container"
#: What a shell would not take as it is: with one of these a command goes to /bin/sh -c.
_SHELL: Final = re.compile(r"[|&;<>()$`*?\[\]#~=%{}\n!]")
#: How a line begins that somebody copied from a page, or out of a terminal.
_PASTED: Final = r"\s*(?:\$\s+)?(?:sudo\s+)?(?:docker|podman)(?:\s+container)?\s+run(?=\s)"
#: Seconds that a sandbox may take to start before its card shows why.
_PATIENCE: Final = 1.0


def _parser() -> Parser:
    parser = Parser(
        "tf_spawn",
        "Spawn a container, as docker run does: show its card, and its output if a command is\n"
        "given. As a cell magic: run the cell in a container made for it, gone afterwards unless\n"
        "it has a name; the command is an interpreter (default /bin/sh) that reads the cell from\n"
        "its stdin. What a page says to type, docker run …, may be pasted behind it.",
        command=True,
        cell=True,
        before=_PASTED,
        epilog="The cell waits until it runs, not until it ends. Returns the Container (as a cell\n"
        "magic the Process): web = %tf_spawn -p 8080:80 nginx",
    )
    parser.add("image", metavar="IMAGE", kind="image", help="as in nginx or debian:12")
    parser.add("--tag", help="a name of your own to find it by")
    parser.add(
        *("-f", "--file"),
        action="append",
        default=[],
        metavar="SRC:DEST",
        kind="local",
        help="a file or directory of this machine that is there before boot",
    )
    parser.add("-z", "--sleep", action="store_true", help="do not start the image's command")
    parser.add("--node", metavar="NAME", kind="node", help="where; default: the freest")
    again.options(parser)
    # Of the cell's process; the line magic's command is the container's main process.
    parser.add("--timeout", type=float, metavar="S", help="%%%%tf_spawn: end it after S seconds")
    parser.add("--check", default="yes", kind="yesno", metavar="yes|no", help="%%%%tf_spawn")
    group = parser.add_argument_group("docker run's own")
    for flag in FLAGS:
        _add(parser, flag, group)
    return parser


def _add(parser: Parser, flag: Flag, group: Any) -> None:
    more: dict[str, Any] = {"dest": flag.keyword, "group": group}
    if flag.way == "refused":
        more |= {"nargs": None if flag.metavar else 0, "help": argparse.SUPPRESS}
        parser.add(*flag.names, action=Refused, refuse=flag.refuse, **more)
        return
    more |= {"help": flag.help, "kind": flag.kind}
    if not flag.metavar:
        parser.add(*flag.names, action="store_true", **more)
    elif flag.many:
        parser.add(*flag.names, action="append", default=[], metavar=flag.metavar, **more)
    else:
        parser.add(*flag.names, metavar=flag.metavar, **more)


def spawn_line(here: Here, asked: argparse.Namespace) -> Container:
    """``%tf_spawn``."""
    run = shell_line(asked.command) if asked.pasted else Run(_command(asked.command), None)
    container, last = _spawn(here, asked, command=run.argv or None, sleep=asked.sleep)
    here.screen.card(container, raises=not asked.detach)
    try:
        _publish(container, asked.publish, last.old)
        if not asked.detach or asked.publish_all:
            _until_started(container, asked.command)
        if asked.publish_all:
            _publish_all(container)
        if run.target is not None:
            _save(container, run.target)
    except KeyboardInterrupt:
        if last.again is None:
            waiting.background(container.aio.destroy())  # nobody would have a handle on it
        raise
    except (TfnzError, OSError):
        if last.again is None and container.state not in ("failed", "exited", "destroyed"):
            waiting.background(container.aio.destroy())
        raise
    if asked.detach:
        here.again.replace_later(container, last)
    else:
        here.again.replace(last)
    if container.state == "failed":  # its command was quicker than anybody could look
        print(clean(container.logs()), end="")  # noqa: T201  # for the user
    elif not asked.detach and run.target is None:  # later, there may be nothing to look at yet
        _show(here, asked, container)
    if asked.rm:
        here.screen.remove_after(container.main, container)
    return container


def _show(here: Here, asked: argparse.Namespace, container: Container) -> None:
    """Its main process, if somebody has asked for that: as a terminal, with a line for stdin."""
    if asked.tty:
        here.screen.again(container.main)
        here.screen.attached(container.main, stdin=False)
    elif asked.command or asked.interactive:
        here.screen.output(container.main, stdin=asked.interactive)
        if asked.interactive:
            here.screen.attached(container.main, stdin=True)


def _save(container: Container, target: str) -> None:
    """All that its main process says, in a file here, as ``> FILE`` has it."""
    said = container.main.wait_until_complete()
    expanded(target).write_bytes(said)


def _publish_all(container: Container) -> None:
    """A tunnel to each port that its image exposes, or --expose."""
    for port in container.ports:
        if all(tunnel.dest_port != port for tunnel in container.all_tunnels()):
            container.attach_tunnel(port)


def spawn_cell(here: Here, asked: argparse.Namespace, body: str) -> Process:
    """``%%tf_spawn``."""
    if asked.sleep:
        raise Misuse(f"Cannot {_DOING} for a cell with --sleep: the cell is what it runs.")
    unmodified = asked.entrypoint == UNMODIFIED
    if asked.entrypoint is not None and not unmodified:
        raise Misuse(f"Cannot {_DOING} for a cell with --entrypoint: the cell is what it runs.")
    keep = bool(asked.name or asked.tag)
    container, last = _spawn(here, asked, command=None, sleep=not unmodified)
    try:
        _publish(container, asked.publish, last.old)
        if keep:
            here.screen.card(container, raises=True)
        try:
            container.wait_until_ready(_PATIENCE)
        except WaitTimeout:
            if not keep:
                here.screen.card(container)
        options: dict[str, Any] = {
            "env": [],
            "cwd": None,
            "user": None,
            "tty": False,
            "stdin": False,
        }
        inner = argparse.Namespace(**{**vars(asked), **options})
        if last.old is not None:
            container.wait_until_ready()
            here.again.replace(last)
        process = script(here, container, inner, body)
        if process.returncode is not None:
            here.screen.keep(container)
            _hold(process)
        if asked.detach and not keep:
            here.screen.remove_after(process, container)
            keep = True
    except BaseException:
        if asked.rm or not keep:
            _leave(here, container)
        raise
    if asked.rm or not keep:
        container.destroy()
    return process


def _leave(here: Here, container: Container) -> None:
    """After an error: what its process said is to be seen, and the container to go."""
    try:
        if container.state == "running":
            here.screen.keep(container)
    finally:
        waiting.background(container.aio.destroy())


def _hold(process: Process) -> None:
    """Keep its stdout with the object: the log goes with its container."""
    try:
        process.wait_until_complete()
    except QuotaFull:
        pass  # more than anybody keeps


def _spawn(
    here: Here, asked: argparse.Namespace, *, command: str | list[str] | None, sleep: bool
) -> tuple[Container, again.Last[Container]]:
    """The container, made or there, and what the cell's last run left."""
    if sleep and command is not None:
        raise Misuse(f"Cannot {_DOING} that sleeps and has a command: give either of them.")
    location = here.location()
    values.ports("publish", asked.publish)  # Misuse before anything is there
    node = location.node(asked.node) if asked.node else None  # its engine knows best
    wished = {
        **wishes(asked),
        "command": command,
        "sleep": sleep,
        "tag": asked.tag,
        "pre_boot_files": _files(asked.file) or None,
    }
    told = container_spec(asked.image, wished)  # Misuse before anything goes
    origin = here.again.origin(told, asked.node, named=asked.name is not None)
    last = here.again.container(location, asked.name, origin, asked)
    if last.again is not None:
        return last.again, last
    if last.first:
        here.again.replace(last, first=True)
    made = wait(location._spawn_container(node, asked.image, wished, str(origin)))
    here.again.made(made)
    return made, last


def wishes(asked: argparse.Namespace) -> dict[str, Any]:
    """What ``spawn_container`` is asked for by flags that are ``docker run``'s too.

    Not the ports: of those the cell's last run may have some.
    """
    options = {
        flag.keyword: value
        for flag in FLAGS
        if flag.way in ("ours", "passed")
        and flag.keyword != "publish"
        and (value := getattr(asked, flag.keyword)) not in (None, [], False)
    }
    return {**options, "env": from_here(asked.env, dict(os.environ))}


def _command(text: str) -> Any:
    """As docker run: words are an argv, for the image's entrypoint too; else a shell's line."""
    try:
        argv = shlex.split(text)
    except ValueError:
        return text  # the shell says it better
    options = text.startswith("-")  # of the entrypoint: no shell takes those for a command
    return argv if options or not _SHELL.search(text) else text


def _files(given: list[str]) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for each in given:
        source, target = pair(each, "file", "take a file along")
        path = expanded(source)
        try:
            if path.is_dir():
                inside = sorted(p for p in path.rglob("*") if p.is_file())
                base = target.rstrip("/")
                found += [(f"{base}/{p.relative_to(path)}", p.read_bytes()) for p in inside]
            else:
                name = f"{target}{path.name}" if target.endswith("/") else target
                found.append((name, path.read_bytes()))
        except OSError as error:
            raise FileError(
                f"Cannot take {source!r} along: {error.strerror or error}. Look at its path here.",
                errno=error.errno,
            ) from None
    return found


def _publish(container: Container, given: list[str], old: Container | None) -> None:
    """Its tunnels, but for those that it has; a port that ``old`` has is handed on."""
    for bind, local, port in values.ports("publish", given):
        there = container.all_tunnels()
        if any(t.dest_port == port and local in (None, t.port) for t in there):
            continue
        for tunnel in old.all_tunnels() if old is not None and local is not None else ():
            if tunnel.port == local:
                container.wait_until_ready()
                tunnel.destroy()
        container.attach_tunnel(port, localport=local, bind=bind)


def _until_started(container: Container, command: str) -> None:
    """Wait until it runs; it may have ended by then, as its command wants."""
    try:
        container.wait_until_ready()
    except ContainerFailed:
        if not command or container.returncode is None:
            raise


MAGICS: Final = (Magic(_parser(), spawn_line, spawn_cell),)
