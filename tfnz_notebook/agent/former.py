"""What agents of 0.1 left: it lies under their engine's word alone, whatever endpoint that meant.

Only what a container is labelled with says where it is, and only its engine tells that. So an agent
looks at its own endpoint for containers of the former label, too, and takes the outputs of those
that it finds; what is elsewhere stays for the agent that will find it there.

A link stays where the outputs were. A kernel of 0.1 may still be there, and start an agent of its
own once ours is killed: that one goes on in the same files, and cannot sweep them away.
"""

from __future__ import annotations

import contextlib
import os
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
        if not mine.exists():
            known = {path.parent for path in spool.parent.glob(f"*/{ident}")}
            if known - {self._outputs}:
                return False
            spool.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                left.rename(mine)
            except FileNotFoundError:
                mine.mkdir(mode=0o700)  # nothing was kept; it is known as ours from now on
        if not os.path.lexists(left):
            self._outputs.mkdir(mode=0o700, parents=True, exist_ok=True)
            left.symlink_to(Path("..", spool.name, ident))
        return True

    def sweep(self) -> None:
        """Drop the links to what has gone with its container."""
        for path in self._outputs.glob("*"):
            if path.is_symlink() and not path.exists():
                path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._outputs.rmdir()
