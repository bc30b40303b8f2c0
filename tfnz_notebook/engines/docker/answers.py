"""Answers of a Docker-like engine, read into the contract's terms. Pure code.

Every field is taken as possibly missing: Docker, Podman and their versions differ in which they
send, and ``null`` stands for empty in both.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tfnz_notebook.engines.base import Image, State, Status
from tfnz_notebook.errors import EngineGone

#: Of a log and of an exec: stream, three zeroes, size.
_FRAME: Final = struct.Struct(">B3sI")
#: State words of Docker and of Podman (configured, initialized, stopped ... are Podman's).
_STATUS: Final[dict[str, Status]] = {
    "created": "created",
    "configured": "created",
    "initialized": "created",
    "running": "running",
    "paused": "paused",
    "restarting": "running",
    "stopping": "running",
    "exited": "exited",
    "stopped": "exited",
    "dead": "exited",
    "removing": "exited",
}


def mapping(said: Any) -> dict[str, Any]:
    """An object, or EngineGone: whatever answers there, it is no engine."""
    if not isinstance(said, dict):
        raise EngineGone(
            f"Cannot understand the engine: an object was due, it sent {str(said)[:80]!r}. "
            "Check that the address is a container engine's."
        )
    return said


def version(said: object) -> tuple[int, int]:
    """'1.41' as (1, 41); (0, 0) for anything else."""
    major, _, minor = str(said).partition(".")
    try:
        return int(major), int(minor)
    except ValueError:
        return 0, 0


def rootless(info: Mapping[str, Any]) -> bool:
    """An /info answer is that of an engine that runs as a user (Podman and Docker differ)."""
    options = info.get("SecurityOptions") or ()
    return bool(info.get("Rootless")) or any("rootless" in str(option) for option in options)


def image(said: Mapping[str, Any]) -> Image:
    """An image inspect."""
    config = said.get("Config") or {}
    env = dict(str(pair).partition("=")[::2] for pair in config.get("Env") or ())
    ports = [str(port).partition("/") for port in config.get("ExposedPorts") or ()]
    return Image(
        id=str(said.get("Id", "")),
        entrypoint=words(config.get("Entrypoint")),
        command=words(config.get("Cmd")),
        env=env,
        user=str(config.get("User") or ""),
        workdir=str(config.get("WorkingDir") or ""),
        ports=tuple(sorted(int(n) for n, _, kind in ports if n.isdigit() and kind in ("", "tcp"))),
        volumes=tuple(sorted(str(path) for path in config.get("Volumes") or ())),
        health=words((config.get("Healthcheck") or {}).get("Test")),
    )


def words(said: object) -> tuple[str, ...]:
    """A command: a list, or (in images made by hand) one string."""
    if isinstance(said, str):
        return (said,) if said else ()
    return tuple(str(word) for word in said) if isinstance(said, list) else ()


def labels(said: Mapping[str, Any]) -> dict[str, str]:
    """The labels in a container inspect."""
    found = (said.get("Config") or {}).get("Labels") or {}
    return {str(key): str(value) for key, value in found.items()}


def state(said: Mapping[str, Any]) -> State:
    """A container inspect."""
    now = said.get("State") or {}
    status = _STATUS.get(str(now.get("Status", "")).lower())
    if status is None:
        status = "running" if now.get("Running") else "exited"
    return State(
        status=status,
        exit_code=int(now.get("ExitCode") or 0) if status == "exited" else None,
        oom_killed=bool(now.get("OOMKilled")),
        error=str(now.get("Error") or ""),
        ip=_address(said.get("NetworkSettings") or {}) if status in ("running", "paused") else "",
    )


def _address(settings: Mapping[str, Any]) -> str:
    if found := settings.get("IPAddress"):
        return str(found)
    for network in (settings.get("Networks") or {}).values():
        if network and network.get("IPAddress"):
            return str(network["IPAddress"])
    return ""


def unframed(log: bytes) -> bytes:
    """A log without its frames (stream u8, three zeroes, size u32 big-endian, bytes).

    Logs of a container with a tty, and those of some Podman log drivers, have no frames: what
    does not look like one is given as it is.
    """
    out = bytearray()
    at = 0
    while at + 8 <= len(log):
        kind, zero, size = _FRAME.unpack_from(log, at)
        if kind > 2 or zero != b"\0\0\0":
            return log if at == 0 else bytes(out + log[at:])
        out += log[at + 8 : at + 8 + size]
        at += 8 + size
    return bytes(out) if at else log


class Frames:
    """The same of a log that still grows: what each stream said, a piece at a time."""

    def __init__(self) -> None:
        self._held = b""
        self._kind, self._left = 1, 0
        self._raw = False

    def feed(self, chunk: bytes) -> Iterator[tuple[int, bytes]]:
        """(1 stdout or 2 stderr, bytes) of what came."""
        self._held += chunk
        while self._held:
            if self._raw:
                piece, self._held = self._held, b""
                yield 1, piece
            elif self._left:
                piece, self._held = self._held[: self._left], self._held[self._left :]
                self._left -= len(piece)
                yield self._kind, piece
            elif len(self._held) < _FRAME.size:
                return
            else:
                kind, zero, size = _FRAME.unpack_from(self._held)
                self._raw = kind > 2 or zero != b"\0\0\0"
                if not self._raw:
                    self._kind, self._left = kind or 1, size
                    self._held = self._held[_FRAME.size :]
