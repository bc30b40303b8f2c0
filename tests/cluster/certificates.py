"""Who is who in a test cluster: an authority, a certificate for each program, and kubeconfigs."""

import base64
import json
import subprocess
from pathlib import Path

DAYS = "365"
#: Of the cluster, its context, and whoever uses it.
NAME = "tfnz-test"


def openssl(*arguments: str, text: str = "") -> None:
    subprocess.run(["openssl", *arguments], input=text, text=True, check=True, capture_output=True)


class Authority:
    """Its key and certificate, and all that it has signed, in one folder."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.certificate = home / "ca.crt"
        self.key = home / "ca.key"

    def found(self) -> None:
        """Make it, and the pair of keys that tokens of service accounts are signed with."""
        self.home.mkdir(mode=0o700)
        self._key(self.key)
        subject = ("-subj", f"/CN={NAME}", "-days", DAYS)
        openssl(
            "req", "-x509", "-new", "-key", f"{self.key}", *subject, "-out", f"{self.certificate}"
        )
        private, public = self.home / "tokens.key", self.home / "tokens.pub"
        openssl("genrsa", "-out", f"{private}", "2048")
        openssl("rsa", "-in", f"{private}", "-pubout", "-out", f"{public}")

    def sign(self, name: str, subject: str, *addresses: str) -> tuple[Path, Path]:
        """A certificate for either side of a connection, and its key."""
        certificate, key = self.home / f"{name}.crt", self.home / f"{name}.key"
        request, extensions = self.home / f"{name}.csr", self.home / f"{name}.ext"
        self._key(key)
        openssl("req", "-new", "-key", f"{key}", "-subj", subject, "-out", f"{request}")
        lines = ["extendedKeyUsage=serverAuth,clientAuth"]
        if addresses:
            lines.append("subjectAltName=" + ",".join(addresses))
        extensions.write_text("\n".join(lines))
        by = (
            "-CA",
            f"{self.certificate}",
            "-CAkey",
            f"{self.key}",
            "-CAcreateserial",
            "-days",
            DAYS,
        )
        what = ("-in", f"{request}", "-out", f"{certificate}", "-extfile", f"{extensions}")
        openssl("x509", "-req", *by, *what)
        return certificate, key

    def _key(self, path: Path) -> None:
        openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", f"{path}")

    def kubeconfig(self, name: str, server: str, subject: str, *addresses: str) -> Path:
        """Of a program with a certificate of its own; all is in it, so that it may be copied."""
        certificate, key = self.sign(name, subject, *addresses)
        user = {"client-certificate-data": encoded(certificate), "client-key-data": encoded(key)}
        cluster = {"server": server, "certificate-authority-data": encoded(self.certificate)}
        told = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": NAME, "cluster": cluster}],
            "users": [{"name": NAME, "user": user}],
            "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME}}],
            "current-context": NAME,
        }
        path = self.home / f"{name}.kubeconfig"
        path.write_text(json.dumps(told, indent=1))  # JSON is YAML
        path.chmod(0o600)
        return path


def encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
