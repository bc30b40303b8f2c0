"""What a parser is: lines in, rows of named numbers out.

A parser is fed one line after the other, without its end. It answers with the rows that the line
completed: none for a heading, one for most lines. A tool that prints blocks (``top -b``,
``iostat``) completes its row with the next block's first line, or when it has been quiet for a
moment, which :meth:`Parser.settle` tells. A line it cannot read raises ValueError; whoever feeds it
counts that, shows the line, and goes on.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, NamedTuple


class Row(NamedTuple):
    """Numbers by column; ``time`` in seconds since the epoch where the line says it.

    A line about one of several things of a kind (a CPU, a disk, a process) says which, as ``of``:
    each gets lines of its own. What has the same ``at`` was measured together, and is one row.
    """

    values: Mapping[str, float]
    """Numbers by column."""
    time: float | None = None
    """Seconds since the epoch; None: when the line came."""
    of: str = ""
    """The thing it is about; empty where there is only one, or for all of them together."""
    at: str = ""
    """What the lines of one moment have in common; empty: nothing is known."""


class Parser:
    """Base of the parsers. Give an instance, or the class itself, to ``plot``."""

    name: ClassVar[str] = ""
    """What ``%tf_plot --parser`` calls it."""
    closed: frozenset[str] | None = None
    """Every column there can be; None where the lines decide."""

    def feed(self, line: str) -> Sequence[Row]:
        """The rows that this line completed. ValueError: it cannot be read."""
        raise NotImplementedError

    @property
    def pending(self) -> bool:
        """Whether a row is begun, and waits for more lines or for :meth:`settle`."""
        return False

    def settle(self) -> Sequence[Row]:
        """Nothing more came for a moment, or at all: the row that was begun, as it is."""
        return ()

    def unit(self, column: str) -> str:
        """The unit of a column; empty if it has none or is not known."""
        del column
        return ""

    def preferred(self, columns: Sequence[str]) -> Iterable[str]:
        """Of the columns there are, those to show when nobody chose: the first five."""
        return columns[:5]
