"""The guest comes first: raised above all that it starts, from outside, where this agent may.

Inside a container nobody may raise himself. The guest and its keepers are alone in a process group
(whatever they start leaves it before it is anybody's program, and begins at the rank the guest was
started with), so that one call reaches all of them, and never what a container runs.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from pathlib import Path
from typing import Final

from tfnz_notebook._base import proc

#: A nice value; the guest asks for the same.
RANK: Final = -15
#: What a guest calls itself. Those of 0.1 do not, and would hand the rank on to what they start.
NAME: Final = "tfnz-guest"


def raise_guest(sock: socket.socket) -> None:
    """Raise the guest at the other end of this Unix socket; nothing happens if we may not.

    The kernel says who listens there, by its id on this machine. The container may have put
    another in the guest's place: only who is the first in its own namespace counts (or, for the
    host engine, is in ours).
    """
    pid, _, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    said = proc.status(pid)
    inside, group = said.get("NSpid", "").split(), said.get("NSpgid", "").split()
    first = inside[-1:] in (["1"], [str(pid)])
    if not first or said.get("Name") != NAME or group[:1] != [str(pid)]:
        return
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PGRP, pid, RANK)
        # Where no cgroup has a share of its own, a session has one.
        Path(f"/proc/{pid}/autogroup").write_text(str(RANK))
