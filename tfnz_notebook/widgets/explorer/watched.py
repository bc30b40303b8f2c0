"""A subject that all its views see alike: what a card and a table have in common.

Nobody looks: nothing is gathered, no timer runs. While views are open they get the whole ``info``
at first and again when it has changed, at most twice a second. What a view asks for with ``do``
runs beside; what goes wrong comes back to that view as ``error``.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from tfnz_notebook._base.text import one_line
from tfnz_notebook.errors import TfnzError
from tfnz_notebook.widgets.explorer import page
from tfnz_notebook.widgets.explorer import text as words
from tfnz_notebook.widgets.explorer.ledger import Interest, Ledger, ledger_of
from tfnz_notebook.widgets.explorer.tail import Said, Tails

if TYPE_CHECKING:
    from tfnz_notebook._link.views.desk import View
    from tfnz_notebook.location import Location
    from tfnz_notebook.widgets.display import Still

log = logging.getLogger(__name__)

Info = dict[str, Any]
Action = Callable[["View", Mapping[str, Any]], Awaitable[None]]

#: Least seconds between two states that a view is sent.
EVERY: Final = 0.5
#: Seconds without a word from a view (its page says ``here`` every minute) after which it is
#: dropped: pages are closed without a word. Long, as some kernels hear nothing while a cell runs.
SILENCE: Final = 300.0
#: Seconds that a first picture waits for the agent's answers.
FIRST: Final = 1.0
#: Containers of a table that is told with its widget, which every page loads: a screenful.
FEW: Final = 40
#: What names a process.
IDENT: Final = re.compile(r"[0-9a-f]{32}")
#: Seconds that a still waits for them; drawing a cell's output waits for it, two at most.
TEXT: Final = 1.5


class Watched:
    """A ``Source`` (see ``_link/views/desk.py``) and the ``Picture`` of it (see ``display.py``).

    Subclasses say what is known and what can be done.
    """

    #: The bundle that draws it, and which of its drawings.
    kind = "explorer"
    shows = ""
    #: Seconds between two calls of :meth:`gather` while somebody looks; None: one at the start.
    period: float | None = None

    def __init__(self, location: Location, subject: str, text: str) -> None:
        self.location = location
        self.subject = subject
        #: One line of it.
        self.text = text
        self.source = self
        self.ledger: Ledger = ledger_of(location)
        self._views: dict[str, View] = {}
        self._heard: dict[str, float] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._opened: set[str] = set()
        self._sent: dict[str, Info] = {}
        self._said: dict[str, dict[str, Said]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._told = 0.0
        self._last: Info | None = None
        self._gathering: asyncio.Task[None] | None = None
        self._tails = Tails(self.ledger.link, self.changed)

    # -- what subclasses say

    def interest(self) -> Interest:
        """What the ledger is to look at."""
        raise NotImplementedError

    def facts(self) -> Info:
        """What is shown, of what is known now; JSON."""
        raise NotImplementedError

    def actions(self) -> Mapping[str, Action]:
        """What ``do`` may name."""
        return {}

    async def gather(self) -> None:
        """Ask for what the ledger does not know: before the first picture, then every period."""

    def done(self) -> bool:
        """Whether nothing will change any more."""
        return not self.location.connected

    # -- the picture; on the I/O loop

    @property
    def options(self) -> Info:
        """What it is, and what is known of it already: its first frame in a page is whole."""
        last = self._last
        if last is None or len(last.get("containers", ())) > FEW:
            return {"shows": self.shows}
        return {"shows": self.shows, "info": {**last, "now": time.time()}}

    async def direct(self) -> dict[str, str] | None:
        """It lives in this kernel alone."""
        return None

    async def still(self, *, final: bool) -> Still:
        """As text and HTML, without what changes all the time."""
        from tfnz_notebook.widgets.display import Still

        info = self.known() if final or self.done() else await self.latest()
        settled = {**info, "connected": info["connected"] or final, "tails": self._tails.all()}
        if not final:
            settled["usage"] = None
        return Still(words.draw(settled), page.draw(settled))

    async def over(self) -> None:
        """Return once nothing will change any more."""
        ended = asyncio.Event()

        def look(_info: Info | None) -> None:
            if self.done():
                ended.set()

        link = self.ledger.link
        link.listen("container", "", look)
        try:
            if not self.done():
                await ended.wait()
        finally:
            link.forget("container", "", look)

    def known(self) -> Info:
        """The facts without asking."""
        if self._last is None or self.location.connected:
            self._last = self._info()
        return self._last

    async def latest(self) -> Info:
        """The facts, asked for now."""

        def nobody() -> None:
            """Watches for a still, and does not want to be told."""

        self.ledger.watch(nobody, self.interest())
        try:
            async with asyncio.timeout(TEXT):
                await self.gather()
                await self.settled()
        except (TfnzError, TimeoutError):
            pass  # out of reach: what is known must do
        finally:
            self._last = self._info()
            self.ledger.unwatch(nobody)
        return self._last

    async def settled(self) -> None:
        """Return once a still can be made."""
        await self.ledger.ready(TEXT)

    def _info(self) -> Info:
        return {
            "kind": self.shows,
            "where": one_line(self.location.where, 80),
            "connected": self.location.connected,
            **self.facts(),
        }

    # -- the views, on the I/O loop

    def opened(self, view: View, head: Mapping[str, Any]) -> None:  # noqa: ARG002  # as Sources are
        """A view looks."""
        first = not self._views
        self._views[view.id] = view
        self._heard[view.id] = asyncio.get_running_loop().time()
        self._opened.discard(view.id)
        if first:
            self.ledger.watch(self.changed, self.interest())
            self._sweep()
            if self.period is not None:
                self._gathering = asyncio.get_running_loop().create_task(self._keep_gathering())
        self.beside(self._open(view))

    async def _open(self, view: View) -> None:
        try:
            async with asyncio.timeout(FIRST):
                await self.gather()
                await self.ledger.ready(FIRST)
        except (TfnzError, TimeoutError):
            pass
        if self._views.get(view.id) is view:
            self._opened.add(view.id)
            info = self._last = self._sent[view.id] = self._info()
            view.send("opened", streams=[], info={**info, "now": time.time()})

    def closed(self, view: View) -> None:
        """It looks no more."""
        if self._views.get(view.id) is not view:
            return
        del self._views[view.id]
        self._opened.discard(view.id)
        self._tails.close(view.id)
        for told in (self._sent, self._said):
            told.pop(view.id, None)
        self._heard.pop(view.id, None)
        if not self._views:
            self._last = self._info()
            self.ledger.unwatch(self.changed)
            if self._gathering is not None:
                self._gathering.cancel()
                self._gathering = None
            for timer in (self._timer, self._sweeper):
                if timer is not None:
                    timer.cancel()
            self._timer = self._sweeper = None

    def _sweep(self) -> None:
        """Drop views whose pages are gone; one that is not opens again."""
        loop = asyncio.get_running_loop()
        for ident, heard in list(self._heard.items()):
            if loop.time() - heard > SILENCE:
                self._views[ident].drop("slow", "This page was silent for long.")
        if self._views:
            self._sweeper = loop.call_later(SILENCE / 5, self._sweep)

    def message(self, view: View, head: Mapping[str, Any], payload: bytes) -> None:  # noqa: ARG002
        """A view asks for something."""
        self._heard[view.id] = asyncio.get_running_loop().time()
        if head.get("t") != "do" or head.get("action") == "here":
            return
        name, given = head.get("action"), head.get("args")
        offered = {"tail": self._show_tail, **self.actions()}
        action = offered.get(name) if isinstance(name, str) else None
        if action is None:
            doing = one_line(name, 40)
            view.send("error", doing=doing, text=f"Cannot do {doing!r}: it is not offered here.")
            return
        self.beside(self._do(view, str(name), action, given if isinstance(given, dict) else {}))

    async def _do(self, view: View, name: str, action: Action, given: Mapping[str, Any]) -> None:
        try:
            await action(view, given)
        except TfnzError as error:
            view.send("error", doing=name, args=given, text=str(error))
        except Exception as error:  # the view must not wait for ever
            log.exception("%s: %s", self.subject, name)
            text = f"Cannot {name}: {type(error).__name__}. Look at the kernel's log."
            view.send("error", doing=name, args=given, text=text)
        else:
            view.send("done", doing=name, args=given)
        self.changed()

    async def _show_tail(self, view: View, given: Mapping[str, Any]) -> None:
        ident = given.get("process")
        if isinstance(ident, str) and IDENT.fullmatch(ident):
            self._tails.show(view.id, ident, on=given.get("on") is True and view.open)

    def beside(self, coroutine: Any) -> None:
        """Run it in the background, and keep it until it is done."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep_gathering(self) -> None:
        while True:
            await asyncio.sleep(self.period or 0)
            try:
                await self.gather()
            except (TfnzError, TimeoutError):
                pass  # what is known stays on the page
            self.changed()

    # -- telling

    def changed(self) -> None:
        """Something has, or may have: views hear of it soon."""
        if self._views and self._timer is None:
            loop = asyncio.get_running_loop()
            due = max(0.0, self._told + EVERY - loop.time())
            self._timer = loop.call_later(due, self._tell)

    def _tell(self) -> None:
        self._timer = None
        info = self._last = self._info()
        self._told = asyncio.get_running_loop().time()
        for ident in list(self._opened):
            view, sent = self._views[ident], self._sent[ident]
            if info != sent:
                self._sent[ident] = info
                view.send("state", info={**_news(info, sent), "now": time.time()})
            before, said = self._said.get(ident, {}), self._tails.of(ident)
            if news := {each: text for each, text in said.items() if text != before.get(each)}:
                view.send("tails", tails=news)
            self._said[ident] = said


def _news(info: Info, sent: Info) -> Info:
    """The same, with the ids alone of those containers that a view was told of already."""
    if "containers" not in info:
        return info
    known = {each["id"]: each for each in sent["containers"]}
    told = [each["id"] if known.get(each["id"]) == each else each for each in info["containers"]]
    return {**info, "containers": told}
