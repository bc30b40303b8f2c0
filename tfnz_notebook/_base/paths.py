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
a hub starts servers, it is often another user's; then everybody goes to ``/tmp/tfnz-UID``. So may
``XDG_STATE_HOME`` and ``HOME`` be; then what the system says of this user counts.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tfnz_notebook.errors import AgentError, Misuse

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


def podmans_runtime(environ: Mapping[str, str] = os.environ) -> Path | None:
    """``XDG_RUNTIME_DIR`` for this user's Podman: where there is none of ours, its own fallback.

    Made if need be; None where that is not ours alone either.
    """
    if (own := users_runtime(environ)) is not None:
        return own
    last = Path(environ.get("TMPDIR") or "/tmp") / f"podman-run-{os.geteuid()}"
    with contextlib.suppress(OSError):
        last.mkdir(mode=0o700, exist_ok=True)
    return next(filter(ours, (Path(f"/run/user/{os.geteuid()}"), last)), None)


def state(environ: Mapping[str, str] = os.environ) -> Path:
    """The directory of what outlives agents. Raises AgentError if this user has no home."""
    if named := environ.get("TFNZ_STATE"):
        return Path(named).absolute()
    base = Path(environ.get("XDG_STATE_HOME") or "")
    if base.is_absolute() and not _of_another(base):
        return base / "tfnz"
    return _home("TFNZ_STATE", environ) / ".local" / "state" / "tfnz"


def configuration(environ: Mapping[str, str] = os.environ) -> Path:
    """The directory of keys. Raises AgentError if this user has no home."""
    if named := environ.get("TFNZ_CONFIG"):
        return Path(named).absolute()
    return _home("TFNZ_CONFIG", environ) / ".config" / "tfnz"


def home(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where tools look for what is this user's: ``HOME``, else the system's word; None: nowhere."""
    return next(iter(_homes(environ)), None)


def _homes(environ: Mapping[str, str]) -> list[Path]:
    named = [Path(environ.get("HOME") or "")]
    with contextlib.suppress(KeyError):  # a uid that no user has, as some clusters give
        named.append(Path(pwd.getpwuid(os.geteuid()).pw_dir))
    return [each for each in named if each.is_absolute()]


def _home(variable: str, environ: Mapping[str, str]) -> Path:
    """The first that is no other user's; if all are, what comes of it is told at its use."""
    if found := _homes(environ):
        return next((each for each in found if not _of_another(each)), found[0])
    raise AgentError(
        f"Cannot find the home of uid {os.geteuid()}: it has none. "
        f"Set {variable} to a directory of yours."
    )


def _of_another(path: Path) -> bool:
    """It, or where it would be made, is another user's; of a plain user: and not shared."""
    for each in (path, *path.parents):
        try:
            owner = each.stat().st_uid
        except PermissionError:
            return True
        except OSError:
            continue
        # What root writes in a user's home, that user cannot use any more.
        shared = os.geteuid() and os.access(each, os.W_OK | os.X_OK, effective_ids=True)
        return owner != os.geteuid() and not shared
    return False


def expanded(given: str | Path) -> Path:
    """A path here as a user writes it, ``~`` included. Misuse for a home that there is not."""
    try:
        return Path(given).expanduser()
    except RuntimeError:
        raise Misuse(
            f"Cannot find {str(given)[:200]!r}: nobody says where that home is. Write it in full."
        ) from None


def there(path: str | Path) -> bool:
    """Something is there, as far as we may look: pathlib raises where a directory is closed."""
    return os.access(path, os.F_OK)


def unusable(path: Path) -> str:
    """Why nothing can be kept in that directory, made or not, or ''. Makes nothing."""
    for each in (path, *path.parents):
        try:
            status, room = each.stat(), os.statvfs(each)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            return str(error.strerror)
        if not stat.S_ISDIR(status.st_mode):
            return os.strerror(errno.ENOTDIR)
        if room.f_flag & os.ST_RDONLY:
            return os.strerror(errno.EROFS)
        if not os.access(each, os.W_OK | os.X_OK, effective_ids=True):
            return os.strerror(errno.EACCES)
        # Zeros of a file system without a number for it: of the kernel's own, of some remote ones.
        if (room.f_blocks and not room.f_bavail) or (room.f_files and not room.f_favail):
            return os.strerror(errno.ENOSPC)
        return ""
    return os.strerror(errno.ENOENT)


def kept_once(path: Path, fresh: bytes) -> bytes:
    """What that file holds, from now on ``fresh`` if nothing. Raises OSError.

    It is whole or not there, and whoever was first counts.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if known := path.read_bytes():
            return known
    written = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        written.touch(0o600)
        written.write_bytes(fresh)
        try:
            os.link(written, path)
        except FileExistsError:
            if not path.stat().st_size:  # of a disk that lost it
                written.replace(path)
        except OSError:  # no links there: of two who start at once the later counts
            written.replace(path)
    finally:
        written.unlink(missing_ok=True)
    return path.read_bytes()


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
        if error.errno in (errno.EMFILE, errno.ENFILE):  # no fault of the directory's
            raise
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
