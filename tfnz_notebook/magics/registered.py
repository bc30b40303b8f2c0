"""All magics, and the shells that have them."""

from __future__ import annotations

from typing import Any, Final
from weakref import WeakKeyDictionary

from tfnz_notebook.interpreter import Result
from tfnz_notebook.magics.commands import (
    cells,
    connect,
    files,
    images,
    run,
    spawn,
    stop,
    views,
    why,
)
from tfnz_notebook.magics.completion.complete import Completer
from tfnz_notebook.magics.here import Here
from tfnz_notebook.magics.shown.values import of_result
from tfnz_notebook.magics.table import Magic

MAGICS: Final[tuple[Magic, ...]] = (
    *spawn.MAGICS,
    *run.MAGICS,
    *cells.MAGICS,
    *views.MAGICS,
    *files.MAGICS,
    *images.MAGICS,
    *stop.MAGICS,
    *connect.MAGICS,
    *why.MAGICS,
)

_shells: WeakKeyDictionary[Any, tuple[Completer, Here]] = WeakKeyDictionary()


def register(ip: Any) -> None:
    """Once for each shell."""
    if ip in _shells:
        return
    here = Here(ip)
    for magic in MAGICS:
        line, cell = magic.functions(here)
        if line is not None:
            ip.register_magic_function(line, "line", magic.name)
        if cell is not None:
            ip.register_magic_function(cell, "cell", magic.name)
    ip.display_formatter.mimebundle_formatter.for_type(Result, _bundle)
    completer = Completer(here, MAGICS)
    completer.install(ip)
    for event, function in (("pre_run_cell", here.cell_begins), ("post_run_cell", here.cell_ended)):
        ip.events.register(event, function)
    why.show(True)
    _shells[ip] = completer, here


def _bundle(result: Result, **_asked: Any) -> dict[str, Any]:
    return of_result(result)


def unregister(ip: Any) -> None:
    """What :func:`register` did."""
    if ip not in _shells:
        return
    completer, here = _shells.pop(ip)
    completer.remove(ip)
    why.show(bool(_shells))
    for event, function in (("pre_run_cell", here.cell_begins), ("post_run_cell", here.cell_ended)):
        ip.events.unregister(event, function)
    ip.display_formatter.mimebundle_formatter.pop(Result, None)
    for kind in ("line", "cell"):
        for magic in MAGICS:
            ip.magics_manager.magics[kind].pop(magic.name, None)
