"""How objects show themselves as a cell's last expression.

Nothing of the widgets is imported before the first one does: the extension may be loaded from a
configuration file, before the kernel is up and in every kernel there is.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from tfnz_notebook.container import Container
from tfnz_notebook.location import Location
from tfnz_notebook.node import Node
from tfnz_notebook.plots import Plot
from tfnz_notebook.process import Process
from tfnz_notebook.tunnel import Tunnel
from tfnz_notebook.widgets import publish

if TYPE_CHECKING:
    from tfnz_notebook.widgets.display import Picture

Thing = Location | Node | Container | Process | Tunnel | Plot

SHOWN: Final[tuple[type, ...]] = (Location, Node, Container, Process, Tunnel, Plot)


def picture(thing: Thing, **options: Any) -> Picture:
    """The picture that shows it: a process's output or terminal, a card of anything else.

    ``options`` are for processes.
    """
    if isinstance(thing, Process):
        if thing.tty:
            from tfnz_notebook.widgets.shell import shell_picture

            return shell_picture(thing, **options)
        from tfnz_notebook.widgets.output import process_picture

        return process_picture(thing, **options)
    if isinstance(thing, Plot):
        from tfnz_notebook.widgets.plot import PlotPicture

        return PlotPicture(thing)
    from tfnz_notebook.widgets.explorer import card

    return card(thing)


def display(thing: Thing) -> None:
    """Show it, unless this cell did."""
    if not publish.was_shown(thing):
        from tfnz_notebook.widgets.display import show

        show(picture(thing))
        publish.mark_shown(thing)


def show(thing: Thing, **options: Any) -> None:
    """What ``thing.show()`` does."""
    if publish.shell() is None or publish.console():
        sys.stdout.write(f"{thing!r}\n")
        return
    from tfnz_notebook.widgets import display as drawn

    drawn.show(picture(thing, **options))
    publish.mark_shown(thing)


def show_process(process: Process, *, stdin: bool, rows: int | None) -> None:
    """What ``process.show()`` does."""
    options: dict[str, Any] = {} if rows is None else {"rows": rows}
    if stdin and not process.tty:
        options["stdin"] = True
    show(process, **options)


def register(ip: Any) -> None:
    """Have a kernel's shell show our objects as views. Where there are none it shows their text."""
    if getattr(ip, "kernel", None) is None or publish.console():
        return
    formatter = ip.display_formatter.ipython_display_formatter
    for each in SHOWN:
        formatter.for_type(each, display)


def unregister(ip: Any) -> None:
    """Have it show their text again."""
    formatter = ip.display_formatter.ipython_display_formatter
    for each in SHOWN:
        if formatter.type_printers.get(each) is display:
            formatter.pop(each)
