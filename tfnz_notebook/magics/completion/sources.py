"""What completion offers, by kind; from what is known here, or what the agent says in time."""

from __future__ import annotations

import asyncio
import os
import posixpath
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from tfnz_notebook._base import contexts
from tfnz_notebook._base.docker import daemons
from tfnz_notebook._base.paths import expanded
from tfnz_notebook._link.thread import io
from tfnz_notebook.container import Container
from tfnz_notebook.location import Location
from tfnz_notebook.magics.here import Here, called, titled
from tfnz_notebook.process import Process

if TYPE_CHECKING:
    from tfnz_notebook.magics.completion.complete import Place

#: Seconds that Tab waits for an answer, and for which one is good; a cluster's, for longer.
PATIENCE: Final = 0.25
FRESH: Final = 2.0
FRESH_NAMESPACES: Final = 300.0
#: Seconds for a cluster to say which namespaces it has, a plugin that logs in included.
_ASKING: Final = 20.0
#: Most entries of a directory that are offered.
MOST: Final = 500

#: What stands beside a word that is offered.
_ABOUT: Final = {"inside": "path", "local": "path", "pull": "", "yesno": ""}


class Offer(NamedTuple):
    """A word that may be typed here, what it is, and another beginning that also means it."""

    text: str
    about: str = ""
    also: str = ""


T = TypeVar("T")
Ask = Callable[[], Coroutine[Any, Any, list[T]]]


class Sources:
    """Of one shell."""

    def __init__(self, here: Here) -> None:
        self._here = here
        self._answers: dict[tuple[str, ...], tuple[float, list[Any]]] = {}
        self._asked: dict[tuple[str, ...], Future[list[Any]]] = {}

    def of(self, kind: str, at: Place) -> list[Offer]:
        """What may stand at a place."""
        if kind == "target":
            return [*self.of("container", at), *self._processes(at.word.text)]
        about = _ABOUT.get(kind, kind)
        return [Offer(each, about) for each in self._words(kind, at)]

    def _words(self, kind: str, at: Place) -> list[str]:
        match kind:
            case "container":
                return self._containers(at.word.text)
            case "image":
                return self._images()
            case "inside":
                return self._inside(at.container, at.word.text)
            case "local":
                return _local(at.word.text)
            case "node":
                return self._of_location("node", lambda at: _names(at.aio.nodes()))
            case "volume":
                return self._of_location("volume", lambda at: _names(at.aio.all_volumes(), ":"))
            case "signal":
                return [each.name.removeprefix("SIG") for each in signal.Signals]
            case "where":
                return [*self.places(at.word.text), *self._here.holding(Location)]
            case "parser":
                return _parsers()
            case "pull":
                return ["missing", "always", "never"]
            case "yesno":
                return ["yes", "no"]
        return []

    # -- the agent's answers

    def _asking(self, key: tuple[str, ...], ask: Ask[T], fresh: float = FRESH) -> list[T]:
        """An answer that is fresh, or comes in time; else the one before."""
        when, before = self._answers.get(key, (0.0, []))
        if time.monotonic() < when + fresh and when:
            return before
        future = self._asked.get(key)
        if future is None or future.done():
            future = self._asked[key] = asyncio.run_coroutine_threadsafe(ask(), io().loop)
            future.add_done_callback(lambda done: self._answered(key, done))
        try:
            return future.result(PATIENCE)
        except Exception:  # noqa: BLE001  # late, or refused: there is nothing to say it to
            return before

    def _answered(self, key: tuple[str, ...], done: Future[list[str]]) -> None:
        if not done.cancelled() and done.exception() is None:
            if len(self._answers) > MOST:
                self._answers.clear()
            self._answers[key] = (time.monotonic(), done.result())

    def _of_location(
        self, what: str, ask: Callable[[Location], Coroutine[Any, Any, list[T]]]
    ) -> list[T]:
        location = self._here.known
        if location is None:
            return []
        return self._asking((what, location.session), lambda: ask(location))

    # -- names

    def _containers(self, typed: str) -> list[str]:
        """Once each; whatever else it is called is offered as soon as that is typed."""
        listed = self._of_location("container", _containers)
        holding = self._here.holding(Container).items()
        held = {c.id: name for name, c in holding if c.state != "destroyed"}
        others = (name for ident, name in listed if typed or ident not in held)
        return [*held.values(), *others]

    def _processes(self, typed: str) -> list[Offer]:
        held = self._here.holding(Process).items()
        mine = {p.id: _process(name, p) for name, p in held if p.returncode is None}
        listed = self._of_location("process", _processes)
        others = (each for ident, each in listed if typed or ident not in mine)
        return [*mine.values(), *others]

    def _images(self) -> list[str]:
        whole = self._of_location("image", _tags)
        short = (name.removeprefix("docker.io/").removeprefix("library/") for name in whole)
        return [*(name.removesuffix(":latest") for name in short), *whole]

    def places(self, typed: str) -> list[str]:
        """What a location may be called here; a context's namespaces, once that is typed."""
        found = ["podman", "docker", "host"]
        found += [f"docker://{name}" for name in daemons.names()[:MOST]]
        found += contexts.places()[:MOST]
        context, slash, _ = typed.removeprefix(f"{contexts.SCHEME}://").partition("/")
        if typed.startswith(f"{contexts.SCHEME}://") and slash:
            where = f"{contexts.SCHEME}://{context}"
            asked = self._asking((where,), lambda: _namespaces(where), FRESH_NAMESPACES)
            found += [f"{where}/{name}" for name in asked]
        return found

    # -- paths

    def _inside(self, word: str, typed: str) -> list[str]:
        container = self.known_container(word)
        if container is None or container.state != "running":
            return []
        directory = typed.rpartition("/")[0] + "/"
        if not directory.startswith("/"):
            return ["/"]

        async def ask() -> list[str]:
            entries = await container.aio.listdir(posixpath.normpath(directory))
            ends = {"directory": "/"}
            return [f"{directory}{e.name}{ends.get(e.kind, '')}" for e in entries[:MOST]]

        return self._asking(("inside", container.id, directory), ask)

    def known_container(self, word: str) -> Container | None:
        """The container that a word names, if that is known without asking for it."""
        value = self._here.variables.get(word)
        if isinstance(value, Container):
            return value
        location = self._here.known
        if location is None:
            return None
        self._containers("")  # those of other kernels become known
        known = list(location._containers.values())  # asks nobody
        fits = [c for c in known if c._is(word) or c._begins(word)]
        return fits[0] if word and len(fits) == 1 else None


async def _tags(location: Location) -> list[str]:
    return [tag for image in await location.aio.images() for tag in image.tags]


async def _containers(location: Location) -> list[tuple[str, str]]:
    return [(each.id, called(each)) for each in await location.aio.containers()]


def _process(word: str, process: Process) -> Offer:
    # A page breaks lines at blanks, and has one line for each.
    return Offer(word, titled(process).replace(" ", "\N{NO-BREAK SPACE}"), process.command)


async def _processes(location: Location) -> list[tuple[str, Offer]]:
    found = []
    for container in await location.aio.containers():
        if container.state == "running":
            running = await container.aio.all_processes()
            name = called(container)
            found += [
                (each.id, _process(f"{name}:{each.pid}", each)) for each in running if each.pid
            ]
    return found


async def _names(asked: Coroutine[Any, Any, list[Any]], end: str = "") -> list[str]:
    return [str(getattr(each, "name", each)) + end for each in await asked]


async def _namespaces(where: str) -> list[str]:
    """Those of that context's cluster, if this user may know; asked by a process of its own.

    What a kernel loads has no client of a cluster's, and a plugin that logs in may take its time.
    """
    command = [sys.executable, "-P", "-m", "tfnz_notebook", "namespaces", where]
    null, pipe = asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE
    asking = await asyncio.create_subprocess_exec(*command, stdin=null, stdout=pipe, stderr=null)
    try:
        async with asyncio.timeout(_ASKING):
            said, _ = await asking.communicate()
    finally:
        if asking.returncode is None:
            asking.kill()
    return said.decode().splitlines()[:MOST]


def _local(typed: str) -> list[str]:
    """Files here, of which the beginning is typed."""
    directory, slash, beginning = typed.rpartition("/")
    found = []
    with os.scandir(expanded(f"{directory}{slash}" or ".")) as entries:
        for entry in entries:
            hidden = entry.name.startswith(".") and not beginning.startswith(".")
            if not hidden and entry.name.startswith(beginning):
                found.append(f"{directory}{slash}{entry.name}{'/' if entry.is_dir() else ''}")
            if len(found) == MOST:
                break
    return found


def _parsers() -> list[str]:
    from tfnz_notebook.plots import PARSERS

    return list(PARSERS)
