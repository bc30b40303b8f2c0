"""The engines' own word on what they hold, asked past the code under test."""

import http.client
import json
import os
import socket
from typing import Any
from urllib.parse import quote

SOCKETS = {
    "docker": ("DOCKER_HOST", "/var/run/docker.sock"),
    "podman": ("CONTAINER_HOST", "/run/podman/podman.sock"),
}


def socket_path(engine: str) -> str:
    """Where that engine listens on this machine."""
    variable, usual = SOCKETS[engine]
    return os.environ.get(variable, usual).removeprefix("unix://")


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("engine", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(engine: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """One request; its answer as JSON (None if there is none). Errors of the engine raise."""
    connection = _Connection(socket_path(engine))
    try:
        data = None if body is None else json.dumps(body).encode()
        connection.request(method, path, data, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if answer.status >= 400:
        raise OSError(f"{engine} answers {answer.status} to {method} {path}: {text[:300]!r}")
    return json.loads(text) if text.strip() else None


def _filter(*labels: str) -> str:
    return quote(json.dumps({"label": list(labels)}))


def containers(engine: str, *labels: str) -> list[dict[str, Any]]:
    """Every container, in any state, that carries these labels (``key`` or ``key=value``)."""
    found = ask(engine, "GET", f"/containers/json?all=1&filters={_filter(*labels)}")
    assert isinstance(found, list)
    return found


def inspect(engine: str, ident: str) -> dict[str, Any]:
    """One container, in full."""
    found = ask(engine, "GET", f"/containers/{ident}/json")
    assert isinstance(found, dict)
    return found


def remove_container(engine: str, ident: str) -> None:
    """Kill and remove it."""
    ask(engine, "DELETE", f"/containers/{ident}?force=1&v=1")


def volumes(engine: str, label: str) -> list[dict[str, Any]]:
    """The volumes with that label."""
    found = ask(engine, "GET", f"/volumes?filters={_filter(label)}")
    return list((found or {}).get("Volumes") or [])


def remove_volume(engine: str, name: str) -> None:
    """Remove it."""
    ask(engine, "DELETE", f"/volumes/{name}")
