"""A certificate authority for loopback, by openssl."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path


class Authority:
    """Signs a server's and its users' certificates, in one directory."""

    def __init__(self, home: Path) -> None:
        self._home = home
        home.mkdir(mode=0o700)
        self.certificate, self._key = home / "ca.crt", home / "ca.key"
        self._openssl(
            *("req", "-x509", "-days", "2", "-subj", "/CN=ca", "-keyout", self._key),
            *("-out", self.certificate, "-addext", "keyUsage=critical,keyCertSign"),
        )

    def _openssl(self, *words: str | Path, new: bool = True) -> None:
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes") if new else ()
        program = ["openssl", words[0], *key, *words[1:]]
        subprocess.run(program, check=True, capture_output=True)

    def issue(self, name: str, *, days: int = 2, usage: str = "clientAuth") -> tuple[Path, Path]:
        """Certificate and key; ``days`` 0 has it expire at once."""
        certificate, key = self._home / f"{name}.crt", self._home / f"{name}.key"
        request, more = self._home / f"{name}.csr", self._home / f"{name}.ext"
        names = "IP:127.0.0.1,DNS:localhost"
        more.write_text(f"extendedKeyUsage={usage}\nsubjectAltName={names}\n")
        self._openssl("req", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        self._openssl(
            *("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key),
            *("-CAcreateserial", "-days", str(days), "-out", certificate, "-extfile", more),
            new=False,
        )
        return certificate, key

    def server(self) -> ssl.SSLContext:
        """Users' certificates are asked for, and need not be there."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.issue("server", usage="serverAuth"))
        context.load_verify_locations(self.certificate)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def client(self, user: str | None) -> ssl.SSLContext:
        """What trusts it, as nobody or as a user."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        if user is not None:
            context.load_cert_chain(*self.issue(user))
        return context
