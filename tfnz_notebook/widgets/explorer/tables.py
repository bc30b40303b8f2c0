"""``%tf_ps`` and ``%tf_top``: the containers of a session, all or some, with what they do."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from tfnz_notebook._base.text import one_line
from tfnz_notebook.widgets import cells
from tfnz_notebook.widgets.explorer import facts
from tfnz_notebook.widgets.explorer.control import Control
from tfnz_notebook.widgets.explorer.ledger import SECOND, Interest
from tfnz_notebook.widgets.explorer.watched import Action, Info, Watched

if TYPE_CHECKING:
    from tfnz_notebook.container import Container
    from tfnz_notebook.location import Location

#: Containers that a table shows.
MOST: Final = 200

_numbers = itertools.count(1)


class _Table(Watched):
    def _in_order(self) -> list[Info]:
        """In the order they were spawned, which does not change."""
        told = self.ledger.containers.values()
        return sorted(told, key=lambda each: float(each.get("created") or 0))


class ProcessTable(_Table):
    """The containers and their processes, those of other kernels in the session too."""

    shows = "ps"

    def __init__(self, location: Location) -> None:
        session = one_line(location.session, 80)
        text = f"containers of session {session}"
        super().__init__(location, f"ps/{location._link.client}", text)
        self._control = Control(self.ledger)

    def interest(self) -> Interest:
        """All containers with their processes."""
        return Interest()

    def actions(self) -> Mapping[str, Action]:
        """Those of ``Control``."""
        return self._control.actions()

    def facts(self) -> Info:
        """``containers``, each as in ``facts.container``."""
        told = self._in_order()
        shown = []
        for each in told[:MOST]:
            ident = str(each.get("container"))
            ran = self.ledger.processes.get(ident, {}).values()
            tunnels = facts.tunnels_of(self.location, ident)
            drawn = facts.container(each, ran, None, tunnels, self.ledger.ended(ident))
            left = cells.left(ident, str(each.get("origin") or ""))
            title = f"{drawn['title']} ({left})" if left else drawn["title"]
            shown.append({**drawn, "title": title, "log": ""})
        return {
            "session": one_line(self.location.session, 80),
            "containers": facts.fitted(shown),
            "more": len(told) - len(shown),
        }


class UsageTable(_Table):
    """What containers use: all of the session, or those given."""

    shows = "top"

    def __init__(self, location: Location, containers: Sequence[Container] = ()) -> None:
        subject = f"top/{location._link.client}/{next(_numbers)}"
        super().__init__(location, subject, "what containers use")
        self._only = frozenset(each.id for each in containers) if containers else None

    def interest(self) -> Interest:
        """What they use."""
        return Interest(self._only, usage=True)

    def facts(self) -> Info:
        """``containers``: each with ``usage``, see ``Meter.latest``."""
        told = [
            each
            for each in self._in_order()
            if self._only is None or each["container"] in self._only
        ]
        shown = []
        for each in told[:MOST]:
            meter = self.ledger.meters.get(str(each.get("container")))
            drawn = facts.container(each, (), meter.latest if meter else None)
            keys = ("id", "title", "image", "state", "returncode", "usage")
            shown.append({key: drawn[key] for key in keys})
        return {
            "session": one_line(self.location.session, 80),
            "containers": shown,
            "more": len(told) - len(shown),
        }

    async def settled(self) -> None:
        """Rates take two samples."""
        await super().settled()
        await asyncio.sleep(SECOND)
        await super().settled()
