"""Where Docker and Podman listen on this machine, most likely first.

Docker: ``DOCKER_HOST``, the system's socket, the rootless one of this user.
Podman: ``CONTAINER_HOST``, the rootless socket of this user, the system's.
A set variable is an order: nothing else is tried then.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path

from tfnz_notebook.engines.endpoint import Endpoint, parse

DOCKER_SYSTEM = "/var/run/docker.sock"
PODMAN_SYSTEM = "/run/podman/podman.sock"


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
    from tfnz_notebook.engines.http import forbidden

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
