"""Who we are to a cluster, as kubectl has it: certificates, tokens, passwords, plugins."""

from __future__ import annotations

import base64
import hashlib
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from tfnz_notebook.engines.http import tls
from tfnz_notebook.engines.http.client import Headers
from tfnz_notebook.errors import NoEngine


@dataclass(frozen=True, slots=True)
class Material:
    """A certificate, a key or a token: its text, or the file that is read again each time."""

    data: bytes = field(default=b"", repr=False)
    file: Path | None = None

    def __bool__(self) -> bool:
        return bool(self.data) or self.file is not None

    def read(self) -> bytes:
        """The text now. OSError."""
        return self.data if self.file is None else self.file.read_bytes()


class Credentials:
    """Nobody in particular; what says who we are is a subclass."""

    async def headers(self) -> Headers:
        return []

    async def certificate(self) -> tuple[bytes, bytes] | None:
        """PEM of our certificate and of its key."""
        return None

    async def renew(self) -> bool:
        """After a 401: something else is said from now on."""
        return False


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a kubeconfig says of one context."""

    name: str
    server: str
    namespace: str = "default"
    authority: Material = Material()
    insecure: bool = False
    server_name: str = ""
    proxy: str = ""
    credentials: Credentials = field(default_factory=Credentials, repr=False)
    #: Headers that ask to act as somebody else.
    impersonation: tuple[tuple[str, str], ...] = ()


class Access:
    """What the HTTP client asks of a cluster: contexts for TLS, headers for each request."""

    def __init__(self, cluster: Cluster, *, plain: bool) -> None:
        self._cluster = cluster
        self._plain = plain
        self._made: tuple[bytes, ssl.SSLContext] | None = None

    async def tls(self) -> ssl.SSLContext | None:
        """The same object for as long as what it is made of is the same."""
        if self._plain:
            return None
        cluster = self._cluster
        try:
            authority = cluster.authority.read()
            certificate = await cluster.credentials.certificate()
            parts = (authority, *(certificate or (b"", b"")))
            digest = hashlib.sha256(b"\0".join(parts)).digest()
            if self._made is None or self._made[0] != digest:
                made = tls.context(authority, certificate, insecure=cluster.insecure)
                self._made = digest, made
        except (OSError, ValueError) as error:
            raise NoEngine(
                f"Cannot use the certificates of the context {cluster.name!r}: {error}. "
                "Correct the kubeconfig."
            ) from error
        return self._made[1]

    async def headers(self) -> Headers:
        return [*await self._cluster.credentials.headers(), *self._cluster.impersonation]

    async def renew(self) -> bool:
        return await self._cluster.credentials.renew()


class Static(Credentials):
    """What does not change unless its files do."""

    def __init__(
        self,
        *,
        token: Material = Material(),
        user: str = "",
        password: str = "",
        certificate: Material = Material(),
        key: Material = Material(),
    ) -> None:
        self._token = token
        self._basic = base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""
        self._certificate = certificate
        self._key = key

    async def headers(self) -> Headers:
        if self._token:
            return [("Authorization", f"Bearer {self._token.read().decode('ascii').strip()}")]
        return [("Authorization", f"Basic {self._basic}")] if self._basic else []

    async def certificate(self) -> tuple[bytes, bytes] | None:
        return (self._certificate.read(), self._key.read()) if self._certificate else None
