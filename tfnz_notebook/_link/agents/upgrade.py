"""An agent of an earlier version makes room for one of ours.

The package was upgraded, a kernel was started: it meets an agent that still runs the old code. That
one is asked to end (SIGTERM); containers and processes go on, the new agent takes them over, and
kernels of the old version find it as after any break. Never the other way round: an older kernel
uses the newer agent, as far as their protocols have a version in common.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
from pathlib import Path
from typing import Final

from tfnz_notebook import __version__
from tfnz_notebook._base.descriptors import readable
from tfnz_notebook.errors import AgentError

#: Seconds for the old agent to finish what is half done, and to end.
PATIENCE: Final = 40.0
_UCRED: Final = struct.Struct("3i")  # pid, uid, gid; socket(7), SO_PEERCRED


def outdated(runtime: Path, name: str) -> int | None:
    """The process id of the agent that listens there, if its version is earlier than ours."""
    try:
        told = json.loads((runtime / f"{name}.pid").read_text())
        pid, version = int(told["pid"]), str(told.get("version", "0"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # it does not say; so be it
    if _rank(version) >= _rank(__version__) or _listener(runtime / f"{name}.sock") != pid:
        return None
    return pid


def make_room(runtime: Path, name: str) -> None:
    """Have that agent end. Raises AgentError if it does not."""
    try:
        # A descriptor first: what is signalled is what was looked at, whatever pids do meanwhile.
        pid = outdated(runtime, name)
        descriptor = os.pidfd_open(pid) if pid is not None else -1
    except ProcessLookupError:
        return
    if descriptor < 0:
        return
    try:
        if outdated(runtime, name) == pid:
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
            if not readable(descriptor, seconds=PATIENCE):
                raise AgentError(
                    f"Cannot replace the agent of an earlier version (pid {pid}): it does not end. "
                    f"End it with 'kill {pid}'; its containers go on."
                )
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)


def _listener(path: Path) -> int | None:
    """Who listens on a socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(5.0)
        try:
            probe.connect(os.fspath(path))
            said = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        except OSError:
            return None
    return int(_UCRED.unpack(said)[0])


def _rank(version: str) -> tuple[tuple[int, ...], bool, str]:
    """To compare versions by: the numbers, then a pre-release before the release (PEP 440)."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    numbers = tuple(int(part) for part in match[0].split(".")) if match else (0,)
    rest = version[match.end() :] if match else version
    while numbers and not numbers[-1]:
        numbers = numbers[:-1]
    early = re.match(r"[-_.]?(a|b|c|rc|alpha|beta|pre|preview|dev)", rest) is not None
    return numbers, not early, rest
