"""Containers that are there before anybody asks for them: started, asleep, fenced off.

A session says of which image, with which wishes, and how many. A spawn takes one where its wishes
fit: all that an engine was told at the making has to be the same, and the rest (command, entry
point, environment, user, files) is said to the guest, which is asleep. What was taken is made up
for behind the spawn, never to more than was asked. One that ends while it waits is replaced; of a
kind that cannot be made no more are tried until somebody asks for it again. They go with their
session, and a fresh agent removes what an earlier one had.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tfnz_notebook.agent.container import labels
from tfnz_notebook.agent.container.states import OVER
from tfnz_notebook.agent.container.taken import Taken
from tfnz_notebook.engines.base import ContainerSpec, Image
from tfnz_notebook.errors import ContainerGone, TfnzError

if TYPE_CHECKING:
    from tfnz_notebook.agent.container.container import Container

log = logging.getLogger(__name__)

#: What is said when one is taken, and what has to be the same: all else.
LATE: Final = frozenset(
    {"id", "name", "command", "entrypoint", "env", "user", "sleep", "files", "labels", "node"}
)
PLACED: Final = frozenset(each.name for each in dataclasses.fields(ContainerSpec)) - LATE
#: Spares that ended by themselves, one after the other, after which no more are made.
ENDS: Final = 3
#: Seconds after a spawn in which the machine is left to what was spawned.
BEHIND: Final = 0.5

#: Makes one of a spec, which tells of its changes there; it is not brought up yet.
Make = Callable[[ContainerSpec, "Callable[[Container], None]"], "Container"]


@dataclass(slots=True)
class Kind:
    """Spares of one spec."""

    spec: ContainerSpec
    wanted: int
    there: list[Container] = field(default_factory=list)
    #: Why no more are made.
    failed: TfnzError | None = None
    ended: int = 0
    moved: asyncio.Event = field(default_factory=asyncio.Event)


class Spares:
    """Of one session."""

    def __init__(self, make: Make, taken: Taken, *, renames: bool) -> None:
        self._make = make
        #: Their engine can give one a name.
        self._renames = renames
        self._taken = taken
        self._kinds: list[Kind] = []
        self._tasks: set[asyncio.Future[None]] = set()
        #: Those that are nobody's any more, and that their engine still has.
        self.left: list[Container] = []
        self._later: asyncio.TimerHandle | None = None
        self._over = False

    def __iter__(self) -> Iterator[Container]:
        return iter([*(each for kind in self._kinds for each in kind.there), *self.left])

    # -- asking for them

    async def prepare(self, spec: ContainerSpec, wanted: int) -> int:
        """Have so many of that kind; return once they are there. Raises what stands against it."""
        kind = next((each for each in self._kinds if self._is_kind(each.spec, spec)), None)
        if kind is None:
            kind = Kind(spec, wanted)
            self._kinds.append(kind)
        kind.wanted, kind.failed, kind.ended = wanted, None, 0
        self._fill(kind)
        while not self._over:
            if kind.failed is not None:
                raise kind.failed
            if sum(each.state == "running" for each in kind.there) >= kind.wanted:
                return len(kind.there)
            kind.moved.clear()
            await kind.moved.wait()
        raise ContainerGone("Cannot prepare containers: the session has ended.")

    def _fill(self, kind: Kind) -> None:
        """As many as are wanted, and no more."""
        while len(kind.there) > kind.wanted:
            self._drop(kind, kind.there[-1])
        while len(kind.there) < kind.wanted and kind.failed is None and not self._over:
            made = self._make(kind.spec, self._changed)
            kind.there.append(made)
            made.bring_up(_at_once)
        if not kind.wanted and kind in self._kinds:
            self._kinds.remove(kind)
        kind.moved.set()

    def _drop(self, kind: Kind, spare: Container) -> None:
        kind.there.remove(spare)
        if spare.state != "destroyed":
            self._beside(self._gone(spare))

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _changed(self, spare: Container) -> None:
        """One has become something else: it is there, or is no spare any more."""
        kind = next((each for each in self._kinds if spare in each.there), None)
        if kind is None:
            return
        if spare.state in OVER:
            self._drop(kind, spare)
            if spare.state == "failed":
                kind.failed = spare.error or ContainerGone("Cannot prepare containers.")
                log.warning("no spares of %s: %s", kind.spec.image, kind.failed)
            elif (kind_ended := kind.ended + 1) < ENDS:
                kind.ended = kind_ended
                self._soon()
            else:
                kind.failed = ContainerGone(
                    f"Cannot prepare containers of {kind.spec.image!r}: they end by themselves, "
                    "one after the other. Look at the engine's log."
                )
        kind.moved.set()

    # -- taking one

    def take(
        self, spec: ContainerSpec, image: Image, *, anywhere: bool = False
    ) -> Container | None:
        """One that can be what is wished for, and is nobody's spare any more; None: there is none.

        ``anywhere``: its node was chosen for whoever asks. That it is taken is on disk when this
        returns.
        """
        if spec.unmodified or not (spec.sleep or spec.argv(image)):
            return None
        if spec.name is not None and not self._renames:
            return None
        for kind in self._kinds:
            if not self._fits(kind.spec, spec):
                continue
            for spare in list(kind.there):
                if not spare.waits_for_work:
                    continue
                if not (anywhere or spec.node is None or spare.node == spec.node):
                    continue
                if not image.id and spare.image != image:
                    continue  # only where it is started would anybody look for a newer one
                if spare.image is None or spare.image.id != image.id:  # its name means another now
                    self._drop(kind, spare)
                    self._soon()
                    continue
                try:
                    self._taken.note(spare.ident, labels.own(spec.labels))
                except OSError as error:
                    log.warning("no spare is taken, for it cannot be written down: %s", error)
                    return None
                kind.there.remove(spare)
                kind.ended = 0
                self._soon()
                return spare
        return None

    def _soon(self) -> None:
        """Make up for what is missing, behind what goes on now."""
        if self._later is not None:
            self._later.cancel()
        self._later = asyncio.get_running_loop().call_later(BEHIND, self._fill_all)

    def _fill_all(self) -> None:
        for kind in list(self._kinds):
            self._fill(kind)

    def _is_kind(self, one: ContainerSpec, other: ContainerSpec) -> bool:
        """Whether a spare of the one is a spare of the other."""
        same = one.user == other.user and one.node == other.node
        return same and self._fits(one, other) and self._fits(other, one)

    def _fits(self, made: ContainerSpec, spec: ContainerSpec) -> bool:
        """Whether what was made so can become that."""
        if spec.read_only and spec.files:
            return False
        if made.env.keys() - spec.env.keys():  # what it has, nobody takes from it
            return False
        if labels.others(made.labels) != labels.others(spec.labels):
            return False
        return all(getattr(made, name) == getattr(spec, name) for name in PLACED)

    # -- the end

    async def end(self) -> None:
        """None any more. Raises nothing: see :attr:`left`, and ask again."""
        self.close()
        for kind in self._kinds:
            self.left += kind.there
            kind.there.clear()
            kind.moved.set()
        self.clear()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def clear(self) -> None:
        """Begin to remove what could not be removed before; called now and then."""
        left, self.left = self.left, []
        for each in left:
            self._beside(self._gone(each))

    async def _gone(self, spare: Container) -> None:
        try:
            await spare.destroy()
        except TfnzError as error:
            log.warning("a spare stays for now: %s", error)
            self.left.append(spare)

    def close(self) -> None:
        """Make no more."""
        self._over = True
        if self._later is not None:
            self._later.cancel()


async def _at_once() -> None:
    """Its place is free."""
