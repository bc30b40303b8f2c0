"""Where a magic runs: the shell around it, its current location, and what words name there.

A word that names a container is a Python variable that holds one, else the name, tag, id or
beginning of an id of one in the current session; the variable comes first. Processes likewise, by
variable, pid (``web:12`` says in which container) or id.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tfnz_notebook._base.text import one_line
from tfnz_notebook._link.thread import wait
from tfnz_notebook.container import Container
from tfnz_notebook.errors import ContainerGone, Misuse, ProcessGone, TfnzError
from tfnz_notebook.location import Location
from tfnz_notebook.process import Process
from tfnz_notebook.widgets import cells, publish

if TYPE_CHECKING:
    from tfnz_notebook.magics.again import Again
    from tfnz_notebook.magics.shown.screen import Screen

T = TypeVar("T")

#: Shortest beginning of an id that names something.
SHORTEST: Final = 4


class Here:
    """One for each IPython shell."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self._location: Location | None = None
        self._screen: Screen | None = None
        self._again: Again | None = None

    # -- the shell

    @property
    def variables(self) -> dict[str, Any]:
        """The user's namespace."""
        found: dict[str, Any] = self.shell.user_ns
        return found

    @property
    def notebook(self) -> bool:
        """Whether a kernel runs us, for a front-end that can show views; else text is shown."""
        return self._kernel and not publish.console()

    @property
    def _kernel(self) -> bool:
        return getattr(self.shell, "kernel", None) is not None

    @property
    def screen(self) -> Screen:
        """How things are shown here."""
        if self._screen is None:
            if self.notebook:
                from tfnz_notebook.magics.shown.pictures import Pictures

                self._screen = Pictures()
            else:
                from tfnz_notebook.magics.shown.terminal import Console, Terminal

                self._screen = Console() if self._kernel else Terminal()
        return self._screen

    @property
    def again(self) -> Again:
        """What the present cell made when it ran before."""
        if self._again is None:
            from tfnz_notebook.magics.again import Again

            self._again = Again(self)
        return self._again

    def cell_begins(self, info: Any) -> None:
        """A cell begins (``pre_run_cell``)."""
        cells.begun(info)
        # Have %autoreload leave our modules alone: a class that is loaded again is another one, and
        # what is there would be a Container to nobody.
        autoreload = self.shell.magics_manager.registry.get("AutoreloadMagics")
        skipped = getattr(getattr(autoreload, "_reloader", None), "skip_modules", None)
        if isinstance(skipped, dict):
            ours = (name for name in list(sys.modules) if name.startswith("tfnz_notebook"))
            skipped.update(dict.fromkeys(ours, True))

    def cell_ended(self, result: Any) -> None:
        """A cell has ended (``post_run_cell``)."""
        if self._again is not None:
            self._again.cell_ended(result)

    def holding(self, kind: type[T]) -> dict[str, T]:
        """The user's variables that hold one, by name."""
        return {
            name: value
            for name, value in list(self.variables.items())
            if isinstance(value, kind) and not name.startswith("_")
        }

    # -- the location

    @property
    def known(self) -> Location | None:
        """The current location, if there is one yet: the magics' own, or the user's only one."""
        if self._location is not None and self._location.connected:
            return self._location
        theirs = {id(each): each for each in self.holding(Location).values() if each.connected}
        return next(iter(theirs.values())) if len(theirs) == 1 else None

    def location(self) -> Location:
        """The current location; the first magic makes one. In a notebook cards say where it is."""
        found = self.known
        if found is None:
            found = Location()
            if not self.notebook:
                print(f"{found.engine}, session {found.session}")  # noqa: T201  # for the user
        self._location = found
        return found

    def move(self, location: Location) -> None:
        """Make it the current one. The former one stays as it is, for who still uses it."""
        self._location = location

    # -- what words name

    def container(self, word: str) -> Container:
        """The container that a word names. Raises ContainerGone, Misuse."""
        value = self.variables.get(word)
        if isinstance(value, Container):
            return value
        if word.startswith(("<Container", "<Process")):
            raise Misuse(
                f"Cannot find a container: {word!r} is how one prints. Write the variable's name "
                "without '$' or braces."
            )
        fits = [each for each in self._containers() if each._is(word)]
        if not fits and len(word) >= SHORTEST:
            fits = [each for each in self._containers() if each._begins(word)]
        if len(fits) == 1:
            return fits[0]
        if fits:
            raise Misuse(f"Cannot find container {word!r}: {len(fits)} fit. Give an id.")
        held = f"the variable {word!r} holds {_kind(value)}, and " if value is not None else ""
        raise ContainerGone(
            f"Cannot find container {word!r}: {held}the session has none of that name, tag or id. "
            f"{self._there_are()}"
        )

    def _containers(self) -> list[Container]:
        found = {each.id: each for each in self.holding(Container).values()}
        found |= {each.id: each for each in self.location().containers()}
        return [each for each in found.values() if each.state != "destroyed"]

    def _there_are(self) -> str:
        names = sorted(set(self.container_names()))
        return f"There are {', '.join(names)}." if names else "%tf_spawn makes one."

    def container_names(self) -> list[str]:
        """Words that name containers, without asking anybody."""
        location = self.known
        found = list(location._containers.values()) if location else []  # no request
        return [*self.holding(Container), *map(called, found)]

    def only_container(self, doing: str) -> Container:
        """The session's only container."""
        found = self._containers()
        if len(found) == 1:
            return found[0]
        cause = "there is none" if not found else f"there are {len(found)}"
        raise Misuse(f"Cannot {doing}: no container is named, and {cause}. {self._there_are()}")

    def process(self, word: str) -> Process:
        """The process that a word names. Raises ProcessGone, Misuse."""
        value = self.variables.get(word)
        if isinstance(value, Process):
            return value
        name, colon, pid = word.rpartition(":")
        among = [self.container(name)] if colon else self._containers()
        wanted = pid if colon else word
        found = wait(_processes(among))
        fits = []
        if wanted.isdecimal():
            fits = [p for p in found if p.pid == int(wanted) and p.returncode is None]
        if not fits and len(wanted) >= SHORTEST:
            fits = [p for p in found if p.id.startswith(wanted)]
        if len(fits) == 1:
            return fits[0]
        if fits:
            names = ", ".join(f"{called(p.container)}:{p.pid}" for p in fits)
            raise Misuse(f"Cannot find process {word!r}: {len(fits)} fit. Give one of {names}.")
        raise ProcessGone(
            f"Cannot find process {word!r}: no variable, and no pid or id of one that this session "
            "started. %tf_attach lists them."
        )

    def target(self, word: str) -> Container | Process:
        """The container or process that a word names."""
        value = self.variables.get(word)
        if isinstance(value, Container | Process):
            return value
        try:
            return self.container(word)
        except ContainerGone as no_container:
            if ":" not in word and not word.isdecimal() and not _hexadecimal(word):
                raise no_container from None
        return self.process(word)


async def _processes(containers: list[Container]) -> list[Process]:
    """Everything that was started in them."""

    async def of(container: Container) -> list[Process]:
        try:
            return await container.aio.all_processes(ended=True)
        except TfnzError:
            return []  # it never ran, or is gone

    found = await asyncio.gather(*map(of, containers))
    return [process for each in found for process in each]


def _hexadecimal(word: str) -> bool:
    return len(word) >= SHORTEST and not set(word) - set("0123456789abcdef")


def _kind(value: object) -> str:
    return f"a {type(value).__name__}"


def called(container: Container) -> str:
    """The word that names it best."""
    return container._given or container.tag or container.id[:8]


def titled(process: Process) -> str:
    """A process, for people."""
    return f"{one_line(process.command, 60)} · pid {process.pid}"
