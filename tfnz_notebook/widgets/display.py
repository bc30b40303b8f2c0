"""Showing something: a live view, and beside it what stays in the notebook.

Two outputs of the cell. The first is the widget. The second, its *twin*, is the same as static text
and HTML, which the live view hides while it is in a page; so a notebook that is saved and opened
without its kernel, or exported, shows what was last known. The twin is brought up to date
seldom and only when it changed.

Once nothing follows, the picture *freezes*: the first output becomes the static one for good, in
the place where the view was, and the twin becomes empty. Where no page can be (nbconvert) there is
the twin alone.

Everything after the first drawing happens on the I/O loop, whatever the kernel is doing.
"""

from __future__ import annotations

import asyncio
import atexit
import base64
import html
import os
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from tfnz_notebook._base.names import fresh
from tfnz_notebook._link import thread
from tfnz_notebook._link.views.desk import Source
from tfnz_notebook.errors import TfnzError
from tfnz_notebook.widgets import publish
from tfnz_notebook.widgets.channel.hub import Hub, hub
from tfnz_notebook.widgets.live import Live
from tfnz_notebook.widgets.saved import frozen

T = TypeVar("T")

#: Seconds until the twin is first brought up to date, and between later times; doubled while
#: nothing changes, up to the last.
FIRST, EVERY, SELDOM = 3.0, 15.0, 60.0
#: Between them where a page asks before it saves: each update has a page draw its notebook anew.
ASKED: Final = 300.0
#: Seconds that drawing, a cell's end without a page, or the kernel's end wait for a still.
PATIENCE: Final = 2.0
#: Frozen pictures whose widget stays: a page that was reloaded while it ran hears of no update,
#: and goes on to show the view.
KEPT: Final = 32


#: A view that is not there, or not yet, does not say so above its twin ("Loading widget...", and
#: without the kernel for ever). ``tfnz-live`` is what ``live.STUB`` calls one that is.
_INSTEAD: Final = (
    ".jp-OutputArea-child:has(+.jp-OutputArea-child .tfnz-static-{key}):not(:has(.tfnz-live))"
    "{{display:none}}"
)


class Still(NamedTuple):
    """What a picture looks like now, without a page: plain text, HTML, and a PNG if it has one.

    The HTML is shown as it is: everything in it that came from elsewhere must be escaped.
    """

    text: str
    html: str = ""
    png: bytes | None = None

    def data(self, key: str = "") -> dict[str, str]:
        """As a cell's output; with ``key`` for the twin of that view."""
        said = self.html or f"<pre>{html.escape(self.text)}</pre>"
        found = {"text/plain": self.text}
        if self.png is not None and not key:
            found["image/png"] = base64.b64encode(self.png).decode()
        elif self.png is not None:  # beside an image a front-end would not show the HTML that hides
            picture = base64.b64encode(self.png).decode()
            size = f"width:{publish.PICTURE}px;max-width:100%"
            text = html.escape(self.text)
            said = f'<img alt="{text}" src="data:image/png;base64,{picture}" style="{size}">'
        # MathJax takes what is between dollars for a formula; JupyterLab adds half a line beneath.
        marks = f"{frozen.NO_MATH} tfnz-static-{key}" if key else frozen.NO_MATH
        said = f'<div class="{marks}" style="margin:0">{said}</div>'
        if key:
            said = f"<style>{_INSTEAD.format(key=key)}</style>{said}"
        return found if "image/png" in found else {**found, "text/html": said}


class Picture(Protocol):
    """Something to show. All but the attributes is used on the I/O loop."""

    @property
    def kind(self) -> str:
        """Which bundle draws it."""

    @property
    def subject(self) -> str:
        """What views of it open."""

    @property
    def options(self) -> dict[str, Any]:
        """What its views are told besides."""

    @property
    def text(self) -> str:
        """One line for front-ends without widgets."""

    @property
    def source(self) -> Source:
        """What answers its views."""

    async def direct(self) -> dict[str, str] | None:
        """How pages reach it without this kernel: agent, process, ticket. None: they cannot."""

    async def still(self, *, final: bool) -> Still:
        """What it looks like now; ``final`` once :meth:`over` has returned."""

    async def over(self) -> None:
        """Return once nothing will change any more; never, if that cannot be."""


class Shown:
    """A picture in a cell; see :func:`show`."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        #: Names the static twin; the view finds it in its options.
        self.key = fresh()
        self.cell, self.place = publish.cell(), publish.place()
        self.frozen = False
        self.live: Live | None = None
        self._hub: Hub
        self._over: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._output: publish.Output | None = None
        still = _soon(self._first(), (Still(picture.text), False, None))
        self._still, self.frozen, direct = still
        if self.frozen:  # it was over before it was shown
            self._twin = publish.Output(self._still.data())
            return
        carrier = _carrier() if publish.watched() else None
        if carrier is not None:
            self._hub = carrier
            self._hub.keep = _keep
            self._hub.register(picture.subject, picture.source)
            options = {**picture.options, "key": self.key}
            self.live = Live(picture.kind, picture.subject, options, direct)
            spec = {"version_major": 2, "version_minor": 0, "model_id": self.live.model_id}
            # Its text is the twin's: where there are no views, both are shown.
            view: dict[str, Any] = {"text/plain": "", _VIEW: spec}
            self._output = publish.Output(view)
        # Where there is no view, the twin has none to hide.
        self._mark = self.key if self.live is not None else ""
        self._twin = publish.Output(self._still.data(self._mark))
        if self.live is None:
            _unwatched.append(self)
        _all[self.key] = self
        thread.io().soon(self._start)

    def freeze(self) -> None:
        """Freeze it now, though it may go on; from any thread."""
        thread.io().soon(self._end_now)

    def stop(self) -> None:
        """Its cell shows something else: leave it. From any thread."""
        thread.io().soon(self._leave)

    # -- on the I/O loop

    async def _first(self) -> tuple[Still, bool, dict[str, str] | None]:
        over = asyncio.ensure_future(self.picture.over())
        await asyncio.sleep(0)
        done = over.done()
        if done:
            over.result()
        over.cancel()
        still = await self.picture.still(final=done)
        return still, done, None if done else await self.picture.direct()

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        self._over = asyncio.ensure_future(self.picture.over())
        self._task = loop.create_task(self._watch(self._over))

    def _end_now(self) -> None:
        if self._over is not None:
            self._over.cancel()

    async def _watch(self, over: asyncio.Future[None]) -> None:
        try:
            wait = FIRST
            while not (await asyncio.wait({over}, timeout=wait))[0]:
                changed = await self.refresh()
                wait = pause(wait, changed, asked=self.live is not None and self._hub.asked)
            if not over.cancelled():
                over.exception()  # retrieved: asyncio need not report it
            await self._freeze()
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001  # a picture that fails leaves what it showed
            self._forget()

    async def refresh(self) -> bool:
        """Bring the twin up to date; whether it had to be."""
        still = await self._take(final=False)
        if still is None or still == self._still or self.frozen:
            return False
        self._still = still
        data = still.data(self._mark)
        self._twin.update(data)
        self._tell(data)
        return True

    async def _take(self, *, final: bool) -> Still | None:
        try:
            return await self.picture.still(final=final)
        except (TfnzError, RuntimeError):
            return None  # out of reach, or the interpreter ends: what was last known stays

    async def _freeze(self) -> None:
        if self.frozen:
            return
        self._still = await self._take(final=True) or self._still
        self.frozen = True
        if self._output is None:
            self._twin.update(self._still.data())
        else:  # the twin first, while it is hidden still
            self._twin.update(EMPTY)
            self._output.update(self._still.data())
            self._tell(EMPTY, self._still.data())
        self._forget()

    def _tell(self, twin: dict[str, str], data: dict[str, str] | None = None) -> None:
        """Tell pages that were loaded since: they know no display's id."""
        if self.live is not None:
            about = publish.metadata(data or {})
            still = {"model": self.live.model_id, "twin": twin, "data": data, "metadata": about}
            self.live.tell(still)

    def _forget(self) -> None:
        _all.pop(self.key, None)
        if self.live is not None:
            _kept.append(self)
            while len(_kept) > KEPT:
                _kept.popleft().close()

    def _leave(self) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._over is not None:
            self._over.cancel()
        _all.pop(self.key, None)
        if self in _kept:
            _kept.remove(self)
        self.close()

    def close(self) -> None:
        """Close its widget: pages that still have the view show what they have."""
        if self.live is None:
            return
        live, self.live = self.live, None
        subject = self.picture.subject
        others = [*_all.values(), *_kept]
        if not any(o.live is not None and o.picture.subject == subject for o in others):
            self._hub.forget(subject)
        live.close()


def pause(before: float, changed: bool, *, asked: bool) -> float:
    """Seconds until a twin is next brought up to date, after so many ``before``."""
    if asked:
        return ASKED
    return EVERY if changed or before == FIRST else min(2 * before, SELDOM)


_VIEW: Final = "application/vnd.jupyter.widget-view+json"
#: What the twin becomes when its picture froze elsewhere.
EMPTY: Final = {"text/plain": "", "text/html": ""}

#: What is said, once, where no view can be.
STILL: Final = (
    "Pictures do not move in this kernel: its comms carry no views, ipykernel's do. They are "
    "brought up to date at the end of each cell."
)
_no_views = False


def _carrier() -> Hub | None:
    """What carries views; None in a kernel whose comms cannot."""
    global _no_views
    if _no_views:
        return None
    try:
        return hub()
    except Exception:  # noqa: BLE001  # whatever ipywidgets raises in a kernel that is none of Jupyter's
        _no_views = True
        publish.Output({"text/plain": STILL})
        return None


_all: dict[str, Shown] = {}
_kept: deque[Shown] = deque()
_unwatched: list[Shown] = []


def _soon(coroutine: Coroutine[Any, Any, Any], otherwise: Any) -> Any:
    """Its result, or ``otherwise`` if it fails or takes long: drawing waits for nobody."""

    async def bounded() -> Any:
        async with asyncio.timeout(PATIENCE):
            return await coroutine

    try:
        return thread.wait(bounded())
    except (TfnzError, TimeoutError):
        return otherwise


async def draw(function: Callable[..., T], *args: Any) -> T:
    """Its result, from a worker thread; here, if the interpreter has ended those already."""
    try:
        return await asyncio.get_running_loop().run_in_executor(None, function, *args)
    except RuntimeError:
        return function(*args)


def show(picture: Picture) -> Shown:
    """Show it in the present cell. Raises TfnzError if this installation has no views."""
    _hooks()
    here = publish.place()
    cell = publish.cell()
    for other in [*_all.values(), *_kept]:
        if here and other.place == here and other.cell != cell:
            other.stop()  # the cell ran again: its outputs are gone
    return Shown(picture)


async def _keep(keys: list[str]) -> None:
    """A page is about to be saved, which shows none of these itself."""
    found = [_all[key] for key in keys if key in _all]
    await asyncio.gather(*(each.refresh() for each in found), return_exceptions=True)


# -- where nobody looks, and the end


async def _settle() -> None:
    """Have every twin up to date, and what is over frozen."""
    for each in list(_all.values()):
        over = each._over
        if over is not None and over.done() and each._task is not None:
            await asyncio.wait({each._task})
        else:
            await each.refresh()


def _cell_ended(_result: Any = None) -> None:
    """After a cell whose pictures nothing else moves.

    Whoever runs a notebook without a page reads no further than the cell's end.
    """
    if _unwatched and (_no_views or not publish.watched()):
        _soon(_settle(), None)
        for each in _unwatched:
            each._twin.repeat()
        _unwatched[:] = [each for each in _unwatched if each.key in _all]


def _goodbye() -> None:
    if _all and _pid == os.getpid():
        _soon(_settle(), None)


_hooked: Any = None
_pid = 0


def _hooks() -> None:
    global _hooked, _pid
    found = publish.shell()
    if found is None or _hooked is found:
        return
    if _pid == 0:
        # Registered after, and so run before, what ends the sessions and then the kernel's sockets.
        atexit.register(_goodbye)
    _hooked, _pid = found, os.getpid()
    found.events.register("post_run_cell", _cell_ended)


def _after_fork() -> None:
    _all.clear()
    _kept.clear()
    _unwatched.clear()


os.register_at_fork(after_in_child=_after_fork)
