"""A terminal in the cell.

The view is shown first, for the process that is going to be: it measures its room and opens, and
then the process starts in a terminal of that size. Nothing is drawn twice, and a program that asks
for the size once, at its beginning, has the right one.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any, Final

from tfnz_notebook._base.names import fresh
from tfnz_notebook._calls import arguments
from tfnz_notebook._calls.arguments import Command, Environment
from tfnz_notebook._container.process import HOME_SHELL, SHELL
from tfnz_notebook._link import thread
from tfnz_notebook._link.views.desk import Source, View
from tfnz_notebook._wire.view import Head
from tfnz_notebook.container import Container
from tfnz_notebook.process import Process
from tfnz_notebook.widgets import display, publish
from tfnz_notebook.widgets.output import ProcessPicture
from tfnz_notebook.widgets.saved.ansi import visible

Size = tuple[int, int]

DOING: Final = "open a shell"

#: Rows and columns of a terminal that no page told about.
DEFAULT: Final[Size] = (24, 80)
#: Few images say what their text is in; what a page shows is UTF-8. ``C.UTF-8`` is in every glibc
#: and musl there is today; without it an umlaut typed at bash is two octal numbers.
LOCALE: Final = 'export LANG="${LANG:-C.UTF-8}"; '
#: What our terminal is, beyond its TERM.
COLOURS: Final = {"COLORTERM": "truecolor"}
#: Seconds that a process waits for its view to measure itself. A page needs about 50 ms, and for
#: the first terminal, whose code it has to get, some 300 ms.
PATIENCE: Final = 1.0


def shell_picture(process: Process, **options: Any) -> ProcessPicture:
    """The picture of a process that has a terminal; ``options`` are the view's: rows, title."""
    return ProcessPicture(process, "shell", **options)


class Opening:
    """The :class:`~tfnz_notebook._link.views.desk.Source` of a process that is about to start.

    Views that open wait here; the first one's size is in ``size``. On the I/O loop.
    """

    def __init__(self) -> None:
        self.size: Future[Size] = Future()
        self._waiting: dict[View, Head] = {}
        self._source: Source | None = None

    def become(self, source: Source) -> None:
        """There is a process now: views are its own."""
        self._source = source
        for view, head in self._waiting.items():
            source.opened(view, head)
        self._waiting.clear()

    def fail(self, text: str) -> None:
        """There will be none."""
        for view in list(self._waiting):
            view.drop("unknown", text)

    def opened(self, view: View, head: Head) -> None:
        """Keep it, or hand it on."""
        if self._source is not None:
            self._source.opened(view, head)
            return
        self._waiting[view] = head
        if "rows" in head and "columns" in head and not self.size.done():
            rows, columns = (min(max(head[name], 1), 9999) for name in ("rows", "columns"))
            self.size.set_result((rows, columns))

    def message(self, view: View, head: Head, payload: bytes) -> None:
        """A view says nothing before it has been answered."""
        if self._source is not None:
            self._source.message(view, head, payload)

    def closed(self, view: View) -> None:
        """It is gone."""
        if self._waiting.pop(view, None) is None and self._source is not None:
            self._source.closed(view)


class OpeningPicture:
    """A :class:`~tfnz_notebook.widgets.display.Picture` of it, and then of the process."""

    kind: str = "shell"

    def __init__(self, ident: str, title: str, options: dict[str, Any]) -> None:
        self.subject = f"process:{ident}"
        self.options = options
        self.opening = Opening()
        self.source: Source = self.opening
        self._title = title
        self._found: Future[ProcessPicture | None] = Future()
        self._why = ""

    @property
    def text(self) -> str:
        """One line."""
        picture = self._picture
        return picture.text if picture else f"{self._title} · {self._why or 'starting'}"

    @property
    def _picture(self) -> ProcessPicture | None:
        return self._found.result() if self._found.done() else None

    def become(self, picture: ProcessPicture) -> None:
        """There is a process. On the I/O loop."""
        self._found.set_result(picture)
        self.opening.become(picture.source)

    def fail(self, error: BaseException) -> None:
        """There will be none. On the I/O loop."""
        self._why = visible(str(error)) or "interrupted"
        self._found.set_result(None)
        self.opening.fail(self._why)

    async def direct(self) -> dict[str, str] | None:
        """There is no ticket for what is not there yet; see :func:`open_shell`."""
        picture = self._picture
        return await picture.direct() if picture else None

    async def still(self, *, final: bool) -> display.Still:
        """As the process's, once it has one."""
        picture = self._picture
        return await picture.still(final=final) if picture else display.Still(self.text)

    async def over(self) -> None:
        """Once the process is, or was not to be."""
        # Shielded: whoever stops waiting here must not cancel what others wait for.
        picture = await asyncio.shield(asyncio.wrap_future(self._found))
        if picture is not None:
            await picture.over()


class _Patience:
    """Whether it is worth waiting for a page's first word."""

    def __init__(self) -> None:
        self._in_vain = 0

    def size(self, opening: Opening) -> Size:
        """What the page says, or the default."""
        kernel = getattr(publish.shell(), "kernel", None)
        # Without subshells a page is not heard before the cell ends.
        heard_while_busy = getattr(kernel, "_supports_kernel_subshells", False)
        wait = PATIENCE if heard_while_busy and self._in_vain < 2 else 0.0
        try:
            size = opening.size.result(wait)
        except TimeoutError:
            self._in_vain += 1  # a console, or a front-end that knows no widgets
            return DEFAULT
        self._in_vain = 0
        return size


_patience = _Patience()


def open_shell(
    container: Container,
    command: Command | None = None,
    *,
    env: Environment | None = None,
    cwd: str | None = None,
    user: str | int | None = None,
    timeout: float | None = None,
    origin: str = "",
    **options: Any,
) -> Process:
    """Show a terminal in the present cell, and start a login shell or ``command`` in it.

    As :meth:`Container.spawn_shell`, which it returns the process of and raises the errors of;
    ``options`` are those of :func:`shell_picture`.
    """
    ident = fresh()
    environment = COLOURS | arguments.environment(DOING, env)
    if command is None:
        begun: Command = LOCALE + (SHELL if cwd is not None else HOME_SHELL)
        name = "login shell"
    else:
        _, name = arguments.argv(DOING, command)
        begun = LOCALE + command if isinstance(command, str) else command
    title = visible(f"{' '.join(name.split())[:80]} in {container._called}")
    picture = OpeningPicture(ident, title, options)
    live = display.show(picture).live
    size = DEFAULT
    try:
        if live is not None:
            size = _patience.size(picture.opening)
        process = thread.wait(
            container._spawn(
                begun,
                (None, None, None),
                env=environment,
                cwd=cwd,
                user=user,
                tty=True,
                login=True,
                size=size,
                timeout=timeout,
                text=name,
                ident=ident,
                origin=origin,
            )
        )
    except BaseException as error:
        thread.io().soon(picture.fail, error)
        raise
    found = shell_picture(process, **options)
    thread.io().soon(picture.become, found)
    if live is not None:
        ticket = thread.wait(found.direct())
        if ticket is not None:
            live.direct = ticket
    return process


__all__ = ["OpeningPicture", "open_shell", "shell_picture"]
