"""CURVE keys: who an agent on another machine is, and whom it lets in.

Files, in ZeroMQ's certificate format, in the configuration directory (0700)::

    client.key_secret  client.key      this user's, for Location('tcp://...')
    server.key_secret  server.key      this machine's, for ``tfnz-agent serve --bind``
    authorized/NAME.key                clients that may connect (public keys)
    known/HOST_PORT.key                servers this user knows (public keys)
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from tfnz_notebook._base import paths
from tfnz_notebook.errors import AgentError


def generate(kind: str) -> Path:
    """Make the ``client`` or ``server`` pair if there is none; the public key's file."""
    from zmq.auth import create_certificates  # what else uses this needs no ZeroMQ

    where = paths.configuration()
    public, secret = where / f"{kind}.key", where / f"{kind}.key_secret"
    with paths.usable("configuration directory", where, "TFNZ_CONFIG"):
        where.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not secret.exists():
            # Whole or not at all; the secret one comes last, for it says that both are there.
            with tempfile.TemporaryDirectory(dir=where) as name:
                before = os.umask(0o077)
                try:
                    create_certificates(name, kind)
                finally:
                    os.umask(before)
                for path in (public, secret):
                    Path(name, path.name).replace(path)
    return public


def load(path: Path) -> tuple[bytes, bytes | None]:
    """(public, secret) of a certificate file. Raises AgentError."""
    from zmq.auth import load_certificate

    try:
        return load_certificate(path)
    except OSError as error:
        # zmq says that it is missing without a number.
        cause = error.strerror if path.exists() else None
        raise AgentError(
            f"Cannot read the key {path.name}: {cause or f'it is not in {path.parent}'}. "
            "Make it with 'tfnz-agent keygen'."
        ) from None
    except ValueError as error:
        raise AgentError(f"Cannot use the key {path.name}: {error}.") from None


def authorize(source: Path, name: str | None = None) -> Path:
    """Let the client of that public key in; where the key now is."""
    load(source)
    name = name or source.stem
    if not re.fullmatch(r"[\w.-]{1,64}", name):
        raise AgentError(f"Cannot authorize {name!r}: use letters, digits, '-', '_' and '.'.")
    folder = paths.configuration() / "authorized"
    target, fresh = folder / f"{name}.key", folder / f".{name}.{os.getpid()}"
    with paths.usable("configuration directory", folder, "TFNZ_CONFIG"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            shutil.copyfile(source, fresh)
            fresh.replace(target)
        finally:
            fresh.unlink(missing_ok=True)
    return target
