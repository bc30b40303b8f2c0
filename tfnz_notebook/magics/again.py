"""Run again means replace: what a cell's last run made goes, once the same cell made it anew.

What magics make carries an *origin*, which the agent tells every kernel of the session: the cell,
and what it wished for (as an HMAC: what is in ``-e`` and ``-f`` is nobody else's to guess). So
there is no list here that a restart would lose. Of what has the origin of the present cell, what
this run made or showed itself is *taken*; the rest was made by runs before. Of those the one of the
same wishes is replaced, else the oldest, once the new one stands; one that fails leaves it there.

What has a name, or lives in a durable session, is not replaced but shown again if its wishes are
the same, and else refused: ``--replace`` has it replaced all the same, ``--keep`` leaves it.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from tfnz_notebook._base import paths
from tfnz_notebook._calls.deadline import within
from tfnz_notebook._link.thread import wait
from tfnz_notebook.container import Container
from tfnz_notebook.errors import AgentError, Misuse, TfnzError
from tfnz_notebook.location import Location
from tfnz_notebook.magics.commands.waiting import background
from tfnz_notebook.magics.here import Here, called, titled
from tfnz_notebook.process import Process
from tfnz_notebook.widgets import cells

if TYPE_CHECKING:
    import argparse

    from tfnz_notebook.magics.parse import Parser
    from tfnz_notebook.plots import Plot

T = TypeVar("T", Container, Process)

#: Seconds from TERM to KILL of what is replaced: as the buttons have it; of a terminal, whose shell
#: heeds no TERM.
_GRACE: Final = 5.0
_SHORT: Final = 1.0
_OVER: Final = ("exited", "failed", "destroyed")


def options(parser: Parser) -> None:
    """The options of magics that replace."""
    parser.add("--keep", action="store_true", help="leave what this cell made when it ran last")
    parser.add("--replace", action="store_true", help="also what has a name, or a durable session")


class Origin(NamedTuple):
    """What made something: a cell, of certain wishes; ``named``: it got a name of the user's."""

    cell: str = ""
    wishes: str = ""
    named: bool = False

    def __str__(self) -> str:
        return self.cell and ":".join((self.cell, self.wishes, "named" if self.named else ""))


UNKNOWN: Final = Origin()


def origin_of(thing: Container | Process) -> Origin:
    """Of something that any kernel made; empty if no magic did."""
    cell, _, rest = str(thing._info.get("origin") or "").partition(":")
    wishes, _, named = rest.partition(":")
    return Origin(cell, wishes, named == "named")


class Last(NamedTuple, Generic[T]):
    """What there is of the cell's last run: to be shown ``again``, or ``old`` and to be replaced.

    ``first``: it has what the new one needs, and must go before that comes. ``dead`` are others,
    which have ended.
    """

    again: T | None = None
    old: T | None = None
    first: bool = False
    dead: tuple[T, ...] = ()


class Again:
    """One for each shell."""

    def __init__(self, here: Here) -> None:
        self._here = here
        #: By cell: its present run, and the ids of what that made or showed.
        self._taken: dict[str, tuple[str, set[str]]] = {}
        #: What is nobody's to replace: it was left by ``--keep``, or is going.
        self._left: set[str] = set()
        self._plots: dict[str, list[tuple[str, Plot]]] = {}

    # -- before something is made

    def origin(self, *wishes: object, named: bool = False) -> Origin:
        """Of what the present cell is about to make."""
        told = json.dumps(wishes, sort_keys=True, default=_plain).encode()
        digest = hmac.new(_key(), told, hashlib.sha256).hexdigest()[:32]
        return Origin(cells.present().name, digest, named)

    def container(
        self, location: Location, name: str | None, origin: Origin, asked: argparse.Namespace
    ) -> Last[Container]:
        """The container that the new one is to replace, or that is shown again."""
        found = [each for each in location.containers() if each.state != "destroyed"]
        if name is not None and not asked.keep:
            for each in found:
                if each.name == name:
                    return self._of_that_name(each, origin, asked)
        mine = [each for each in found if not origin_of(each).named]
        return self._choose("spawn a container", location, mine, origin, asked)

    def process(
        self, container: Container, origin: Origin, asked: argparse.Namespace, *, first: bool
    ) -> Last[Process]:
        """The same of a process. ``first``: the old one may hold a port that the new one wants."""
        location = container.location
        found = wait(_running(location, self._left))
        last = self._choose("start a process", location, found, origin, asked)
        shares = last.old is not None and last.old.container is container
        return last._replace(first=first and shares)

    def _of_that_name(
        self, found: Container, origin: Origin, asked: argparse.Namespace
    ) -> Last[Container]:
        made, over = origin_of(found), found.state in _OVER
        if asked.replace or (over and origin.cell and made.cell == origin.cell):
            return Last(old=found, first=True)
        if over or made.wishes != origin.wishes:
            how = f"has {found.state}" if over else f"is there, made otherwise (of {found.image!r})"
            raise Misuse(
                f"Cannot spawn a container called {found.name!r}: one of that name {how}. "
                "--replace takes its place; or give another name."
            )
        return self._shown(found)

    def _choose(
        self,
        doing: str,
        location: Location,
        found: Sequence[T],
        origin: Origin,
        asked: argparse.Namespace,
    ) -> Last[T]:
        taken = self._taken_now()
        mine = [each for each in found if origin.cell and origin_of(each).cell == origin.cell]
        mine = [each for each in mine if each.id not in taken and each.id not in self._left]
        mine.sort(key=lambda each: (_over(each), origin_of(each).wishes != origin.wishes))
        if asked.keep:
            self._left.update(each.id for each in mine[:1])
            return Last()
        living = [each for each in mine if not _over(each)]
        if location.on_disconnect == "destroy" or asked.replace or not living:
            dead = tuple(each for each in mine[1:] if _over(each))
            return Last(old=mine[0], dead=dead) if mine else Last()
        if origin_of(living[0]).wishes == origin.wishes:
            return self._shown(living[0])
        raise Misuse(
            f"Cannot {doing}: what this cell made before, {self._called(living[0])}, was made "
            f"otherwise, and lives on in the durable session {location.session!r}. "
            "--replace takes its place, --keep leaves it there."
        )

    def _shown(self, found: T) -> Last[T]:
        self.made(found)
        print(f"{self._called(found)} is there: shown again")  # noqa: T201  # for the user
        return Last(again=found)

    def _taken_now(self) -> set[str]:
        name, run = cells.present()
        known, taken = self._taken.get(name, ("", set[str]()))
        if known != run:
            self._taken[name] = run, (taken := set())
        return taken

    # -- once something is there

    def made(self, thing: Container | Process) -> None:
        """This run of the cell made it, or showed it."""
        self._taken_now().add(thing.id)

    def replace(self, last: Last[T], *, first: bool = False) -> None:
        """The new one stands, or (``first``) can begin: let the old one go, and say so."""
        old = last.old
        if old is None or old.id in self._left:
            return
        if last.first and not first:
            return  # not yet
        called = self._called(old)
        self._left.add(old.id)
        for each in last.dead:
            self._left.add(each.id)
            background(_end(each))
        if first:
            with contextlib.suppress(TfnzError):  # it has just gone
                wait(_end(old))
        else:
            background(_end(old))  # while the cell goes on
        print(f"replaced {called}")  # noqa: T201  # for the user

    def replace_later(self, container: Container, last: Last[Container]) -> None:
        """The new one is still coming: let the old one go once it runs."""
        if last.old is None or last.first:
            return
        print(f"replaces {self._called(last.old)} once it runs")  # noqa: T201  # for the user
        gone = (last.old, *last.dead)
        self._left.update(each.id for each in gone)

        async def later() -> None:
            try:
                await container.aio.wait_until_ready()
            except TfnzError:
                if container.state != "exited":  # it was quick, and ran
                    self._left.difference_update(each.id for each in gone)
                    return
            for each in gone:
                background(_end(each))

        background(later())

    def plotted(self, plot: Plot, *, keep: bool) -> None:
        """A plot is no object of the agent's: those of runs before read on, and nobody looks."""
        name, run = cells.present()
        if not name:
            return
        held = self._plots.setdefault(name, [])
        old = next((each for each in held if each[0] != run), None)
        if old is not None:
            held.remove(old)
            if not keep:
                old[1].stop()
        held.append((run, plot))

    def cell_ended(self, result: Any) -> None:
        """After a cell that ran through: what it made when it ran last and did not now, is said."""
        name, run = cells.present()
        known, taken = self._taken.get(name, ("", set[str]()))
        location = self._here.known
        if not (taken and known == run and result.success and location is not None):
            return
        with contextlib.suppress(TfnzError):
            found = {each.id: each for each in location.containers()}
            if not taken & found.keys():
                return  # this run made none
            for each in found.values():
                left = origin_of(each).cell == name and each.id not in taken | self._left
                if left and not _over(each):
                    self._left.add(each.id)
                    cells.leave(each.id)
                    name_of_it = self._called(each)
                    print(  # noqa: T201  # for the user
                        f"{name_of_it} is left from before: %tf_stop {name_of_it} ends it"
                    )

    def _called(self, thing: Container | Process) -> str:
        for name, value in self._here.holding(type(thing)).items():
            if value is thing:
                return name
        return called(thing) if isinstance(thing, Container) else titled(thing)


def spawned(
    container: Container, command: str | None, origin: Origin = UNKNOWN, **options: Any
) -> Process:
    """A process of that origin; ``command`` None: a login shell. Options as of spawn_process."""
    return wait(_spawned(container, command, str(origin), options))


async def _spawned(
    container: Container, command: str | None, origin: str, options: dict[str, Any]
) -> Process:
    async with within("spawn a process", options.get("timeout")):
        if command is None:
            return await container._shell(None, (None, None, None), origin=origin, **options)
        return await container._spawn(command, (None, None, None), origin=origin, **options)


async def _running(location: Location, left: Iterable[str]) -> list[Process]:
    """All processes of a session that run, the oldest first."""
    found = []
    for container in await location.aio.containers():
        if container.state != "running" or container.id in left:
            continue
        with contextlib.suppress(TfnzError):  # it has just ended
            found += await container.aio.all_processes()
    return sorted(found, key=lambda each: float(each._info.get("started") or 0))


def _over(thing: Container | Process) -> bool:
    if isinstance(thing, Container):
        return thing.state in _OVER
    return thing.returncode is not None or thing.container.state in _OVER


async def _end(thing: Container | Process) -> None:
    if isinstance(thing, Container):
        await thing.aio.destroy()
    else:
        await thing.aio.destroy(grace=_SHORT if thing.tty else _GRACE)


def _plain(value: object) -> str:
    return hashlib.sha256(value).hexdigest() if isinstance(value, bytes) else repr(value)


@cache
def _key() -> bytes:
    """This user's, made once; where nothing can be kept, this kernel's."""
    fresh = secrets.token_bytes(32)
    try:
        return paths.kept_once(paths.secret(paths.state(), "wishes"), fresh)
    except (OSError, AgentError):
        return fresh
