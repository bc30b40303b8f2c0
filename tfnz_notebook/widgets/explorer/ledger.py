"""A session's containers and processes as its agent told of them, and what they use.

One ledger a link, shared by all cards and tables. What there is was pushed (``_link.known``); only
what containers use is asked for, once a container and period however many look on, and by nobody
when nobody does. Everything is on the I/O loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakValueDictionary

from tfnz_notebook.errors import TfnzError
from tfnz_notebook.widgets.explorer.meter import Meter

if TYPE_CHECKING:
    from tfnz_notebook._link.link import Link
    from tfnz_notebook.location import Location

Info = dict[str, Any]

#: Seconds between samples of what is used; to the second one: the first gives no rates yet.
SAMPLE: Final = 2.0
SECOND: Final = 0.5
#: Seconds for an answer before a round goes on without it.
PATIENCE: Final = 5.0


class Interest(NamedTuple):
    """Of which containers a watcher wants to know what they use (None: all), if of any."""

    containers: frozenset[str] | None = None
    usage: bool = False


class Ledger:
    """``meters`` by container, while somebody looks."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.meters: dict[str, Meter] = {}
        self._watchers: dict[Callable[[], None], Interest] = {}
        self._sampling: dict[str, asyncio.Task[None]] = {}
        self._sampled: dict[str, asyncio.Event] = {}

    @property
    def containers(self) -> Mapping[str, Info]:
        """Those of the session, by id."""
        return self.link.known.containers

    @property
    def processes(self) -> Mapping[str, Mapping[str, Info]]:
        """By container and id: its main one, those that run, the last that ended."""
        return self.link.known.processes

    def ended(self, container: str) -> int:
        """How many of its processes ended, the main one not counted."""
        return self.link.known.ended.get(container, 0)

    # -- what watchers use

    def watch(self, watcher: Callable[[], None], interest: Interest) -> None:
        """Call it after each change in the session, and after each sample."""
        if not self._watchers:
            self.link.listen("container", "", self._changed)
            self.link.listen("process", "", self._changed)
        self._watchers[watcher] = interest
        self._sample_what_is_wanted()

    def unwatch(self, watcher: Callable[[], None]) -> None:
        """Call it no more."""
        if self._watchers.pop(watcher, None) is None or self._watchers:
            self._sample_what_is_wanted()
            return
        self.link.forget("container", "", self._changed)
        self.link.forget("process", "", self._changed)
        self._sample_what_is_wanted()
        self.meters = {}

    async def ready(self, seconds: float) -> None:
        """Return once all that watchers want now is known, or after so many seconds."""
        if self.link.over:
            return
        try:
            async with asyncio.timeout(seconds):
                await self.link.caught_up()
                for sampled in list(self._sampled.values()):
                    await sampled.wait()
        except (TfnzError, TimeoutError):
            pass  # out of reach, or slow: what is known must do

    # -- hearing

    def _changed(self, _info: Info | None) -> None:
        self._sample_what_is_wanted()
        self._tell()

    def _tell(self) -> None:
        for watcher in list(self._watchers):
            watcher()

    # -- samples

    def _sample_what_is_wanted(self) -> None:
        wanted = self._wanted()
        for gone in self._sampling.keys() - wanted:
            self._sampling.pop(gone).cancel()
            self._sampled.pop(gone).set()
        for gone in self.meters.keys() - self.containers.keys():
            del self.meters[gone]
        for new in wanted - self._sampling.keys():
            self._sampled[new] = asyncio.Event()
            self._sampling[new] = asyncio.get_running_loop().create_task(self._sample(new))

    def _wanted(self) -> set[str]:
        """Those that run, and that somebody wants to know this of."""
        wanted = set[str]()
        for interest in self._watchers.values():
            if interest.usage:
                one = interest.containers
                wanted.update(self.containers if one is None else one)
        return {each for each in wanted if self.containers.get(each, {}).get("state") == "running"}

    async def _sample(self, ident: str) -> None:
        pause = SECOND
        while not self.link.over:
            try:
                async with asyncio.timeout(PATIENCE):
                    reply = await self.link.request("container.stats", {"container": ident})
                if sample := reply.body.get("sample"):
                    self.meters.setdefault(ident, Meter()).add(sample)
            except (TfnzError, TimeoutError):
                pass  # it ended just now, is being rebooted, or the agent is out of reach
            self._sampled[ident].set()
            self._tell()
            await asyncio.sleep(pause)
            pause = SAMPLE


_ledgers: WeakValueDictionary[str, Ledger] = WeakValueDictionary()


def ledger_of(location: Location) -> Ledger:
    """The ledger of a location's session."""
    link = location._link
    ledger = _ledgers.get(link.client)
    if ledger is None:
        ledger = _ledgers[link.client] = Ledger(link)
    return ledger
