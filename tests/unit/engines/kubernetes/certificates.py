"""An authority of a test's own, and what it signs, by openssl."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    chain: Path
    key: Path

    @property
    def pair(self) -> tuple[bytes, bytes]:
        return self.chain.read_bytes(), self.key.read_bytes()


class Authority:
    """``lax``: as some clusters' are made, without what RFC 5280 wants of one."""

    def __init__(self, home: Path, *, lax: bool = False) -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        self.own = Certificate(home / "ca.crt", home / "ca.key")
        wanted = ["basicConstraints=CA:TRUE"]
        if not lax:
            wanted = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"]
            wanted.append("subjectKeyIdentifier=hash")
        self._make("ca", "/CN=an authority", wanted, signed=False, days=30)

    @property
    def pem(self) -> bytes:
        return self.own.chain.read_bytes()

    def sign(self, name: str, *names: str, days: int = 30) -> Certificate:
        """For a server of these names (``DNS:x``, ``IP:y``), or for a client."""
        wanted = [f"subjectAltName={','.join(names)}"] if names else ["basicConstraints=CA:FALSE"]
        self._make(name, f"/O=people/CN={name}", wanted, signed=True, days=days)
        return Certificate(self.home / f"{name}.crt", self.home / f"{name}.key")

    def _make(self, name: str, subject: str, wanted: list[str], *, signed: bool, days: int) -> None:
        config = self.home / f"{name}.cnf"
        config.write_text(
            "[req]\ndistinguished_name = dn\nx509_extensions = v3\n[dn]\n[v3]\n" + "\n".join(wanted)
        )
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"]
        command += ["ec_paramgen_curve:prime256v1", "-nodes", "-config", str(config)]
        command += ["-subj", subject, "-days", str(days)]
        command += ["-keyout", str(self.home / f"{name}.key")]
        command += ["-out", str(self.home / f"{name}.crt")]
        if signed:
            command += ["-CA", str(self.own.chain), "-CAkey", str(self.own.key)]
        subprocess.run(command, check=True, capture_output=True)
