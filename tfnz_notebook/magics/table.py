"""What a magic is: a parser, what to do with what it read, and how its errors are shown."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tfnz_notebook.errors import Misuse
from tfnz_notebook.magics.here import Here
from tfnz_notebook.magics.parse import Parser

Line = Callable[[Here, argparse.Namespace], Any]
Cell = Callable[[Here, argparse.Namespace, str], Any]


@dataclass(frozen=True)
class Magic:
    """One magic; ``line`` and ``cell`` are its two forms, of which it may lack one."""

    parser: Parser
    line: Line | None = None
    cell: Cell | None = None

    @property
    def name(self) -> str:
        """Without ``%``."""
        return self.parser.magic

    def functions(self, here: Here) -> tuple[Callable[..., Any] | None, Callable[..., Any] | None]:
        """What IPython calls for ``%name`` and for ``%%name``."""
        line, cell = self.line, self.cell

        def of_line(text: str) -> Any:
            with Plain():
                asked = self.parser.read(text)
                if asked is None or line is None:
                    return self._help()
                return line(here, asked)

        def of_cell(text: str, body: str) -> Any:
            with Plain():
                asked = self.parser.read(text)
                if asked is None or cell is None:
                    return self._help()
                return cell(here, asked, body)

        of_line.__doc__ = of_cell.__doc__ = self.parser.format_help()
        of_line.__name__ = of_cell.__name__ = self.name
        return of_line if line else None, of_cell if cell else None

    def _help(self) -> None:
        print(self.parser.format_help())  # noqa: T201  # for the user


class Plain:
    """An interrupt of ours is shown as its text, as errors of ours are: see ``commands/why``."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KeyboardInterrupt):
            from tfnz_notebook.magics.commands.why import rendered

            shown: Any = error
            # IPython asks for this: "exception classes can customise their traceback".
            shown._render_traceback_ = lambda: rendered(error)


def one_of(doing: str, what: str, value: str, allowed: tuple[str, ...]) -> str:
    """One of a few words."""
    if value not in allowed:
        raise Misuse(f"Cannot {doing}: {what} is {value!r}. Give {' or '.join(allowed)}.")
    return value
