"""A session's containers and processes as its agent knows them, while somebody looks.

One ledger a link, shared by all cards and tables: thirty cards ask once. It lists, then hears the
agent's events; what other kernels start is told by no event, so it lists again now and then. With
the last watcher all of that ends, and nothing is asked any more. Everything is on the I/O loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakValueDictionary

from tfnz_notebook.errors import ContainerGone, ProcessGone, TfnzError
from tfnz_notebook.widgets.explorer.meter import Meter

if TYPE_CHECKING:
    from tfnz_notebook._link.link import Link
    from tfnz_notebook.location import Location

log = logging.getLogger(__name__)

Info = dict[str, Any]

#: Seconds from one look at the processes to the next, and between samples of what is used.
LOOK, SAMPLE = 1.0, 2.0
#: Seconds to the second sample: the first gives no rates yet.
SECOND: Final = 0.5
#: Seconds for an answer before a round goes on without it.
PATIENCE: Final = 5.0


class Interest(NamedTuple):
    """What one watcher wants to know: of which containers (None: all), and whether their use."""

    containers: frozenset[str] | None = None
    processes: bool = True
    usage: bool = False


class Ledger:
    """What is known now: ``containers`` by id, ``processes`` by container and id, ``meters``."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.containers: dict[str, Info] = {}
        self.processes: dict[str, dict[str, Info]] = {}
        self.meters: dict[str, Meter] = {}
        self._watchers: dict[Callable[[], None], Interest] = {}
        self._round: asyncio.Task[None] | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self._again = asyncio.Event()

    # -- what watchers use

    def watch(self, watcher: Callable[[], None], interest: Interest) -> None:
        """Call it after each change of what it is interested in, and of other things too."""
        self._watchers[watcher] = interest
        if self._round is None:
            self.link.listen("container", "", self._container)
            self.link.listen("process", "", self._process)
            self._round = asyncio.get_running_loop().create_task(self._look())
        self._again.set()

    def unwatch(self, watcher: Callable[[], None]) -> None:
        """Call it no more."""
        self._watchers.pop(watcher, None)
        if not self._watchers and self._round is not None:
            self._round.cancel()
            self._round = None
            self.link.forget("container", "", self._container)
            self.link.forget("process", "", self._process)
            self.containers, self.processes, self.meters = {}, {}, {}

    async def ready(self, seconds: float) -> None:
        """Return once all that watchers want now was asked for, or after so many seconds."""
        if self.link.over:
            return
        fresh = asyncio.get_running_loop().create_future()
        self._waiting.append(fresh)
        self._again.set()
        await asyncio.wait([fresh], timeout=seconds)

    @property
    def watched(self) -> bool:
        """Whether it is being kept now; else it is empty."""
        return self._round is not None

    def look_again(self) -> None:
        """Ask soon: something was done."""
        self._again.set()

    # -- hearing

    def _container(self, info: Info | None) -> None:
        if info is None:
            self._again.set()
        else:
            ident = str(info.get("container"))
            if info.get("state") == "destroyed":
                self._lose(ident)
            else:
                if info.get("state") != self.containers.get(ident, {}).get("state"):
                    self.processes.pop(ident, None)  # a reboot ends them all
                    self._again.set()
                self.containers[ident] = info
        self._tell()

    def _process(self, info: Info | None) -> None:
        if info is None:
            self._again.set()
        else:
            held = self.processes.get(str(info.get("container")))
            if held is not None:
                held[str(info.get("process"))] = info
        self._tell()

    def _lose(self, ident: str) -> None:
        for held in (self.containers, self.processes, self.meters):
            held.pop(ident, None)

    def _tell(self) -> None:
        for watcher in list(self._watchers):
            watcher()

    # -- asking

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        due: dict[str, float] = {}  # when each container is sampled next
        while not self.link.over:
            self._again.clear()
            waiting, self._waiting = self._waiting, []
            try:
                await self._ask_for_all(due)
            except (TfnzError, TimeoutError):
                pass  # out of reach, or slow: a later round tells
            except Exception:  # one bad round must not be the last
                log.exception("looking at a session")
            self._tell()
            for fresh in waiting:
                if not fresh.done():
                    fresh.set_result(None)
            pause = min([LOOK, *(at - loop.time() for at in due.values())])
            try:
                async with asyncio.timeout(max(0.05, pause)):
                    await self._again.wait()
                await asyncio.sleep(0.02)  # events come in bursts
            except TimeoutError:
                pass
        self._tell()

    async def _ask_for_all(self, due: dict[str, float]) -> None:
        await self._list()
        await _all(self._list_processes(each) for each in self._wanted("processes"))
        wanted, now = self._wanted("usage"), asyncio.get_running_loop().time()
        for each in set(due) - set(wanted):
            del due[each]
        sampled = [each for each in wanted if due.get(each, now) <= now]
        for each in sampled:
            due[each] = now + (SAMPLE if each in due else SECOND)
        await _all(self._sample(each) for each in sampled)

    def _wanted(self, what: str) -> list[str]:
        """Those containers that can be asked, and that somebody wants to know this of."""
        wanted = set[str]()
        for interest in self._watchers.values():
            if getattr(interest, what):
                one = interest.containers
                wanted.update(self.containers if one is None else one)
        asked = ("running",) if what == "usage" else ("running", "exited")
        return [
            ident
            for ident, info in self.containers.items()
            if ident in wanted and info.get("state") in asked
        ]

    async def _ask(self, name: str, body: Info) -> Info:
        async with asyncio.timeout(PATIENCE):
            return (await self.link.request(name, body)).body

    async def _list(self) -> None:
        told = (await self._ask("container.list", {}))["containers"]
        self.containers = {str(info["container"]): info for info in told}
        for held in (self.processes, self.meters):
            for gone in set(held) - set(self.containers):
                del held[gone]

    async def _list_processes(self, ident: str) -> None:
        try:
            told = (await self._ask("process.list", {"container": ident}))["processes"]
        except ContainerGone:
            return
        found = {str(info["process"]): info for info in told}
        main = self.processes.get(ident, {}).get(ident)  # events tell of its end
        try:
            found[ident] = main or (await self._ask("process.info", {"process": ident}))["info"]
        except ProcessGone:
            pass  # it sleeps
        self.processes[ident] = found

    async def _sample(self, ident: str) -> None:
        try:
            told = (await self._ask("container.stats", {"container": ident})).get("sample")
        except (TfnzError, TimeoutError):
            return  # it ended just now, or is being rebooted
        if told and ident in self.containers:
            self.meters.setdefault(ident, Meter()).add(told)


async def _all(coroutines: Iterable[Any]) -> None:
    for outcome in await asyncio.gather(*coroutines, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


_ledgers: WeakValueDictionary[str, Ledger] = WeakValueDictionary()


def ledger_of(location: Location) -> Ledger:
    """The ledger of a location's session."""
    link = location._link
    ledger = _ledgers.get(link.client)
    if ledger is None:
        ledger = _ledgers[link.client] = Ledger(link)
    return ledger
