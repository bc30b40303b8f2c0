"""What an image is to start, asked of its registry (OCI distribution): manifest, then config.

Everything is named by a digest and checked against it, so it does not matter who answers: the
registry, a mirror, or something in between. A tag alone is believed as far as it goes: it tells
which digests belong together.

``$TFNZ_REGISTRIES`` says where a registry is reached, where that is not at its own name:
``docker.io=http://mirror:5000``, several apart by spaces.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit

from tfnz_notebook._base.endpoints import Endpoint
from tfnz_notebook._base.names import Name
from tfnz_notebook.engines.http.client import Client
from tfnz_notebook.engines.http.connection import Wire
from tfnz_notebook.engines.registry.credentials import Login
from tfnz_notebook.errors import EngineError, EngineGone

Said = dict[str, Any]
#: Opens a connection to a host and port, in TLS if there is a context; not by our own network.
Dial = Callable[[str, int, ssl.SSLContext | None], Awaitable[Wire]]

_INDEXES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_ACCEPT: Final = ", ".join((*_INDEXES, *_MANIFESTS))
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
#: Docker's own registry: what its images' names mean, and where it is.
_DOCKER: Final = ("docker.io", "https://registry-1.docker.io")


@dataclass(frozen=True, slots=True)
class Config:
    """An image's config, as far as it says what runs; and the digests that it goes by."""

    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    user: str
    digests: frozenset[str]


def places(image: Name, environ: Mapping[str, str] = os.environ) -> tuple[str, str, str]:
    """Registry, where it is (a URL), and the repository there."""
    registry = image.registry
    path = image.path
    if registry in ("", "docker.io", "index.docker.io"):
        registry, path = _DOCKER[0], path if "/" in path else f"library/{path}"
    for pair in environ.get("TFNZ_REGISTRIES", "").split():
        name, _, url = pair.partition("=")
        if name == registry:
            return registry, url, path
    if registry == _DOCKER[0]:
        return registry, _DOCKER[1], path
    host = registry.partition(":")[0]
    plain = host == "localhost" or host.startswith("127.")
    return registry, f"{'http' if plain else 'https'}://{registry}", path


class Registry:
    """One registry, asked for one image. ``dial``: through that, and not by our own network."""

    def __init__(
        self, url: str, repository: str, login: Login | None, dial: Dial | None = None
    ) -> None:
        self._url = url
        self._repository = repository
        self._login = login
        self._dial = dial
        self._client = self._to(url)
        self._token = ""

    def _to(self, url: str) -> Client:
        parts = urlsplit(url)
        plain = parts.scheme == "http"
        context = None if plain else ssl.create_default_context()
        port = parts.port or (80 if plain else 443)
        endpoint = Endpoint(url, host=parts.hostname or "", port=port, tls=context)
        name = f"the registry {parts.netloc}"
        if self._dial is None:
            return Client(endpoint, name, host=parts.netloc)
        return _Through(endpoint, name, host=parts.netloc, dial=self._dial)

    async def config(self, reference: str, machine: str) -> Config:
        """Of a tag or a digest: manifest's, index's, or the config's own. EngineError, EngineGone.

        ``machine`` is the architecture, as images have it.
        """
        digests: set[str] = set()
        try:
            said = await self._manifest(reference, digests)
        except EngineError:
            if not _DIGEST.fullmatch(reference):
                raise
            said = None  # some fail over a digest that is no manifest's
        if said is None:  # a node that got it without a registry calls an image by its config
            return _config(await self._blob(reference), {reference})
        if "manifests" in said:
            for each in said["manifests"]:
                platform = each.get("platform") or {}
                if (platform.get("os"), platform.get("architecture")) == ("linux", machine):
                    digests.add(each["digest"])
                    said = await self._manifest(each["digest"], digests) or {}
                    break
            else:
                raise EngineError(f"Cannot use the image: it is not made for {machine}.")
        digest = str((said.get("config") or {}).get("digest"))
        digests.add(digest)
        return _config(await self._blob(digest), digests)

    async def _manifest(self, reference: str, digests: set[str]) -> Said | None:
        path = f"/v2/{self._repository}/manifests/{quote(reference, safe=':')}"
        body = await self._get(path, _ACCEPT)
        if body is None:
            return None
        digests.add(_digest(body))  # also under which it was asked for, see _checked
        return _object(_checked(reference, body))

    async def _blob(self, digest: str) -> Said:
        body = await self._get(f"/v2/{self._repository}/blobs/{digest}", "*/*")
        if body is None:
            why = f"Cannot read the image's config: {self._client.name} has it not."
            raise EngineError(why, status=404)
        return _object(_checked(digest, body))

    async def _get(self, path: str, accept: str) -> bytes | None:
        """The body; None if there is no such thing."""
        client = self._client
        for again in (True, False):
            headers = {"Accept": accept}
            if self._token:
                headers["Authorization"] = self._token
            answer = await client.request("GET", path, headers=headers, timeout=10)
            if answer.status == 401 and again:
                self._token = await self._authorize(answer.headers.get("www-authenticate", ""))
                continue
            if answer.status in (301, 302, 303, 307, 308):
                # Blobs lie at others' storage, who must not get our token.
                url = urlsplit(answer.headers.get("location", ""))
                other = client if not url.netloc else self._to(f"{url.scheme}://{url.netloc}")
                where = f"{url.path}?{url.query}" if url.query else url.path
                answer = await other.request("GET", where, timeout=10)
            if answer.status == 404:
                return None
            if answer.status != 200:
                raise EngineError(
                    f"Cannot read of the image: {client.name} refuses ({answer.status}).",
                    status=answer.status,
                )
            return answer.body
        raise EngineError(f"Cannot read of the image: {client.name} wants a login.", status=401)

    async def _authorize(self, challenge: str) -> str:
        """What answers it: the login itself, or a token that it is good for."""
        kind, _, rest = challenge.partition(" ")
        basic = ""
        if self._login is not None and not self._login.token:
            pair = f"{self._login.username}:{self._login.password}".encode()
            basic = f"Basic {base64.b64encode(pair).decode()}"
        if kind.lower() != "bearer":
            return basic
        wants = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        url = urlsplit(wants.get("realm", ""))
        query = {key: wants[key] for key in ("service", "scope") if key in wants}
        headers = {"Authorization": basic} if basic else {}
        asked = self._to(f"{url.scheme}://{url.netloc}")
        answer = await asked.request("GET", url.path or "/", query=query, headers=headers)
        said = answer.json() if answer.status == 200 else {}
        token = said.get("token") or said.get("access_token") if isinstance(said, dict) else ""
        return f"Bearer {token}" if token else ""


class _Through(Client):
    """Its connections are made by somebody else."""

    def __init__(self, endpoint: Endpoint, name: str, *, host: str, dial: Dial) -> None:
        super().__init__(endpoint, name, host=host)
        self._through = dial

    def _open(self, where: Endpoint, tls: ssl.SSLContext | None) -> Awaitable[Wire]:
        return self._through(where.host, where.port, tls)


def _digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def _checked(reference: str, body: bytes) -> bytes:
    if _DIGEST.fullmatch(reference) and _digest(body) != reference:
        raise EngineGone(
            f"Cannot believe the registry: what it gives for {reference[:19]} is something else."
        )
    return body


def _object(body: bytes) -> Said:
    try:
        said = json.loads(body)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise EngineGone("Cannot understand the registry: it sent no object.")
    return said


def _config(said: Said, digests: set[str]) -> Config:
    told = said.get("config") or {}

    def words(key: str) -> tuple[str, ...]:
        return tuple(str(word) for word in told.get(key) or ())

    return Config(
        words("Entrypoint"), words("Cmd"), str(told.get("User") or ""), frozenset(digests)
    )
