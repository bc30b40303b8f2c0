"""How magics show things: as live views in a notebook, as text in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tfnz_notebook.container import Container
from tfnz_notebook.interpreter import Displayed
from tfnz_notebook.location import Location
from tfnz_notebook.process import Process
from tfnz_notebook.tunnel import Tunnel

if TYPE_CHECKING:
    from tfnz_notebook.plots import Plot


class Screen(Protocol):
    """Where things are shown. Only :meth:`attached` and :meth:`follow` wait for a process."""

    def card(self, container: Container, *, raises: bool = False) -> None:
        """A container, as it becomes ready; ``raises``: the cell says why, if it does not."""

    def output(self, process: Process, *, stdin: bool = False, waits: bool = True) -> None:
        """A process's output from its beginning, as it comes; ``waits``: the cell waits for it."""

    def shell(self, container: Container, command: str | None, options: dict[str, Any]) -> Process:
        """Start a process with a terminal, and show that."""

    def again(self, process: Process) -> None:
        """A process that runs, or ran, from its beginning: its output, or its terminal."""

    def attached(self, process: Process, *, stdin: bool) -> bool:
        """Where one keyboard serves cell and process: type into it. True if it was left alone."""

    def follow(self, process: Process) -> None:
        """Where nothing moves once a cell has ended: stay until it ends, or an interrupt."""

    def settle(self, process: Process) -> None:
        """A process that the cell waited for has ended."""

    def keep(self, container: Container) -> None:
        """A container is about to go: see to it that what it said stays on the screen."""

    def remove_after(self, process: Process, container: Container) -> None:
        """Destroy a container once a process in it has ended, and all that said is shown."""

    def value(self, data: Displayed, *, trusted: bool) -> None:
        """What a cell in a container shows, by MIME type."""

    def clear(self, *, wait: bool) -> None:
        """What the cell has shown so far goes; ``wait``: once there is something new."""

    def plot(self, plot: Plot) -> None:
        """A plot that has begun."""

    def table(self, location: Location) -> None:
        """Containers and processes."""

    def top(self, location: Location, containers: Sequence[Container]) -> None:
        """What containers use."""

    def tunnel(self, tunnel: Tunnel, path: str) -> None:
        """A way into a container."""
