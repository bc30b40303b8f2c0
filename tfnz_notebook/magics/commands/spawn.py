"""``%tf_spawn`` and ``%%tf_spawn``: a container, as ``docker run`` makes them."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from pathlib import Path
from typing import Any, Final

from tfnz_notebook._calls.spec import UNMODIFIED, container_spec
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
from tfnz_notebook.location import Location
from tfnz_notebook.magics import again
from tfnz_notebook.magics.commands import waiting
from tfnz_notebook.magics.commands.run import script
from tfnz_notebook.magics.here import Here
from tfnz_notebook.magics.parse import Parser, environment, pair, port_mapping
from tfnz_notebook.magics.shown.text import clean
from tfnz_notebook.magics.table import Magic
from tfnz_notebook.process import Process

_DOING: Final = "spawn a container"
#: What a shell would not take as it is: with one of these a command goes to /bin/sh -c.
_SHELL: Final = re.compile(r"[|&;<>()$`*?\[\]#~=%{}\n!]")
#: Seconds that a sandbox may take to start before its card shows why.
_PATIENCE: Final = 1.0


def _parser() -> Parser:
    parser = Parser(
        "tf_spawn",
        "Spawn a container, as docker run does: show its card, and its output if a command is\n"
        "given. As a cell magic: run the cell in a container made for it, gone afterwards unless\n"
        "it has a name; the command is an interpreter (default /bin/sh) that reads the cell from\n"
        "its stdin.",
        command=True,
        cell=True,
        epilog="The cell waits until it runs, not until it ends. Returns the Container (as a cell\n"
        "magic the Process): web = %tf_spawn -p 8080:80 nginx",
    )
    parser.add("image", metavar="IMAGE", kind="image", help="as in nginx or debian:12")
    parser.add("--name", help="its name, for the engine too")
    parser.add("--tag", help="a name of your own to find it by")
    parser.add("-e", "--env", action="append", default=[], metavar="NAME=VALUE", help="a variable")
    parser.add(
        *("-p", "--publish"),
        action="append",
        default=[],
        metavar="[[BIND:]PORT:]PORT",
        help="a tunnel from a port here to one in the container",
    )
    parser.add(
        *("-v", "--volume"),
        action="append",
        default=[],
        metavar="VOLUME:DIR[:ro]",
        kind="volume",
        help="mount a volume, which is made if need be, or a directory",
    )
    parser.add(
        *("-f", "--file"),
        action="append",
        default=[],
        metavar="SRC:DEST",
        kind="local",
        help="a file or directory of this machine that is there before boot",
    )
    parser.add("-z", "--sleep", action="store_true", help="do not start the image's command")
    parser.add(
        "--entrypoint",
        metavar="WORD",
        help="instead of the image's; unmodified: its own first process stays PID 1",
    )
    parser.add("--cpu", "--cpus", type=float, metavar="CORES", help="limit, may be a fraction")
    parser.add("-m", "--memory", metavar="SIZE", help="limit, as in 512m")
    parser.add("-u", "--user", metavar="USER", help="name or uid, or either with :group")
    parser.add("-w", "--workdir", metavar="DIR", help="working directory")
    parser.add("--network", metavar="NAME", help="none, host, or the engine's own")
    parser.add(
        "--cap-add",
        action="append",
        default=[],
        metavar="NAME",
        help="a Linux capability, as in SYS_PTRACE",
    )
    parser.add("--node", metavar="NAME", kind="node", help="where; default: the freest")
    parser.add(
        "--pull",
        default="missing",
        kind="pull",
        metavar="missing|always|never",
        help="whether to ask the registry",
    )
    parser.add("--rm", action="store_true", help="destroy it when its main process ends")
    parser.add("-d", "--detach", action="store_true", help="do not wait until it runs")
    again.options(parser)
    # Of the cell's process; the line magic's command is the container's main process.
    parser.add("--timeout", type=float, metavar="S", help="%%%%tf_spawn: end it after S seconds")
    parser.add("--check", default="yes", kind="yesno", metavar="yes|no", help="%%%%tf_spawn")
    return parser


def spawn_line(here: Here, asked: argparse.Namespace) -> Container:
    """``%tf_spawn``."""
    container, last = _spawn(here, asked, command=_command(asked.command), sleep=asked.sleep)
    here.screen.card(container)
    try:
        _publish(container, asked.publish, last.old)
        if not asked.detach:
            _until_started(container, asked.command)
    except KeyboardInterrupt:
        if last.again is None:
            waiting.background(container.aio.destroy())  # nobody would have a handle on it
        raise
    except TfnzError:
        if last.again is None and container.state not in ("failed", "exited", "destroyed"):
            waiting.background(container.aio.destroy())
        raise
    if asked.detach:
        here.again.replace_later(container, last)
    else:
        here.again.replace(last)
    if container.state == "failed":  # its command was quicker than anybody could look
        print(clean(container.logs()), end="")  # noqa: T201  # for the user
    elif asked.command and not asked.detach:  # later, there may be nothing to look at yet
        here.screen.output(container.main)
    if asked.rm:
        here.screen.remove_after(container.main, container)
    return container


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
            here.screen.card(container)
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
    for each in asked.publish:
        port_mapping(each)  # Misuse before anything is there
    node = location.node(asked.node) if asked.node else location.best_node()
    wished: dict[str, Any] = {
        "command": command,
        "sleep": sleep,
        "name": asked.name,
        "tag": asked.tag,
        "env": environment(asked.env, dict(os.environ)),
        "volumes": [_mount(location, each) for each in asked.volume] or None,
        "pre_boot_files": _files(asked.file) or None,
        "cpu": asked.cpu,
        "memory": asked.memory,
        "user": asked.user,
        "workdir": asked.workdir,
        "network": asked.network,
        "entrypoint": asked.entrypoint,
        "capabilities": asked.cap_add or None,
        "pull": asked.pull,
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


def _command(text: str) -> str | list[str] | None:
    """As docker run: words are an argv, for the image's entrypoint too; else a shell's line."""
    if not text:
        return None
    try:
        return text if _SHELL.search(text) else shlex.split(text)
    except ValueError:
        return text  # the shell says it better


def _mount(location: Location, text: str) -> Any:
    source, rest = pair(text, "mount", "mount a volume")
    target, colon, mode = rest.partition(":")
    if colon and mode not in ("ro", "rw"):
        raise Misuse(f"Cannot mount {text!r}: {mode!r} is no mode. Write :ro, :rw or nothing.")
    if source.startswith((".", "~", "/")):
        found: Any = str(Path(source).expanduser().resolve())
    else:
        found = location.create_volume(source)
    return (found, target, mode or "rw")


def _files(given: list[str]) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for each in given:
        source, target = pair(each, "file", "take a file along")
        path = Path(source).expanduser()
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
    for each in given:
        bind, local, port = port_mapping(each)
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
