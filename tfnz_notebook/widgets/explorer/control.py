"""What a card and a table let people do to containers and processes: ``do`` of their views.

Asked of the agent by id, as containers of other kernels in the session have no object here. The ids
come from a page: each is looked up before it is used.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from tfnz_notebook._wire.guest import Target
from tfnz_notebook.errors import ContainerGone, Misuse, ProcessGone, TfnzError
from tfnz_notebook.widgets.explorer.ledger import Ledger

if TYPE_CHECKING:
    from tfnz_notebook._link.views.desk import View
    from tfnz_notebook.widgets.explorer.watched import Action

#: Seconds between TERM and KILL.
GRACE: Final = 5.0
_KILL: Final = 9
#: Containers that are asked for something at a time.
AT_ONCE: Final = 16

Given = Mapping[str, Any]


class Control:
    """Of the containers in a ledger, or of one of them (``only``)."""

    def __init__(self, ledger: Ledger, only: str | None = None) -> None:
        self._ledger = ledger
        self._only = only

    def actions(self) -> dict[str, Action]:
        """By the names that pages use."""
        return {
            "stop": self.stop,
            "pause": self.pause,
            "unpause": self.unpause,
            "destroy": self.destroy,
            "process.stop": self.stop_process,
            "process.kill": self.kill_process,
        }

    def container(self, given: Given, doing: str) -> str:
        """The id of the container meant. Misuse, ContainerGone."""
        return self._known(text_of(given, "container", doing), doing)

    def containers(self, given: Given, doing: str) -> list[str]:
        """The ids of those meant. Misuse, ContainerGone."""
        idents = given.get("containers")
        if not isinstance(idents, list) or not idents:
            raise Misuse(f"Cannot {doing}: 'containers' is not given. Reload the page.")
        named = [text_of({"container": each}, "container", doing) for each in idents]
        return [self._known(each, doing) for each in dict.fromkeys(named)]

    def _known(self, ident: str, doing: str) -> str:
        if self._only is not None and ident != self._only:
            raise Misuse(f"Cannot {doing}: this card is of another container. Reload the page.")
        if ident not in self._ledger.containers:
            raise ContainerGone(f"Cannot {doing}: the container is gone. Spawn another one.")
        return ident

    def process(self, given: Given, doing: str) -> str:
        """The id of the process meant, of that container. Misuse, ContainerGone, ProcessGone."""
        container = self.container(given, doing)
        ident = text_of(given, "process", doing)
        found = self._ledger.processes.get(container, {}).get(ident)
        if found is None:
            raise ProcessGone(f"Cannot {doing}: the container has no such process. Look again.")
        if found.get("returncode") is not None:
            raise ProcessGone(f"Cannot {doing}: the process has ended already.")
        return ident

    async def stop(self, view: View, given: Given) -> None:  # noqa: ARG002  # as actions are
        """End their main processes, and so the containers: TERM, then KILL."""
        await _each(self.containers(given, "stop the container"), self._end)

    async def pause(self, view: View, given: Given) -> None:  # noqa: ARG002
        """Stop the time for them."""
        await self._ask("pause", given)

    async def unpause(self, view: View, given: Given) -> None:  # noqa: ARG002
        """Let them go on."""
        await self._ask("unpause", given)

    async def destroy(self, view: View, given: Given) -> None:  # noqa: ARG002
        """Destroy them."""
        await self._ask("destroy", given, grace=None)

    async def _ask(self, what: str, given: Given, **more: Any) -> None:
        async def ask(ident: str) -> None:
            await self._ledger.link.request(f"container.{what}", {"container": ident, **more})

        await _each(self.containers(given, f"{what} the container"), ask)

    async def stop_process(self, view: View, given: Given) -> None:  # noqa: ARG002
        """End a process with all it started: TERM, then KILL."""
        await self._end(self.process(given, "stop the process"))

    async def kill_process(self, view: View, given: Given) -> None:  # noqa: ARG002
        """KILL it with all it started, now; also while it is being stopped."""
        ident = self.process(given, "kill the process")
        body = {"process": ident, "signal": _KILL, "target": int(Target.TREE)}
        await self._ledger.link.request("process.signal", body)

    async def _end(self, ident: str) -> None:
        body = {"process": ident, "grace": GRACE}
        with contextlib.suppress(ProcessGone):  # it ended just now, as it was asked to
            await self._ledger.link.request("process.destroy", body)


def text_of(given: Given, name: str, doing: str) -> str:
    """One of a ``do``'s arguments. Misuse if it is not a short text."""
    value = given.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 64:
        raise Misuse(f"Cannot {doing}: {name!r} is not given. Reload the page.")
    return value


async def _each(idents: list[str], ask: Callable[[str], Awaitable[None]]) -> None:
    """Ask it of each. Raises what the first said that could not, and how many more there are."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(ident: str) -> None:
        async with places:
            await ask(ident)

    found = await asyncio.gather(*map(one, idents), return_exceptions=True)
    errors = [each for each in found if isinstance(each, BaseException)]
    if len(errors) > 1:
        raise TfnzError(f"{errors[0]} So it is with {len(errors)} of {len(idents)}.")
    if errors:
        raise errors[0]
