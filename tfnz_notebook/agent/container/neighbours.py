"""Who may connect to whom: nobody to anybody, until a container allows it to another.

The engine keeps one container apart at a time (:meth:`Engine.isolate`); here is what it is told.
What a container allows lies in its folder (``allowed``: ids, in JSON), so that a later agent
knows it. It ends with either container; a reboot it outlasts, under another address.
"""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tfnz_notebook.agent.disk import REAL, Disk
from tfnz_notebook.engines.base import Engine
from tfnz_notebook.errors import ContainerGone, Misuse, TfnzError

if TYPE_CHECKING:
    from tfnz_notebook.agent.container.container import Container

log = logging.getLogger(__name__)

_FILE: Final = "allowed"


class Neighbours:
    """The running containers of one agent, and what they allow each other."""

    def __init__(self, engine: Engine, spool: Path, disk: Disk = REAL) -> None:
        self._engine = engine
        self._spool = spool
        self._disk = disk
        self._there: dict[str, Container] = {}
        #: Id of a container to those that may connect to it.
        self._allowed: dict[str, set[str]] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    # -- coming and going

    def found(self, container: Container) -> None:
        """A running container that an earlier agent left. Say all of them before :meth:`up`.

        So the first fence of each is the one that it has, and cuts nothing.
        """
        self._there[container.ident] = container
        path = self._spool / container.ident / _FILE
        try:
            told = json.loads(self._disk.read(path))
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            log.warning("container %s: who may connect to it is lost: %s", container.ident, error)
            return
        if isinstance(told, list):
            self._allowed[container.ident] = {str(each) for each in told}

    async def up(self, container: Container) -> None:
        """It has started: fence it off. Raises EngineError when that fails.

        Unless it was up before, under an earlier agent or until somebody restarted it past us:
        that is logged, for what runs in it is not ours to end.
        """
        if container.spec.network is not None:
            return  # asked for in words; who asks for a network wants those on it
        before = container.ident in self._there
        self._there[container.ident] = container
        self._keep(container.ident)  # a reboot deletes the folder
        if before:
            await self._tell({container.ident})
        else:
            await self._isolate(container.ident)
        await self._tell(self._related(container.ident))

    def handed(self, before: Container, container: Container) -> None:
        """One is another from now on, at the same place; nothing was allowed there yet."""
        if self._there.pop(before.ident, None) is not None:
            self._there[container.ident] = container
        self._turns.pop(before.ident, None)

    async def down(self, container: Container) -> None:
        """It stops for a while, and its address may soon be somebody else's."""
        if self._there.pop(container.ident, None) is not None:
            await self._tell(self._related(container.ident))

    async def gone(self, container: Container) -> None:
        """It has ended: what it was allowed, and allowed, is over."""
        related = self._related(container.ident)
        self._there.pop(container.ident, None)
        self._forget(container.ident)
        for each in related:
            if container.ident in self._allowed.get(each, ()):
                self._allowed[each].discard(container.ident)
                self._keep(each)
        await self._tell(related)
        self._turns.pop(container.ident, None)

    # -- allowing

    async def allow(self, target: Container, source: Container) -> None:
        """Let ``source`` connect to ``target``; again: nothing happens. Misuse, EngineError."""
        for each in (target, source):
            if each.spec.network is not None:
                raise Misuse(
                    f"Cannot allow a connection: a container was spawned with network="
                    f"{each.spec.network!r}, and what it reaches is up to that. Spawn it without."
                )
        for each in (target, source):
            await each.running()
        allowed = self._allowed.setdefault(target.ident, set())
        new = source.ident not in allowed
        allowed.add(source.ident)
        try:
            await self._isolate(target.ident)
            await self._isolate(source.ident)
        except TfnzError:
            if new:
                allowed.discard(source.ident)
                await self._tell({target.ident, source.ident})
            raise
        self._keep(target.ident)

    async def disallow(self, target: Container, source: Container) -> None:
        """Undo :meth:`allow`. Misuse where nothing was allowed."""
        if source.ident not in self._allowed.get(target.ident, ()):
            raise Misuse(
                "Cannot disallow connections: the other container may not connect to this one as "
                "it is. Only what allow_connection_from allowed can be taken back."
            )
        self._allowed[target.ident].discard(source.ident)
        self._keep(target.ident)
        await self._isolate(target.ident)
        await self._isolate(source.ident)

    # -- telling the engine

    def _related(self, ident: str) -> set[str]:
        return {
            *self._allowed.get(ident, ()),
            *(target for target, sources in self._allowed.items() if ident in sources),
        }

    async def _tell(self, idents: set[str]) -> None:
        """Fence these anew because of another; what fails there is not the other's error."""
        for ident in idents:
            try:
                await self._isolate(ident)
            except TfnzError as error:
                log.error("container %s may be open to others: %s", ident, error)  # noqa: TRY400

    async def _isolate(self, ident: str) -> None:
        async with self._turns.setdefault(ident, asyncio.Lock()):
            container = self._there.get(ident)
            if container is None:
                return
            sources = self._refs(self._allowed.get(ident, set()))
            targets = self._refs({t for t, from_ in self._allowed.items() if ident in from_})
            try:
                await self._engine.isolate(container.ref, sources, targets)
            except ContainerGone:
                pass  # it ended meanwhile, and others will notice

    def _refs(self, idents: set[str]) -> list[str]:
        return [self._there[ident].ref for ident in idents if ident in self._there]

    # -- remembering

    def _keep(self, ident: str) -> None:
        """Write down what it allows. A full disk costs the next agent that, no more."""
        allowed = self._allowed.get(ident)
        if not allowed:
            self._forget(ident)
            return
        path = self._spool / ident / _FILE
        try:
            self._disk.replace(path, json.dumps(sorted(allowed)).encode())
        except OSError as error:
            log.warning("container %s: who may connect to it is not kept: %s", ident, error)

    def _forget(self, ident: str) -> None:
        self._allowed.pop(ident, None)
        try:
            self._disk.remove(self._spool / ident / _FILE)
        except OSError as error:
            log.warning("container %s: %s", ident, error)
