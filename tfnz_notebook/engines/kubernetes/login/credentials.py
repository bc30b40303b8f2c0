"""Certificates, tokens and passwords for a cluster, and what the HTTP client makes of them.

What says who we are is never part of an error, a log or a repr.
"""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tfnz_notebook.engines.http import tls
from tfnz_notebook.engines.http.client import Headers
from tfnz_notebook.errors import NoEngine

_TOKEN: Final = re.compile(rb"[\x21-\x7e]+")
Pair = tuple[bytes, bytes]


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

    async def certificate(self) -> Pair | None:
        """PEM of our certificate and of its key. OSError, NoEngine."""
        return None

    async def renew(self) -> bool:
        """After a 401: something else may be said from now on."""
        return False


class Static(Credentials):
    """What does not change unless its files do."""

    def __init__(
        self,
        *,
        token: Material | None = None,
        user: str = "",
        password: str = "",
        certificate: Material | None = None,
        key: Material | None = None,
    ) -> None:
        self._token = token
        self._said = b""  # by a token's file, the last time it could be read
        self._basic = base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""
        self._certificate = certificate
        self._key = key

    async def headers(self) -> Headers:
        if self._token:
            try:
                self._said = self._token.read().strip()
            except OSError as error:
                if not self._said:  # it is being replaced, maybe: the last one may still be good
                    raise NoEngine(
                        f"Cannot read the token in {str(self._token.file)!r}: {error.strerror}. "
                        "Correct 'tokenFile' in the kubeconfig."
                    ) from None
            return bearer(self._said)
        return [("Authorization", f"Basic {self._basic}")] if self._basic else []

    async def certificate(self) -> Pair | None:
        if not self._certificate or not self._key:
            return None
        return self._certificate.read(), self._key.read()


def bearer(token: bytes) -> Headers:
    """The header for a token. NoEngine for one that no header can have."""
    if not _TOKEN.fullmatch(token):
        raise NoEngine(
            "Cannot log in to the cluster: the token that the kubeconfig leads to is empty, or no "
            "token. Get a new one."
        )
    return [("Authorization", f"Bearer {token.decode('ascii')}")]


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a kubeconfig says of one context."""

    name: str
    server: str
    namespace: str = "default"
    authority: Material = field(default_factory=Material)
    insecure: bool = False
    server_name: str = ""
    proxy: str = field(default="", repr=False)
    credentials: Credentials = field(default_factory=Credentials, repr=False)
    #: Headers that ask to act as somebody else.
    impersonation: tuple[tuple[str, str], ...] = ()
    #: The pod that this process is in, if that is in the namespace.
    pod: str = ""


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
