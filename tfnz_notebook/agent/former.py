"""What agents of 0.1 left: it lies under their engine's word alone, whatever endpoint that meant.

Only what a container is labelled with says where it is, and only its engine tells that. So an agent
looks at its own endpoint for containers of the former label, too, and takes the outputs of those
that it finds; what is elsewhere stays for the agent that will find it there.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from tfnz_notebook._base import paths
from tfnz_notebook.agent.process.command import IDENT
from tfnz_notebook.engines.base import LABEL_CONTAINER, LABEL_OWNER, Found


class Former:
    """What is under the former key of one agent's engine; on its containers is ``label``."""

    def __init__(self, label: str, state: Path, key: str) -> None:
        self.secret = paths.secret(state, key)
        self._label = label
        self._outputs = paths.spool(state, key)

    def ours(self, found: Found, spool: Path) -> bool:
        """The container is to be adopted; its outputs then are in ``spool``, the agent's own.

        Not one whose outputs another agent has: it met that container first, at another address of
        the same engine.
        """
        ident = found.labels.get(LABEL_CONTAINER, "")
        if found.labels.get(LABEL_OWNER) != self._label or not IDENT.fullmatch(ident):
            return True
        mine, left = spool / ident, self._outputs / ident
        if mine.exists():
            return True
        if any(
            path.parent not in (spool, self._outputs) for path in spool.parent.glob(f"*/{ident}")
        ):
            return False
        spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            left.rename(mine)
        except FileNotFoundError:
            mine.mkdir(mode=0o700)  # nothing was kept; it is known as ours from now on
        with contextlib.suppress(OSError):
            self._outputs.rmdir()  # that was the last of them
        return True
