"""The user's registry credentials, as ``docker login`` and ``podman login`` left them.

Read from ``$DOCKER_CONFIG/config.json`` (``~/.docker``), ``$REGISTRY_AUTH_FILE`` and
``containers/auth.json``: plain ``auths``, ``credHelpers`` for single registries and
``credsStore`` for all of them, the latter two through ``docker-credential-NAME get`` (registry
on stdin, JSON on stdout). Nothing is cached and nothing written; a helper that fails costs only
its own registry, and its complaint is kept for the message if the pull then fails.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tfnz_notebook._base import paths

_HELPER_TIMEOUT: Final = 20.0
#: What a helper says for "this is an identity token, not a password" (Docker's protocol).
_TOKEN_USER: Final = "<token>"  # noqa: S105 - a user name that means "no password"


@dataclass(frozen=True, slots=True)
class Login:
    """Credentials for one registry."""

    registry: str
    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    def config(self) -> dict[str, str]:
        """Docker's AuthConfig."""
        if self.token:
            return {"identitytoken": self.token, "serveraddress": self.registry}
        return {
            "username": self.username,
            "password": self.password,
            "serveraddress": self.registry,
        }


class Store:
    """What the files of this user say; read at each use, because people log in meanwhile."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        #: Complaints of files and helpers, for the error message.
        self.problems: list[str] = []

    def _paths(self) -> list[Path]:
        home = paths.home(self._environ) or Path("/")
        found = [Path(self._environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json"]
        if named := self._environ.get("REGISTRY_AUTH_FILE"):
            found.insert(0, Path(named))
        if runtime := self._environ.get("XDG_RUNTIME_DIR"):
            found.append(Path(runtime) / "containers" / "auth.json")
        elif os.geteuid() == 0:
            found.append(Path("/run/containers/0/auth.json"))
        config = Path(self._environ.get("XDG_CONFIG_HOME") or home / ".config")
        found.append(config / "containers" / "auth.json")
        return found

    def _files(self) -> list[dict[str, Any]]:
        found = []
        for path in self._paths():
            try:
                said = json.loads(path.read_text())
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                self.problems.append(f"{path} cannot be read ({error})")
                continue
            if isinstance(said, dict):
                found.append(said)
        return found

    async def find(
        self, registry: str, repository: str = "", beside: Sequence[Mapping[str, Any]] = ()
    ) -> Login | None:
        """The login for a registry (a host, or Docker's index URL), the most specific first.

        ``repository`` is the image's path there: Podman's files may hold logins for namespaces.
        ``beside``: what is looked at after the user's own files, in their form.
        """
        wanted = _host(registry)
        for said in (*self._files(), *beside):
            helper = _of(said.get("credHelpers"), wanted)
            if isinstance(helper, str) and (login := await self._ask(helper, registry)):
                return login
            auths = said.get("auths")
            for key in _keys(wanted, repository):
                if login := _plain(registry, _of(auths, key)):
                    return login
            store = said.get("credsStore")
            if isinstance(store, str) and store and (login := await self._ask(store, registry)):
                return login
        return None

    async def all(self) -> dict[str, Login]:
        """Every login that is known, by registry; for an engine that resolves short names."""
        known: dict[str, Login] = {}
        for said in self._files():
            auths, helpers = said.get("auths"), said.get("credHelpers")
            names = [*(helpers if isinstance(helpers, dict) else {})]
            names += [*(auths if isinstance(auths, dict) else {})]
            for name in names:
                if name not in known and (login := await self.find(name)):
                    known[name] = login
        return known

    async def _ask(self, helper: str, registry: str) -> Login | None:
        """Run ``docker-credential-HELPER get``."""
        command = f"docker-credential-{Path(helper).name}"
        try:
            process = await asyncio.create_subprocess_exec(
                command,
                "get",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=dict(self._environ),
            )
        except OSError as error:
            self.problems.append(f"{command} cannot be run ({error.strerror})")
            return None
        try:
            async with asyncio.timeout(_HELPER_TIMEOUT):
                out, err = await process.communicate(registry.encode())
        except TimeoutError:
            process.kill()
            await process.wait()
            self.problems.append(f"{command} did not answer in {_HELPER_TIMEOUT:g} s")
            return None
        if process.returncode:
            said = (out + err).decode("utf-8", "replace").strip()
            if "not found" not in said:  # "credentials not found in native keychain" is an answer
                self.problems.append(f"{command}: {said[:200]}")
            return None
        try:
            answer = json.loads(out)
            user, secret = str(answer["Username"]), str(answer["Secret"])
        except (ValueError, KeyError, TypeError):
            self.problems.append(f"{command} answered something else than credentials")
            return None
        if user == _TOKEN_USER:
            return Login(registry, token=secret)
        return Login(registry, user, secret)


def header(config: object) -> str:
    """A value for X-Registry-Auth or X-Registry-Config: URL-safe base64 of JSON."""
    return base64.urlsafe_b64encode(json.dumps(config).encode()).decode()


def _host(registry: str) -> str:
    """'https://host/v1/' and 'host' are the same key."""
    return registry.partition("://")[2].partition("/")[0] or registry.partition("/")[0]


def _of(mapping: object, wanted: str) -> Any:
    """The value under a key that names this registry, exactly or by its host."""
    if not isinstance(mapping, dict):
        return None
    if wanted in mapping:
        return mapping[wanted]
    if "/" in wanted:
        return None
    for key, value in mapping.items():
        if isinstance(key, str) and "://" in key and _host(key) == wanted:
            return value
    return None


def _keys(host: str, repository: str) -> list[str]:
    """host/team/image, host/team, host: Podman's order of looking."""
    parts = repository.split("/") if repository else []
    return ["/".join([host, *parts[:n]]) for n in range(len(parts), -1, -1)]


def _plain(registry: str, entry: object) -> Login | None:
    if not isinstance(entry, dict):
        return None
    if token := entry.get("identitytoken"):
        return Login(registry, token=str(token))
    if entry.get("username") and entry.get("password"):
        return Login(registry, str(entry["username"]), str(entry["password"]))
    try:
        user, colon, password = (
            base64.b64decode(str(entry.get("auth") or "")).decode().partition(":")
        )
    except (binascii.Error, UnicodeDecodeError):
        return None
    # Docker pads stored passwords with NUL.
    return Login(registry, user, password.strip("\0")) if colon else None
