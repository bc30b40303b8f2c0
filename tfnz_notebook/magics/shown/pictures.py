"""In a notebook, things are shown as live views, through the widgets."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from tfnz_notebook._link.thread import wait
from tfnz_notebook.container import Container
from tfnz_notebook.interpreter import Displayed
from tfnz_notebook.location import Location
from tfnz_notebook.magics.commands.waiting import background, removed_after
from tfnz_notebook.magics.shown.values import shown
from tfnz_notebook.process import Process
from tfnz_notebook.tunnel import Tunnel

if TYPE_CHECKING:
    from tfnz_notebook.plots import Plot
    from tfnz_notebook.widgets.display import Picture, Shown

#: Seconds that what is shown has to become final before its container goes, and between two looks.
_PATIENCE: Final = 5.0
_LOOK: Final = 0.01


class Pictures:
    """See :class:`tfnz_notebook.magics.shown.screen.Screen`."""

    def __init__(self) -> None:
        #: What shows a container's processes and may still change.
        self._shown: list[tuple[str, Shown]] = []

    def _show(self, picture: Picture, thing: object, container: Container | None = None) -> None:
        from tfnz_notebook.widgets import display, publish

        shown = display.show(picture)
        if thing is not None:
            publish.mark_shown(thing)
        self._shown = [(ident, each) for ident, each in self._shown if not each.frozen]
        if container is not None:
            self._shown.append((container.id, shown))

    def card(self, container: Container, *, raises: bool = False) -> None:
        """Its card, which shows the progress of a pull too."""
        from tfnz_notebook.widgets.explorer.card import ContainerCard

        self._show(ContainerCard(container, raises=raises), container)

    def output(self, process: Process, *, stdin: bool = False, waits: bool = True) -> None:
        """An output view."""
        del waits
        from tfnz_notebook.widgets.output import process_picture

        options = {"stdin": True} if stdin else {}
        self._show(process_picture(process, **options), process, process.container)

    def shell(self, container: Container, command: str | None, options: dict[str, Any]) -> Process:
        """A terminal, which tells its size before the process starts."""
        from tfnz_notebook.widgets import publish
        from tfnz_notebook.widgets.shell import open_shell

        options = {**options, "origin": str(options["origin"])}
        process = open_shell(container, command, **options)
        publish.mark_shown(process)
        return process

    def again(self, process: Process) -> None:
        """Its output, or its terminal."""
        if not process.tty:
            self.output(process)
            return
        from tfnz_notebook.widgets.shell import shell_picture

        self._show(shell_picture(process), process, process.container)

    def attached(self, process: Process, *, stdin: bool) -> bool:
        """Views have keyboards of their own."""
        del process, stdin
        return False

    def follow(self, process: Process) -> None:
        """Views move by themselves."""

    def settle(self, process: Process) -> None:
        """Views do that by themselves."""

    def keep(self, container: Container) -> None:
        """Wait until all that shows its processes is final."""
        wait(self._kept(container.id))

    async def _kept(self, container: str) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _PATIENCE
        shown = [each for ident, each in self._shown if ident == container]
        while loop.time() < deadline:
            if all(each.frozen for each in shown):
                return
            await asyncio.sleep(_LOOK)

    def remove_after(self, process: Process, container: Container) -> None:
        """Destroy it once the process has ended, and what it said is part of the notebook."""
        background(removed_after(process, container, self._kept))

    def value(self, data: Displayed, *, trusted: bool) -> None:
        """As any cell's."""
        from IPython.display import publish_display_data

        publish_display_data(  # type: ignore[no-untyped-call]
            shown(data, trusted=trusted),
            transient={"display_id": data.place} if data.place else None,
            update=data.again,
        )

    def clear(self, *, wait: bool) -> None:
        """As any cell's."""
        from IPython.display import clear_output

        clear_output(wait)  # type: ignore[no-untyped-call]

    def plot(self, plot: Plot) -> None:
        """Drawn live."""
        from tfnz_notebook.widgets.plot import PlotPicture

        self._show(PlotPicture(plot), plot)

    def table(self, location: Location) -> None:
        """The table of ``%tf_ps``."""
        from tfnz_notebook.widgets import explorer

        self._show(explorer.ps(location), None)

    def top(self, location: Location, containers: Sequence[Container]) -> None:
        """The table of ``%tf_top``."""
        from tfnz_notebook.widgets import explorer

        self._show(explorer.top(location, containers), None)

    def tunnel(self, tunnel: Tunnel, path: str) -> None:
        """Its card, with a preview."""
        from tfnz_notebook.widgets import explorer

        self._show(explorer.preview(tunnel, path), tunnel)
