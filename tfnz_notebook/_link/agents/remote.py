"""Agents on other machines: ``tcp://host:port`` and the CURVE keys that both sides must have.

In the configuration directory (see ``_base/paths.py``) are ``client.key_secret``, our own pair, and
``known/<host>_<port>.key``, the public key of each agent; both in ZeroMQ's certificate format, as
``tfnz-agent keygen`` writes them. A public key has 40 characters of Z85.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tfnz_notebook._base import paths
from tfnz_notebook._link.ends import Address
from tfnz_notebook.errors import AgentError, Misuse

PORT: Final = 2020

# Z85 avoids quotes and backslashes, so the certificate format needs no escapes.
_KEY: Final = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
_LINE: Final = re.compile(r'^\s*(public|secret)-key\s*=\s*"([^"]*)"\s*$', re.MULTILINE)


class RemotePlace:
    """An agent that somebody else runs."""

    def __init__(self, where: str, server_key: str | None = None) -> None:
        self.where = where
        try:
            parts = urlsplit(where)
            plain = parts.path in ("", "/") and not parts.query and not parts.username
            host, port = parts.hostname if plain else None, parts.port or PORT
        except ValueError:
            host, port = None, 0
        if not host:
            raise Misuse(
                f"Cannot open location {where!r}: not a host and port. Write 'tcp://host:{PORT}'."
            )
        if server_key is not None and not _KEY.fullmatch(server_key):
            raise Misuse(
                "Cannot use server_key: a public key has 40 characters of Z85. "
                "'tfnz-agent keygen' on the agent's machine shows it."
            )
        self._host, self._port, self._server_key = host, port, server_key

    def find(self) -> Address:
        """Its address, and the keys as they are in the files now."""
        directory = paths.configuration()
        secret_path = directory / "client.key_secret"
        own = _certificate(secret_path)
        if "secret" not in own or "public" not in own:
            raise AgentError(
                f"Cannot connect to {self.where}: {secret_path} is not there or holds no key pair. "
                "Make one with 'tfnz-agent keygen', and give its public key to the agent."
            )
        if stat.S_IMODE(secret_path.stat().st_mode) & 0o077:
            raise AgentError(
                f"Cannot connect to {self.where}: others may read {secret_path}. "
                "Run chmod 600 on it, or make a new pair with 'tfnz-agent keygen'."
            )
        server = self._server_key
        if server is None:
            path = directory / "known" / f"{self._host}_{self._port}.key"
            server = _certificate(path).get("public")
            if server is None:
                raise AgentError(
                    f"Cannot connect to {self.where}: its public key is not in {path}. Copy the "
                    "one 'tfnz-agent keygen' made there, or give it as Location(server_key=...)."
                )
        host = f"[{self._host}]" if ":" in self._host else self._host
        return Address(
            f"tcp://{host}:{self._port}",
            server.encode(),
            own["public"].encode(),
            own["secret"].encode(),
        )


def _certificate(path: Path) -> dict[str, str]:
    """The keys in a certificate file that are well-formed; none if it cannot be read."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return {}
    return {name: key for name, key in _LINE.findall(text) if _KEY.fullmatch(key)}
