"""A real registry on loopback (Debian's docker-registry): TLS, a login, indexes of two platforms.

What an engine on this machine is to trust, it reads from directories of the system's, one for each
registry: ours is made there, and removed again. A relay before it makes pulls slow, or cuts one.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import hashlib
import http.client
import io
import json
import os
import shutil
import socket
import ssl
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

USER, PASSWORD = "somebody", "well known"
#: Of that password; the registry takes nothing but bcrypt.
HASHED = "$2b$04$wH9GGN84CfnlO7ZKpbkmI.iTHluaokLmfqtZzWujxdqroLXPL/QM2"
#: Where Docker and Podman look for a registry's own authority, in what is the root to them.
TRUSTED = [
    Path(os.environ.get("TFNZ_TEST_ENGINES_ROOT", "/"), "etc", name, "certs.d")
    for name in ("docker", "containers")
]
BUSYBOX = Path("/bin/busybox")
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as made:
        return int(made.getsockname()[1])


def _digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


@dataclass
class Relay:
    """Between the engine and the registry: bytes as they come, at most so many a second each way,
    and the connection that reaches ``cut`` bytes breaks off, once.
    """

    target: int
    port: int = 0
    rate: int = 0
    cut: int = 0
    cuts: int = 0
    moved: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        ways = ((reader, back, False), (there, writer, True))
        tasks = {asyncio.ensure_future(self._move(*way)) for way in ways}
        self._tasks |= tasks
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._tasks -= tasks
            for each in (writer, back):
                each.transport.abort()

    async def _move(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, down: bool
    ) -> None:
        passed = 0
        while data := await reader.read(16384):
            passed += len(data)
            self.moved += len(data) if down else 0
            if down and self.cut and passed > self.cut:
                self.cut, self.cuts = 0, self.cuts + 1
                writer.transport.abort()
                return
            writer.write(data)
            await writer.drain()
            if down and self.rate:
                await asyncio.sleep(len(data) / self.rate)
        with contextlib.suppress(OSError):
            writer.write_eof()


@dataclass
class Registry:
    """``home`` has its certificate; ``name`` is how images in it begin."""

    home: Path
    port: int

    @property
    def name(self) -> str:
        return f"localhost:{self.port}"

    @property
    def authority(self) -> Path:
        return self.home / "authority.pem"

    def login(self, port: int = 0, password: str = PASSWORD) -> dict[str, Any]:
        """What ``docker login`` writes."""
        pair = base64.b64encode(f"{USER}:{password}".encode()).decode()
        return {"auths": {f"localhost:{port or self.port}": {"auth": pair}}}

    # -- what is in it

    def ask(
        self, method: str, path: str, body: bytes = b"", kind: str = "", *, login: bool = True
    ) -> tuple[int, dict[str, str]]:
        context = ssl.create_default_context(cafile=str(self.authority))
        connection = http.client.HTTPSConnection("localhost", self.port, context=context)
        headers = {"Content-Type": kind} if kind else {}
        if login:
            pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        connection.request(method, path, body or None, headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status, {key.lower(): value for key, value in answer.getheaders()}

    def _blob(self, repository: str, body: bytes) -> dict[str, Any]:
        status, headers = self.ask("POST", f"/v2/{repository}/blobs/uploads/")
        assert status == 202, status
        where = headers["location"].partition(f":{self.port}")[2] or headers["location"]
        where += f"{'&' if '?' in where else '?'}digest={_digest(body)}"
        status, _ = self.ask("PUT", where, body, "application/octet-stream")
        assert status == 201, status
        return {"digest": _digest(body), "size": len(body)}

    def push(self, repository: str, size: int = 0) -> str:
        """An image that is busybox and so many bytes more, for two platforms; its digest."""
        listed = []
        for machine in ("amd64", "arm64"):
            layer = _layer(size)
            config = json.dumps(
                {
                    "architecture": machine,
                    "os": "linux",
                    "config": {"Cmd": ["echo", machine]},
                    "rootfs": {"type": "layers", "diff_ids": [_digest(gzip.decompress(layer))]},
                }
            ).encode()
            manifest = {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {"mediaType": CONFIG, **self._blob(repository, config)},
                "layers": [{"mediaType": LAYER, **self._blob(repository, layer)}],
            }
            listed.append(self._manifest(repository, manifest, "", machine))
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}
        return str(self._manifest(repository, index, "latest", "")["digest"])

    def _manifest(
        self, repository: str, said: dict[str, Any], tag: str, machine: str
    ) -> dict[str, Any]:
        body, kind = json.dumps(said).encode(), str(said["mediaType"])
        path = f"/v2/{repository}/manifests/{tag or _digest(body)}"
        status, _ = self.ask("PUT", path, body, kind)
        assert status == 201, status
        platform = {"platform": {"os": "linux", "architecture": machine}} if machine else {}
        return {"mediaType": kind, "digest": _digest(body), "size": len(body), **platform}


def _layer(size: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.add(BUSYBOX, "bin/busybox")
        for name in ("echo", "sh", "sleep"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
        content = os.urandom(size)
        entry = tarfile.TarInfo("more")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(out.getvalue(), 1)


@contextlib.contextmanager
def serving(home: Path) -> Iterator[Registry]:
    """One that runs, empty; gone afterwards with all that it had."""
    made = Registry(home, _free())
    _certify(home)
    (home / "users").write_text(f"{USER}:{HASHED}\n")
    config = {
        "version": "0.1",
        "log": {"accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(home / "storage")}},
        "auth": {"htpasswd": {"realm": "ours", "path": str(home / "users")}},
        "http": {
            "addr": f"127.0.0.1:{made.port}",
            "relativeurls": True,
            "tls": {"certificate": str(home / "own.pem"), "key": str(home / "own.key")},
        },
    }
    (home / "config.yml").write_text(json.dumps(config))  # which is YAML as well
    with (home / "log").open("wb") as log:
        running = subprocess.Popen(
            ["docker-registry", "serve", str(home / "config.yml")], stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                if made.ask("GET", "/v2/", login=False)[0] == 401:
                    break
            assert running.poll() is None and time.monotonic() < deadline, (
                home / "log"
            ).read_text()
            time.sleep(0.02)
        yield made
    finally:
        running.terminate()
        running.wait(10)


def _certify(home: Path) -> None:
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(home / "own.key"), "-out", str(home / "own.pem"), "-days", "2"]
    command = ["openssl", "req", "-x509", *key, *subject, *files]
    subprocess.run(command, check=True, capture_output=True)
    shutil.copy(home / "own.pem", home / "authority.pem")


@contextlib.contextmanager
def trusted(registry: Registry, *ports: int) -> Iterator[None]:
    """Have the engines of this machine know its authority, at these ports."""
    made = []
    for top in TRUSTED:
        for port in ports or (registry.port,):
            missing = next((p for p in (*reversed(top.parents), top) if not p.exists()), None)
            folder = top / f"localhost:{port}"
            folder.mkdir(parents=True)
            shutil.copy(registry.authority, folder / "ca.crt")
            made.append((folder, missing))
    try:
        yield
    finally:
        for folder, missing in reversed(made):
            shutil.rmtree(folder)
            for above in folder.parents:
                if missing is None or not above.is_relative_to(missing):
                    break
                with contextlib.suppress(OSError):  # somebody else has something there
                    above.rmdir()
