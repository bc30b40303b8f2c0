"""Images as an OCI archive, and from there into a registry, without an engine.

python .ci/archive.py make FILE --image NAME TAR [CHANGE…] [--image …]
    one layer each: the tar of a root file system
python .ci/archive.py push FILE REGISTRY
    all of it, over plain HTTP

CHANGE is what `docker import --change` takes: ENV, CMD, ENTRYPOINT, EXPOSE, LABEL, USER, WORKDIR.
Images of one tree share its layer. containerd (`ctr images import`) takes such archives.
"""

import hashlib
import http.client
import io
import json
import platform
import sys
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

OCI = "application/vnd.oci.image"
#: What containerd calls the image, where the OCI's own annotation has room for a tag alone.
FULL_NAME = "io.containerd.image.name"
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
PLATFORM = {"architecture": ARCHITECTURE, "os": "linux"}
Json = dict[str, Any]


def configured(changes: Iterable[str]) -> Json:
    """An image's configuration, of a Dockerfile's instructions."""
    config: Json = {}
    for change in changes:
        word, _, rest = change.partition(" ")
        match word:
            case "ENV":
                config.setdefault("Env", []).append(rest)
            case "LABEL":
                key, _, value = rest.partition("=")
                config.setdefault("Labels", {})[key] = value
            case "EXPOSE":
                config.setdefault("ExposedPorts", {})[rest] = {}
            case "CMD" | "ENTRYPOINT":
                config[word.capitalize()] = json.loads(rest)
            case "USER":
                config["User"] = rest
            case "WORKDIR":
                config["WorkingDir"] = rest
            case _:
                sys.exit(f"Cannot make an archive: no instruction {word}. Use those of --help.")
    return config


def images(arguments: Sequence[str]) -> Iterable[tuple[str, Path, list[str]]]:
    """Name, tree and changes of each ``--image``."""
    words = list(arguments)
    while words:
        _, name, tree, *words = words
        changes: list[str] = []
        while words and words[0] != "--image":
            changes.append(words.pop(0))
        yield name, Path(tree), changes


def make(file: Path, arguments: Sequence[str]) -> None:
    """The archive; each blob is in it once."""
    with tarfile.open(file, "w") as archive:
        kept: dict[str, Json] = {}

        def put(name: str, size: int, content: io.BufferedIOBase) -> None:
            entry = tarfile.TarInfo(name)
            entry.size = size
            archive.addfile(entry, content)

        def blob(kind: str, digest: str, size: int, content: io.BufferedIOBase) -> Json:
            told = {"mediaType": f"{OCI}.{kind}", "digest": f"sha256:{digest}", "size": size}
            if digest not in kept:
                put(f"blobs/sha256/{digest}", size, content)
            return kept.setdefault(digest, told)

        def document(kind: str, body: Json) -> Json:
            data = json.dumps(body).encode()
            return blob(kind, hashlib.sha256(data).hexdigest(), len(data), io.BytesIO(data))

        manifests = []
        for name, tree, changes in images(arguments):
            with tree.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
                content.seek(0)
                layer = blob("layer.v1.tar", digest, tree.stat().st_size, content)
            rootfs = {"type": "layers", "diff_ids": [layer["digest"]]}
            config = {**PLATFORM, "config": configured(changes), "rootfs": rootfs}
            manifest = {
                "schemaVersion": 2,
                "mediaType": f"{OCI}.manifest.v1+json",
                "config": document("config.v1+json", config),
                "layers": [layer],
            }
            told = document("manifest.v1+json", manifest)
            tag = name.rpartition(":")[2]
            notes = {FULL_NAME: name, "org.opencontainers.image.ref.name": tag}
            manifests.append({**told, "platform": PLATFORM, "annotations": notes})
        for name, body in (
            ("oci-layout", {"imageLayoutVersion": "1.0.0"}),
            ("index.json", {"schemaVersion": 2, "manifests": manifests}),
        ):
            data = json.dumps(body).encode()
            put(name, len(data), io.BytesIO(data))


class Registry:
    """As much of the distribution protocol as a push needs."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address, timeout=60)

    def ask(self, method: str, path: str, body: object = None, kind: str = "") -> tuple[int, str]:
        """Its status, and where it sends the next request."""
        headers = {"Content-Type": kind} if kind else {}
        self._connection.request(method, path, body, headers)  # type: ignore[arg-type]
        answer = self._connection.getresponse()
        said = answer.read()
        if answer.status >= 400 and method != "HEAD":
            sys.exit(f"Cannot push {path}: the registry says {answer.status} {said.decode()}")
        return answer.status, answer.getheader("Location", "")

    def blob(self, repository: str, digest: str, size: int, content: object) -> None:
        """In one piece, unless it is there."""
        if self.ask("HEAD", f"/v2/{repository}/blobs/{digest}")[0] == 200:
            return
        _, there = self.ask("POST", f"/v2/{repository}/blobs/uploads/")
        at = there + ("&" if "?" in there else "?") + f"digest={digest}"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        self._connection.request("PUT", at, content, headers)  # type: ignore[arg-type]
        answer = self._connection.getresponse()
        answer.read()
        if answer.status != 201:
            sys.exit(f"Cannot push {digest} of {repository}: the registry says {answer.status}.")


def push(file: Path, address: str) -> None:
    """Each image under its own path and tag, without the name of the registry it came from."""
    registry = Registry(address)
    with tarfile.open(file) as archive:

        def opened(digest: str) -> Any:
            return archive.extractfile(f"blobs/sha256/{digest.removeprefix('sha256:')}")

        for listed in json.load(archive.extractfile("index.json"))["manifests"]:  # type: ignore[arg-type]
            host, _, path = listed["annotations"][FULL_NAME].partition("/")
            repository, _, tag = path.rpartition(":")
            text = opened(listed["digest"]).read()
            manifest = json.loads(text)
            for each in (manifest["config"], *manifest["layers"]):
                registry.blob(repository, each["digest"], each["size"], opened(each["digest"]))
            registry.ask("PUT", f"/v2/{repository}/manifests/{tag}", text, manifest["mediaType"])
            print(f"{host}/{repository}:{tag} is at {address}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", file, *rest] if rest:
            make(Path(file), rest)
        case ["push", file, address]:
            push(Path(file), address)
        case _:
            sys.exit(__doc__)
