"""Where files lie: the one place that knows.

::

    runtime         $TFNZ_RUNTIME, else $XDG_RUNTIME_DIR/tfnz, else /tmp/tfnz-UID; 0700 and ours
      NAME.sock     where the agent of that name listens
      NAME.pid      its record, see running.py; NAME.lock: whose turn it is to start one; NAME.log
      guests/ host/ podman-service.*    what engines keep there
    state           $TFNZ_STATE, else $XDG_STATE_HOME/tfnz, else ~/.local/state/tfnz
      owner         this user's name on what engines hold
      agents/       records of agents, by what they own, see running.py
      spool/KEY/    outputs; secrets/KEY: what an agent's tickets are made with; secrets/wishes:
                    what hides in an origin what a cell asked for
    configuration   $TFNZ_CONFIG, else ~/.config/tfnz: keys, see agent/door/keys.py

The names of agents, and the keys of what they own, are made in endpoints.py.

``XDG_RUNTIME_DIR`` counts where it is this user's own, and can be written. After ``su``, and where
a hub starts servers, it is often another user's; then everybody goes to ``/tmp/tfnz-UID``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tfnz_notebook.errors import AgentError

#: sun_path of Linux has 108 bytes with the closing zero.
_SOCKET_PATH: Final = 107


def runtime(environ: Mapping[str, str] = os.environ) -> Path:
    """The directory of sockets; see :func:`private`."""
    if named := environ.get("TFNZ_RUNTIME"):
        return Path(named).absolute()
    own = users_runtime(environ)
    if own is not None and os.access(own, os.W_OK | os.X_OK, effective_ids=True):
        return own / "tfnz"
    return Path(f"/tmp/tfnz-{os.geteuid()}")


def users_runtime(environ: Mapping[str, str] = os.environ) -> Path | None:
    """``XDG_RUNTIME_DIR``, where engines of this user listen, too; None if it is another's."""
    path = Path(environ.get("XDG_RUNTIME_DIR") or "")
    try:
        status = path.stat()
    except OSError:
        return None
    ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    return path if ours and path.is_absolute() else None


def state(environ: Mapping[str, str] = os.environ) -> Path:
    """The directory of what outlives agents. Raises AgentError if this user has no home."""
    if named := environ.get("TFNZ_STATE"):
        return Path(named).absolute()
    base = environ.get("XDG_STATE_HOME")
    return (Path(base) if base else _home("TFNZ_STATE", environ) / ".local" / "state") / "tfnz"


def configuration(environ: Mapping[str, str] = os.environ) -> Path:
    """The directory of keys. Raises AgentError if this user has no home."""
    if named := environ.get("TFNZ_CONFIG"):
        return Path(named).absolute()
    return _home("TFNZ_CONFIG", environ) / ".config" / "tfnz"


def _home(variable: str, environ: Mapping[str, str]) -> Path:
    if named := environ.get("HOME"):
        return Path(named)
    try:
        return Path.home()
    except RuntimeError:  # a uid that no user has, as some clusters give
        raise AgentError(
            f"Cannot find the home of uid {os.geteuid()}: it has none. "
            f"Set {variable} to a directory of yours."
        ) from None


def ours(path: Path) -> bool:
    """It is a directory (no link) of this user that no other user can enter."""
    try:
        return not _objection(path)
    except OSError:
        return False


def _objection(path: Path) -> str:
    """What speaks against that; OSError if it is not there."""
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        return "it is not a directory"
    if status.st_uid != os.geteuid():
        return f"it belongs to uid {status.st_uid}"
    if status.st_mode & 0o077:
        return f"others may enter it (mode {stat.S_IMODE(status.st_mode):o})"
    return ""


def private(path: Path) -> Path:
    """The directory of sockets, made if need be. Raises AgentError if others could use it."""
    with usable("runtime directory", path, "TFNZ_RUNTIME"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        cause = _objection(path)
    if cause:
        raise AgentError(
            f"Cannot use the runtime directory {path}: {cause}, and whoever enters it controls "
            "your containers. Make it yours alone (chmod 700), or set TFNZ_RUNTIME to another one."
        )
    return path


@contextmanager
def usable(what: str, path: Path, variable: str) -> Iterator[None]:
    """Say of an OSError which directory is of no use, and how to have another. AgentError."""
    try:
        yield
    except OSError as error:
        raise AgentError(
            f"Cannot use the {what} {path}: {error.strerror}. "
            f"Set {variable} to a directory of yours."
        ) from None


def socket(runtime: Path, name: str) -> Path:
    """Where the agent of that name listens. Raises AgentError if no socket can lie there."""
    path = runtime / f"{name}.sock"
    if len(os.fsencode(path)) > _SOCKET_PATH:
        raise AgentError(
            f"Cannot use the runtime directory {runtime}: its path is too long for a socket. "
            "Set TFNZ_RUNTIME to a shorter one."
        )
    return path


def record(runtime: Path, name: str) -> Path:
    """What it says of itself there."""
    return runtime / f"{name}.pid"


def turn(runtime: Path, name: str) -> Path:
    """Whoever has this file's lock may start it."""
    return runtime / f"{name}.lock"


def log(runtime: Path, name: str) -> Path:
    """What it writes to stderr."""
    return runtime / f"{name}.log"


def owner(state: Path) -> Path:
    """The file with this user's name on what engines hold."""
    return state / "owner"


def agents(state: Path) -> Path:
    """The folder of records of who owns what."""
    return state / "agents"


def spool(state: Path, key: str) -> Path:
    """The folder of outputs that are kept under that key, one folder a container."""
    return state / "spool" / key


def secret(state: Path, key: str) -> Path:
    """The file of what tickets are made with."""
    return state / "secrets" / key
