"""In a terminal, things are shown as text: output as it comes, tables as they are now."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from tfnz_notebook._base.numbers import progress
from tfnz_notebook._base.text import clip, one_line, width
from tfnz_notebook.container import Container
from tfnz_notebook.errors import Misuse
from tfnz_notebook.interpreter import Displayed
from tfnz_notebook.location import Location
from tfnz_notebook.magics import again
from tfnz_notebook.magics.commands.waiting import background, removed_after
from tfnz_notebook.magics.here import called
from tfnz_notebook.magics.shown.text import Printer, clean
from tfnz_notebook.magics.shown.values import shown
from tfnz_notebook.process import Process
from tfnz_notebook.tunnel import Tunnel

if TYPE_CHECKING:
    from tfnz_notebook.plots import Plot

#: Seconds between two looks at the progress of a pull.
_LOOK: Final = 0.3


def say(text: str) -> None:
    """A line for the user."""
    print(text, flush=True)  # noqa: T201  # here that is how things are shown


class Terminal:
    """See :class:`tfnz_notebook.magics.shown.screen.Screen`."""

    def __init__(self) -> None:
        self._printers: dict[str, Printer] = {}

    def card(self, container: Container, *, raises: bool = False) -> None:
        """Nothing, but for the progress of a pull."""
        del raises
        if sys.stdout.isatty():
            background(_progress(container))

    def output(self, process: Process, *, stdin: bool = False, waits: bool = True) -> None:
        """Print it as it comes."""
        del stdin
        if not waits and process is not process.container.main:
            say(f"pid {process.pid} runs; %tf_logs -f {_named(process)} shows its output")
            return
        printer = self._printers[process.id] = Printer()
        process.attach(printer.out, None, printer.err)

    def shell(self, container: Container, command: str | None, options: dict[str, Any]) -> Process:
        """Start it at the terminal's size."""
        columns, rows = _size()
        if command is not None:
            options = {**options, "tty": True}
        return again.spawned(container, command, size=(rows, columns), **options)

    def again(self, process: Process) -> None:
        """Print it from its beginning; a terminal that can be attached is left to ``attached``."""
        if not (process.tty and _interactive() and process.returncode is None):
            self.output(process)

    def attached(self, process: Process, *, stdin: bool) -> bool:
        """Type into it. A terminal's program is left by Ctrl-], and goes on."""
        from tfnz_notebook.magics.shown import keyboard

        if process.tty and _interactive():
            if keyboard.attach(process):
                say(f"\r\nleft {_named(process)}, which goes on: %tf_logs -f {_named(process)}")
                return True
            return False
        if process.tty:
            self.output(process)  # no keyboard: what it says, at least
        if stdin:
            keyboard.lines(process)
        return False

    def follow(self, process: Process) -> None:
        """Stay with it until it ends, or the user has seen enough."""
        if not self.attached(process, stdin=False):
            try:
                process.wait()
            except KeyboardInterrupt:
                printer = self._printers.pop(process.id, None)
                if printer is not None:
                    printer.stop()
                return
            self.settle(process)

    def settle(self, process: Process) -> None:
        """End its last line."""
        printer = self._printers.pop(process.id, None)
        if printer is not None:
            printer.finish()

    def keep(self, container: Container) -> None:
        """What is printed stays."""

    def remove_after(self, process: Process, container: Container) -> None:
        """Destroy the container once the process has ended and is printed."""
        background(removed_after(process, container))

    def value(self, data: Displayed, *, trusted: bool) -> None:
        """Its text."""
        say(str(shown(data, trusted=False)["text/plain"]))
        del trusted  # there is nothing here that runs what it says

    def clear(self, *, wait: bool) -> None:
        """Nothing goes: it is in the terminal's own lines."""

    def plot(self, plot: Plot) -> None:
        """It is drawn in notebooks."""
        say(f"plotting {clean(plot.title)}: .data has its rows, .picture() makes a PNG")

    def table(self, location: Location) -> None:
        """Containers and processes."""
        from tfnz_notebook.widgets import explorer

        say(explorer.as_text(explorer.ps(location)))

    def top(self, location: Location, containers: Sequence[Container]) -> None:
        """What containers use now."""
        from tfnz_notebook.widgets import explorer

        say(explorer.as_text(explorer.top(location, containers)))

    def tunnel(self, tunnel: Tunnel, path: str) -> None:
        """Its address."""
        say(f"{tunnel.url(path)} leads to port {tunnel.dest_port} of {called(tunnel.container)}")


class Console(Terminal):
    """A console that asks a kernel: as a terminal, but the kernel has no keyboard to give."""

    def shell(self, container: Container, command: str | None, options: dict[str, Any]) -> Process:
        """Refuse: nobody could type into it."""
        del container, command, options
        raise Misuse(
            "Cannot open a terminal here: a console prints what a kernel says, and has no keyboard "
            "for what that runs. Run a command with %tf_run, or use JupyterLab or plain ipython."
        )


async def _progress(container: Container) -> None:
    """One line that moves while an image is pulled."""
    widest = 0
    while container.state in ("creating", "pulling"):
        what, done, total = container.progress
        if container.state == "pulling":
            words = ("pulling", container.image, what, progress(done, total))
            line = " ".join(filter(None, words))
            line = clip(one_line(line), _size()[0] - 1)
            widest = max(widest, width(line))
            sys.stdout.write(f"\r{line}{' ' * (widest - width(line))}")
            sys.stdout.flush()
        await asyncio.sleep(_LOOK)
    if widest:
        sys.stdout.write(f"\r{' ' * widest}\r")
        sys.stdout.flush()


def _named(process: Process) -> str:
    return f"{called(process.container)}:{process.pid}"


def _interactive() -> bool:
    """Whether a person types on a terminal that is ours to use."""
    try:
        return os.isatty(sys.stdin.fileno()) and os.isatty(sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):  # no files: a test's, or a GUI's
        return False


def _size() -> tuple[int, int]:
    """(columns, rows) of the terminal; 80 by 24 if there is none."""
    try:
        found = os.get_terminal_size(sys.stdout.fileno())
        return max(found.columns, 1), max(found.lines, 1)
    except (OSError, ValueError, AttributeError):
        return 80, 24
