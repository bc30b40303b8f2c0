"""Where an engine listens: which places there are, most likely first, and addresses parsed.

Docker: ``DOCKER_HOST``, the system's socket, the rootless one of this user. Podman:
``CONTAINER_HOST``, the rootless socket of this user, the system's. A set variable is an order:
nothing else is tried then.

``unix://PATH`` (or a bare path) and ``tcp://HOST:PORT``; the latter with TLS when
``DOCKER_TLS_VERIFY`` or ``DOCKER_CERT_PATH`` is set, as Docker's own client has it, but with the
server always verified. ``ssh://`` is refused with the tunnel that does the same.
"""

from __future__ import annotations

import grp
import os
import shutil
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tfnz_notebook.errors import NoEngine

DOCKER_SYSTEM = "/var/run/docker.sock"
PODMAN_SYSTEM = "/run/podman/podman.sock"


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


def forbidden(path: str, name: str) -> str:
    """What to say of a socket that we may not open."""
    try:
        status = Path(path).stat()
        group = grp.getgrgid(status.st_gid).gr_name if status.st_mode & 0o020 else ""
    except (OSError, KeyError):
        group = ""
    remedy = (
        f"Join the group {group!r} (sudo usermod -aG {group} $USER, then log in again)"
        if group and group != "root"
        else "Run as the user who owns it, or use a rootless engine of your own"
    )
    return f"Cannot open the socket {path!r} of {name}: permission denied. {remedy}."


def docker(environ: Mapping[str, str] = os.environ) -> list[Endpoint]:
    """Addresses at which a Docker daemon may listen."""
    if named := environ.get("DOCKER_HOST"):
        return [parse(named, environ)]
    paths = [DOCKER_SYSTEM]
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        paths.append(f"{runtime}/docker.sock")
    return [parse(path) for path in paths if Path(path).exists()]


def podman(environ: Mapping[str, str] = os.environ) -> list[Endpoint]:
    """Addresses at which a Podman API service may listen."""
    if named := environ.get("CONTAINER_HOST"):
        return [parse(named, environ)]
    paths = [PODMAN_SYSTEM]
    runtime = environ.get("XDG_RUNTIME_DIR")
    if runtime and os.geteuid() != 0:
        # A user's own comes first: its containers run as the user, and need no permission.
        paths.insert(0, f"{runtime}/podman/podman.sock")
    return [parse(path) for path in paths if Path(path).exists()]


def podman_binary(environ: Mapping[str, str] = os.environ) -> str | None:
    """The ``podman`` command, whose API service we can start ourselves; None if there is none."""
    if environ.get("CONTAINER_HOST"):
        return None
    return shutil.which("podman", path=environ.get("PATH"))


def answers(endpoint: Endpoint, patience: float = 2.0) -> bool:
    """Something there accepts connections, and on a Unix socket answers a ping. Blocks briefly."""
    try:
        if endpoint.path is None:
            socket.create_connection((endpoint.host, endpoint.port), patience).close()
            return True
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(patience)
            sock.connect(endpoint.path)
            sock.sendall(b"GET /_ping HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return b" 200" in sock.recv(64)
    except OSError:
        return False


def silent(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Why engines that seem to be there do not answer, a sentence each: refused, not running."""
    causes = []
    for name, variable, found in (
        ("podman", "CONTAINER_HOST", podman(environ)),
        ("docker", "DOCKER_HOST", docker(environ)),
    ):
        for endpoint in found:
            path = endpoint.path
            if path is not None and Path(path).exists() and not os.access(path, os.W_OK):
                causes.append(forbidden(path, name))
            elif environ.get(variable):
                causes.append(f"Nothing answers at {endpoint.address}, which {variable} names.")
            else:
                causes.append(f"Nothing answers at {endpoint.address}: start {name}.")
    if not docker(environ) and shutil.which("dockerd", path=environ.get("PATH")):
        causes.append("Docker is installed, and its daemon does not run: start it.")
    return causes
