"""Where an engine listens: the addresses of ``DOCKER_HOST`` and ``CONTAINER_HOST``, parsed.

``unix://PATH`` (or a bare path) and ``tcp://HOST:PORT``; the latter with TLS when
``DOCKER_TLS_VERIFY`` or ``DOCKER_CERT_PATH`` is set, as Docker's own client has it, but with the
server always verified. ``ssh://`` is refused with the tunnel that does the same.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tfnz_notebook.errors import NoEngine


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address. ``path`` for a Unix socket, else ``host`` and ``port`` (and maybe TLS)."""

    address: str
    path: str | None = None
    host: str = ""
    port: int = 0
    tls: ssl.SSLContext | None = None

    @property
    def local(self) -> bool:
        """The engine is (as far as an address can tell) on this machine."""
        return self.path is not None


def parse(address: str, environ: Mapping[str, str] = os.environ) -> Endpoint:
    """The endpoint an address names. Raises NoEngine for one that cannot be used."""
    if address.startswith("/"):
        return Endpoint(f"unix://{address}", path=address)
    try:
        url = urlsplit(address)
        host, port = url.hostname, url.port
    except ValueError:  # brackets, ports
        url, host, port = urlsplit(""), None, None
    if url.scheme == "unix":
        path = url.netloc + url.path
        if not path.startswith("/"):
            raise NoEngine(
                f"Cannot use the engine address {address!r}: a socket's path is absolute. "
                "Write unix:///path/to/socket."
            )
        return Endpoint(address, path=path)
    if url.scheme == "ssh":
        raise NoEngine(
            f"Cannot use the engine address {address!r}: ssh is not spoken here. Forward its "
            "socket (ssh -N -L ./engine.sock:/var/run/docker.sock HOST) and give that path."
        )
    if url.scheme not in ("tcp", "http", "https") or not host:
        raise NoEngine(
            f"Cannot use the engine address {address!r}: it is neither unix:///PATH nor "
            "tcp://HOST:PORT. Correct DOCKER_HOST or CONTAINER_HOST, or unset it."
        )
    tls = None
    if environ.get("DOCKER_TLS_VERIFY") or environ.get("DOCKER_CERT_PATH"):
        tls = _tls(environ)
    elif url.scheme == "https":
        tls = ssl.create_default_context()
    return Endpoint(address, host=host, port=port or (2376 if tls else 2375), tls=tls)


def _tls(environ: Mapping[str, str]) -> ssl.SSLContext:
    """The context from Docker's certificate directory: ca.pem, cert.pem, key.pem."""
    home = Path(environ.get("DOCKER_CERT_PATH") or Path.home() / ".docker")
    authority, cert, key = home / "ca.pem", home / "cert.pem", home / "key.pem"
    try:
        context = ssl.create_default_context(cafile=str(authority) if authority.exists() else None)
        if cert.exists():
            context.load_cert_chain(str(cert), str(key))
    except (OSError, ssl.SSLError) as error:
        raise NoEngine(
            f"Cannot use the certificates in {str(home)!r}: {error}. "
            "Correct DOCKER_CERT_PATH, or unset it and DOCKER_TLS_VERIFY."
        ) from error
    return context
