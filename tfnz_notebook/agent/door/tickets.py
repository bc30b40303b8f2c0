"""Tickets: what lets a page use one process, or one port, past the kernel that started it.

HMAC-SHA256 over the process's id, or the container's and the port. The secret is the agent's own,
made once and kept in the state directory, so that a ticket outlives the agent as the process does,
and dies with the process.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from tfnz_notebook.errors import AgentError

_SIZE: Final = 32
#: What the secret is used for; another use would take another word.
_PURPOSE: Final = b"tfnz view\0"
_PORT: Final = b"tfnz port %d\0"


class Tickets:
    """Issues and checks the tickets of one agent."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def issue(self, ident: str, port: int | None = None) -> str:
        """The ticket for a process, by its id, or for a port of the container of that id.

        64 hexadecimal digits, the same each time.
        """
        purpose = _PURPOSE if port is None else _PORT % port
        message = purpose + ident.encode("utf-8", "surrogateescape")
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()

    def good(self, ident: str, ticket: str, port: int | None = None) -> bool:
        """Whether it is the ticket for that. Takes the same time whatever is wrong with it."""
        given = ticket.encode("utf-8", "surrogateescape")
        return hmac.compare_digest(self.issue(ident, port).encode(), given)


def kept_secret(path: Path, former: Path | None = None) -> bytes:
    """The secret in that file, made if there is none. Raises OSError.

    And AgentError if others can read it.

    ``former``: a file of before, with tickets that are still about.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (known := _read(path)) is not None:
        return known
    secret = (_read(former) if former is not None else None) or secrets.token_bytes(_SIZE)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)  # of an agent that had this pid and died here
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            if os.write(descriptor, secret) < _SIZE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(descriptor)
        # Only ever whole under its name; the agent's claim on its name keeps others away.
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    return secret


def _read(path: Path) -> bytes | None:
    """The secret; None if there is none, or a piece of one."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AgentError(f"Cannot read {path}: {error.strerror}. Remove it.") from None
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            raise AgentError(
                f"Cannot use {path}: others may have read or written it, and it opens every "
                "process to them. Remove it; the next agent makes another."
            )
        secret = os.read(descriptor, _SIZE + 1)
    finally:
        os.close(descriptor)
    return secret if len(secret) == _SIZE else None
