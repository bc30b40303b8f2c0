"""``%tf_shell``, ``%tf_plot``, ``%tf_logs``, ``%tf_ps``, ``%tf_top``, ``%tf_open``."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any, Final

from tfnz_notebook._calls.spec import from_here
from tfnz_notebook.container import Container
from tfnz_notebook.errors import Misuse
from tfnz_notebook.magics import again
from tfnz_notebook.magics.commands.run import process_options
from tfnz_notebook.magics.commands.waiting import background
from tfnz_notebook.magics.here import Here
from tfnz_notebook.magics.parse import Parser
from tfnz_notebook.magics.shown.text import clean
from tfnz_notebook.magics.table import Magic
from tfnz_notebook.process import Process
from tfnz_notebook.tunnel import Tunnel

if TYPE_CHECKING:
    from tfnz_notebook.plots import Plot

#: Lines of a log that are shown without --tail.
LINES: Final = 100


def _shell_parser() -> Parser:
    parser = Parser(
        "tf_shell",
        "A terminal in the cell: a login shell, or a command as it is typed. CONTAINER may be\n"
        "left out where there is only one.",
        command=True,
        epilog="Does not wait. In a terminal it is attached to that: Ctrl-] leaves it running.\n"
        "Returns the Process.",
    )
    parser.add("container", metavar="CONTAINER", kind="container", nargs="?", help="or its name")
    process_options(parser)
    again.options(parser)
    return parser


def shell(here: Here, asked: argparse.Namespace) -> Process:
    """``%tf_shell``."""
    if asked.container is None:
        container = here.only_container("open a shell")
    else:
        container = here.container(asked.container)
    env = from_here(asked.env, dict(os.environ))
    options = {"env": env, "cwd": asked.cwd, "user": asked.user}
    origin = here.again.origin(container.id, asked.command, options, "shell")
    last = here.again.process(container, origin, asked, first=False)
    if last.again is not None:
        process = last.again
        here.screen.again(process)
    else:
        command = asked.command or None
        process = here.screen.shell(container, command, {**options, "origin": origin})
        here.again.made(process)
        here.again.replace(last)
    here.screen.attached(process, stdin=False)
    return process


def _plot_parser() -> Parser:
    parser = Parser(
        "tf_plot",
        "Plot what a command prints, or a process that runs: %tf_plot web vmstat 1\n"
        "With neither, what the container uses: CPU, memory, IO, network.",
        command=True,
        trailing=True,
        epilog="Options may also stand behind the command. Returns the plot: plot.data",
    )
    parser.add(
        "target", metavar="CONTAINER|PROCESS", kind="target", help="a process takes no command"
    )
    parser.add("--columns", metavar="A,B,...", help="which to show")
    parser.add("--parser", metavar="NAME", kind="parser", help="default: by the command")
    parser.add("--window", metavar="S", help="seconds to show, or all (default 60)")
    again.options(parser)
    return parser


def plot(here: Here, asked: argparse.Namespace) -> Plot:
    """``%tf_plot``."""
    from tfnz_notebook import plots

    target = here.target(asked.target)
    window = _window(asked.window)
    if isinstance(target, Process):
        if asked.command:
            raise Misuse("Cannot plot a process with a command: give a container for that.")
        made = plots.plot(target, _parser_of(here, asked.parser), asked.columns, window)
    elif asked.command:
        made = _plot_command(here, target, asked, window)
    elif asked.parser:
        raise Misuse(f"Cannot plot {asked.target!r}: a parser is given, but no command.")
    else:
        made = plots.stats_plot(target, asked.columns, window)
    here.again.plotted(made, keep=asked.keep)
    here.screen.plot(made)
    return made


def _plot_command(
    here: Here, container: Container, asked: argparse.Namespace, window: float | str | None
) -> Plot:
    from tfnz_notebook import plots

    origin = here.again.origin(container.id, asked.command, "plot")
    last = here.again.process(container, origin, asked, first=False)
    process = last.again or again.spawned(container, asked.command, origin, retain="tail")
    try:
        made = plots.plot(process, _parser_of(here, asked.parser), asked.columns, window)
    except BaseException:
        if last.again is None:
            background(process.aio.destroy(grace=0.0))
        raise
    here.again.made(process)
    here.again.replace(last)
    return made


def _window(text: str | None) -> float | str | None:
    try:
        return float(text) if text else None
    except ValueError:
        return text


def _parser_of(here: Here, name: str | None) -> Any:
    """A parser's name, or a variable that holds one or a function of a line."""
    value = here.variables.get(name or "")
    return name if value is None or isinstance(value, str) else value


def _logs_parser() -> Parser:
    parser = Parser("tf_logs", "What a process, or a container's main process, has written.")
    parser.add(
        "target", metavar="CONTAINER|PROCESS", kind="target", help="variable, name, pid or id"
    )
    parser.add(
        *("-n", "--tail"),
        type=int,
        default=LINES,
        metavar="N",
        help=f"only the last N lines of stdout and of stderr (default {LINES}; 0: all)",
    )
    parser.add("-f", "--follow", action="store_true", help="show all of it, and what comes")
    return parser


def logs(here: Here, asked: argparse.Namespace) -> Process | None:
    """``%tf_logs``."""
    target = here.target(asked.target)
    process = target.main if isinstance(target, Container) else target
    if asked.tail < 0:
        raise Misuse(f"Cannot show the logs: --tail is {asked.tail}. Give a number of lines, or 0.")
    if asked.follow:
        here.screen.again(process)
        here.screen.follow(process)
        return process
    if isinstance(target, Container):
        said = target.logs(tail=asked.tail or None)
    else:
        parts = [process.log(), b"" if process.tty else process.log(stream="stderr")]
        said = b"".join(b"".join(p.splitlines(keepends=True)[-asked.tail :]) for p in parts)
    if said:
        print(clean(said), end="" if said.endswith(b"\n") else "\n")  # noqa: T201  # for the user
    else:
        print("nothing was written" + " yet" * (process.returncode is None))  # noqa: T201  # too
    return None


def _ps_parser() -> Parser:
    return Parser("tf_ps", "The session's containers and their processes, with their controls.")


def ps(here: Here, asked: argparse.Namespace) -> None:
    """``%tf_ps``."""
    del asked
    here.screen.table(here.location())


def _top_parser() -> Parser:
    parser = Parser(
        "tf_top", "What containers use: CPU, memory, IO and network, from their guests."
    )
    parser.add("containers", metavar="CONTAINER", nargs="*", kind="container", help="default: all")
    return parser


def top(here: Here, asked: argparse.Namespace) -> None:
    """``%tf_top``."""
    chosen = [here.container(word) for word in asked.containers]
    location = chosen[0].location if chosen else here.location()
    here.screen.top(location, chosen)


def _open_parser() -> Parser:
    parser = Parser(
        "tf_open",
        "A tunnel to a port of a container, with a link and a preview. Returns the Tunnel.",
    )
    parser.add("container", metavar="CONTAINER", kind="container", help="variable, name, tag or id")
    parser.add("port", metavar="PORT", type=int, help="inside the container")
    parser.add("--path", default="", metavar="PATH", help="of the page to show")
    parser.add("--localport", type=int, metavar="PORT", help="here; default: a free one")
    return parser


def open_port(here: Here, asked: argparse.Namespace) -> Tunnel:
    """``%tf_open``."""
    container = here.container(asked.container)
    found = [
        each
        for each in container.all_tunnels()
        if each.dest_port == asked.port and asked.localport in (None, each.port)
    ]
    tunnel = found[0] if found else None
    if tunnel is None:
        container.wait_until_ready()
        tunnel = container.attach_tunnel(asked.port, localport=asked.localport)
    here.screen.tunnel(tunnel, asked.path)
    return tunnel


MAGICS: Final = (
    Magic(_shell_parser(), shell),
    Magic(_plot_parser(), plot),
    Magic(_logs_parser(), logs),
    Magic(_ps_parser(), ps),
    Magic(_top_parser(), top),
    Magic(_open_parser(), open_port),
)
