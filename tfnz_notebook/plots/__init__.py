r"""Numbers that processes print, as plots: parsers, plots, and how processes get them.

::

    from tfnz_notebook.plots import vmstat, csv

    process = container.spawn_process('vmstat 1')
    plot = process.plot(vmstat, columns='us,sy')    # shows itself, live, as a cell's last line
    plot.data                                       # a DataFrame, where pandas is installed
    ping.plot(pattern=r'time=(?P<ms>[\d.]+)')
    worker.plot(lambda line: {'queue': len(line)})
    container.plot('mpstat -P ALL 1')
    container.plot()                                # what it uses

What repeats a table (``mpstat``, ``sar``, ``pidstat``, ``free -s``, ``nvidia-smi dmon``, ``docker
stats`` ...) or writes a record a line (CSV, JSON, ``key=value``, a trainer's ``{'loss': 2.3}``) is
read without being told how. Lines about several things in turns are columns of each: ``gpu0.sm``.

A parser is given as it is (``vmstat``), made (``csv(delimiter=';')``), by name (``'csv'``), as a
compiled regular expression, or as a function of a line that returns numbers by column, one number,
or None. Without one, the command's name and its first lines tell. It needs no notebook: in a script
``plot.wait().picture()`` is a PNG. A whole example::

    >>> process = container.spawn_process('echo cpu,io; echo 7,1; echo 9,2')
    >>> plot = process.plot(csv, x='row').wait()
    >>> plot.columns, len(plot)
    (['cpu', 'io'], 2)
    >>> plot.rows[1]
    {'row': 1.0, 'cpu': 9.0, 'io': 2.0}
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tfnz_notebook._calls import arguments
from tfnz_notebook._calls.arguments import StreamName
from tfnz_notebook.container import Container
from tfnz_notebook.errors import Misuse
from tfnz_notebook.plots import parsers
from tfnz_notebook.plots.choice import Choice, names
from tfnz_notebook.plots.feed import SAMPLED, Log, feed, sample
from tfnz_notebook.plots.model import Plot
from tfnz_notebook.plots.parsers import Csv as csv  # noqa: N813  # as the tool is written
from tfnz_notebook.plots.parsers import Given, Parser, Row, Things, make
from tfnz_notebook.plots.parsers import Iostat as iostat  # noqa: N813
from tfnz_notebook.plots.parsers import Jsonl as jsonl  # noqa: N813
from tfnz_notebook.plots.parsers import Keyvalue as keyvalue  # noqa: N813
from tfnz_notebook.plots.parsers import Regex as regex  # noqa: N813
from tfnz_notebook.plots.parsers import Table as table  # noqa: N813
from tfnz_notebook.plots.parsers import Top as top  # noqa: N813
from tfnz_notebook.plots.parsers import Vmstat as vmstat  # noqa: N813
from tfnz_notebook.process import Process

__all__ = [
    "PARSERS",
    "Parser",
    "Plot",
    "Row",
    "csv",
    "iostat",
    "jsonl",
    "keyvalue",
    "plot",
    "regex",
    "stats_plot",
    "table",
    "top",
    "vmstat",
]

PARSERS = parsers.PARSERS
"""Those that can be named, as in ``%tf_plot --parser csv``."""


def plot(
    process: Process,
    parser: Given = None,
    columns: str | Iterable[str] | None = None,
    window: float | str | None = None,
    *,
    pattern: str | re.Pattern[str] | None = None,
    x: str = "time",
    title: str | None = None,
    stream: StreamName = "stdout",
) -> Plot:
    """Plot what a process prints, from its first byte on; also ``process.plot(...)``.

    :param parser: see :mod:`tfnz_notebook.plots`; None finds out.
    :param columns: those shown, ``'us,sy'`` or names or patterns; None: the parser's usual ones.
    :param window: seconds shown, or ``'all'``; None: 60.
    :param pattern: instead of a parser a regular expression, whose named groups are the columns.
    :param x: ``'time'`` (when a line came, or what the parser reads in it), ``'row'``, or a column.
    :param title: instead of the command.

    Lines written before are spread evenly from the process's start to now: a log has no times.
    Raises Misuse for a parser or a column that there is not.
    """
    arguments.stream("plot", stream)
    if not x:
        raise Misuse(f"Cannot plot over {x!r}: x is 'time', 'row' or a column's name.")
    if pattern is not None:
        if parser is not None:
            raise Misuse("Cannot plot with a parser and a pattern: a pattern is one. Give either.")
        parser = regex(pattern)
    made = Things(make(parser, process.command), "" if x in ("time", "row") else x)
    choice = Choice(names(columns), made.closed, made.preferred)
    if x not in ("time", "row"):
        Choice([x], made.closed)
    shown = process.command if title is None else title
    new = Plot._create(shown, choice, made.unit, window=window, x=x)  # noqa: SLF001  # its parent
    feed(new, Log(new, process, made, stream).follow())
    return new


def stats_plot(
    container: Container,
    columns: str | Iterable[str] | None = None,
    window: float | str | None = None,
    *,
    every: float = 1.0,
    title: str | None = None,
) -> Plot:
    """Plot what a container uses; also ``container.plot(...)``.

    Columns: ``cpu`` (percent of one core), ``memory`` and ``pids``, and bytes per second ``read``,
    ``written``, ``received``, ``sent``; by default the first two. The guest is asked ``every`` so
    many seconds until the container ends or :meth:`Plot.stop`; no tool is needed in the image.
    """
    seconds = arguments.number("plot", "every", every, 0.05, 3600.0, whole=False)
    choice = Choice(names(columns), frozenset(SAMPLED), lambda _columns: ("cpu", "memory"))
    given = container._given  # noqa: SLF001  # a made-up name is no title
    shown = given or container.tag or container.image if title is None else title
    new = Plot._create(shown, choice, SAMPLED.__getitem__, window=window)  # noqa: SLF001  # its parent
    new.awaits = "sample"
    feed(new, sample(new, container, seconds))
    return new
